//! The session's rules, without a socket. Whole dialogues are in `tests/dialogues/pop3`.

use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::pop3::{Reply, ResponseCode};
use postern_shared::proto::sasl::PlainCredentials;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::maildrop::{DeleteError, Entry, Locks, LoginError, Maildrop};
use super::session::{Action, BAD_LINES_MAX, Event, LOGIN_FAILURES_MAX, LoginRefusal, Session};

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([0xa; 8])
}

fn entry(number: u8) -> Entry {
    let mut id = [0; 16];
    id[15] = number;
    Entry { id: MessageId::from_bytes(id), served_bytes: u64::from(number) * 100 }
}

fn maildrop(messages: u8) -> Maildrop {
    Maildrop::new(Locks::default().take(mailbox()).unwrap(), (1..=messages).map(entry).collect())
}

/// What the session does on `event`, one word or reply for each action.
fn done(session: &mut Session, event: Event<'_>) -> Vec<String> {
    let mut actions = Vec::new();
    session.handle(event, &mut actions);
    actions
        .into_iter()
        .map(|action| match action {
            Action::Send(bytes) => String::from_utf8(bytes).unwrap().trim_end().replace("\r\n", "|"),
            Action::SendList(mut list) => {
                let mut out = Vec::new();
                // The smallest bound: one line at a time.
                while !session.write_list(&mut list, out.len() + 1, &mut out) {}
                String::from_utf8(out).unwrap().replace("\r\n", "|")
            }
            Action::SendMessage { entry, body_lines } => format!("message {} {body_lines:?}", entry.id),
            Action::StartTls => "start TLS".into(),
            Action::Authenticate(PlainCredentials { user, password }) => {
                format!("authenticate {user} {}", password.expose_secret())
            }
            Action::LogInElsewhere(credentials) => format!("elsewhere {}", credentials.user()),
            Action::HandOver => "hand over".into(),
            Action::Pause => "pause".into(),
            Action::Delete(mailbox, ids) => format!("delete {mailbox} {ids:?}"),
            Action::Close => "close".into(),
        })
        .collect()
}

fn line(session: &mut Session, line: &str) -> String {
    done(session, Event::Line(line.as_bytes())).join(", ")
}

fn in_transaction(messages: u8) -> Session {
    let mut session = Session::new(true);
    line(&mut session, "USER x");
    line(&mut session, "PASS y");
    done(&mut session, Event::Login(Ok(maildrop(messages))));
    session
}

/// Goal: no way to log in before TLS, and none announced.
#[test]
fn credentials_are_neither_asked_for_nor_taken_in_clear() {
    let mut session = Session::new(false);
    let capabilities = line(&mut session, "CAPA");
    assert!(capabilities.contains("|STLS|"), "{capabilities}");
    assert!(!capabilities.contains("USER") && !capabilities.contains("SASL"), "{capabilities}");
    for command in ["USER x", "PASS y", "AUTH", "AUTH PLAIN", "AUTH PLAIN AHgAeQ==", "AUTH LOGIN"] {
        let answer = line(&mut session, command);
        assert_eq!(answer, "-ERR Use STLS first: no credentials are taken in clear", "{command}");
    }
    assert_eq!(line(&mut session, "STLS"), "+OK Begin TLS negotiation, start TLS");
    done(&mut session, Event::TlsEstablished);
    let capabilities = line(&mut session, "CAPA");
    assert!(capabilities.contains("|USER|SASL PLAIN|") && !capabilities.contains("STLS"), "{capabilities}");
    assert_eq!(line(&mut session, "STLS"), "-ERR TLS is already active");
}

/// RFC 2595 §4: what was said before TLS is forgotten after it.
#[test]
fn tls_forgets_what_was_said_in_clear() {
    let mut session = Session::new(false);
    line(&mut session, "UTF8");
    line(&mut session, "STLS");
    done(&mut session, Event::TlsEstablished);
    line(&mut session, "USER x");
    assert_eq!(line(&mut session, "PASS pä"), "-ERR invalid character in command");
}

#[test]
fn logins_by_every_way_are_the_same() {
    for script in [
        &["USER x", "PASS y z"][..],
        &["AUTH PLAIN AHgAeSB6"],
        &["auth plain", "AHgAeSB6"],
        &["UTF8", "USER x", "PASS y z"],
    ] {
        let mut session = Session::new(true);
        let answers: Vec<_> = script.iter().map(|text| line(&mut session, text)).collect();
        assert_eq!(answers.last().unwrap(), "authenticate x y z", "{script:?}");
        let opened = done(&mut session, Event::Login(Ok(maildrop(2))));
        assert_eq!(opened, ["+OK Maildrop has 2 messages, 300 octets"]);
    }
}

