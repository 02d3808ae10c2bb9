use secrecy::SecretString;

use super::*;
use crate::proto::sasl::{BearerCredentials, PlainCredentials};

fn credentials() -> PlainCredentials {
    PlainCredentials { user: "mbx-dead1234beef5678".into(), password: SecretString::from("geheim") }
}

fn options(tls: TlsStart) -> Options {
    let credentials = credentials().into();
    Options { tls, credentials, mechanism: None, window: 3, messages_max: 4, same_uidls: false }
}

fn client(tls: TlsStart) -> Client {
    Client::new(options(tls)).unwrap()
}

/// Feeds `input` in pieces of `step` bytes; the events, and everything the client said.
fn feed(client: &mut Client, input: &str, step: usize) -> Result<(Vec<String>, String), ClientError> {
    let mut events = Vec::new();
    let mut content = Vec::new();
    let mut said = String::from_utf8(client.take_output().to_vec()).unwrap();
    for piece in input.as_bytes().chunks(step) {
        let mut rest = piece;
        loop {
            let (used, event) = client.receive(rest)?;
            rest = &rest[used..];
            said.push_str(std::str::from_utf8(&client.take_output()).unwrap());
            match event {
                None => {
                    assert!(rest.is_empty(), "without an event everything was used");
                    break;
                }
                Some(Event::Content(bytes)) => content.extend_from_slice(bytes),
                Some(event) => {
                    if let Event::MessageEnds(_) = event {
                        events
                            .push(format!("{:?}", String::from_utf8(std::mem::take(&mut content)).unwrap()));
                    }
                    events.push(format!("{event:?}"));
                }
            }
        }
    }
    Ok((events, said))
}

const CAPA: &str = "+OK\r\nUIDL\r\nSASL PLAIN\r\nUSER\r\nPIPELINING\r\n.\r\n";

/// A client past its login, on a server that pipelines.
fn logged_in() -> Client {
    let mut client = client(TlsStart::Implicit);
    let script = format!("+OK hi\r\n{CAPA}+OK in\r\n{CAPA}");
    let (events, said) = feed(&mut client, &script, 1000).unwrap();
    assert_eq!(events, ["LoggedIn"]);
    assert_eq!(said, format!("CAPA\r\nAUTH PLAIN {}\r\nCAPA\r\n", *credentials().encode()));
    client
}

/// Goal: not a byte of the credentials before TLS, and what came before it is forgotten.
/// Method: a server that announces everything and injects answers behind its +OK to STLS.
#[test]
fn stls_comes_before_everything_and_injected_answers_are_dropped() {
    let mut client = client(TlsStart::Stls);
    let script = format!("+OK hi <1@x>\r\n+OK go\r\n{CAPA}+OK in\r\n+OK half a li");
    let (events, said) = feed(&mut client, &script, 1000).unwrap();
    assert_eq!(events, ["StartTls"]);
    assert_eq!(said, "STLS\r\n");
    let (events, said) = feed(&mut client, "-ERR injected too\r\n", 1000).unwrap();
    assert_eq!((events.len(), said.as_str()), (0, ""));

    client.tls_established();
    let (_, said) = feed(&mut client, "+OK\r\nUSER\r\n.\r\n", 1).unwrap();
    assert_eq!(said, "CAPA\r\nUSER mbx-dead1234beef5678\r\n", "the injected capabilities are forgotten");
}

#[test]
fn a_server_that_refuses_stls_gets_no_credentials() {
    for answer in ["-ERR no TLS\r\n", "-ERR [SYS/TEMP] later\r\n", "+ maybe\r\n", "* OK\r\n"] {
        let mut client = client(TlsStart::Stls);
        let (_, said) = feed(&mut client, "+OK hi\r\n", 100).unwrap();
        assert_eq!(said, "STLS\r\n");
        feed(&mut client, answer, 100).unwrap_err();
        assert!(client.take_output().is_empty(), "{answer}");
    }
}

#[test]
fn logs_in_by_what_the_server_offers() {
    let after_capa = |capa: &str| {
        let mut client = client(TlsStart::Implicit);
        feed(&mut client, &format!("+OK hi\r\n{capa}"), 1000).map(|(_, said)| said)
    };
    let user = "CAPA\r\nUSER mbx-dead1234beef5678\r\n";
    assert_eq!(after_capa("+OK\r\nSASL CRAM-MD5\r\nUSER\r\n.\r\n").unwrap(), user);
    assert_eq!(after_capa("-ERR what?\r\n").unwrap(), user, "a server of RFC 1939 only");
    assert_eq!(after_capa("+OK\r\nUIDL\r\n.\r\n").unwrap_err(), ClientError::NoLogin);
}

