//! The gate and admission: nothing passes without a right, and nothing without a line.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_shared::control::Context;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random_secret;
use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step};
use serde_json::{Value, json};

use super::needs::COMMANDS;
use super::*;
use crate::archive::{ArchiveError, Placement, Privilege, UserChange};
use crate::command::{Command, CommandError, Secret, TransportKey, names};
use crate::profiles::Profile;
use crate::stage::{self, Stage, get, search};

fn ids(page: &Value) -> BTreeSet<&str> {
    page["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

fn is_not_allowed(error: &CommandError) -> bool {
    matches!(error, CommandError::NotAllowed(_))
}

#[test]
fn every_command_is_in_the_table() {
    let table: BTreeSet<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(table, names(), "add the command to access/needs.rs");
    assert_eq!(table.len(), COMMANDS.len());
    assert_eq!(Need::of("something-new"), Need::Admin);
}

/// Goal: whoever reads mail leaves a line, whatever way they take.
#[test]
fn no_way_through_the_gate_leaves_no_line() {
    let stage = Stage::new();
    let operator = Caller::operator();
    let gate = Gate::new(&stage.core, &operator, "main").unwrap();
    let mut lines = stage.audited(Some("main")).len();
    let mut next = |what: &str| {
        let log = stage.audited(Some("main"));
        assert_eq!((log.len(), log[0]["what"].as_str()), (lines + 1, Some(what)));
        assert_eq!((&log[0]["who"], &log[0]["refused"]), (&json!("operator"), &Value::Null));
        lines += 1;
    };
    let id = &stage.messages[0];
    let query = serde_json::from_value::<Command>(search("main", None, "*")).unwrap();
    crate::command::read_for_tests(&stage.core, &operator, query, &Context::new().0).unwrap();
    next("search");
    gate.message(id, &mut |_| Ok(())).unwrap();
    next("message-get");
    gate.report(id).unwrap();
    next("message-get");
    gate.folders(None).unwrap();
    next("folder-list");
    let folder = Placement { archive: "anna".into(), folder: "INBOX".into() };
    assert_eq!(gate.in_folder(&folder, 0, 10).unwrap().len(), 2);
    next("folder-read");
    // What is not there was asked for all the same.
    assert!(gate.message("nothing", &mut |_| Ok(())).is_err());
    next("message-get");
}

/// Goal: when the line cannot be written and synced, nothing is handed out.
/// Method: every write and sync fails in turn; whatever came out must stand in the log on disk.
#[test]
fn without_a_line_on_disk_nothing_is_handed_out() {
    let stage = Stage::new();
    let Stage { core, dir, messages, .. } = stage;
    drop(core);
    let lines = || {
        let log = RealDisk.read(&dir.path().join("data/instances/main/audit.log"), 1 << 20).unwrap();
        // What a failed write left behind the last line end is no line.
        let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        String::from_utf8_lossy(&log[..whole]).matches("\"what\":\"message-get\"").count()
    };
    for step in [Step::Write, Step::Sync] {
        let (mut refused, mut handed_out) = (0, 0);
        for skip in 0..20 {
            let fault = Fault::from(step, skip, std::io::ErrorKind::StorageFull);
            let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault));
            let (core, _) = stage::core(disk, dir.path(), "");
            let operator = Caller::operator();
            let Ok(gate) = Gate::new(&core, &operator, "main") else { continue };
            let (before, mut octets) = (lines(), 0);
            let read = gate.message(&messages[0], &mut |piece| {
                octets += piece.len();
                Ok(())
            });
            assert_eq!(read.is_ok(), octets > 0, "{step:?} {skip}");
            if octets > 0 {
                assert_eq!(lines(), before + 1, "{step:?} {skip}");
                handed_out += 1;
            } else {
                refused += 1;
            }
        }
        assert!(refused > 0 && handed_out > 0, "{step:?}: {refused} refused, {handed_out} handed out");
    }
}

