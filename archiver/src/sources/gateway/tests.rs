//! Against scripted servers, most of them hostile. Against the real gateway: `tests/tests/pop3_pull.rs`.

use secrecy::SecretString;
use tokio::net::TcpListener;

use super::*;
use crate::sources::scripted;

const USER: &str = "mbx-dead1234beef5678";

struct Server {
    settings: Settings,
    served: tokio::task::JoinHandle<Result<(), String>>,
}

impl Server {
    async fn start(tls: TlsStart, scripts: &[&str]) -> Self {
        let scripted::Server { port, trust, served } = scripted::Server::start(tls, scripts).await;
        let credentials = PlainCredentials { user: USER.into(), password: SecretString::from("geheim") };
        let settings = Settings { host: "127.0.0.1".into(), port, tls, trust, credentials };
        Self { settings, served }
    }
}

fn limits() -> Limits {
    Limits {
        message_octets_max: 20,
        silence: Duration::from_secs(5),
        in_use_pause: Duration::from_millis(1),
        in_use_patience: Duration::from_millis(10),
        ..Limits::default()
    }
}

const LOGIN: &str = "S: +OK hi
    C: CAPA
    S: +OK
    S: USER
    S: .
    C: USER mbx-dead1234beef5678
    S: +OK
    C: PASS geheim
    S: +OK
    C: CAPA
    S: +OK
    S: PIPELINING
    S: .
";

async fn failure(tls: TlsStart, script: &str, limits: Limits) -> SourceError {
    let server = Server::start(tls, &[script]).await;
    let Err(error) = GatewaySource::connect(&server.settings, limits).await else { panic!("it is let in") };
    error
}

fn ids(ids: &[&str]) -> Vec<ItemId> {
    ids.iter().map(|id| ItemId((*id).to_owned())).collect()
}

const LIST: &str = "C: UIDL
    S: +OK
    S: 1 aa
    S: 2 bb
    S: 3 cc
    S: 4 dd
    S: .
    C: LIST
    S: +OK
    S: 1 6
    S: 2 6
    S: 3 21
    S: 4 1
    S: .
";

/// Goal: messages come exactly and in order, the refused and the too long are named, and only what the gateway
/// confirmed counts as deleted.
#[tokio::test]
async fn a_run_pulls_acknowledges_and_finishes() {
    let rest = "C: RETR 1
        C: RETR 2
        C: RETR 4
        S: +OK
        S: ..one
        S: .
        S: -ERR [SYS/PERM] damaged
        S: +OK
        S: much longer than was listed
        S: .
        C: DELE 1
        C: DELE 4
        S: +OK
        S: -ERR no
        C: QUIT
        S: +OK
        ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, LIST, rest].concat()]).await;
    let mut source = GatewaySource::connect(&server.settings, limits()).await.unwrap();
    let waiting = source.list(None).await.unwrap();
    assert_eq!(waiting.iter().map(|message| message.octets).collect::<Vec<_>>(), [6, 6, 21, 1]);

    source.request(&ids(&["aa", "bb", "cc", "dd"])).unwrap();
    let mut fetched = Vec::new();
    while let Some(message) = source.next().await.unwrap() {
        fetched.push((message.id.0, message.content));
    }
    let refused = NotFetched::Refused("-ERR [SYS/PERM] damaged".into());
    let too_long = |octets| Err(NotFetched::TooLong { octets, octets_max: 20 });
    assert_eq!(
        fetched,
        [
            ("aa".into(), Ok(b".one\r\n".to_vec())),
            ("bb".into(), Err(refused)),
            ("cc".into(), too_long(21)),
            ("dd".into(), too_long(29)),
        ]
    );

    assert!(matches!(source.acknowledge(&ids(&["zz"])), Err(SourceError::NotListed(_))));
    source.acknowledge(&ids(&["aa", "dd"])).unwrap();
    source.acknowledge(&ids(&["aa"])).unwrap();
    let finished = source.finish().await.unwrap();
    assert_eq!(finished.deleted, ids(&["aa"]));
    assert_eq!(finished.kept, [(ItemId("dd".into()), "-ERR no".to_owned())]);
    assert_eq!(server.served.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_failed_quit_deletes_nothing() {
    let rest = "C: DELE 1
        S: +OK
        C: QUIT
        S: -ERR [SYS/TEMP] disk full
        ";
    for (rest, expected) in
        [(rest, "refuses QUIT"), ("C: DELE 1\nS: +OK\nC: QUIT\n", "closed the connection while QUIT")]
    {
        let server = Server::start(TlsStart::Implicit, &[&[LOGIN, LIST, rest].concat()]).await;
        let mut source = GatewaySource::connect(&server.settings, limits()).await.unwrap();
        source.list(None).await.unwrap();
        source.acknowledge(&ids(&["aa"])).unwrap();
        let error = source.finish().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.is_temporary());
    }
}

#[tokio::test]
async fn stls_upgrades_and_forgets_what_was_injected() {
    let clear = r"S: +OK hi
        C: STLS
        RAW +OK go\r\n-ERR injected\r\n+OK\r\nSASL PLAIN\r\n.\r\n
        ";
    let script = format!("{clear}\nHANDSHAKE\n{}", &LOGIN["S: +OK hi\n".len()..]);
    let server = Server::start(TlsStart::Stls, &[&script]).await;
    GatewaySource::connect(&server.settings, limits()).await.unwrap();
    assert_eq!(server.served.await.unwrap(), Ok(()));
}

