//! Every route with everybody.

use super::super::access::{Need, ROUTES};
use super::*;

/// A request that gets past the gate: what comes of it behind that is another matter.
fn body(method: &str, path: &str) -> Option<Value> {
    let password = json!({ "password": "wrong" });
    let credentials = json!({ "name": "nobody", "password": "wrong" });
    Some(match (method, path) {
        ("POST", "/api/v1/first-sign-in" | "/api/v1/session") => credentials,
        ("POST", "/api/v1/session/second-factor") => json!({ "totp": "000000" }),
        ("PUT", "/api/v1/account/password") => {
            json!({ "current": "wrong", "new": "wir gehen heute schwimmen" })
        }
        (
            "POST",
            "/api/v1/account/totp"
            | "/api/v1/account/totp/remove"
            | "/api/v1/account/recovery-codes"
            | "/api/v1/account/passkeys"
            | "/api/v1/account/passkeys/{id}/remove",
        ) => password,
        ("PUT", "/api/v1/account/totp") => json!({ "code": "000000" }),
        ("PUT", "/api/v1/account/passkeys") => {
            let response = json!({ "clientDataJSON": "", "attestationObject": "" });
            json!({ "name": "x", "credential": { "response": response } })
        }
        ("PATCH", "/api/v1/account/passkeys/{id}") => json!({ "name": "x" }),
        ("POST", "/api/v1/administrators") => json!({ "name": "", "role": "viewer" }),
        ("PATCH", "/api/v1/administrators/{name}") => json!({ "role": "viewer" }),
        ("POST", "/api/v1/administrators/{name}/reset-password") => json!({}),
        ("POST", "/api/v1/tokens") => json!({ "name": "", "scopes": [] }),
        ("POST", "/api/v1/mailboxes") => json!({ "name": "" }),
        ("PATCH", "/api/v1/mailboxes/{id}") => json!({}),
        ("POST", "/api/v1/settings/validate") | ("PUT", "/api/v1/settings") => {
            json!({ "text": "nonsense = 1" })
        }
        ("POST", "/api/v1/certificate/self-signed" | "/api/v1/certificate/acme") => json!({}),
        ("POST", "/api/v1/certificate/import") => json!({ "pem": "nothing" }),
        ("POST", "/api/v1/proxy/test") => json!({ "user": "nobody" }),
        ("POST", "/api/v1/oauth/bindings") => json!({ "user": "a%b", "provider": "none" }),
        ("POST", "/api/v1/oauth/bindings/address") => json!({ "id": "", "address": "" }),
        ("POST", "/api/v1/oauth/bindings/revoke") => json!({ "user": "" }),
        ("PUT", "/api/v1/log-level") => json!({ "level": "info" }),
        _ => return None,
    })
}

fn path(route: &str) -> String {
    route.replace("{id}", "mbx-00000000000000aa").replace("{name}", "nobody")
}

/// Signing out would end what the next request needs.
fn ends_the_session(method: &str, route: &str) -> bool {
    method == "DELETE" && (route == "/api/v1/session" || route == "/api/v1/account/sessions")
}

/// Goal: each route lets in whom its need says, and nobody else.
/// Method: every route of the table, by nobody, by each role in a session and with each kind of token; whether the gate
/// lets it pass shows in the answer.
#[tokio::test]
async fn every_route_with_everybody() {
    let stage = Stage::new();
    stage.first().await;
    // Nobody is to look for trouble here: that takes name servers and ports.
    let _turn = stage.console.turn().unwrap();
    let roles = [Role::Viewer, Role::Operator, Role::Administrator];
    let mut callers = Vec::new();
    for role in roles {
        let name = format!("{role:?}").to_lowercase();
        callers.push((name.clone(), role, stage.somebody(&name, role).await.1));
    }
    let scopes = [Scope::Read, Scope::Mailboxes, Scope::Settings, Scope::Admin];
    for (method, route, need) in ROUTES.iter().copied() {
        let (target, body) = (path(route), body(method, route));
        let nobody = stage
            .send(
                By { headers: &[("x-postern-console", "1")], ..By::default() },
                method,
                &target,
                body.clone(),
            )
            .await;
        if need == Need::Anyone {
            assert_ne!(nobody.problem(), "not-signed-in", "{method} {route}");
        } else {
            assert_eq!(
                (nobody.status, nobody.problem()),
                (StatusCode::UNAUTHORIZED, "not-signed-in"),
                "{method} {route}"
            );
        }
        for (name, role, cookie) in &callers {
            let allowed = need.allows_role(*role);
            if !ends_the_session(method, route) {
                let answer = stage.send(By::cookie(cookie), method, &target, body.clone()).await;
                let refused = answer.problem() == "not-allowed";
                assert_eq!(refused, !allowed, "{method} {route} by {name}: {answer:?}");
                assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {route} by {name}");
            }
            for scope in scopes {
                let token = stage.token(name, &[scope]);
                let by = By { token: &token, ..By::default() };
                let answer = stage.send(by, method, &target, body.clone()).await;
                let refused = answer.problem() == "not-allowed";
                let allowed = need.allows_token(&[scope], *role);
                assert_eq!(refused, !allowed, "{method} {route} with {scope:?} of {name}: {answer:?}");
            }
        }
    }
}

