//! Dialogues without a socket, cut at every octet.

use postern_shared::proto::imap::UidSet;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::{BearerCredentials, Credentials, PlainCredentials};
use proptest::prelude::*;

use super::*;

fn password() -> Credentials {
    Credentials::Password(PlainCredentials { user: "anna".into(), password: "geheim".to_owned().into() })
}

fn options(tls: TlsStart) -> Options {
    let login = Login { credentials: password(), act_as: None, mechanism: None };
    Options { tls, login, verified: true, window: 2, compress: false }
}

/// Feeds `input` in pieces of `step` octets; what happened, and all that the client said.
fn feed(session: &mut Session, input: &str, step: usize) -> Result<(Vec<String>, String), ImapError> {
    let mut events = Vec::new();
    let mut said = String::from_utf8(session.take_output().to_vec()).unwrap();
    for piece in input.as_bytes().chunks(step) {
        let mut rest = piece;
        loop {
            let (used, event) = session.receive(rest)?;
            rest = &rest[used..];
            said.push_str(std::str::from_utf8(&session.take_output()).unwrap());
            match event {
                None => break,
                Some(Event::Content(piece)) => events.push(String::from_utf8_lossy(piece).into_owned()),
                Some(Event::Done(_, condition, text)) => events.push(format!("{condition:?} {text}")),
                Some(event) => events.push(format!("{event:?}").chars().take(40).collect()),
            }
        }
        assert_eq!(rest, b"", "without an event everything was used");
    }
    Ok((events, said))
}

fn logged_in(capabilities: &str) -> Session {
    let mut session = Session::new(options(TlsStart::Implicit)).unwrap();
    let login = format!(
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\np1 OK [CAPABILITY IMAP4rev1 {capabilities}] in\r\np2 OK\r\n"
    );
    let (events, _) = feed(&mut session, &login, 100).unwrap();
    assert_eq!(events, ["LoggedIn"]);
    session
}

/// Goal: from the greeting to the first command, at any piece border.
#[test]
fn a_login_in_clear_begins_with_tls_and_forgets_what_was_said_before() {
    for step in 1..60 {
        let mut session = Session::new(options(TlsStart::Stls)).unwrap();
        let clear = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LOGINDISABLED] hi\r\n\
            * CAPABILITY IMAP4rev1 EVIL\r\np1 OK go\r\np2 OK [CAPABILITY EVIL] injected\r\n";
        let (events, said) = feed(&mut session, clear, step).unwrap();
        assert_eq!((events, said.as_str()), (vec!["StartTls".to_owned()], "p1 STARTTLS\r\n"));
        session.tls_established();
        let (events, said) =
            feed(&mut session, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\np2 OK\r\n", step).unwrap();
        assert_eq!((events.len(), said.as_str()), (0, "p2 CAPABILITY\r\np3 AUTHENTICATE PLAIN\r\n"));
        let (_, said) = feed(&mut session, "+ \r\n", step).unwrap();
        assert_eq!(said, "AGFubmEAZ2VoZWlt\r\n");
        let (_, said) = feed(&mut session, "p3 OK in\r\n", step).unwrap();
        assert_eq!(said, "p4 CAPABILITY\r\n");
        let after = "* CAPABILITY IMAP4rev1 ID ENABLE QRESYNC CONDSTORE UTF8=ACCEPT NAMESPACE\r\np4 OK\r\n";
        let (_, said) = feed(&mut session, after, step).unwrap();
        assert_eq!(
            said, "p5 ID (\"name\" \"Postern\")\r\np6 ENABLE QRESYNC UTF8=ACCEPT\r\np7 NAMESPACE\r\n",
            "all at once"
        );
        let (events, _) =
            feed(&mut session, "p5 OK\r\n* ENABLED QRESYNC UTF8=ACCEPT\r\np6 OK\r\np7 BAD what?\r\n", step)
                .unwrap();
        assert_eq!(events, ["LoggedIn"]);
        assert!(session.is_utf8() && session.enabled().condstore() && !session.capabilities().has("EVIL"));
    }
}