/// Goal: a user reads their own archive and those they were given, and learns no more than that.
#[tokio::test]
async fn a_user_reads_what_the_privileges_say() {
    let stage = Stage::new();
    let anna = stage.caller(&[Scope::Mail], Some("main"), Some("anna"));
    let [first, second, both, _] = &stage.messages[..] else { panic!("{:?}", stage.messages) };
    let hits = stage.ask(&anna, search("main", None, "report")).await.unwrap();
    assert_eq!(ids(&hits), BTreeSet::from([first.as_str(), both]), "without a name their own");
    assert!(!hits.to_string().contains("bob/"), "no other archive's name: {hits}");
    assert!(is_not_allowed(&stage.ask(&anna, search("main", Some("bob"), "*")).await.unwrap_err()));
    stage.ask(&anna, get("main", both, false)).await.unwrap();
    // What may not be read is as what is not there, but for the log.
    for (id, report) in [(second, false), (first, true)] {
        let error = stage.ask(&anna, get("main", id, report)).await.unwrap_err();
        assert!(matches!(error, CommandError::Archive(ArchiveError::NoMessage(_))), "{error}");
        let line = &stage.audited(Some("main"))[0];
        assert!(line["refused"].is_string() && line["particulars"]["id"] == id.as_str(), "{line}");
        assert_eq!(line["who"], "anna");
    }
    let folders = json!({ "folder-list": { "instance": "main", "user": null } });
    let folders = stage.ask(&anna, folders).await.unwrap();
    assert_eq!(folders.as_array().unwrap().len(), 1, "{folders}");

    let instance = stage.core.instance("main").unwrap();
    let reads = UserChange {
        reads: Some(BTreeSet::from(["bob".to_owned()])),
        privileges: Some(BTreeSet::from([Privilege::ReadOwn, Privilege::Auditor])),
        ..UserChange::default()
    };
    instance.edit_user("anna", reads).unwrap();
    stage.ask(&anna, get("main", second, false)).await.unwrap();
    stage.ask(&anna, get("main", second, true)).await.unwrap();
    let error = stage.ask(&anna, search("main", None, "*")).await.unwrap_err();
    assert!(is_not_allowed(&error), "search was taken away");
    instance.delete_user("anna").unwrap();
    assert!(stage.ask(&anna, get("main", first, false)).await.is_err());
}

/// Goal: a token of one instance gets nothing of another one, does not learn that it is there, and leaves no line in its log.
#[tokio::test]
async fn instances_are_closed_against_each_other() {
    let stage = Stage::new();
    let all = [Scope::Read, Scope::Mail, Scope::Manage, Scope::Audit];
    let main = stage.caller(&all, Some("main"), None);
    let before = stage.audited(Some("other")).len();
    for (n, command) in [
        search("other", None, "*"),
        get("other", &stage.messages[3], false),
        json!({ "user-list": { "instance": "other" } }),
        json!({ "user-delete": { "instance": "other", "id": "eve" } }),
        json!({ "instance-show": { "id": "other" } }),
        json!({ "audit-list": { "instance": "other", "before": null, "limit": 10 } }),
        json!({ "verify": { "instance": "other", "store": null, "afresh": false } }),
    ]
    .into_iter()
    .enumerate()
    {
        let error = stage.ask(&main, command.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), ArchiveError::NoInstance("other".into()).to_string(), "{command}");
        assert_eq!(stage.audited(None).len(), n + 1, "the archiver's own log tells");
    }
    assert_eq!(stage.audited(Some("other")).len(), before);
    // A message of the other instance under its own name, and questions about all.
    assert!(stage.ask(&main, get("main", &stage.messages[3], false)).await.is_err());
    let list = stage.ask(&main, json!("instance-list")).await.unwrap();
    assert!(list.as_array().unwrap().len() == 1 && !list.to_string().contains("other"), "{list}");
    let status = stage.ask(&main, json!("status")).await.unwrap();
    assert!(!status.to_string().contains("other") && status["data_dir"].is_null(), "{status}");
    for command in
        [json!("token-list"), json!({ "audit-list": { "instance": null, "before": null, "limit": 1 } })]
    {
        assert!(is_not_allowed(&stage.ask(&main, command).await.unwrap_err()));
    }
}

