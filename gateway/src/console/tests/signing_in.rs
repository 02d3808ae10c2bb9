//! Signing in, staying in, and being kept out.

use super::super::accounts::totp::Secret;
use super::super::sessions::Stage as At;
use super::*;

const SESSION: &str = "/api/v1/session";

fn credentials(name: &str, password: &str) -> Value {
    json!({ "name": name, "password": password })
}

/// Goal: the first password works once, also when many use it at the same moment, and the session can do nothing until
/// the new password is said to be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_sign_in_happens_once() {
    let stage = Arc::new(Stage::new());
    let page = stage.send(By::default(), "GET", "/api/v1/sign-in", None).await;
    assert_eq!(page.body["first"], true);
    let usual = stage.page("POST", SESSION, credentials("admin", "admin")).await;
    assert_eq!(usual.problem(), "wrong-credentials", "not by the usual way in");
    let first = stage.first_credentials();
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (stage, first) = (Arc::clone(&stage), first.clone());
            tokio::spawn(async move { stage.page("POST", "/api/v1/first-sign-in", first).await })
        })
        .collect();
    let mut shown = Vec::new();
    for one in tries {
        let answer = one.await.unwrap();
        match answer.status {
            StatusCode::OK => shown.push(answer),
            _ => assert!(["not-first", "must-wait"].contains(&answer.problem()), "{answer:?}"),
        }
    }
    let [shown] = &shown[..] else { panic!("{} had success", shown.len()) };
    assert_eq!(stage.send(By::default(), "GET", "/api/v1/sign-in", None).await.body["first"], false);
    let waiting = shown.cookie();
    let early = stage.send(By::cookie(&waiting), "GET", "/api/v1/mailboxes", None).await;
    assert_eq!(early.problem(), "password-shown");
    let full = stage.send(By::cookie(&waiting), "POST", "/api/v1/session/password-stored", None).await;
    assert_eq!(full.body["stage"], json!(At::Full));
    assert_ne!(full.cookie(), waiting, "another cookie");
    assert_eq!(stage.send(By::cookie(&waiting), "GET", SESSION, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        stage.send(By::cookie(&full.cookie()), "GET", "/api/v1/mailboxes", None).await.status,
        StatusCode::OK
    );
    let password = shown.body["password"].as_str().unwrap();
    let again = stage.page("POST", SESSION, credentials("admin", password)).await;
    assert_eq!(again.status, StatusCode::OK);
}