/// Goal: without TLS, or without trust in the certificate, not a byte of the credentials is sent.
#[tokio::test]
async fn credentials_stay_here_until_tls_is_up_and_trusted() {
    let refuses = "S: +OK hi
        C: STLS
        S: -ERR not here
        HANG
        ";
    let error = failure(TlsStart::Stls, refuses, limits()).await;
    assert!(error.to_string().contains("refuses STLS"), "{error}");

    let mut server = Server::start(TlsStart::Implicit, &[LOGIN]).await;
    server.settings.trust = Trust::Pinned("00".repeat(32).parse().unwrap());
    let Err(error) = GatewaySource::connect(&server.settings, limits()).await else { panic!("trusted") };
    let SourceError::NotTrusted { presented, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("trust = \"sha256:{presented}\"")), "{error}");
    assert!(server.served.await.unwrap().is_err(), "the server saw the handshake end");
}

#[tokio::test]
async fn each_failing_step_is_named() {
    let wrong_password = "S: +OK
        C: CAPA
        S: -ERR
        C: USER mbx-dead1234beef5678
        S: +OK
        C: PASS geheim
        S: -ERR [AUTH] no
        ";
    for (script, expected, temporary) in [
        (wrong_password, "refuses the login of mbx-dead1234beef5678: -ERR [AUTH] no", false),
        ("S: -ERR [SYS/TEMP] full\n", "refuses service", true),
        ("S: 220 mail ESMTP\n", "does not speak POP3", false),
        ("S: +OK\nC: CAPA\n", "closed the connection while CAPA", true),
        ("S: +OK\nC: CAPA\nS: +OK\nS: SASL GSSAPI\nS: .\n", "neither AUTH PLAIN nor USER", false),
        ("RAW +OK \nHANG\n", "took more than 50ms for the connection", true),
    ] {
        let silence = if script.contains("HANG") { Duration::from_millis(50) } else { limits().silence };
        let error = failure(TlsStart::Implicit, script, Limits { silence, ..limits() }).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.is_temporary(), temporary, "{error}");
    }
}

/// Goal: a server that keeps talking without getting anywhere is left, too.
#[tokio::test]
async fn a_dripping_login_has_an_end() {
    let limits = Limits { login: Duration::from_millis(300), ..limits() };
    let error = failure(TlsStart::Implicit, "S: +OK\nC: CAPA\nS: +OK\nS: X\nHANG\n", limits).await;
    assert!(error.to_string().contains("for the login"), "{error}");
}

#[tokio::test]
async fn nobody_there_and_no_such_name_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let credentials = PlainCredentials { user: USER.into(), password: SecretString::from("geheim") };
    let mut settings =
        Settings { host: "127.0.0.1".into(), port, tls: TlsStart::Implicit, trust: Trust::Any, credentials };
    let connect = async |settings: &Settings| match GatewaySource::connect(settings, limits()).await {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    };
    assert!(matches!(connect(&settings).await, SourceError::Connect { .. }));
    settings.host = "no such host.invalid".into();
    assert!(matches!(connect(&settings).await, SourceError::Name { .. }));
    settings.credentials.user = "a\r\nDELE 1".into();
    let error = connect(&settings).await;
    assert!(error.to_string().contains("control characters"), "{error}");
}

const IN_USE: &str = "S: +OK
    C: CAPA
    S: -ERR
    C: USER mbx-dead1234beef5678
    S: +OK
    C: PASS geheim
    S: -ERR [IN-USE] later
    ";

#[tokio::test]
async fn a_held_maildrop_is_waited_for_but_not_for_ever() {
    let server = Server::start(TlsStart::Implicit, &[IN_USE, IN_USE, LOGIN]).await;
    GatewaySource::connect(&server.settings, limits()).await.unwrap();
    assert_eq!(server.served.await.unwrap(), Ok(()));

    // 1 + 2 + 4 ms are within the patience of 10 ms, 8 more are not.
    let server = Server::start(TlsStart::Implicit, &[IN_USE; 4]).await;
    let Err(error) = GatewaySource::connect(&server.settings, limits()).await else { panic!("it is held") };
    assert!(matches!(error, SourceError::InUse { attempts: 4, .. }), "{error}");
    assert!(error.is_temporary());
    assert_eq!(server.served.await.unwrap(), Ok(()), "tried exactly four times");
}

/// Goal: ending early does not fetch the rest.
#[tokio::test]
async fn finishing_early_takes_back_what_was_not_asked_for_yet() {
    let rest = "C: RETR 1
        S: +OK
        S: one
        S: .
        C: RETR 2
        S: +OK
        S: two
        S: .
        C: QUIT
        S: +OK
        ";
    let server = Server::start(TlsStart::Implicit, &[&[LOGIN, LIST, rest].concat()]).await;
    let limits = Limits { window: 1, ..limits() };
    let mut source = GatewaySource::connect(&server.settings, limits).await.unwrap();
    source.list(None).await.unwrap();
    source.request(&ids(&["aa", "bb", "dd"])).unwrap();
    assert_eq!(source.next().await.unwrap().unwrap().content.unwrap(), b"one\r\n");
    assert_eq!(source.finish().await.unwrap(), Finished::default());
    assert_eq!(server.served.await.unwrap(), Ok(()));
}