/// Goal: each scope and privilege allows what it is for; managing allows no reading.
#[tokio::test]
async fn scopes_and_privileges_allow_what_they_are_for() {
    let stage = Stage::new();
    let commands = [
        (json!({ "user-list": { "instance": "main" } }), Scope::Read),
        (search("main", None, "*"), Scope::Mail),
        (json!({ "store-create": { "instance": "main" } }), Scope::Manage),
        (json!({ "audit-verify": { "instance": "main" } }), Scope::Audit),
        (json!("token-list"), Scope::Admin),
    ];
    for scope in [Scope::Read, Scope::Mail, Scope::Manage, Scope::Audit, Scope::Admin] {
        let caller = stage.caller(&[scope], None, None);
        for (command, needed) in &commands {
            let asked = stage.ask(&caller, command.clone()).await;
            assert_eq!(asked.is_ok(), scope.includes(*needed), "{scope:?} {command}: {asked:?}");
        }
    }
    // What names directories of the machine is not a matter of one instance.
    let backup = json!({ "name": "away", "template": { "type": "backup", "to": "/srv/away" } });
    let files = json!({ "name": "old", "source": { "type": "files", "path": "/srv/mail" }, "assign": { "mode": "user", "user": "anna" } });
    let files = Profile::from_json(files).unwrap().seal(&AeadKey::new(&[7; 32]));
    let key = serde_json::to_value(TransportKey::new(&random_secret())).unwrap();
    let commands = [
        json!({ "job-put": { "instance": "main", "job": backup } }),
        json!({ "profile-put": { "instance": "main", "profile": files, "key": key } }),
        json!({ "profile-test": { "instance": "main", "profile": { "file": { "profile": files, "key": key } } } }),
    ];
    for command in commands {
        let manager = stage.caller(&[Scope::Manage], None, None);
        assert!(is_not_allowed(&stage.ask(&manager, command.clone()).await.unwrap_err()), "{command}");
        let line = &stage.audited(Some("main"))[0];
        assert!(line["refused"].as_str().unwrap().contains("scope admin"), "{line}");
        let admin = stage.caller(&[Scope::Admin], None, None);
        let asked = stage.ask(&admin, command.clone()).await;
        assert!(!asked.as_ref().is_err_and(is_not_allowed), "{command}: {asked:?}");
    }
    // And nobody names what belongs to other instances.
    let other = stage.core.instance_dir("other").unwrap();
    let backup = json!({ "name": "away", "template": { "type": "backup", "to": other.join("x") } });
    let files = json!({ "name": "old", "source": { "type": "files", "path": other }, "assign": { "mode": "user", "user": "anna" } });
    let secret = random_secret();
    let files = Profile::from_json(files).unwrap().seal(&AeadKey::new(&secret));
    let key = serde_json::to_value(TransportKey::new(&secret)).unwrap();
    for command in [
        json!({ "job-put": { "instance": "main", "job": backup } }),
        json!({ "profile-put": { "instance": "main", "profile": files, "key": key } }),
        json!({ "profile-test": { "instance": "main", "profile": { "file": { "profile": files, "key": key } } } }),
    ] {
        let error = stage.ask(&Arc::new(Caller::operator()), command).await.unwrap_err();
        assert!(matches!(error, CommandError::Archive(ArchiveError::OwnDirectory { .. })), "{error}");
        assert!(stage.audited(Some("main"))[0]["refused"].is_string());
    }
    // A user's token needs the user's privilege besides.
    let manager = stage.caller(&[Scope::Manage, Scope::Audit], Some("main"), Some("anna"));
    let create = json!({ "user-add": { "instance": "main", "id": "carl", "emails": [] } });
    assert!(is_not_allowed(&stage.ask(&manager, create.clone()).await.unwrap_err()));
    let refused = stage.audited(Some("main"))[0].clone();
    assert!(refused["what"] == "user-add" && refused["refused"].is_string(), "{refused}");
    let admin = UserChange { privileges: Some(BTreeSet::from([Privilege::Admin])), ..UserChange::default() };
    stage.core.instance("main").unwrap().edit_user("anna", admin).unwrap();
    stage.ask(&manager, create).await.unwrap();
    let audit = json!({ "audit-verify": { "instance": "main" } });
    assert!(is_not_allowed(&stage.ask(&manager, audit).await.unwrap_err()), "that is the auditor's");
    // No token makes one that may do more.
    let admin = stage.caller(&[Scope::Admin], None, None);
    let mail = json!({ "token-create": { "name": "x", "scopes": ["mail"] } });
    assert!(is_not_allowed(&stage.ask(&admin, mail).await.unwrap_err()));
    let line = &stage.audited(None)[0];
    assert!(line["what"] == "token-create" && line["refused"].is_string(), "{line}");
}

