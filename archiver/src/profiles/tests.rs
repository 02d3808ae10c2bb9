//! What a profile's file may say, and what is said about one that may not.

use postern_shared::disk::{RealDisk, write_atomic};

use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::Trust;
use secrecy::ExposeSecret;

use super::{Assign, Profile, SourceProfile};
use crate::sources::gateway;

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
    let SourceProfile::Gateway(settings) = read(text).unwrap().source;
    settings
}

#[test]
fn defaults_and_everything_spelt_out() {
    let profile = read(GOOD).unwrap();
    assert_eq!((profile.name.as_str(), profile.assign), ("journal", Assign::Envelope {}));
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
            GOOD.replace("gateway\"\n", "imap\"\n"),
            ", line 3, key \"source.type\": sources of type \"imap\" are not supported by this version",
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