#[test]
fn a_sasl_exchange_can_be_cancelled_and_garbled() {
    let mut session = Session::new(true);
    assert_eq!(line(&mut session, "AUTH PLAIN"), "+");
    assert_eq!(line(&mut session, "*"), "-ERR the login was cancelled");
    line(&mut session, "AUTH PLAIN");
    assert_eq!(line(&mut session, "QUIT"), "-ERR the response is no PLAIN message", "it is a response");
    line(&mut session, "AUTH PLAIN");
    assert_eq!(done(&mut session, Event::LineTooLong), ["-ERR line too long"]);
    assert_eq!(line(&mut session, "AUTH"), "+OK Mechanisms follow|PLAIN|.");
    assert_eq!(line(&mut session, "AUTH CRAM-MD5"), "-ERR AUTH is offered with PLAIN only");
    assert_eq!(line(&mut session, "QUIT"), "+OK Bye, close");
}

/// Goal: names with the divider go to the proxy, by every mechanism; the others stay here, and are opened by passwords only.
#[test]
fn names_with_the_divider_are_the_proxys() {
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let route = "anna@example.com%pop.example.com%mbx-000000000000000a";
    let token = |user: &str| encode(&format!("user={user}\u{1}auth=Bearer t\u{1}\u{1}"));
    let plain = |user: &str| encode(&format!("\0{user}\0y"));
    let fresh = || Session::new(true).beside_proxy(Some('%'));
    let last = |session: &mut Session, script: &[String]| {
        script.iter().map(|text| line(session, text)).last().expect("a line")
    };
    for script in [
        vec![format!("USER {route}"), "PASS y".into()],
        vec![format!("AUTH PLAIN {}", plain(route))],
        vec!["AUTH LOGIN".into(), encode(route), encode("y")],
        vec!["AUTH XOAUTH2".into(), token(route)],
        vec![format!("AUTH xoauth2 {}", token(route))],
        vec![format!("AUTH OAUTHBEARER {}", encode(&format!("n,a={route},\u{1}auth=Bearer t\u{1}\u{1}")))],
    ] {
        let mut session = fresh();
        assert_eq!(last(&mut session, &script), format!("elsewhere {route}"), "{script:?}");
        let refused = Reply::err("No such account").with(ResponseCode::Auth);
        assert_eq!(
            done(&mut session, Event::Elsewhere(Err(refused))),
            ["pause", "-ERR [AUTH] No such account"]
        );
        assert_eq!(last(&mut session, &script), format!("elsewhere {route}"), "again");
        assert_eq!(done(&mut session, Event::Elsewhere(Ok(()))), ["+OK Logged in", "hand over"]);
        assert!(session.maildrop().is_none());
        assert!(line(&mut session, "STAT").is_empty(), "nothing is answered any more");
    }
    let mut session = fresh();
    let here = [format!("AUTH PLAIN {}", plain("mbx-000000000000000a"))];
    assert_eq!(last(&mut session, &here), "authenticate mbx-000000000000000a y");
    let mut session = fresh();
    let refusal = "pause, -ERR [AUTH] A mailbox of the gateway is opened by its password, not by a token";
    let here = [format!("AUTH XOAUTH2 {}", token("mbx-000000000000000a"))];
    assert_eq!(last(&mut session, &here), refusal);
    assert!(line(&mut session, "CAPA").contains("|SASL PLAIN LOGIN XOAUTH2 OAUTHBEARER|"));
    assert_eq!(line(&mut session, "AUTH"), "+OK Mechanisms follow|PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|.");
    let mut alone = Session::new(true);
    assert!(line(&mut alone, &format!("AUTH XOAUTH2 {}", token(route))).starts_with("-ERR AUTH is offered"));
    assert_eq!(
        last(&mut alone, &[format!("USER {route}"), "PASS y".into()]),
        format!("authenticate {route} y")
    );
}

#[test]
fn failed_logins_wait_and_the_third_closes() {
    let mut session = Session::new(true);
    let refusals = [
        (LoginRefusal::Denied(LoginError::WrongPassword), "-ERR [AUTH] Wrong user name or password"),
        (LoginRefusal::InUse, "-ERR [IN-USE] Another session holds this maildrop"),
        (LoginRefusal::Denied(LoginError::Temporary), "-ERR [SYS/TEMP] Login is not possible now"),
    ];
    for (attempt, (refusal, expected)) in (1..).zip(refusals) {
        assert_eq!(
            line(&mut session, "PASS y"),
            "-ERR Send USER first",
            "after a failure USER is needed again"
        );
        line(&mut session, "USER x");
        line(&mut session, "PASS y");
        let mut actions = done(&mut session, Event::Login(Err(refusal)));
        assert_eq!(actions.remove(0), "pause", "before the answer");
        assert_eq!(actions.remove(0), expected);
        assert_eq!(actions == ["close"], attempt == LOGIN_FAILURES_MAX);
    }
}

#[test]
fn who_talks_nonsense_before_login_is_shown_out() {
    let mut session = Session::new(false);
    let answers: Vec<_> = (0..BAD_LINES_MAX).map(|_| line(&mut session, "GET / HTTP/1.1")).collect();
    let (last, others) = answers.split_last().unwrap();
    assert!(others.iter().all(|answer| answer == "-ERR unknown command"));
    assert_eq!(last, "-ERR unknown command, close");
    let mut session = in_transaction(1);
    assert!((0..100).all(|_| line(&mut session, "XYZZY") == "-ERR unknown command"), "after login it may");
}

