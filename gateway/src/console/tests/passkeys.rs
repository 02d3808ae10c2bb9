//! Passkeys: set up, used behind the password, renamed, removed; and what does not get in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::super::accounts::passkey::device::Device;
use super::super::accounts::passkey::{Asserted, Registered};
use super::*;

const OWN: &str = "/api/v1/account/passkeys";
const SESSION: &str = "/api/v1/session";
const SECOND: &str = "/api/v1/session/second-factor";

fn stage() -> Stage {
    Stage::named("console.example.com", "")
}

fn device() -> Device {
    Device::p256("console.example.com", "https://console.example.com")
}

fn text(octets: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

fn challenge(answer: &Answer) -> Vec<u8> {
    let text = answer.body["challenge"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn created(name: &str, registered: &Registered) -> Option<Value> {
    let response = json!({
        "clientDataJSON": text(&registered.client_data),
        "attestationObject": text(&registered.attestation),
        "transports": ["usb", "nfc", "Not One"],
    });
    Some(json!({ "name": name, "credential": { "id": "x", "type": "public-key", "response": response } }))
}

fn answered(asserted: &Asserted) -> Option<Value> {
    let response = json!({
        "clientDataJSON": text(&asserted.client_data),
        "authenticatorData": text(&asserted.authenticator_data),
        "signature": text(&asserted.signature),
    });
    Some(json!({ "passkey": { "id": text(&asserted.credential), "response": response } }))
}

impl Stage {
    async fn set_up(&self, by: By<'_>, password: &str, name: &str, device: &Device) -> Answer {
        let begun = self.send(by, "POST", OWN, Some(json!({ "password": password }))).await;
        self.send(by, "PUT", OWN, created(name, &device.register(&challenge(&begun)))).await
    }

    /// The password given, and a challenge.
    async fn half(&self, name: &str, password: &str) -> (String, Vec<u8>) {
        let signed = self.page("POST", SESSION, json!({ "name": name, "password": password })).await;
        assert_eq!(signed.body["stage"], "second_factor", "{signed:?}");
        let cookie = signed.cookie();
        let begun = self.send(By::cookie(&cookie), "POST", "/api/v1/session/passkey", None).await;
        (cookie, challenge(&begun))
    }
}

/// Goal: several passkeys, by name; the password alone opens nothing then; the last that goes takes the codes along.
#[tokio::test]
async fn passkeys_stand_behind_the_password() {
    let stage = stage();
    stage.first().await;
    let (password, cookie) = stage.somebody("anna", Role::Operator).await;
    let by = By::cookie(&cookie);
    let alive = async |cookie: &str| {
        stage.send(By::cookie(cookie), "GET", SESSION, None).await.status == StatusCode::OK
    };
    let other = stage.page("POST", SESSION, json!({ "name": "anna", "password": password })).await.cookie();
    let (mut key, mut phone) =
        (device(), Device::ed25519("console.example.com", "https://console.example.com"));
    let begun = stage.send(by, "POST", OWN, Some(json!({ "password": "no" }))).await;
    assert_eq!(begun.problem(), "wrong-password");
    let begun = stage.send(by, "POST", OWN, Some(json!({ "password": password }))).await;
    assert_eq!(
        (begun.body["rp"]["id"].as_str(), begun.body["attestation"].as_str()),
        (Some("console.example.com"), Some("none"))
    );
    assert_eq!(begun.body["pubKeyCredParams"][1]["alg"], -8);
    let lines = stage.audited();
    let made = stage.send(by, "PUT", OWN, created(" Key ", &key.register(&challenge(&begun)))).await;
    assert_eq!(
        (made.body["passkey"]["name"].as_str(), made.body["codes"].as_array().unwrap().len()),
        (Some("Key"), 10)
    );
    assert!(!alive(&cookie).await && !alive(&other).await, "what was open without the passkey has ended");
    let cookie = made.cookie();
    let by = By::cookie(&cookie);
    let again = stage.set_up(by, &password, "Key", &key).await;
    assert_eq!((again.status, again.problem()), (StatusCode::CONFLICT, "known"));
    let second = stage.set_up(by, &password, "Phone", &phone).await;
    assert_eq!((second.status, second.body["codes"].as_array().unwrap().len()), (StatusCode::OK, 0));
    assert_eq!(stage.audited(), lines + 2);
    let mut cookie = second.cookie();
    let by = By::cookie(&cookie);

    for device in [&mut key, &mut phone] {
        device.count += 1;
        let (cookie, challenge) = stage.half("anna", &password).await;
        let full =
            stage.send(By::cookie(&cookie), "POST", SECOND, answered(&device.answer(&challenge))).await;
        assert_eq!((full.status, full.body["stage"].as_str()), (StatusCode::OK, Some("full")), "{full:?}");
        assert_eq!(full.body["second_factors"], json!(["passkey", "recovery_code"]));
        assert_ne!(full.cookie(), cookie, "another cookie");
    }
    let rows = stage.send(by, "GET", OWN, None).await;
    assert!(rows.body[0]["used_at"].is_u64() && rows.body[1]["name"] == "Phone", "{rows:?}");
    let one = |row: usize| format!("{OWN}/{}", rows.body[row]["id"].as_str().unwrap());
    let renamed = stage.send(by, "PATCH", &one(1), Some(json!({ "name": "Old phone" }))).await;
    assert_eq!(renamed.body["name"], "Old phone");
    let bad = stage.send(by, "PATCH", &one(1), Some(json!({ "name": "a\nb" }))).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let right = Some(json!({ "password": password }));
    for row in [0, 1] {
        let path = format!("{}/remove", one(row));
        let by = By::cookie(&cookie);
        let wrong = stage.send(by, "POST", &path, Some(json!({ "password": "no" }))).await;
        assert_eq!(wrong.problem(), "wrong-password");
        let removed = stage.send(by, "POST", &path, right.clone()).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT);
        assert!(!alive(&cookie).await, "all others have ended");
        cookie = removed.cookie();
        let by = By::cookie(&cookie);
        assert_eq!(stage.send(by, "POST", &path, right.clone()).await.status, StatusCode::NOT_FOUND);
    }
    let signed = stage.page("POST", SESSION, json!({ "name": "anna", "password": password })).await;
    assert_eq!(
        (signed.body["stage"].as_str(), signed.body["recovery_codes"].as_u64()),
        (Some("full"), Some(0))
    );
}

/// Goal: no answer gets in that is for another site, another attempt or another's passkey, or comes from a copy; none
/// serves twice.
#[tokio::test]
async fn hostile_answers_do_not_get_in() {
    let stage = stage();
    stage.first().await;
    let (password, cookie) = stage.somebody("anna", Role::Operator).await;
    let (bens_password, bens) = stage.somebody("ben", Role::Operator).await;
    let (mut key, mut bens_key) = (device(), device());
    assert_eq!(stage.set_up(By::cookie(&cookie), &password, "k", &key).await.status, StatusCode::OK);
    assert_eq!(stage.set_up(By::cookie(&bens), &bens_password, "k", &bens_key).await.status, StatusCode::OK);
    (key.count, bens_key.count) = (5, 5);
    let send = async |cookie: &str, asserted: &Asserted| {
        stage.clock.advance(Duration::from_secs(301));
        stage.send(By::cookie(cookie), "POST", SECOND, answered(asserted)).await.problem().to_owned()
    };
    // Too late: the challenge is over.
    let (half, given) = stage.half("anna", &password).await;
    assert_eq!(send(&half, &key.answer(&given)).await, "not-begun");

    let now = async |change: &mut dyn FnMut(&mut Device), of: &mut Device| {
        stage.clock.advance(MINUTE);
        let (half, given) = stage.half("anna", &password).await;
        change(of);
        let body = answered(&of.answer(&given));
        let said = stage.send(By::cookie(&half), "POST", SECOND, body.clone()).await.problem().to_owned();
        let again = stage.send(By::cookie(&half), "POST", SECOND, body).await;
        assert!(["not-begun", "must-wait", "not-signed-in"].contains(&again.problem()), "{again:?}");
        said
    };
    assert_eq!(now(&mut |key| key.origin = "https://evil.example".into(), &mut key).await, "wrong-passkey");
    key.origin = "https://console.example.com".into();
    assert_eq!(now(&mut |key| key.party = "evil.example".into(), &mut key).await, "wrong-passkey");
    key.party = "console.example.com".into();
    assert_eq!(now(&mut |_| (), &mut bens_key).await, "wrong-passkey", "another's");
    assert_eq!(now(&mut |key| key.count = 1, &mut key).await, "wrong-passkey", "a copy");
    key.count = 6;

    // Of one session's challenge another session's answer is worth nothing.
    stage.clock.advance(10 * MINUTE);
    let (first, of_first) = stage.half("anna", &password).await;
    let (second, _) = stage.half("anna", &password).await;
    let crossed = stage.send(By::cookie(&second), "POST", SECOND, answered(&key.answer(&of_first))).await;
    assert_eq!(crossed.problem(), "wrong-passkey");
    stage.clock.advance(MINUTE);
    let right = key.answer(&of_first);
    let full = stage.send(By::cookie(&first), "POST", SECOND, answered(&right)).await;
    assert_eq!(full.body["stage"], "full", "{full:?}");
    // And the same once more, in a session of its own.
    let (half, _) = stage.half("anna", &password).await;
    let replayed = stage.send(By::cookie(&half), "POST", SECOND, answered(&right)).await;
    assert_eq!(replayed.problem(), "wrong-passkey");
    let nothing = stage.send(By::cookie(&half), "POST", SECOND, Some(json!({ "passkey": {} }))).await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Goal: under another name than its own the console makes no passkeys: they would open nothing later.
#[tokio::test]
async fn passkeys_need_the_consoles_name() {
    let stage = Stage::named("gateway.example.com", "");
    let admin = stage.first().await;
    let other = stage.send(By::cookie(&admin), "POST", OWN, Some(json!({ "password": "x" }))).await;
    assert_eq!((other.status, other.problem()), (StatusCode::CONFLICT, "other-name"));
    let early = stage.send(By::cookie(&admin), "PUT", OWN, created("x", &device().register(b""))).await;
    assert_eq!(early.problem(), "other-name");
    let full = stage.send(By::cookie(&admin), "POST", "/api/v1/session/passkey", None).await;
    assert_eq!(full.problem(), "no-second-factor-awaited");
}