#[test]
fn user_and_pass_are_sent_one_after_the_other() {
    let mut client = client(TlsStart::Implicit);
    feed(&mut client, "+OK\r\n-ERR\r\n", 100).unwrap();
    let (_, said) = feed(&mut client, "+OK\r\n", 100).unwrap();
    assert_eq!(said, "PASS geheim\r\n");
    let (events, said) = feed(&mut client, "+OK\r\n-ERR\r\n", 100).unwrap();
    assert_eq!((said.as_str(), events), ("CAPA\r\n", vec!["LoggedIn".to_owned()]));
}

/// RFC 5034 §4: an initial response that makes the line longer than 255 octets is sent after the challenge.
#[test]
fn a_long_response_waits_for_its_challenge() {
    let credentials = PlainCredentials { user: "u".into(), password: SecretString::from("x".repeat(200)) };
    let response = credentials.encode();
    let mut client =
        Client::new(Options { credentials: credentials.into(), ..options(TlsStart::Implicit) }).unwrap();
    let (_, said) = feed(&mut client, &format!("+OK\r\n{CAPA}"), 100).unwrap();
    assert!(said.ends_with("AUTH PLAIN\r\n"));
    let (_, said) = feed(&mut client, "+ \r\n", 100).unwrap();
    assert_eq!(said, format!("{}\r\n", *response));
    assert!(matches!(feed(&mut client, "+ \r\n", 100), Err(ClientError::NotPop3 { .. })), "only once");
}

/// Goal: tokens are given only when they are asked for, and a report of failure gets its empty answer.
#[test]
fn tokens_go_in_two_steps() {
    let token = BearerCredentials { user: "anna@mail.test".into(), token: "t0ken".to_owned().into() };
    let offered = |sasl: &str, mechanism| {
        let credentials = Credentials::Bearer(token.clone());
        let mut client =
            Client::new(Options { credentials, mechanism, ..options(TlsStart::Implicit) }).unwrap();
        let said = feed(&mut client, &format!("+OK\r\n+OK\r\nSASL {sasl}\r\nUSER\r\n.\r\n"), 7);
        said.map(|(_, said)| (client, said))
    };
    let (mut client, said) = offered("PLAIN OAUTHBEARER XOAUTH2", None).unwrap();
    assert!(said.ends_with("AUTH XOAUTH2\r\n"), "{said}");
    let (_, said) = feed(&mut client, "+ \r\n", 1).unwrap();
    assert_eq!(said, "dXNlcj1hbm5hQG1haWwudGVzdAFhdXRoPUJlYXJlciB0MGtlbgEB\r\n");
    let (_, said) = feed(&mut client, "+ eyJzdGF0dXMiOiI0MDAifQ==\r\n", 1).unwrap();
    assert_eq!(said, "\r\n");
    let error = feed(&mut client, "-ERR [AUTH] no\r\n", 100).unwrap_err();
    assert_eq!(error.to_string(), "the server refuses AUTH XOAUTH2: -ERR [AUTH] no");

    let (_, said) = offered("XOAUTH2 OAUTHBEARER", Some(Mechanism::OAuthBearer)).unwrap();
    assert!(said.ends_with("AUTH OAUTHBEARER\r\n"), "{said}");
    let error = offered("PLAIN", None).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the server does not offer XOAUTH2 or OAUTHBEARER", "no USER with a token");
    let (mut client, _) = offered("XOAUTH2", None).unwrap();
    assert!(
        matches!(feed(&mut client, "+OK\r\n", 100), Err(ClientError::NotPop3 { .. })),
        "consent too early"
    );
}

#[test]
fn auth_login_is_for_servers_that_have_nothing_else() {
    let mut both = client(TlsStart::Implicit);
    let (_, said) = feed(&mut both, "+OK\r\n+OK\r\nSASL LOGIN\r\nUSER\r\n.\r\n", 100).unwrap();
    assert!(said.ends_with("USER mbx-dead1234beef5678\r\n"), "{said}");
    let mut client = client(TlsStart::Implicit);
    let (_, said) = feed(&mut client, "+OK\r\n+OK\r\nSASL LOGIN\r\n.\r\n", 100).unwrap();
    assert!(said.ends_with("AUTH LOGIN\r\n"), "{said}");
    let (_, said) = feed(&mut client, "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n", 100).unwrap();
    assert_eq!(said, "bWJ4LWRlYWQxMjM0YmVlZjU2Nzg=\r\nZ2VoZWlt\r\n");
}

#[test]
fn servers_that_give_a_unique_id_twice_are_read_when_told_to() {
    let lists = "+OK\r\n1 aa\r\n2 aa\r\n.\r\n+OK\r\n1 5\r\n2 6\r\n.\r\n";
    for same_uidls in [true, false] {
        let mut client = Client::new(Options { same_uidls, ..options(TlsStart::Implicit) }).unwrap();
        feed(&mut client, "+OK\r\n-ERR\r\n", 100).unwrap();
        feed(&mut client, "+OK\r\n+OK\r\n-ERR\r\n", 100).unwrap();
        client.list();
        assert_eq!(feed(&mut client, lists, 100).is_ok(), same_uidls);
    }
}

