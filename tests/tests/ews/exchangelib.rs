//! A client of others at the same server: it finds there what ours finds, so the server is no picture of our own mistakes.

use anyhow::Result;
use postern_tests::ews::judge::{exchangelib, has_exchangelib, judge};
use postern_tests::ews::{Exchange, Wants};
use postern_tests::foreign::{corpus, has};

use crate::{ANNA, awkward, connect, inbox, pull, sorted};

const LOOK: &str = "
import base64, json
inbox = account.inbox
told = {'name': inbox.name, 'count': inbox.total_count, 'folders': sorted(f.name for f in account.msg_folder_root.walk())}
told['synced'] = sorted(base64.b64encode(item.mime_content).decode() for change, item in
    [(c, account.inbox.get(id=i.id, changekey=i.changekey)) for c, i in inbox.sync_items(only_fields=['subject'], max_changes_returned=4)])
told['found'] = sorted(base64.b64encode(item.mime_content).decode() for item in inbox.all().only('mime_content', 'subject'))
told['hierarchy'] = sum(1 for _ in account.root.sync_hierarchy())
print(json.dumps(told))
";

/// Goal: folders, synchronisation and content are the same for exchangelib, by Basic and by NTLM.
#[tokio::test]
async fn exchangelib_finds_the_same() -> Result<()> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    if !has_exchangelib() {
        return Ok(());
    }
    for (wants, auth) in [(Wants::Basic, "basic"), (Wants::Ntlm(false), "ntlm")] {
        let exchange = Exchange::start(wants)?;
        // exchangelib speaks the server's version, and the schema here knows none behind Exchange 2016.
        exchange.is_version(15, 1);
        let folder = exchange.store().inbox(ANNA);
        let messages: Vec<_> = (0..7).map(awkward).collect();
        messages.iter().for_each(|message| drop(exchange.store().deliver(&folder, message)));
        let told: serde_json::Value = serde_json::from_str(exchangelib(&exchange, auth, LOOK)?.trim())?;
        let expected = sorted(messages.iter().map(|message| STANDARD.encode(message)).collect());
        assert_eq!((told["name"].as_str(), told["count"].as_u64()), (Some("Posteingang"), Some(7)));
        assert_eq!(told["synced"], serde_json::json!(expected));
        assert_eq!(told["found"], serde_json::json!(expected));
        assert_eq!(told["folders"].as_array().map(Vec::len), Some(6));
        let mut account = connect(&exchange.settings()).await?;
        let inbox = inbox(&mut account).await?;
        let (kept, ..) = pull(&mut account, &inbox, None).await?;
        assert_eq!(kept.contents(), sorted(messages));
        exchange.judged()?;
    }
    Ok(())
}

/// Goal: the judge does judge.
#[test]
fn what_is_not_valid_is_told() -> Result<()> {
    let envelope =
        |body: &str| vec![format!("<s:Envelope><s:Header></s:Header><s:Body>{body}</s:Body></s:Envelope>")];
    let folder = "<m:FolderIds><t:DistinguishedFolderId Id=\"inbox\"/></m:FolderIds>";
    let shape = "<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>";
    assert_eq!(judge(&envelope(&format!("<m:GetFolder>{shape}{folder}</m:GetFolder>")))?, 1);
    assert!(judge(&["<s:Envelope></s:Envelope>".to_owned()]).is_err(), "no body");
    if corpus().is_some() && has("xmllint") {
        let wrong = judge(&envelope(&format!("<m:GetFolder>{folder}{shape}</m:GetFolder>"))).unwrap_err();
        assert!(wrong.to_string().contains("This element is not expected"), "{wrong}");
    }
    Ok(())
}
