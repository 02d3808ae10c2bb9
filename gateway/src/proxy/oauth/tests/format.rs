use super::*;
use postern_shared::disk::write_atomic;
use serde_json::{Value, json};

/// Written by the first version; its password is `password()`, its refresh token `FIRST`.
const FIXTURE: &str = "../tests/fixtures/oauth/binding-v1.json";

fn fixture() -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
    RealDisk.read(&path, 99_999).unwrap()
}

#[test]
fn files_of_version_1_are_read() {
    let binding = Binding::from_json(&fixture()).unwrap();
    assert_eq!(binding.account, "anna@example.com%mail.example.net");
    assert_eq!((binding.created, binding.used), (NOW, Some(UnixMillis(NOW.0 + 1))));
    let key = binding.verify(&password()).unwrap();
    assert_eq!(binding.unseal(&key).unwrap().expose_secret(), FIRST);
    assert!(binding.verify(&"wrong".into()).is_none());
    let fields: Value = serde_json::from_slice(&fixture()).unwrap();
    let again: Value = serde_json::from_slice(&binding.to_json().unwrap()).unwrap();
    assert_eq!(again, fields, "nothing is written differently now");
}

/// Goal: whoever can write the file cannot turn a consent to anything else.
#[test]
fn what_is_altered_does_not_open() {
    let altered = |field: &str, value: Value| {
        let mut fields: Value = serde_json::from_slice(&fixture()).unwrap();
        assert_ne!(fields[field], value);
        fields[field] = value;
        let binding = Binding::from_json(fields.to_string().as_bytes()).unwrap();
        binding.verify(&password()).map(|key| binding.unseal(&key).is_ok())
    };
    assert_eq!(altered("used", Value::Null), Some(true), "not sealed: it only tells when");
    for (field, value) in [
        ("account", json!("mallory@example.com%mail.example.net")),
        ("provider", json!("other")),
        ("token_endpoint", json!("https://steal.example.org/token")),
        ("client_id", json!("other")),
        ("scopes", json!(["mail offline_access"])),
        ("created", json!(1)),
        ("sealed", json!("00".repeat(60))),
        ("sealed", json!("")),
    ] {
        assert_eq!(altered(field, value.clone()), Some(false), "{field} = {value}");
    }
    assert_eq!(altered("salt", json!("00".repeat(16))), None);
    assert_eq!(altered("verifier", json!("00".repeat(32))), None);
}

#[test]
fn files_that_are_not_ours_are_refused() {
    let fields: Value = serde_json::from_slice(&fixture()).unwrap();
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut fields = fields.clone();
        change(&mut fields);
        Binding::from_json(fields.to_string().as_bytes()).unwrap_err()
    };
    assert!(wrong(&|fields| fields["version"] = 2.into()).contains("version 2"));
    assert!(wrong(&|fields| fields["colour"] = "red".into()).contains("unknown field"));
    assert!(wrong(&|fields| fields["cost"]["memory_kib"] = 4_000_000.into()).contains("cost"));
    assert!(wrong(&|fields| fields["salt"] = "00".into()).len() > 3);
    assert!(Binding::from_json(&fixture()[..100]).is_err());
}

/// Goal: a file that cannot be used is told, kept, and opens for nobody; the others serve.
#[tokio::test]
async fn damage_costs_the_binding_it_touches() {
    let world = World::new().await;
    let dir = world.dir.path().to_path_buf();
    write_atomic(&RealDisk, &dir.join(format!("{}.json", "0".repeat(32))), &fixture()).unwrap();
    write_atomic(&RealDisk, &dir.join("torn.json"), b"{\"version\"").unwrap();
    write_atomic(&RealDisk, &dir.join("x.json.abc.tmp"), b"left behind").unwrap();
    let world = world.restarted(Arc::new(RealDisk));
    let damaged: Vec<String> = world.broker.damaged().into_values().collect();
    assert_eq!(damaged.len(), 2);
    assert_eq!(damaged[0], "it holds another account");
    assert_eq!(world.broker.list().len(), 1);
    assert!(world.broker.open(&account(), &password()).is_some());
    assert_eq!(RealDisk.files(&dir).unwrap().len(), 4, "nothing is removed");
}

/// Goal: the password of an account whose file is damaged is not taken for the server's own and passed on; binding anew
/// puts it right, and so does revoking.
#[tokio::test]
async fn a_damaged_binding_stays_bound() {
    let mut world = World::new().await;
    let path = RealDisk.files(world.dir.path()).unwrap().remove(0);
    for revoke in [false, true] {
        write_atomic(&RealDisk, &path, b"{").unwrap();
        world = world.restarted(Arc::new(RealDisk));
        assert!(world.broker.is_bound(&account()));
        assert!(world.broker.open(&account(), &password()).is_none());
        if revoke {
            assert_eq!(world.broker.revoke(&account()), Ok(None));
            assert!(world.broker.is_bound(&account()) && world.broker.list().is_empty());
        } else {
            world.bind(FIRST);
            assert!(world.broker.open(&account(), &password()).is_some());
        }
        assert!(world.broker.damaged().is_empty());
    }
}

/// Goal: right password, altered file: the person is sent to bind again, the provider hears nothing.
#[tokio::test]
async fn an_altered_binding_says_what_to_do() {
    let world = World::new().await;
    let path = RealDisk.files(world.dir.path()).unwrap().remove(0);
    let mut fields: Value = serde_json::from_slice(&RealDisk.read(&path, 99_999).unwrap()).unwrap();
    fields["created"] = 1.into();
    write_atomic(&RealDisk, &path, fields.to_string().as_bytes()).unwrap();
    let world = world.restarted(Arc::new(RealDisk));
    let error = world.login().await.unwrap_err();
    assert!(error.to_string().contains("damaged; run `postern-gateway oauth bind"), "{error}");
    assert_eq!(world.provider.requests().len(), 0);
}

/// Goal: neither password nor token stands in the file.
#[tokio::test]
async fn nothing_secret_is_on_disk_in_clear() {
    let world = World::new().await;
    let path = RealDisk.files(world.dir.path()).unwrap().remove(0);
    let text = String::from_utf8(RealDisk.read(&path, 99_999).unwrap()).unwrap();
    for secret in [password().expose_secret(), FIRST, "client:secret"] {
        assert!(!text.contains(secret) && !text.contains(&hex::encode(secret)), "{text}");
    }
}