#[test]
fn refusals_carry_their_reason() {
    let mut client = client(TlsStart::Implicit);
    let error = feed(&mut client, &format!("+OK\r\n{CAPA}-ERR [IN-USE] later\r\n"), 100).unwrap_err();
    assert_eq!(error.code(), Some(crate::proto::pop3::ResponseCode::InUse));
    assert_eq!(error.to_string(), "the server refuses AUTH PLAIN: -ERR [IN-USE] later");
    let error =
        feed(&mut super::tests::client(TlsStart::Implicit), "-ERR [SYS/TEMP] full\r\n", 3).unwrap_err();
    assert_eq!(error.code(), Some(crate::proto::pop3::ResponseCode::SysTemp));
}

#[test]
fn a_maildrop_is_listed_pulled_and_emptied_at_any_chunk_border() {
    let script = "+OK\r\n1 aa\r\n2 bb\r\n.\r\n+OK 2 messages\r\n1 5\r\n2 7 extra\r\n.\r\n";
    let pull = "+OK 5\r\n..a\r\n.\r\n-ERR [SYS/PERM] damaged\r\n+OK\r\n-ERR gone\r\n+OK bye\r\n";
    for step in 1..60 {
        let mut client = logged_in();
        client.list();
        let (events, said) = feed(&mut client, script, step).unwrap();
        assert_eq!(said, "UIDL\r\nLIST\r\n", "pipelined");
        assert_eq!(
            events,
            ["Listed([Listed { number: MessageNumber(1), uidl: UidlToken(\"aa\"), octets: 5 }, \
              Listed { number: MessageNumber(2), uidl: UidlToken(\"bb\"), octets: 7 }], 0)"]
        );
        let number = |index| MessageNumber::from_index(index).unwrap();
        client.retrieve(number(0));
        client.retrieve(number(1));
        client.delete(number(0));
        client.delete(number(1));
        client.quit();
        assert_eq!(client.output.as_slice(), b"RETR 1\r\nRETR 2\r\nDELE 1\r\n", "the window is three");
        let (events, said) = feed(&mut client, pull, step).unwrap();
        assert_eq!(said, "RETR 1\r\nRETR 2\r\nDELE 1\r\nDELE 2\r\nQUIT\r\n");
        assert_eq!(
            events,
            [
                "MessageBegins(MessageNumber(1))",
                "\".a\\r\\n\"",
                "MessageEnds(MessageNumber(1))",
                "MessageRefused(MessageNumber(2), Reply { ok: false, code: Some(SysPerm), text: \"damaged\" })",
                "Deleted(MessageNumber(1))",
                "DeleteRefused(MessageNumber(2), Reply { ok: false, code: None, text: \"gone\" })",
                "Bye",
            ]
        );
        assert!(matches!(feed(&mut client, "+OK\r\n", 100), Err(ClientError::Unsolicited(_))));
    }
}

#[test]
fn without_pipelining_one_command_is_under_way() {
    let mut client = client(TlsStart::Implicit);
    let capa = "+OK\r\nUIDL\r\nUSER\r\n.\r\n";
    feed(&mut client, &format!("+OK\r\n{capa}+OK\r\n+OK\r\n{capa}"), 100).unwrap();
    client.list();
    assert_eq!(client.take_output().as_slice(), b"UIDL\r\n");
    let (_, said) = feed(&mut client, "+OK\r\n.\r\n", 100).unwrap();
    assert_eq!(said, "LIST\r\n");
}

#[test]
fn messages_not_asked_for_yet_can_be_cancelled() {
    let mut client = logged_in();
    (0..5).for_each(|index| client.retrieve(MessageNumber::from_index(index).unwrap()));
    client.delete(MessageNumber::from_index(0).unwrap());
    assert_eq!(client.cancel_retrieves(), 2, "the window is three");
    let (events, said) = feed(&mut client, "-ERR\r\n-ERR\r\n-ERR\r\n+OK\r\n", 100).unwrap();
    assert_eq!(said, "RETR 1\r\nRETR 2\r\nRETR 3\r\nDELE 1\r\n");
    assert_eq!(events.len(), 4);
}

