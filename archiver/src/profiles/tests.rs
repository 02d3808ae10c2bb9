//! What a profile's file may say, and what is said about one that may not.

use postern_shared::disk::{RealDisk, write_atomic};

use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::Trust;
use secrecy::ExposeSecret;

use super::{AfterCare, Assign, Profile, SourceProfile, Whose};
use crate::sources::{gateway, imap};

const GOOD: &str = "name = \"journal\"
[source]
type = \"gateway\"
host = \"gateway.example.com\"
username = \"mbx-dead1234beef5678\"
password = \"geheim\"
";

fn read(text: &str) -> Result<Profile, String> {
    let dir = tempfile::tempdir().unwrap();
    write_atomic(&RealDisk, &dir.path().join("secret"), b"from file\r\n").unwrap();
    let path = dir.path().join("p.toml");
    write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
    let environment = |name: &str| (name == "SECRET").then(|| "from env".to_owned());
    Profile::read(&RealDisk, &path, environment).map_err(|error| {
        let error = error.to_string();
        error.split_once("p.toml").map_or_else(|| error.clone(), |(_, rest)| rest.to_owned())
    })
}

fn settings(text: &str) -> gateway::Settings {
    let SourceProfile::Gateway(mut settings) = read(text).unwrap().source else { panic!("{text}") };
    settings.remove(0)
}

#[test]
fn defaults_and_everything_spelt_out() {
    let profile = read(GOOD).unwrap();
    assert_eq!((profile.name.as_str(), profile.assign), ("journal", Assign::Envelope {}));
    assert_eq!(profile.after, AfterCare::Delete { days: 0 });
    let found = settings(GOOD);
    assert_eq!((found.port, found.tls, found.trust), (995, TlsStart::Implicit, Trust::System));

    let pin = format!("sha256:{}", "ab".repeat(32));
    let all = format!(
        "{GOOD}port = 9950\ntls = \"starttls\"\ntrust = \"{pin}\"\n[assign]\nmode = \"user\"\nuser = \"anna\"\n"
    );
    let found = settings(&all);
    assert_eq!((found.port, found.tls, found.trust.to_string()), (9950, TlsStart::Stls, pin));
    assert_eq!(read(&all).unwrap().assign, Assign::User { user: "anna".into() });
    assert_eq!(settings(&format!("{GOOD}tls = \"starttls\"")).port, 110);
}

#[test]
fn passwords_come_from_three_places_and_are_never_shown() {
    for (key, expected) in [
        ("password = \"geheim\"", "geheim"),
        ("password_file = \"secret\"", "from file"),
        ("password_env = \"SECRET\"", "from env"),
    ] {
        let text = GOOD.replace("password = \"geheim\"", key);
        assert_eq!(settings(&text).credentials.password.expose_secret(), expected);
        assert!(!format!("{:?}", read(&text).unwrap()).contains(expected));
    }
}