#[test]
fn nothing_is_said_to_servers_that_begin_wrongly() {
    let begin = |tls, input: &str| {
        let mut session = Session::new(options(tls)).unwrap();
        let error = feed(&mut session, input, 100).unwrap_err();
        let said = String::from_utf8(session.take_output().to_vec()).unwrap();
        assert!(!said.contains("AUTH") && !said.contains("LOGIN"), "{said}");
        error
    };
    use TlsStart::{Implicit, Stls};
    assert_eq!(begin(Stls, "* PREAUTH hi\r\n"), ImapError::PreAuth);
    assert!(matches!(begin(Implicit, "* PREAUTH hi\r\n"), ImapError::Unsolicited(_)));
    assert!(matches!(begin(Stls, "* BYE full\r\n"), ImapError::Greeting(_)));
    assert!(matches!(begin(Stls, "* OK\r\np1 NO not here\r\n"), ImapError::StartTls(_)));
    assert!(matches!(begin(Stls, "* OK\r\np1 BAD not here\r\n"), ImapError::StartTls(_)));
    assert!(matches!(begin(Stls, "* OK\r\np9 OK\r\n"), ImapError::Unsolicited(_)));
    assert!(matches!(begin(Stls, "* OK\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n"), ImapError::Unsolicited(_)));
    assert!(matches!(begin(Stls, "+OK pop3\r\n"), ImapError::Unsolicited(_)));
    assert!(matches!(begin(Stls, "220 smtp ESMTP\r\n"), ImapError::Response(_)));
    assert!(matches!(
        begin(Implicit, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] hi\r\n"),
        ImapError::NoMechanism(_)
    ));
    let chatter = format!("* OK\r\n{}", "* OK still here\r\n".repeat(200));
    assert!(matches!(begin(Stls, &chatter), ImapError::Unsolicited(_)));
    // A bad set of credentials is told before anybody is called.
    for user in ["", "a\r\nb", "a\0b"] {
        let credentials = PlainCredentials { user: user.into(), password: "x".to_owned().into() };
        let login = Login { credentials: credentials.into(), act_as: None, mechanism: None };
        let refused = Session::new(Options { login, ..options(TlsStart::Implicit) }).map(drop);
        assert_eq!(refused, Err(ImapError::BadCredentials));
    }
}

#[test]
fn the_best_mechanism_is_taken_and_a_wanted_one_only() {
    let said = |credentials: Credentials, act_as: Option<&str>, mechanism, verified, offered: &str| {
        let login = Login { credentials, act_as: act_as.map(str::to_owned), mechanism };
        let options = Options { login, verified, ..options(TlsStart::Implicit) };
        let mut session = Session::new(options).unwrap();
        let greeting = format!("* OK [CAPABILITY IMAP4rev1 SASL-IR {offered}] hi\r\n");
        feed(&mut session, &greeting, 100).map(|(_, said)| said)
    };
    let all = "AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256";
    assert_eq!(
        said(password(), None, None, true, all).unwrap(),
        "p1 AUTHENTICATE PLAIN AGFubmEAZ2VoZWlt\r\n"
    );
    assert!(said(password(), None, None, false, all).unwrap().starts_with("p1 AUTHENTICATE SCRAM-SHA-256 "));
    assert_eq!(
        said(password(), Some("bob"), None, true, all).unwrap(),
        "p1 AUTHENTICATE PLAIN Ym9iAGFubmEAZ2VoZWlt\r\n",
        "a master user acts for bob"
    );
    assert_eq!(said(password(), None, None, true, "").unwrap(), "p1 LOGIN \"anna\" \"geheim\"\r\n");
    assert_eq!(
        said(password(), None, Some(Mechanism::Login), true, all).unwrap(),
        "p1 LOGIN \"anna\" \"geheim\"\r\n"
    );
    let wanted = said(password(), None, Some(Mechanism::ScramSha256), true, "AUTH=PLAIN");
    assert!(matches!(wanted, Err(ImapError::NoMechanism(offers)) if offers == "PLAIN"));
    let token = BearerCredentials { user: "anna".into(), token: "t0ken".to_owned().into() };
    let bearer =
        said(Credentials::Bearer(token.clone()), None, None, true, "AUTH=PLAIN AUTH=XOAUTH2").unwrap();
    assert_eq!(bearer, "p1 AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHQwa2VuAQE=\r\n");
    assert!(said(Credentials::Bearer(token), None, None, true, "AUTH=PLAIN").is_err(), "no token in LOGIN");
    let odd = PlainCredentials { user: "änna".into(), password: "\"\\".to_owned().into() };
    let literal = said(odd.into(), None, None, true, "").unwrap();
    assert_eq!(literal, "p1 LOGIN {5}\r\n", "the server is asked first");
}