/// Goal: a new route is in the table, in the document and so in the test above, or it is not reachable.
#[test]
fn table_and_document_have_the_same_routes() {
    let document: Value = serde_json::from_str(&api::document_text()).unwrap();
    let mut documented: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        documented
            .extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    documented.push(("GET".into(), "/api/openapi.json".into()));
    let mut table: Vec<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    documented.sort();
    table.sort();
    assert_eq!(documented, table);
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    let mut distinct = ids.clone();
    distinct.sort_by_key(|id| id.to_string());
    distinct.dedup();
    assert_eq!(ids.len(), distinct.len(), "each operation has a name of its own");
}

/// Goal: what changes something is recorded with who, how, from where and to what, and never a secret.
#[tokio::test]
async fn every_change_is_recorded() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let changing: [(&str, &str, Option<Value>, &str); 8] = [
        (
            "POST",
            "/api/v1/administrators",
            Some(json!({ "name": "anna", "role": "operator" })),
            "administrator.create",
        ),
        ("PATCH", "/api/v1/administrators/anna", Some(json!({ "role": "viewer" })), "administrator.edit"),
        (
            "POST",
            "/api/v1/administrators/anna/reset-password",
            Some(json!({})),
            "administrator.reset-password",
        ),
        ("DELETE", "/api/v1/administrators/anna/sessions", None, "session.end-all"),
        ("DELETE", "/api/v1/administrators/anna", None, "administrator.remove"),
        ("POST", "/api/v1/tokens", Some(json!({ "name": "t", "scopes": ["read"] })), "token.create"),
        ("PUT", "/api/v1/log-level", Some(json!({ "level": "info" })), "log-level"),
        ("POST", "/api/v1/mailboxes", Some(json!({ "name": "journal" })), "mailbox.create"),
    ];
    let mut secrets = Vec::new();
    for (method, path, body, action) in changing {
        let before = stage.audited();
        let answer = stage.send(by, method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        let last = stage.console.core.audit.search(None, 1, |_| true).remove(0);
        assert_eq!((last.sequence, last.action.as_str(), last.who.as_str()), (before + 1, action, "admin"));
        assert_eq!((last.how.as_str(), last.from.as_str()), ("session", "192.0.2.1"));
        secrets.extend(
            ["password", "text"]
                .map(|key| answer.body[key].as_str().map(str::to_owned))
                .into_iter()
                .flatten(),
        );
    }
    assert_eq!(secrets.len(), 4, "passwords and a token were shown");
    let log = read(&stage.data().join("console/audit.jsonl"));
    assert!(secrets.iter().all(|secret| !log.contains(secret)));
    for file in ["administrators.json", "tokens.json"] {
        let stored = read(&stage.data().join("console").join(file));
        assert!(secrets.iter().all(|secret| !stored.contains(secret)), "{file}");
    }
}

/// Goal: a mailbox from its creation to its end, with the reason for what is not possible.
#[tokio::test]
async fn a_mailbox_is_created_changed_and_deleted() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let (_, operator) = stage.somebody("otto", Role::Operator).await;
    let policy = json!({ "networks": ["192.0.2.7/24"], "require_tls": true, "quota": 1000 });
    let new = json!({ "name": "<script>alert(1)</script>", "description": "x", "policy": policy });
    let made = stage.send(By::cookie(&operator), "POST", "/api/v1/mailboxes", Some(new)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let id = made.body["mailbox"]["id"].as_str().unwrap();
    assert_eq!(made.body["mailbox"]["policy"]["networks"], json!(["192.0.2.0/24"]));
    assert_eq!(made.body["mailbox"]["name"], "<script>alert(1)</script>", "text, and nothing but text");
    assert_eq!(made.headers[CONTENT_TYPE], "application/json");
    let one = format!("/api/v1/mailboxes/{id}");
    let by = By::cookie(&admin);
    let active = stage.send(by, "DELETE", &one, None).await;
    assert_eq!((active.status, active.problem()), (StatusCode::CONFLICT, "not-suspended"));
    let edit = json!({ "name": "renamed", "status": "suspended", "policy": {} });
    let edited = stage.send(by, "PATCH", &one, Some(edit)).await;
    assert_eq!(
        (edited.body["name"].as_str(), edited.body["status"].as_str()),
        (Some("renamed"), Some("suspended"))
    );
    assert_eq!(edited.body["policy"]["require_tls"], false, "the policy is replaced as a whole");
    assert_eq!(edited.body["in_the_way"], Value::Null);
    let reset = stage.send(by, "POST", &format!("{one}/reset-password"), None).await;
    assert_ne!(reset.body["password"], made.body["password"]);
    let connect = stage.send(by, "GET", &format!("{one}/connect"), None).await;
    assert_eq!(connect.body["user_name"], id);
    assert_eq!(connect.body["proxy_user_name"], format!("remote_user%target_server%{id}"));
    assert_eq!(stage.send(By::cookie(&operator), "DELETE", &one, None).await.problem(), "not-allowed");
    assert_eq!(stage.send(by, "DELETE", &one, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(stage.send(by, "GET", &one, None).await.status, StatusCode::NOT_FOUND);
    for bad in [
        json!({ "name": "" }),
        json!({ "name": "a\nb" }),
        json!({ "name": "a", "recovery_key": "zz" }),
        json!({ "name": "a", "policy": { "networks": ["nonsense"] } }),
        json!({ "name": "a", "bogus": 1 }),
    ] {
        let refused = stage.send(by, "POST", "/api/v1/mailboxes", Some(bad.clone())).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            "{bad}"
        );
        assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.len() > 10));
    }
}