#[test]
fn each_fault_is_named_with_line_and_key() {
    let with = |line: &str| format!("{GOOD}{line}\n");
    let without = |key: &str| GOOD.replace(key, &format!("#{key}"));
    for (text, expected) in [
        (with("hots = 1"), ", line 7, key \"source.hots\": unknown field"),
        (with("[extra]\na = 1"), "unknown field `extra`"),
        (with("port = 0"), ", line 7, key \"source.port\": "),
        (with("port = 65536"), ", line 7, key \"source.port\": "),
        (with("tls = \"none\""), ", line 7, key \"source.tls\": unknown variant"),
        (with("trust = \"sha256:12\""), ", line 7, key \"source.trust\": \"sha256:12\" is none of"),
        (with("password_env = \"SECRET\""), ", line 6, key \"source.password\": only one of"),
        (without("password ="), ", line 5, key \"source.username\": a password, password_file"),
        (without("host"), "missing field `host`"),
        (
            GOOD.replace("gateway\"\n", "graph\"\n"),
            ", line 3, key \"source.type\": sources of type \"graph\" are not supported by this version",
        ),
        (GOOD.replace("gateway\"\n", "fax\"\n"), "\"fax\" is no type of source"),
        (GOOD.replace("journal", "../journal"), ", line 1, key \"name\": \"../journal\" is no profile name"),
        (
            GOOD.replace("\"gateway.example.com\"", "\" \""),
            ", line 4, key \"source.host\": 1 to 255 characters",
        ),
        (GOOD.replace("geheim", "a\\u0000b"), ", line 6, key \"source.password\": the password is empty or"),
        (
            GOOD.replace("password = \"geheim\"", "password_file = \"none\""),
            ", line 6, key \"source.password_file\": cannot read",
        ),
        (
            GOOD.replace("password = \"geheim\"", "password_env = \"NONE\""),
            "there is no environment variable NONE",
        ),
        (with("[assign]\nmode = \"user\""), ", line 8, key \"assign.mode\": mode = \"user\" needs a user"),
        (with("[assign]\nuser = \"anna\""), ", line 8, key \"assign.user\": user goes with"),
        (with("[assign]\nmode = \"all\""), ", line 8, key \"assign.mode\": unknown variant"),
        ("name = ".to_owned(), ", line 1, key \"name\": "),
    ] {
        let error = read(&text).expect_err(&text);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

const IMAP: &str = "name = \"mail\"
[source]
type = \"imap\"
host = \"imap.example.com\"
";

fn accounts(text: &str) -> super::Accounts {
    match read(text).unwrap().source {
        SourceProfile::Imap(accounts) | SourceProfile::Pop3(accounts) => accounts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_gateways_stand_in_one_profile() {
    let text = "name = \"journal\"\n[source]\ntype = \"gateway\"\n\
                [[source.gateway]]\nhost = \"mx1.example.com\"\nusername = \"mbx-1\"\npassword = \"one\"\n\
                [[source.gateway]]\nhost = \"mx2.example.com\"\nusername = \"mbx-2\"\npassword_file = \"secret\"\n";
    let profile = read(text).unwrap();
    let SourceProfile::Gateway(settings) = &profile.source else { panic!("{profile:?}") };
    let found: Vec<_> =
        settings.iter().map(|one| (one.host.as_str(), one.credentials.password.expose_secret())).collect();
    assert_eq!(found, [("mx1.example.com", "one"), ("mx2.example.com", "from file")]);
    assert!(!format!("{profile:?}{}", profile.shown()).contains("from file"));
    let error = read(&text.replace("password = \"one\"\n", "")).unwrap_err();
    assert!(error.contains("line 6, key \"source.gateway.username\": a password"), "{error}");
    let error =
        read(&text.replace("[[source.gateway]]\nhost = \"mx1", "port = 1\n[[source.gateway]]\nhost = \"mx1"));
    assert!(error.unwrap_err().contains("line 4, key \"source.port\": it belongs into"));
}

#[test]
fn accounts_log_in_by_themselves_by_a_master_or_by_tokens() {
    let single =
        accounts(&format!("{IMAP}username = \"anna\"\npassword = \"x\"\nmechanism = \"scram-sha-256\"\n"));
    assert_eq!((single.port, single.mechanism), (993, Some(imap::Mechanism::ScramSha256)));
    let Whose::Each(logins) = &single.whose else { panic!("{single:?}") };
    assert_eq!((logins[0].username.as_str(), logins[0].address.as_str()), ("anna", "anna"));

    let batch = "[[source.account]]\nusername = \"anna\"\npassword = \"x\"\naddress = \"anna@example.com\"\n\
                 [[source.account]]\nusername = \"bob\"\npassword_env = \"SECRET\"\n";
    let batch = accounts(&format!("{IMAP}{batch}"));
    let Whose::Each(logins) = &batch.whose else { panic!("{batch:?}") };
    let addresses: Vec<_> = logins.iter().map(|login| login.address.as_str()).collect();
    assert_eq!(addresses, ["anna@example.com", "bob"]);

    let master = "accounts = \"users\"\naccount_name = \"local-part\"\n\
                  [source.master]\nusername = \"m\"\npassword = \"x\"\nseparator = \"*\"\n";
    let all = accounts(&format!("{IMAP}{master}"));
    let Whose::Users(super::AccountName::LocalPart, Some(master)) = &all.whose else { panic!("{all:?}") };
    assert_eq!(master.separator.as_deref(), Some("*"));

    let oauth = "accounts = [\"anna@example.com\"]\n[source.oauth]\ntoken_endpoint = \"https://sso.example.com/token\"\n\
                 client_id = \"id\"\nclient_secret = \"geheim\"\nscopes = [\"mail\"]\n";
    let tokens = accounts(&format!("{IMAP}{oauth}"));
    assert!(matches!(&tokens.whose, Whose::Named(names, None) if names == &["anna@example.com"]));
    assert_eq!(tokens.oauth.unwrap().endpoint.host(), "sso.example.com");
    let pop3 = IMAP.replace("imap\"", "pop3\"");
    assert_eq!(
        accounts(&format!("{pop3}username = \"anna\"\npassword = \"x\"\ntls = \"starttls\"\n")).port,
        110
    );
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let single = format!("{IMAP}username = \"anna\"\npassword = \"x\"\n");
    let oauth = "[source.oauth]\ntoken_endpoint = \"https://sso.example.com/\"\nclient_id = \"id\"\n";
    let account = "[[source.account]]\nusername = \"bob\"\npassword = \"x\"\n";
    for (text, expected) in [
        (IMAP.to_owned(), "line 4, key \"source.host\": who logs in"),
        (format!("{single}{account}"), "line 5, key \"source.username\": it belongs into"),
        (
            format!("{IMAP}{account}{account}"),
            "line 9, key \"source.account.username\": it stands there twice",
        ),
        (format!("{IMAP}accounts = [\"a\"]\n"), "key \"source.accounts\": who lets in"),
        (format!("{IMAP}accounts = \"all\"\n"), "expected \"users\" or a list"),
        (format!("{single}accounts = \"users\"\n"), "key \"source.username\": it says who logs in alone"),
        (format!("{single}account_name = \"id\"\n"), "key \"source.account_name\": it goes with"),
        (
            format!("{single}[source.master]\nusername = \"m\"\npassword = \"x\"\n"),
            "key \"source.master\": for whom?",
        ),
        (format!("{single}mechanism = \"xoauth2\"\n"), "key \"source.mechanism\": access tokens need"),
        (format!("{IMAP}username = \"a\"\nmechanism = \"plain\"\n{oauth}"), "with [source.oauth] it is"),
        (format!("{IMAP}username = \"a\"\n{oauth}").replace("https", "http"), "must begin with https"),
        (
            format!("{single}[scope]\nfolders = [\"role:spam\"]\n"),
            "line 8, key \"scope.folders\": there is no role",
        ),
        (format!("{single}[scope]\nolder_than_days = 0\n"), "1 to 36500 days"),
        (format!("{single}[scope]\nstate = \"new\"\n"), "line 8, key \"scope.state\": unknown variant"),
        (format!("{single}[after]\ndays = 3\n"), "line 8, key \"after.days\": days go with"),
        (format!("{single}[after]\ndelete = true\nday = 3\n"), "line 9, key \"after.day\": unknown field"),
        (
            format!("{GOOD}[scope]\nfolders = [\"INBOX\"]\n"),
            "line 7, key \"scope\": a gateway's mailbox is pulled whole",
        ),
        (
            format!("{GOOD}[assign]\nmode = \"account\"\n"),
            "key \"assign.mode\": a gateway's mailbox is nobody's",
        ),
        (
            single.replace("imap\"", "pop3\"") + "act_as = \"b\"\n",
            "key \"source.act_as\": POP3 has no such thing",
        ),
        (
            single.replace("imap\"", "pop3\"") + "[scope]\nstate = \"read\"\n",
            "key \"scope.state\": a POP3 server",
        ),
    ] {
        let error = read(&text).expect_err(&text);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

/// Goal: a login that several users would have is nobody's, and is said; the same one named twice is one account.
#[test]
fn one_login_is_not_pulled_for_two_users() {
    use std::sync::Arc;

    use postern_shared::clock::{Clock, SystemClock};
    use postern_shared::disk::Disk;

    use super::accounts::plan;
    use crate::archive::{Instance, KeepKey, Opener};

    let dir = tempfile::tempdir().unwrap();
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let at = dir.path().join("main");
    Instance::create(&disk, &clock, &at, "main", &KeepKey::File(None)).unwrap();
    let fields = crate::intake::index_fields;
    let instance = Instance::open(&disk, &clock, &at, "main", &Opener::KeyFile(None), fields).unwrap();
    for (id, email) in [("a1", "anna@a.example"), ("a2", "Anna@b.example"), ("bob", "bob@a.example")] {
        instance.add_user(id, &[email.to_owned()]).unwrap();
    }
    let source = |accounts: &str| {
        let text = format!(
            "name = \"all\"\n[source]\ntype = \"imap\"\nhost = \"h\"\naccounts = {accounts}\n[source.master]\n\
             username = \"m\"\npassword = \"geheim\"\nseparator = \"*\"\n"
        );
        read(&text).unwrap().source
    };
    let local = plan(&source("\"users\"\naccount_name = \"local-part\""), &instance);
    let names: Vec<&str> = local.accounts.iter().map(|planned| planned.name.as_str()).collect();
    assert_eq!((names, local.refused.len()), (vec!["bob"], 1));
    assert!(local.refused[0].1.contains("a1, a2"), "{:?}", local.refused);
    assert_eq!(plan(&source("\"users\""), &instance).accounts.len(), 3);
    let named = plan(&source("[\"bob@a.example\", \"bob@a.example\"]"), &instance);
    assert_eq!((named.accounts.len(), named.refused.len()), (1, 0));
}
