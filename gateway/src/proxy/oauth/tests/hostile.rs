use super::scripted::{Answer, http, tokens};
use super::*;

/// Goal: whatever a provider answers, the login ends with an error that says so, keeps the old refresh token, and the
/// next good answer serves.
#[tokio::test]
async fn no_answer_does_harm() {
    let world = World::new().await;
    let long = "x".repeat(300 * 1024);
    let long_field = format!("X-Long: {}\r\n", "y".repeat(512 * 1024));
    let many_fields = "X-Many: 1\r\n".repeat(200);
    let access = |token: &str| tokens(token, Some("r"));
    let cases = [
        (Answer::Raw(Vec::new()), "HTTP"),
        (Answer::Raw(b"220 mail.example.com ESMTP\r\n".to_vec()), "HTTP"),
        (Answer::Raw(vec![0xff; 5000]), "HTTP"),
        (Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\"".to_vec()), "HTTP"),
        (Answer::Raw(http("200 OK", &long_field, "{}")), "HTTP"),
        (Answer::Raw(http("200 OK", &many_fields, "{}")), "HTTP"),
        (Answer::json("200 OK", &long), "longer than 256 KiB"),
        (Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 4096]), "longer than 256 KiB"),
        (Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: 1\r\n".to_vec()), "HTTP"),
        (Answer::json("200 OK", ""), "not the JSON"),
        (Answer::json("200 OK", "[]"), "not the JSON"),
        (Answer::json("200 OK", "{\"access_token\":7,\"token_type\":\"bearer\"}"), "not the JSON"),
        (Answer::json("200 OK", &"[".repeat(100_000)), "not the JSON"),
        (Answer::json("200 OK", "{\"access_token\":\"secret\",\"token_type\":\"mac\"}"), "type mac"),
        (Answer::json("200 OK", &access("")), "strange characters"),
        (Answer::json("200 OK", &access("a\\u0001auth=Bearer b")), "strange characters"),
        (Answer::json("200 OK", &access("a\\r\\nQUIT")), "strange characters"),
        (Answer::json("200 OK", &access(&"a".repeat(9000))), "too long"),
        (Answer::json("200 OK", &tokens("a", Some("b c"))), "strange characters"),
        (Answer::Raw(http("302 Found", "Location: https://127.0.0.1:1/steal\r\n", "")), "not followed"),
        (Answer::Raw(http("307 Moved", "Location: /elsewhere\r\n", "")), "not followed"),
        (Answer::json("404 Not Found", "<html>"), "status 404"),
        (Answer::json("204 No Content", ""), "status 204"),
    ];
    let count = cases.len();
    for (at, (answer, expected)) in cases.into_iter().enumerate() {
        let shown = format!("case {at}, {expected}");
        world.provider.will([answer]);
        let error = world.login().await.unwrap_err();
        assert!(matches!(error, BrokerError::Unreachable { .. }), "{shown}: {error}");
        let text = error.to_string();
        assert!(text.contains(expected), "{shown}: {text}");
        assert!(text.len() < 1000 && !text.contains(char::is_control) && !text.contains("secret"), "{text}");
        assert_eq!(world.on_disk(), FIRST);
        world.pass(6);
    }
    world.provider.will([Answer::tokens("good", None)]);
    assert_eq!(world.token().await, "good");
    assert_eq!(world.provider.requests().len(), count + 1, "nobody was asked twice");
}

/// Goal: a provider that repeats the refresh token brings it into no log.
#[tokio::test]
async fn a_provider_that_repeats_a_secret_is_not_quoted() {
    let world = World::new().await;
    let error = |error: &str, words: &str| {
        let body = format!("{{\"error\":\"{error}\",\"error_description\":\"{words}\"}}");
        Answer::json("400 Bad Request", &body)
    };
    let long = format!("{}{FIRST}", "x".repeat(290));
    world.provider.will([error("invalid_grant", FIRST), error("invalid_grant", &long), error(FIRST, "no")]);
    for _ in 0..3 {
        let text = world.login().await.unwrap_err().to_string();
        assert!(text.contains("repeat a secret") && !text.contains(&FIRST[..8]), "{text}");
        world.pass(61);
    }
}