#[test]
fn a_failed_login_by_token_ends_in_words() {
    let token = BearerCredentials { user: "anna".into(), token: "t0ken".to_owned().into() };
    let login = Login { credentials: Credentials::Bearer(token), act_as: None, mechanism: None };
    let mut session = Session::new(Options { login, ..options(TlsStart::Implicit) }).unwrap();
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\r\n+ eyJzdGF0dXMiOiI0MDAifQ==\r\n";
    let (_, said) = feed(&mut session, greeting, 100).unwrap();
    assert!(said.ends_with("AQE=\r\n\r\n"), "an empty line: {said:?}");
    let error = feed(&mut session, "p1 NO [AUTHENTICATIONFAILED] token \u{1b}expired\r\n", 100).unwrap_err();
    assert_eq!(error.to_string(), "login by XOAUTH2 refused: [AUTHENTICATIONFAILED] token \u{fffd}expired");
    assert_eq!(error.code(), Some(&Code::AuthenticationFailed));
}

/// Goal: consent of a server that did not show that it knows the password counts for nothing.
#[test]
fn a_server_must_prove_itself_in_scram() {
    let mut session = Session::new(Options { verified: false, ..options(TlsStart::Implicit) }).unwrap();
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hi\r\np1 OK in\r\n";
    assert_eq!(feed(&mut session, greeting, 100), Err(ImapError::Unsolicited("consent")));
    let mut session = Session::new(Options { verified: false, ..options(TlsStart::Implicit) }).unwrap();
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hi\r\n+ cj1hLHM9WA==\r\n";
    assert!(matches!(feed(&mut session, greeting, 100), Err(ImapError::Scram(_))));
}

#[test]
fn commands_are_pipelined_and_literals_wait_to_be_asked_for() {
    let mut session = logged_in("IDLE");
    let tickets: Vec<Ticket> = (0..2).map(|_| session.command(Command::new("NOOP"), "NOOP")).collect();
    let third = session.command(Command::new("EXAMINE ").string("é".as_bytes()).text(" (X)"), "EXAMINE");
    let last = session.command(Command::new("NOOP"), "NOOP");
    assert_eq!(session.outstanding(), 4);
    let (_, said) = feed(&mut session, "", 1).unwrap();
    assert_eq!(said, "p3 NOOP\r\np4 NOOP\r\n", "the window");
    let (events, said) = feed(&mut session, "* 3 EXISTS\r\np3 OK a\r\n", 1).unwrap();
    assert_eq!((events.last().unwrap().as_str(), said.as_str()), ("Ok a", "p5 EXAMINE {2}\r\n"));
    let (_, said) = feed(&mut session, "p4 OK b\r\n", 1).unwrap();
    assert_eq!(said, "", "nothing between a command and its literal");
    let (_, said) = feed(&mut session, "+ go\r\n", 1).unwrap();
    assert_eq!(said, "é (X)\r\np6 NOOP\r\n");
    let mut ended = Vec::new();
    for input in ["p5 NO c\r\n", "p6 BAD d\r\n"] {
        let Ok((_, Some(Event::Done(ticket, ..)))) = session.receive(input.as_bytes()) else {
            panic!("{input}")
        };
        ended.push(ticket);
    }
    assert_eq!(ended, [third, last]);
    assert_ne!(tickets[0], tickets[1]);
    assert!(matches!(feed(&mut session, "p9 OK\r\n", 1), Err(ImapError::Unsolicited(_))));

    let mut session = logged_in("");
    session.command(Command::new("EXAMINE ").string(b"\r\n"), "EXAMINE");
    session.command(Command::new("NOOP"), "NOOP");
    let (events, said) = feed(&mut session, "p3 NO no literals\r\n", 3).unwrap();
    assert_eq!((events[0].as_str(), said.as_str()), ("No no literals", "p3 EXAMINE {2}\r\np4 NOOP\r\n"));
}