/// Goal: nobody makes a token that may do more than he, or than the token it is made with.
#[tokio::test]
async fn tokens_do_not_grow() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let (_, viewer) = stage.somebody("vera", Role::Viewer).await;
    let new = |scopes: Value| Some(json!({ "name": "t", "scopes": scopes, "expires_in_days": 1 }));
    let refused = stage.send(By::cookie(&viewer), "POST", "/api/v1/tokens", new(json!(["mailboxes"]))).await;
    assert_eq!(refused.problem(), "not-allowed");
    let made = stage.send(By::cookie(&viewer), "POST", "/api/v1/tokens", new(json!(["read"]))).await;
    let text = made.body["text"].as_str().unwrap();
    let by = By { token: text, ..By::default() };
    assert_eq!(stage.send(by, "GET", "/api/v1/mailboxes", None).await.status, StatusCode::OK);
    let with = stage.token("admin", &[Scope::Admin]);
    let grown = stage
        .send(By { token: &with, ..By::default() }, "POST", "/api/v1/tokens", new(json!(["settings"])))
        .await;
    assert_eq!(grown.problem(), "not-allowed");
    let seen = stage.send(By::cookie(&viewer), "GET", "/api/v1/tokens", None).await;
    assert_eq!(seen.body.as_array().unwrap().len(), 1, "one's own");
    assert!(seen.body[0]["last_used_at"].is_u64());
    let id = seen.body[0]["id"].as_str().unwrap();
    stage.clock.advance(24 * 60 * MINUTE);
    assert_eq!(
        stage.send(by, "GET", "/api/v1/mailboxes", None).await.status,
        StatusCode::UNAUTHORIZED,
        "expired"
    );
    let admin = By::cookie(&admin);
    assert_eq!(
        stage.send(admin, "DELETE", &format!("/api/v1/tokens/{id}"), None).await.status,
        StatusCode::UNAUTHORIZED,
        "a day has passed"
    );
}

/// Goal: a token is worth nothing to a namesake of its owner, even when it was left behind.
#[tokio::test]
async fn a_token_is_not_inherited_by_name() {
    let stage = Stage::new();
    let _first = stage.first().await;
    stage.somebody("anna", Role::Viewer).await;
    let token = stage.token("anna", &[Scope::Read]);
    let by = By { token: &token, ..By::default() };
    assert_eq!(stage.send(by, "GET", "/api/v1/mailboxes", None).await.status, StatusCode::OK);
    // The disk failed between both.
    stage.console.core.administrators.remove("anna").unwrap();
    stage.clock.advance(MINUTE);
    stage.somebody("anna", Role::Administrator).await;
    assert_eq!(stage.send(by, "GET", "/api/v1/mailboxes", None).await.status, StatusCode::UNAUTHORIZED);
}

/// Goal: one viewer leaves room for the pages of others.
#[tokio::test]
async fn nobody_takes_all_live_streams() {
    const EVENTS: &str = "/api/v1/overview/events";
    let stage = Stage::new();
    let admin = stage.first().await;
    let (_, viewer) = stage.somebody("anna", Role::Viewer).await;
    let mut open = Vec::new();
    let refused = loop {
        let answer = stage.respond(By::cookie(&viewer), "GET", EVENTS, None).await;
        match answer.status() {
            StatusCode::OK => open.push(answer),
            other => break other,
        }
    };
    assert_eq!((refused, open.len()), (StatusCode::TOO_MANY_REQUESTS, 12));
    let own = stage.token("anna", &[Scope::Read]);
    let by = By { token: &own, ..By::default() };
    assert_eq!(stage.respond(by, "GET", EVENTS, None).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(stage.respond(By::cookie(&admin), "GET", EVENTS, None).await.status(), StatusCode::OK);
}