/// Goal: whoever may not name files of this machine names none, in whichever trust of a profile.
#[tokio::test]
async fn trusts_name_no_file_of_this_machine() {
    let stage = Stage::new();
    let manager = stage.caller(&[Scope::Manage], Some("main"), None);
    let zero = "file:/dev/zero";
    let anna = json!({ "mode": "user", "user": "anna" });
    let plain = |kind: &str| json!({ "type": kind, "host": "h.example", "username": "u", "password": "p", "trust": zero });
    let oauth = json!({ "type": "imap", "host": "h.example", "username": "u", "oauth": {
        "token_endpoint": "https://login.example/token", "client_id": "c", "refresh_token": "r", "trust": zero } });
    let ews = |trust: &str| {
        let mut source = json!({ "type": "ews", "url": "https://ews.example/EWS/Exchange.asmx", "auth": "oauth",
            "token_endpoint": "https://login.example/token", "client_id": "c", "client_secret": "s",
            "access": "impersonate", "mailboxes": ["anna@example.com"] });
        source[trust] = zero.into();
        source
    };
    let mut judged = 0;
    for source in [plain("imap"), plain("pop3"), plain("gateway"), oauth, ews("trust"), ews("token_trust")] {
        let what = source.to_string();
        let written = json!({ "name": "x", "source": source, "assign": anna });
        let profile = match Profile::from_json(written) {
            Ok(profile) => profile,
            Err(fault) => panic!("{fault}: {what}"),
        };
        let key = random_secret();
        let sealed = profile.seal(&AeadKey::new(&key));
        let key = serde_json::to_value(TransportKey::new(&key)).unwrap();
        for command in [
            json!({ "profile-put": { "instance": "main", "profile": sealed, "key": key } }),
            json!({ "profile-test": { "instance": "main", "profile": { "file": { "profile": sealed, "key": key } } } }),
        ] {
            assert!(is_not_allowed(&stage.ask(&manager, command).await.unwrap_err()), "{what}");
            judged += 1;
        }
    }
    assert_eq!(judged, 12);
}

/// Goal: who leaves mail behind on purpose leaves a line that says so; who looks leaves none, also in safe mode.
#[tokio::test]
async fn what_is_discarded_stands_in_the_log() {
    let of = |then: Value| {
        let command = json!({ "profile-retries": { "instance": "main", "name": "m", "then": then } });
        Asked::of(&serde_json::from_value(command).unwrap())
    };
    assert_eq!(of(json!({ "discard": null })).particulars["then"], "discard all");
    let one = of(json!({ "discard": { "item": "77", "account": "anna" } })).particulars;
    assert_eq!(
        (&one["then"], &one["which"]),
        (&json!("discard"), &json!({ "item": "77", "account": "anna" }))
    );
    assert_eq!(of(json!("now")).particulars["then"], "now");
    assert!(of(json!("now")).is_change() && !of(json!("nothing")).is_change());
}

/// Goal: what is done stands in the log before, with who and what, and no secret ever does.
#[tokio::test]
async fn the_log_tells_who_did_what_without_secrets() {
    let stage = Stage::new();
    let manager = stage.caller(&[Scope::Manage], Some("main"), None);
    let add = json!({ "user-add": { "instance": "main", "id": "anna", "emails": ["x@example.com"] } });
    assert!(
        stage.ask(&manager, add).await.is_err(),
        "there is one already, and the line stands all the same"
    );
    let line = &stage.audited(Some("main"))[0];
    let expected = json!({ "id": "anna", "emails": ["x@example.com"] });
    assert_eq!((&line["what"], &line["particulars"]), (&json!("user-add"), &expected));
    assert_eq!((&line["who"], &line["from"]), (&json!("t"), &json!("192.0.2.1")));
    let asked =
        Asked::of(&Command::InstanceUnlock { id: "main".into(), passphrase: Secret::new("horse".into()) });
    assert_eq!(asked.particulars, json!({ "id": "main" }));
    // A profile or job is told as it is shown, without what is sealed in it.
    let source = json!({ "type": "gateway", "host": "h.example", "username": "u", "password": "hidden-one" });
    let profile = Profile::from_json(json!({ "name": "journal", "source": source })).unwrap();
    let key = random_secret();
    let sealed = Box::new(profile.seal(&AeadKey::new(&key)));
    let put = Command::ProfilePut { instance: "main".into(), profile: sealed, key: TransportKey::new(&key) };
    let asked = Asked::of(&put);
    assert_eq!(asked.particulars["profile"]["source"]["host"], "h.example", "{asked:?}");
    let text = asked.particulars.to_string();
    assert!(!text.contains("hidden-one") && !text.contains(&hex::encode(*key)), "{text}");
}