#[test]
fn idle_is_ended_before_anything_else_is_said() {
    let mut session = logged_in("IDLE");
    session.idle();
    session.command(Command::new("NOOP"), "NOOP");
    let (events, said) = feed(&mut session, "+ idling\r\n* 4 EXISTS\r\n", 1).unwrap();
    assert_eq!((events, said.as_str()), (vec!["Idles".to_owned(), "Data(Exists(4))".into()], "p3 IDLE\r\n"));
    session.end_idle();
    let (events, said) = feed(&mut session, "p3 OK\r\n", 1).unwrap();
    assert_eq!((events[0].as_str(), said.as_str()), ("Ok (no reason given)", "DONE\r\np4 NOOP\r\n"));
    session.end_idle();
    assert_eq!(*session.take_output(), b"", "no IDLE is under way");
    assert_eq!(
        feed(&mut session, "* BYE later\r\n", 1).map(drop),
        Err(ImapError::Bye(Text { code: None, words: "later".into() }))
    );
}

#[test]
fn content_is_handed_on_with_what_is_known_of_it() {
    let mut session = logged_in("");
    session.command(Command::new("UID FETCH 5 (UID BODY.PEEK[])"), "FETCH");
    let input = "* 1 FETCH (UID 5 BODY[] {4}\r\nab\r\n)\r\np3 OK\r\n";
    let (events, _) = feed(&mut session, input, 1000).unwrap();
    assert_eq!(events[..2], ["ContentBegins(Some(5), 4)", "ab\r\n"]);
    assert!(events[2].starts_with("Data(Fetch(Fetch { number: 1"));
    assert!(!format!("{session:?}").contains("geheim"));
    assert!(UidSet::parse("5").is_some());
}

proptest! {
    /// Goal: whatever a server says, in whatever pieces, nothing panics, everything is used or refused, and no password is
    /// sent before TLS.
    #[test]
    fn no_server_gets_a_password_in_clear(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            "* OK hi\r\n", "* PREAUTH x\r\n", "* BYE\r\n", "p1 OK\r\n", "p1 NO\r\n", "p2 OK\r\n", "p3 OK\r\n", "+ \r\n", "+ YQ==\r\n",
            "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", "* OK [CAPABILITY AUTH=PLAIN] x\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n",
            "* 1 FETCH (UID 1)\r\n", "* LIST () NIL {3}\r\nabc\r\n", "\r\n", "junk", "{9}\r\n",
        ]), 0..30),
        step in 1..40_usize,
    ) {
        let mut session = Session::new(options(TlsStart::Stls)).unwrap();
        let input = lines.concat();
        let heard = feed(&mut session, &input, step);
        let said = heard.map(|(_, said)| said).unwrap_or_default();
        prop_assert!(["", "p1 STARTTLS\r\n"].contains(&said.as_str()), "{}", said);
    }
}