/// Goal: who merely reaches the port cannot be the first, a reverse proxy's guests included; who sits at the machine can.
#[tokio::test]
async fn from_elsewhere_the_first_sign_in_takes_the_setup_code() {
    let stage = Stage::new();
    let own = ("x-postern-console", "1");
    let from = async |from: &str, headers: &[(&str, &str)], code: Option<&str>| {
        let headers: Vec<_> = headers.iter().copied().chain([own]).collect();
        let by = By { headers: &headers, from, ..By::default() };
        let page = stage.send(by, "GET", "/api/v1/sign-in", None).await.body["setup_code_needed"].clone();
        let body = json!({ "name": "admin", "password": "admin", "setup_code": code });
        let answer = stage.send(by, "POST", "/api/v1/first-sign-in", Some(body)).await;
        (page, answer)
    };
    for (peer, headers, code) in [
        ("192.0.2.9", &[][..], None),
        ("192.0.2.10", &[], Some("AAAA-AAAA-AAAA-AAAA")),
        ("::ffff:192.0.2.11", &[], Some("")),
        ("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], None),
        ("::1", &[("forwarded", "for=192.0.2.9")], None),
    ] {
        let (page, answer) = from(peer, headers, code).await;
        assert_eq!((page, answer.problem()), (json!(true), "setup-code"), "{peer}");
    }
    for _ in 0..5 {
        from("192.0.2.9", &[], Some("BBBB")).await;
    }
    assert_eq!(from("192.0.2.9", &[], Some("BBBB")).await.1.problem(), "must-wait", "guesses are slowed");
    assert!(stage.console.core.administrators.is_first());
    stage.clock.advance(5 * MINUTE);
    let (page, answer) = from("::ffff:127.0.0.1", &[], None).await;
    assert_eq!((page, answer.status), (json!(false), StatusCode::OK));
}

#[tokio::test]
async fn cookies_are_for_this_host_only_and_out_of_reach_of_scripts() {
    let stage = Stage::new();
    let shown = stage.page("POST", "/api/v1/first-sign-in", stage.first_credentials()).await;
    let set = shown.headers[SET_COOKIE].to_str().unwrap();
    let (cookie, attributes) = set.split_once(';').unwrap();
    assert!(cookie.starts_with("__Host-postern=") && cookie.len() == "__Host-postern=".len() + 64);
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Strict");
    // A cookie that an attacker has planted is not taken over.
    let planted =
        By::cookie("__Host-postern=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let password = shown.body["password"].as_str().unwrap();
    let signed = stage.send(planted, "POST", SESSION, Some(credentials("admin", password))).await;
    assert_ne!(signed.cookie(), planted.cookie);
    assert_eq!(stage.send(planted, "GET", SESSION, None).await.status, StatusCode::UNAUTHORIZED);
}

/// Goal: no foreign page can change anything.
#[tokio::test]
async fn requests_from_foreign_pages_change_nothing() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let new = Some(json!({ "name": "x" }));
    let create = async |headers: &[(&str, &str)]| {
        let cookie = ("cookie", admin.as_str());
        let headers: Vec<_> = headers.iter().copied().chain([cookie]).collect();
        let by = By { headers: &headers, ..By::default() };
        stage.send(by, "POST", "/api/v1/mailboxes", new.clone()).await
    };
    let own = ("x-postern-console", "1");
    for foreign in [
        &[][..],
        &[("x-postern-console", "0")],
        &[own, ("origin", "https://evil.example")],
        &[own, ("origin", "http://console.example.com")],
        &[own, ("origin", "https://console.example.com.evil.example")],
        &[own, ("origin", "null")],
        &[own, ("sec-fetch-site", "cross-site")],
        &[own, ("sec-fetch-site", "same-site")],
    ] {
        let refused = create(foreign).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "foreign-origin"),
            "{foreign:?}"
        );
    }
    assert!(stage.console.core.registry.list().is_empty());
    let ours =
        create(&[own, ("origin", "https://console.example.com"), ("sec-fetch-site", "same-origin")]).await;
    assert_eq!(ours.status, StatusCode::CREATED);
    let signing_in = stage.send(By::default(), "POST", SESSION, Some(credentials("a", "b"))).await;
    assert_eq!(signing_in.problem(), "foreign-origin", "nobody is signed in by a foreign page either");
}

