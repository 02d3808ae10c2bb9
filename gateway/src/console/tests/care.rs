//! Certificate, bindings, and looking for trouble.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postern_shared::tls::server::{Identity, self_signed_files};

use super::*;
use crate::certificate::Keeper;

const CERTIFICATE: &str = "/api/v1/certificate";

impl Stage {
    /// With a certificate.
    pub(super) fn serving(self) -> Self {
        let core = &self.console.core;
        let keeper = Keeper::open(&core.settings(), Arc::clone(&core.disk), Arc::clone(&core.clock)).unwrap();
        core.keeper.set(Arc::new(keeper)).unwrap();
        self
    }
}

fn fixture(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/certificates");
    BASE64_STANDARD.encode(RealDisk.read(&dir.join(name), 1 << 20).unwrap())
}

#[tokio::test]
async fn the_certificate_is_shown_and_made_anew() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    assert_eq!(stage.send(by, "GET", CERTIFICATE, None).await.problem(), "not-served");
    let stage = stage.serving();
    let shown = stage.send(by, "GET", CERTIFICATE, None).await.body;
    assert_eq!(
        (shown["mode"].as_str(), shown["covers_host_name"].as_bool()),
        (Some("self-signed"), Some(true))
    );
    assert!(shown["distrusted"].is_string() && shown["expires_at"].is_u64(), "{shown}");
    assert_eq!(shown["chain"].as_array().unwrap().len(), 1);
    assert_eq!(shown["authority"]["is_asked"], false);
    let make =
        async |body: Value| stage.send(by, "POST", "/api/v1/certificate/self-signed", Some(body)).await;
    let lines = stage.audited();
    assert_eq!(make(json!({})).await.problem(), "exists", "archivers may have pinned it");
    assert_eq!(stage.audited(), lines);
    let made = make(json!({ "names": ["mail.example.com"], "force": true })).await;
    assert_eq!((made.status, made.body["served"].as_bool()), (StatusCode::OK, Some(true)), "{made:?}");
    assert_eq!((&made.body["names"], &made.body["changes"]), (&json!(["mail.example.com"]), &json!({})));
    assert_eq!(stage.audited(), lines + 1);
    let after = stage.send(by, "GET", CERTIFICATE, None).await.body;
    assert!(after["fingerprint"] == made.body["fingerprint"] && after["fingerprint"] != shown["fingerprint"]);
    let ports = stage.send(by, "GET", "/api/v1/certificate/ports", None).await;
    assert_eq!(ports.body, json!([]), "nothing listens here");
}

/// Goal: what was imported is stored, and the answer holds what makes the gateway serve it; what is no certificate is
/// refused with what to do, and no secret comes back.
#[tokio::test]
async fn a_certificate_is_imported() {
    let stage = Stage::new().serving();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let send = async |body: Value| stage.send(by, "POST", "/api/v1/certificate/import", Some(body)).await;
    for (body, word, told) in [
        (json!({ "pkcs12": fixture("aes256.p12"), "password": "secrets" }), "certificate-password", "wrong"),
        (json!({ "pkcs12": fixture("rc4.p12"), "password": "secret" }), "bad-certificate", "openssl pkcs12"),
        (json!({ "pkcs12": fixture("no-key.p12"), "password": "secret" }), "bad-certificate", "private key"),
        (json!({ "pkcs12": "?" }), "invalid", "base64"),
        (json!({ "pem": "nothing" }), "bad-certificate", "PEM"),
        (json!({}), "invalid", "either"),
        (json!({ "pem": "x", "pkcs12": "x" }), "invalid", "either"),
    ] {
        let refused = send(body).await;
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(refused.problem() == word && detail.contains(told), "{refused:?}");
        assert!(!detail.contains("secret"), "{detail}");
    }
    let stored = stage.data().join("tls/imported.pem");
    assert!(!RealDisk.exists(&stored).unwrap());
    let mut legacy = None;
    for old in ["aes256.p12", "3des.pfx", "rc2-40.p12"] {
        let taken = send(json!({ "pkcs12": fixture(old), "password": "secret" })).await;
        assert_eq!(
            (taken.status, taken.body["served"].as_bool()),
            (StatusCode::OK, Some(false)),
            "{taken:?}"
        );
        assert_eq!(taken.body["names"][0], "gateway.example.com", "{old}");
        legacy = Some(taken);
    }
    let legacy = legacy.unwrap();
    assert_eq!(legacy.body["changes"], json!({ "tls.mode": "imported" }));
    let change = json!({ "changes": legacy.body["changes"] });
    let valid = stage.send(by, "POST", "/api/v1/settings/validate", Some(change)).await;
    assert_eq!(
        (valid.status, valid.body["needs_restart"].as_bool()),
        (StatusCode::OK, Some(true)),
        "{valid:?}"
    );

    let dir = tempfile::tempdir().unwrap();
    Identity::self_signed(&RealDisk, dir.path(), &["localhost".into()], stage.clock.wall()).unwrap();
    let (certificate, key) = self_signed_files(dir.path());
    let pem = send(json!({ "pem": read(&certificate), "key": read(&key) })).await;
    assert_eq!((pem.status, &pem.body["names"]), (StatusCode::OK, &json!(["localhost"])), "{pem:?}");
    assert!(read(&stored).contains("PRIVATE KEY") && !pem.body.to_string().contains("PRIVATE"));
}