#[test]
fn nonsense_ends_the_session_with_a_name() {
    let endless = format!("+OK\r\n+OK\r\n{}", "X\r\n".repeat(300));
    let long = format!("+OK {}", "x".repeat(600));
    for (script, expected) in [
        ("220 mail ESMTP\r\n", "does not speak POP3: it answered \"220 mail ESMTP\" to the connection"),
        ("\x16\x03\x01", "nothing yet"),
        (long.as_str(), "longer than a line may be"),
        (endless.as_str(), "list of capabilities does not end"),
    ] {
        let found = feed(&mut client(TlsStart::Implicit), script, 7)
            .map_or_else(|error| error.to_string(), |_| "nothing yet".to_owned());
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    for (script, expected) in [
        ("+OK\r\n1 a\r\n1 b\r\n.\r\n+OK\r\n1 1\r\n1 1\r\n.\r\n", "a message number twice"),
        ("+OK\r\n1 a\r\n2 a\r\n.\r\n+OK\r\n1 1\r\n2 1\r\n.\r\n", "the unique-id a twice"),
        ("+OK\r\n1 a\r\n.\r\n+OK\r\n2 1\r\n.\r\n", "name different messages"),
        ("+OK\r\n1 a\r\n.\r\n+OK\r\n.\r\n", "name different messages"),
        ("+OK\r\n0 a\r\n.\r\n", "the line \"0 a\""),
        ("+OK\r\n1\r\n", "the line \"1\""),
        ("+OK\r\n.\r\n+OK\r\n1 -5\r\n", "the line \"1 -5\""),
        ("-ERR no\r\n", "refuses UIDL"),
    ] {
        let mut client = logged_in();
        client.list();
        let error = feed(&mut client, script, 5).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Goal: a maildrop with more messages than are listed is listed up to the bound, whatever orders the server has.
#[test]
fn a_longer_list_is_cut_and_said_to_be() {
    let mut client = logged_in();
    client.list();
    let unique_ids = "+OK\r\n1 a\r\n2 b\r\n3 c\r\n4 d\r\n5 e\r\n6 f\r\n.\r\n";
    let sizes = "+OK\r\n6 9\r\n2 7\r\n1 5\r\n4 8\r\n3 1\r\n5 1\r\n.\r\n";
    let (events, _) = feed(&mut client, &format!("{unique_ids}{sizes}"), 7).unwrap();
    let listed = |number, uidl, octets| {
        format!("Listed {{ number: MessageNumber({number}), uidl: UidlToken(\"{uidl}\"), octets: {octets} }}")
    };
    let both = [listed(1, "a", 5), listed(2, "b", 7), listed(4, "d", 8)].join(", ");
    assert_eq!(events, [format!("Listed([{both}], 2)")]);
}

#[test]
fn unsolicited_answers_and_unusable_credentials_are_refused() {
    assert!(matches!(feed(&mut logged_in(), "+OK\r\n", 100), Err(ClientError::Unsolicited(_))));
    for (user, password) in [("a\r\nDELE 1", "x"), ("a", "x\0"), ("", "x"), ("a", "")] {
        let credentials = PlainCredentials { user: user.into(), password: SecretString::from(password) };
        let options = Options { credentials: credentials.into(), ..options(TlsStart::Implicit) };
        assert_eq!(Client::new(options).unwrap_err(), ClientError::BadCredentials);
    }
}

#[test]
fn debug_output_holds_no_password() {
    let mut client = client(TlsStart::Implicit);
    feed(&mut client, "+OK\r\n-ERR\r\n", 100).unwrap();
    client.receive(b"+OK\r\n").unwrap();
    assert_eq!(client.output.as_slice(), b"PASS geheim\r\n");
    let shown = format!("{client:?} {:?}", client.options);
    assert!(
        !shown.contains("geheim") && !shown.contains(&format!("{:?}", b"geheim").replace(['[', ']'], ""))
    );
}

proptest::proptest! {
    /// Goal: whatever the server sends, in whichever state, the machine ends or goes on, and uses all input.
    #[test]
    fn any_server_is_survived(
        tokens in proptest::collection::vec(
            proptest::sample::select(&["+OK\r\n", "-ERR x\r\n", "+ \r\n", ".\r\n", "1 a\r\n", "1 5\r\n", "\r", "\n", ".", "\0\u{ff}"][..]),
            0..60,
        ),
        stls: bool,
        step in 1..20_usize,
    ) {
        let mut client = client(if stls { TlsStart::Stls } else { TlsStart::Implicit });
        client.list();
        client.retrieve(MessageNumber::from_index(0).unwrap());
        client.quit();
        let mut secure = !stls;
        for piece in tokens.concat().as_bytes().chunks(step) {
            let mut rest = piece;
            loop {
                let Ok((used, event)) = client.receive(rest) else { return Ok(()) };
                rest = &rest[used..];
                let said = client.take_output();
                proptest::prop_assert!(secure || !said.starts_with(b"AUTH") && !said.starts_with(b"USER"));
                if event == Some(Event::StartTls) {
                    secure = true;
                    client.tls_established();
                }
                if event.is_none() {
                    proptest::prop_assert!(rest.is_empty());
                    break;
                }
            }
        }
    }
}