#[tokio::test]
async fn a_session_ends_when_idle_when_old_and_when_told() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let alive = async || stage.send(by, "GET", SESSION, None).await.status == StatusCode::OK;
    stage.clock.advance(29 * MINUTE);
    let background = [("x-postern-background", "1")];
    let polled = stage.send(By { headers: &background, ..by }, "GET", SESSION, None).await;
    assert_eq!((polled.status, polled.body["ends_in_seconds"].as_u64()), (StatusCode::OK, Some(60)));
    assert!(alive().await);
    stage.clock.advance(30 * MINUTE);
    assert!(!alive().await, "idle");
    let (password, mut cookies) = (stage.somebody("anna", Role::Viewer).await.0, Vec::new());
    for _ in 0..3 {
        cookies.push(stage.page("POST", SESSION, credentials("anna", &password)).await.cookie());
    }
    let rows = stage.send(By::cookie(&cookies[0]), "GET", "/api/v1/account/sessions", None).await;
    let rows = rows.body.as_array().unwrap();
    let other = rows.iter().find(|row| row["current"] == false).unwrap()["id"].as_str().unwrap();
    let ended = stage
        .send(By::cookie(&cookies[0]), "DELETE", &format!("/api/v1/account/sessions/{other}"), None)
        .await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    let ended = stage.send(By::cookie(&cookies[0]), "DELETE", "/api/v1/account/sessions", None).await;
    assert_eq!(ended.body["ended"], 3, "the three that were left");
    for cookie in &cookies {
        assert_eq!(
            stage.send(By::cookie(cookie), "GET", SESSION, None).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let stage = Stage::new();
    stage.first().await;
    let (password, first) = stage.somebody("anna", Role::Viewer).await;
    let second = stage.page("POST", SESSION, credentials("anna", &password)).await.cookie();
    let change = |current: &str, new: &str| Some(json!({ "current": current, "new": new }));
    let by = By::cookie(&first);
    let wrong =
        stage.send(by, "PUT", "/api/v1/account/password", change("x", "wir gehen heute schwimmen")).await;
    assert_eq!(wrong.problem(), "wrong-password");
    let weak = stage.send(by, "PUT", "/api/v1/account/password", change(&password, "annaannaanna")).await;
    assert_eq!(weak.problem(), "bad-password");
    let changed = stage
        .send(by, "PUT", "/api/v1/account/password", change(&password, "wir gehen heute schwimmen"))
        .await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    for old in [&first, &second] {
        assert_eq!(stage.send(By::cookie(old), "GET", SESSION, None).await.status, StatusCode::UNAUTHORIZED);
    }
    let own = stage.send(By::cookie(&changed.cookie()), "GET", SESSION, None).await;
    assert_eq!((own.status, own.body["password_is_given"].as_bool()), (StatusCode::OK, Some(false)));
}

/// Goal: with a second factor the password alone opens nothing, and codes cannot be guessed.
#[tokio::test]
async fn a_second_factor_is_asked_for() {
    let stage = Stage::new();
    stage.first().await;
    let (password, cookie) = stage.somebody("anna", Role::Operator).await;
    let by = By::cookie(&cookie);
    let begun = stage.send(by, "POST", "/api/v1/account/totp", Some(json!({ "password": password }))).await;
    let text = begun.body["secret"].as_str().unwrap();
    assert!(begun.body["uri"].as_str().unwrap().contains(text));
    let secret: Secret = stage
        .console
        .sessions
        .of("anna", stage.console.now())
        .into_iter()
        .find_map(|(key, _)| stage.console.sessions.kept_totp(key))
        .unwrap();
    let code = |ahead: u64| secret.code(stage.clock.wall().0 / 30_000 + ahead).to_string();
    let wrong = stage.send(by, "PUT", "/api/v1/account/totp", Some(json!({ "code": "12345" }))).await;
    assert_eq!(wrong.problem(), "wrong-code");
    let other = stage.page("POST", SESSION, credentials("anna", &password)).await.cookie();
    let alive = async |cookie: &str| {
        stage.send(By::cookie(cookie), "GET", SESSION, None).await.status == StatusCode::OK
    };
    let set = stage.send(by, "PUT", "/api/v1/account/totp", Some(json!({ "code": code(0) }))).await;
    let recovery = set.body["codes"][0].as_str().unwrap().to_owned();
    assert!(alive(&set.cookie()).await, "this session goes on, under another cookie");
    assert!(!alive(&cookie).await && !alive(&other).await, "what was open without the factor has ended");
    let half = async || stage.page("POST", SESSION, credentials("anna", &password)).await;
    let factor = async |cookie: &str, factor: Value| {
        stage.send(By::cookie(cookie), "POST", "/api/v1/session/second-factor", Some(factor)).await
    };
    let signed = half().await;
    assert_eq!(signed.body["stage"], json!(At::SecondFactor));
    let early = stage.send(By::cookie(&signed.cookie()), "GET", "/api/v1/mailboxes", None).await;
    assert_eq!(early.problem(), "second-factor-awaited");
    let used = factor(&signed.cookie(), json!({ "totp": code(0) })).await;
    assert_eq!(used.problem(), "wrong-code", "it served when it was set up");
    stage.clock.advance(Duration::from_secs(60));
    let full = factor(&signed.cookie(), json!({ "totp": code(0) })).await;
    assert_eq!((full.status, full.body["stage"].clone()), (StatusCode::OK, json!(At::Full)));
    let signed = half().await;
    let full = factor(&signed.cookie(), json!({ "recovery_code": recovery })).await;
    assert_eq!(full.body["recovery_codes"], 9);
    let signed = half().await;
    let mut said = Vec::new();
    for _ in 0..8 {
        said.push(factor(&signed.cookie(), json!({ "totp": "000000x" })).await.problem().to_owned());
    }
    assert!(said.iter().skip(5).all(|word| word == "not-signed-in" || word == "must-wait"), "{said:?}");
    let off = stage
        .send(
            By::cookie(&full.cookie()),
            "POST",
            "/api/v1/account/totp/remove",
            Some(json!({ "password": password })),
        )
        .await;
    assert_eq!(off.status, StatusCode::NO_CONTENT);
    assert!(alive(&off.cookie()).await && !alive(&full.cookie()).await && !alive(&set.cookie()).await);
    assert_eq!(half().await.body["stage"], json!(At::Full));
}

/// Goal: guessing slows the guesser and locks out nobody else; what it is told does not say whether the name exists.
#[tokio::test]
async fn guessing_is_throttled_by_address() {
    let stage = Stage::new();
    stage.first().await;
    let (password, _) = stage.somebody("anna", Role::Viewer).await;
    let own = [("x-postern-console", "1")];
    let from = async |from: &str, name: &str, password: &str| {
        let by = By { headers: &own, from, ..By::default() };
        stage.send(by, "POST", SESSION, Some(credentials(name, password))).await
    };
    let known = from("198.51.100.9", "anna", "wrong").await;
    let unknown = from("198.51.100.9", "nobody", "wrong").await;
    assert_eq!(known.body, unknown.body);
    for _ in 0..5 {
        from("198.51.100.9", "anna", "wrong").await;
    }
    let waiting = from("198.51.100.9", "anna", &password).await;
    assert_eq!((waiting.status, waiting.problem()), (StatusCode::TOO_MANY_REQUESTS, "must-wait"));
    let seconds = waiting.body["retry_after_seconds"].as_u64().unwrap();
    assert_eq!(waiting.headers["retry-after"].to_str().unwrap(), seconds.to_string());
    assert_eq!(from("203.0.113.1", "anna", &password).await.status, StatusCode::OK, "from elsewhere");
    stage.clock.advance(Duration::from_secs(seconds));
    assert_eq!(from("198.51.100.9", "anna", &password).await.status, StatusCode::OK);
}

/// Goal: whatever an administrator does with another takes effect at once.
#[tokio::test]
async fn demoted_removed_and_reset_administrators_are_out_at_once() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    for (method, path, body) in [
        ("PATCH", "/api/v1/administrators/anna", Some(json!({ "role": "viewer" }))),
        ("POST", "/api/v1/administrators/anna/reset-password", Some(json!({ "clear_second_factors": true }))),
        ("DELETE", "/api/v1/administrators/anna/sessions", None),
        ("DELETE", "/api/v1/administrators/anna", None),
    ] {
        let (_, cookie) = stage.somebody("anna", Role::Operator).await;
        let token = stage.token("anna", &[Scope::Read]);
        assert!(stage.send(by, method, path, body).await.status.is_success(), "{method} {path}");
        assert_eq!(
            stage.send(By::cookie(&cookie), "GET", SESSION, None).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        let gone = stage.console.core.administrators.remove("anna").is_err();
        let answer =
            stage.send(By { token: &token, ..By::default() }, "GET", "/api/v1/mailboxes", None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "gone: {gone}");
    }
    let last = stage.send(by, "DELETE", "/api/v1/administrators/admin", None).await;
    assert_eq!(last.problem(), "last-administrator");
}