/// Goal: a provider that takes its time is given up.
#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let world = World::new().await;
    let deadlines = Deadlines { exchange: Duration::from_millis(200), ..Deadlines::default() };
    let broker = open_with(&world.settings, &world.clock, world.dir.path(), Arc::new(RealDisk), deadlines);
    world.provider.will([Answer::Silence]);
    let open = broker.open(&account(), &password()).unwrap();
    let error = broker.access_token(open).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("in time"), "{error}");
}

/// Goal: where a provider keeps all requests waiting, the next login is told so instead of waiting behind them.
#[tokio::test]
async fn a_login_does_not_wait_for_ever_for_its_turn() {
    let world = World::new().await;
    let deadlines = Deadlines { turn: Duration::from_millis(10), ..Deadlines::default() };
    let broker = open_with(&world.settings, &world.clock, world.dir.path(), Arc::new(RealDisk), deadlines);
    world.provider.will(vec![Answer::Silence; 16]);
    for n in 0..16 {
        let name = format!("user{n}@example.com%mail.example.net");
        broker.store(world.binding_of(&name, &password())).unwrap();
        let open = broker.open(&account_in(&name, '%').unwrap(), &password()).unwrap();
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.access_token(open).await });
    }
    world.provider.came.acquire_many(16).await.unwrap().forget();
    let open = broker.open(&account(), &password()).unwrap();
    let error = broker.access_token(open).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("too many requests"), "{error}");
    assert_eq!(world.provider.requests().len(), 16);
}

/// Goal: the refresh token is not sent to whom the operator does not trust.
#[tokio::test]
async fn a_wrong_certificate_gets_nothing() {
    let mut world = World::new().await;
    let other = tempfile::tempdir().unwrap();
    let pem = other.path().join("authorities.pem");
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    postern_shared::disk::write_atomic(&RealDisk, &pem, stranger.cert.pem().as_bytes()).unwrap();
    let pinned = postern_shared::crypto::digest::sha256(b"another certificate");
    for trust in [
        Trust::Pinned(pinned),
        Trust::System,
        Trust::Authorities(pem),
        Trust::Authorities(other.path().join("none.pem")),
    ] {
        world.settings.trust = trust.clone();
        world = world.restarted(Arc::new(RealDisk));
        let error = world.login().await.unwrap_err();
        assert!(matches!(error, BrokerError::Unreachable { .. }), "{trust:?}: {error}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}

/// Goal: a provider that is not there is a temporary error.
#[tokio::test]
async fn nobody_at_home_is_temporary() {
    let mut world = World::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.settings.token_endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}/token")).unwrap();
    let world = world.restarted(Arc::new(RealDisk));
    world.bind(FIRST);
    let error = world.login().await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("cannot connect to 127.0.0.1"), "{error}");
}

/// Goal: a secret in a file is read when it is needed, and a missing one is our own trouble, told as such.
#[tokio::test]
async fn the_clients_own_secret_may_be_in_a_file() {
    let mut world = World::new().await;
    let path = world.dir.path().join("client-secret");
    let secret = SecretSource::File(path.clone());
    world.settings.credential = Credential::Secret { secret, in_body: true };
    let world = world.restarted(Arc::new(RealDisk));
    let error = world.login().await.unwrap_err();
    assert!(matches!(error, BrokerError::Credential { .. }), "{error}");
    assert!(error.to_string().contains("client-secret"), "{error}");
    assert_eq!(world.provider.requests().len(), 0);
    postern_shared::disk::write_atomic(&RealDisk, &path, b"from a file\n").unwrap();
    world.pass(6);
    world.provider.will([Answer::tokens("good", None)]);
    assert_eq!(world.token().await, "good");
    assert!(world.provider.requests()[0].ends_with("&client_id=gateway+id&client_secret=from+a+file"));
}