#[tokio::test]
async fn an_authority_is_asked_by_its_terms_only() {
    let stage = Stage::new().serving();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let asked = stage.send(by, "POST", "/api/v1/certificate/acme", Some(json!({}))).await;
    assert_eq!((asked.status, asked.problem()), (StatusCode::CONFLICT, "terms"));
}

/// Goal: each step of a mail client's way is told, up to the one that fails; it is recorded who tried.
#[tokio::test]
async fn the_way_of_a_mail_client_is_told() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let lines = stage.audited();
    let steps = stage.steps(by, "/api/v1/proxy/test", json!({ "user": "nobody" })).await;
    assert_eq!(
        (steps.len(), &steps[0]["check"], &steps[0]["verdict"]),
        (1, &json!("user name"), &json!("fail"))
    );
    let mailbox = stage.console.core.registry.create("Journal", "", None).unwrap().0.id;
    let way =
        json!({ "user": format!("anna%127.0.0.1%{mailbox}"), "protocol": "pop3", "password": "secret" });
    let steps = stage.steps(by, "/api/v1/proxy/test", way).await;
    let told: Vec<_> = steps.iter().map(|step| (step["check"].as_str(), step["verdict"].as_str())).collect();
    let expected = [("user name", "ok"), ("mailbox", "ok"), ("policy", "fail")];
    assert_eq!(told, expected.map(|(check, verdict)| (Some(check), Some(verdict))), "{steps:?}");
    assert_eq!(stage.audited(), lines + 2);
    assert!(!read(&stage.data().join("console/audit.jsonl")).contains("secret"));
    let port = stage.send(by, "POST", "/api/v1/proxy/test", Some(json!({ "user": "a", "port": 0 }))).await;
    assert_eq!(port.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn bindings_are_listed_and_refused_where_there_is_no_way() {
    let provider = "[[proxy.provider]]\nname = \"g\"\npreset = \"google\"\nclient_id = \"x\"\nclient_secret = \"very-secret\"\n";
    let stage = Stage::with(provider);
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let listed = stage.send(by, "GET", "/api/v1/oauth/bindings", None).await.body;
    assert_eq!((&listed["providers"][0]["name"], &listed["bindings"]), (&json!("g"), &json!([])));
    assert!(!listed.to_string().contains("very-secret"));
    let bind = async |user: &str, provider: &str| {
        let body = json!({ "user": user, "provider": provider });
        stage.send(by, "POST", "/api/v1/oauth/bindings", Some(body)).await.problem().to_owned()
    };
    assert_eq!(bind("anna@example.com%imap.gmail.com", "none").await, "not-found");
    assert_eq!(bind("anna", "g").await, "invalid");
    let code = json!({ "user": "anna@example.com%imap.gmail.com", "provider": "g", "by": "code" });
    let no_code = stage.send(by, "POST", "/api/v1/oauth/bindings", Some(code)).await;
    let is_there = listed["providers"][0]["has_device_code"] == true;
    assert!(is_there || no_code.problem() == "no-such-way", "{no_code:?}");
    let pasted = json!({ "id": "0", "address": "http://127.0.0.1/?code=a&state=b" });
    let pasted = stage.send(by, "POST", "/api/v1/oauth/bindings/address", Some(pasted)).await;
    assert_eq!(pasted.problem(), "not-found", "nobody waits for it");
    let body = json!({ "user": "anna@example.com%imap.gmail.com" });
    let revoked = stage.send(by, "POST", "/api/v1/oauth/bindings/revoke", Some(body)).await;
    assert_eq!(revoked.status, StatusCode::NOT_FOUND, "{revoked:?}");
}
