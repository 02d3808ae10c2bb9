//! What is accepted and what is refused, and in which words.

use super::*;

const URL: &str = "url = \"https://mail.example.com/EWS/Exchange.asmx\"\n";

fn checked(text: &str) -> Result<Source, String> {
    let text = format!("type = \"ews\"\npassword = \"s3cret\"\n{text}");
    let table: Table = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    table.checked().map_err(|error| error.to_string())
}

#[test]
fn the_least_that_is_needed() {
    let source = checked("username = \"anna@example.com\"").unwrap();
    assert_eq!(source.mailboxes, Mailboxes::Named(vec!["anna@example.com".into()]));
    assert_eq!(source.settings.server, Server::Autodiscover { first: None, hosts: Vec::new() });
    assert_eq!((source.settings.access, source.settings.disposal), (Access::Own, Disposal::Soft));
    assert!(matches!(source.settings.login, Login::Ntlm(_)));
    assert!(!format!("{source:?}").contains("s3cret"));
}

#[test]
fn everything_that_can_be_said() {
    let text = format!(
        "{URL}trust = \"any\"\nauth = \"oauth\"\ntoken_endpoint = \"https://login.example.com/token\"\n\
         client_id = \"app\"\nscope = \"x/.default\"\ntoken_trust = \"any\"\naccess = \"impersonate\"\n\
         mailboxes = [\"a@example.com\", \"b@example.com\"]\nparts = [\"archive\", \"mailbox\"]\n\
         everything = true\ndelete = \"move-to-deleted-items\"\npublic_folder_mailbox = \"pf@example.com\""
    );
    let source = checked(&text).unwrap();
    assert_eq!(
        source.mailboxes,
        Mailboxes::Named(["a@example.com", "b@example.com"].map(str::to_owned).to_vec())
    );
    assert_eq!(source.settings.parts, [Part::Mailbox, Part::Archive]);
    assert_eq!(source.settings.disposal, Disposal::MoveToDeletedItems);
    assert_eq!(source.settings.login.user(), "app");
    assert!(!format!("{source:?}").contains("s3cret"));
}

#[test]
fn what_is_wrong_is_named() {
    let user = "username = \"anna@example.com\"\n";
    for (text, expected) in [
        ("username = \"anna\"", "mailbox: the primary SMTP address"),
        ("mailbox = \"anna@example.com\"", "username: it is needed"),
        (&format!("{user}url = \"http://mail.example.com/\""), "url: it must begin with https://"),
        (&format!("{user}url = \"https://u:p@mail.example.com/\""), "url: it must begin with https://"),
        (
            &format!("{user}url = \"https://outlook.office365.com/EWS/Exchange.asmx\""),
            "blocks EWS since October 2026",
        ),
        (&format!("{user}{URL}autodiscover = \"https://x.example/\""), "autodiscover: with a url"),
        (&format!("{user}autodiscover_hosts = [\"https://x\"]"), "autodiscover_hosts: these are host names"),
        (&format!("{user}scope = \"x\""), "scope: it goes with auth"),
        (&format!("{user}auth = \"bearer\""), "username: it goes with"),
        ("auth = \"oauth\"\nmailbox = \"a@b.c\"", "token_endpoint: it is needed"),
        ("auth = \"basic\"\nusername = \"a:b\"\nmailbox = \"a@b.c\"", "username: Basic cannot carry"),
        (&format!("{user}mailboxes = [\"a@b.c\", \"d@b.c\"]"), "mailboxes: several mailboxes need"),
        (&format!("{user}access = \"impersonate\""), "mailbox: the primary SMTP address"),
        (
            &format!("{user}access = \"delegate\"\nmailboxes = [\"a@b.c\", \"A@b.c\"]"),
            "mailboxes: A@b.c is named twice",
        ),
        (&format!("{user}mailbox = \"a b@c\""), "is no e-mail address"),
        (&format!("{user}accounts = \"users\""), "accounts: it needs access"),
        (
            &format!("{user}access = \"delegate\"\naccounts = \"users\"\nmailbox = \"a@b.c\""),
            "accounts: either",
        ),
        (&format!("{user}parts = []"), "parts: name at least one"),
        (&format!("{user}colour = \"red\""), "unknown field `colour`"),
        (&format!("{user}auth = \"kerberos\""), "unknown variant `kerberos`"),
    ] {
        let error = checked(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let many = "access = \"impersonate\"\nmailboxes = [\"a@b.c\", \"d@b.c\"]\nparts = [\"public-folders\"]\n";
    assert!(checked(&format!("{user}{many}")).unwrap_err().contains("parts: public folders are the same"));
    let all = "access = \"impersonate\"\naccounts = \"users\"\n";
    assert_eq!(checked(&format!("{user}{all}")).unwrap().mailboxes, Mailboxes::Users);
    assert!(checked(&format!("{user}{all}parts = [\"public-folders\"]")).is_err());
    let table: Table = toml::from_str("type = \"ews\"\nusername = \"anna@example.com\"").unwrap();
    assert!(table.checked().unwrap_err().to_string().starts_with("password: "));
}