/// Goal: whoever makes what they say long leaves a line that tells it all the same.
#[tokio::test]
async fn who_says_much_leaves_a_whole_line() {
    let stage = Stage::new();
    let anna = stage.caller(&[Scope::Mail], Some("main"), Some("anna"));
    let query = format!("secret {}", "\u{1}".repeat(4000));
    // Whatever it finds.
    let _ = stage.ask(&anna, search("main", Some("anna"), &query)).await;
    let line = &stage.audited(Some("main"))[0];
    assert_eq!(line["particulars"]["user"], "anna");
    assert!(line["particulars"]["query"].as_str().unwrap().starts_with("secret "), "{line}");
    let junk: Vec<String> = (0..900).map(|n| format!("{n}@{}.example", "x".repeat(50))).collect();
    let manager = stage.caller(&[Scope::Manage], Some("main"), None);
    let edit = json!({ "user-edit": { "instance": "main", "id": "anna", "add_emails": [], "remove_emails": junk,
        "privileges": ["auditor"], "reads": ["bob"] } });
    stage.ask(&manager, edit).await.unwrap();
    let said = &stage.audited(Some("main"))[0]["particulars"];
    assert_eq!((&said["id"], &said["privileges"]), (&json!("anna"), &json!(["auditor"])), "{said}");
    assert_eq!(said["reads"], json!(["bob"]));
}

/// Goal: when it cannot be told whose a message is, nobody has it who may not have all, and the log says so.
#[tokio::test]
async fn a_damaged_catalog_opens_nothing() {
    let stage = Stage::new();
    let anna = stage.caller(&[Scope::Mail], Some("main"), Some("anna"));
    let all = stage.caller(&[Scope::Mail], Some("main"), None);
    let catalog = stage.core.instance_dir("main").unwrap().join("stores/0001/catalog.sqlite");
    rusqlite::Connection::open(&catalog).unwrap().execute_batch("DROP TABLE participants").unwrap();
    for (id, report) in [(&stage.messages[1], false), (&stage.messages[0], false), (&stage.messages[0], true)]
    {
        assert!(stage.ask(&anna, get("main", id, report)).await.is_err());
        let line = &stage.audited(Some("main"))[0];
        assert!(line["refused"].is_string() && line["particulars"]["id"] == id.as_str(), "{line}");
    }
    stage.ask(&all, get("main", &stage.messages[1], false)).await.unwrap();
}

/// Goal: the same in a store that is not the current one; and nobody is told that a message is not there that may be.
#[tokio::test]
async fn a_damaged_catalog_of_an_older_store_hides_nothing() {
    let stage = Stage::new();
    stage.core.instance("main").unwrap().create_store().unwrap();
    let anna = stage.caller(&[Scope::Mail], Some("main"), Some("anna"));
    let all = stage.caller(&[Scope::Mail], Some("main"), None);
    let catalog = stage.core.instance_dir("main").unwrap().join("stores/0001/catalog.sqlite");
    rusqlite::Connection::open(&catalog).unwrap().execute_batch("DROP TABLE participants").unwrap();
    let id = &stage.messages[0];
    stage.ask(&all, get("main", id, false)).await.unwrap();
    let line = stage.audited(Some("main"))[0].clone();
    assert!(line["refused"].is_null() && line["particulars"]["id"] == id.as_str(), "{line}");
    let error = stage.ask(&anna, get("main", id, false)).await.unwrap_err();
    assert!(!matches!(error, CommandError::Archive(ArchiveError::NoMessage(_))), "it may be there: {error}");
    let line = &stage.audited(Some("main"))[0];
    assert!(line["refused"].is_string(), "{line}");
    let gone = stage.ask(&all, get("main", &stage.messages[3], false)).await;
    assert!(gone.is_err(), "another instance's");
}