#[test]
fn numbers_stay_while_messages_are_marked_and_unmarked() {
    let mut session = in_transaction(3);
    assert_eq!(line(&mut session, "STAT"), "+OK 3 600");
    assert_eq!(line(&mut session, "DELE 2"), "+OK Message 2 marked");
    assert_eq!(line(&mut session, "STAT"), "+OK 2 400");
    assert_eq!(line(&mut session, "LIST"), "+OK 2 messages, 1 100|3 300|.|");
    let uidl = "+OK 2 messages, 1 00000000000000000000000001|3 00000000000000000000000003|.|";
    assert_eq!(line(&mut session, "UIDL"), uidl);
    for command in ["DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2", "RETR 4", "DELE 4294967295"] {
        assert_eq!(line(&mut session, command), "-ERR No such message", "{command}");
    }
    assert_eq!(line(&mut session, "LIST 3"), "+OK 3 300");
    assert_eq!(line(&mut session, "RETR 3"), "message 00000000000000000000000003 None");
    assert_eq!(line(&mut session, "TOP 3 5"), "message 00000000000000000000000003 Some(5)");
    assert_eq!(line(&mut session, "RSET"), "+OK No message is marked");
    assert_eq!(line(&mut session, "UIDL 2"), "+OK 2 00000000000000000000000002");
    assert_eq!(line(&mut session, "QUIT"), "+OK Bye, close", "nothing is deleted");
}

/// Goal: QUIT says +OK only after the deletion is on disk, and the lock is held until then.
#[test]
fn quit_confirms_only_what_is_on_disk() {
    for (outcome, expected) in [
        (Ok(()), "+OK Bye"),
        (
            Err(DeleteError { mailbox: mailbox(), what: "disk full".into() }),
            "-ERR [SYS/TEMP] Messages marked were not deleted",
        ),
    ] {
        let locks = Locks::default();
        let mut session = in_transaction(0);
        let entries = (1..=3).map(entry).collect();
        session.handle(
            Event::Login(Ok(Maildrop::new(locks.take(mailbox()).unwrap(), entries))),
            &mut Vec::new(),
        );
        line(&mut session, "DELE 1");
        line(&mut session, "DELE 3");
        let deleting = line(&mut session, "QUIT");
        assert_eq!(deleting, format!("delete {} {:?}", mailbox(), [entry(1).id, entry(3).id]));
        assert!(locks.take(mailbox()).is_none(), "held while deleting");
        assert_eq!(done(&mut session, Event::Deleted(outcome)), [expected, "close"]);
        assert!(locks.take(mailbox()).is_some());
    }
}

#[test]
fn an_empty_maildrop_lists_nothing() {
    let mut session = in_transaction(0);
    assert_eq!(line(&mut session, "STAT"), "+OK 0 0");
    assert_eq!(line(&mut session, "UIDL"), "+OK 0 messages, .|");
    assert_eq!(line(&mut session, "LIST 1"), "-ERR No such message");
}

#[test]
fn commands_of_the_other_state_are_refused() {
    let mut session = Session::new(true);
    for command in ["STAT", "LIST", "RETR 1", "DELE 1", "RSET", "NOOP"] {
        assert_eq!(line(&mut session, command), "-ERR Log in first", "{command}");
    }
    let mut session = in_transaction(1);
    for command in ["USER x", "PASS y", "AUTH PLAIN", "STLS", "UTF8"] {
        assert_eq!(line(&mut session, command), "-ERR Not after login", "{command}");
    }
}

proptest! {
    /// Goal: from any state, any line gives exactly one reply or one thing to do, never a panic; and without TLS
    /// nobody is ever authenticated.
    #[test]
    fn any_lines_are_answered(
        tls: bool,
        lines in proptest::collection::vec(
            prop_oneof![
                3 => proptest::sample::select(&["USER x", "PASS y", "AUTH PLAIN", "AHgAeQ==", "STLS", "CAPA", "QUIT",
                    "LIST", "UIDL 1", "RETR 1", "DELE 1", "DELE 2", "RSET", "TOP 1 1", "STAT", "UTF8"][..])
                    .prop_map(|line| line.as_bytes().to_vec()),
                1 => proptest::collection::vec(any::<u8>(), 0..20),
            ],
            0..40,
        ),
    ) {
        let mut session = Session::new(tls);
        let mut secure = tls;
        for line in &lines {
            let mut actions = Vec::new();
            session.handle(Event::Line(line), &mut actions);
            prop_assert!(!actions.is_empty());
            match actions.pop() {
                Some(Action::StartTls) => {
                    secure = true;
                    session.handle(Event::TlsEstablished, &mut actions);
                }
                Some(Action::Authenticate(_)) => {
                    prop_assert!(secure);
                    session.handle(Event::Login(Ok(maildrop(2))), &mut actions);
                }
                Some(Action::Delete(..)) => {
                    session.handle(Event::Deleted(Ok(())), &mut actions);
                    break;
                }
                Some(Action::Close) => break,
                _ => {}
            }
        }
    }
}