/// Goal: managing never becomes reading: who manages as a user gives those rights to nobody, least to themselves.
#[tokio::test]
async fn who_manages_as_a_user_gives_no_right_to_read() {
    let stage = Stage::new();
    let main = stage.core.instance("main").unwrap();
    let with = |privileges: &[Privilege]| UserChange {
        privileges: Some(privileges.iter().copied().collect()),
        ..UserChange::default()
    };
    main.edit_user("anna", with(&[Privilege::Admin, Privilege::ReadOwn, Privilege::Search])).unwrap();
    main.add_user("carl", &[]).unwrap();
    main.add_user("dora", &[]).unwrap();
    main.edit_user("dora", with(&[Privilege::Auditor])).unwrap();
    let anna = stage.caller(&[Scope::Manage, Scope::Mail], Some("main"), Some("anna"));
    let edit = |id: &str, what: Value| {
        let mut said = json!({ "instance": "main", "id": id, "add_emails": [], "remove_emails": [] });
        what.as_object().unwrap().iter().for_each(|(name, value)| said[name] = value.clone());
        json!({ "user-edit": said })
    };
    for refused in [
        edit("anna", json!({ "reads": ["bob", "unassigned"] })),
        edit("anna", json!({ "privileges": ["admin", "auditor"] })),
        edit("anna", json!({ "add_emails": ["bob@example.com"] })),
        edit("carl", json!({ "reads": ["bob"] })),
        edit("carl", json!({ "privileges": ["admin"] })),
        edit("dora", json!({ "privileges": ["read-own"] })),
        json!({ "user-add": { "instance": "main", "id": "new", "emails": [], "privileges": ["auditor"] } }),
        json!({ "user-add": { "instance": "main", "id": "new", "emails": [], "reads": ["bob"] } }),
        json!({ "user-delete": { "instance": "main", "id": "dora" } }),
        json!({ "user-delete": { "instance": "main", "id": "anna" } }),
    ] {
        let error = stage.ask(&anna, refused.clone()).await.unwrap_err();
        assert!(is_not_allowed(&error), "{refused}: {error}");
    }
    stage
        .ask(&anna, edit("carl", json!({ "privileges": ["search"], "add_emails": ["c@x.y"] })))
        .await
        .unwrap();
    stage.ask(&anna, json!({ "user-delete": { "instance": "main", "id": "carl" } })).await.unwrap();
    // One that stands for no user is the operator's own.
    let manager = stage.caller(&[Scope::Manage], Some("main"), None);
    stage.ask(&manager, edit("anna", json!({ "reads": ["bob"] }))).await.unwrap();
}

/// Goal: in safe mode mail is read and recorded, and nothing is changed.
#[tokio::test]
async fn safe_mode_reads_and_changes_nothing() {
    let stage = Stage::new();
    let all = stage.caller(&[Scope::Mail, Scope::Manage], None, None);
    stage.ask(&all, search("main", None, "*")).await.unwrap();
    stage.core.start_instance("main", true).unwrap();
    let hits = stage.ask(&all, search("main", None, "*")).await.unwrap();
    assert_eq!(ids(&hits).len(), 3);
    assert_eq!(stage.audited(Some("main"))[0]["what"], "search");
    stage.ask(&all, get("main", &stage.messages[0], false)).await.unwrap();
    let verify = json!({ "verify": { "instance": "main", "store": null, "afresh": true } });
    let verified = stage.ask(&all, verify).await.unwrap();
    assert_eq!((&verified["messages"], &verified["failed"]), (&json!(3), &json!(0)), "{verified}");
    let error = stage.ask(&all, json!({ "store-create": { "instance": "main" } })).await.unwrap_err();
    assert!(matches!(error, CommandError::Archive(ArchiveError::SafeMode(_))), "{error}");
    let instance = stage.core.instance("main").unwrap();
    assert!(instance.commit(vec![stage::message(9, &["anna"])]).is_err());
    assert!(instance.add_user("new", &[]).is_err());
}
