//! Logins without a socket, each script whole and in pieces of every size.
//!
//! ```text
//! S: what the server says        C: what the client must have said by then
//! TLS: the machine must want a handshake, and gets it        READY: it must be done
//! ```

use postern_shared::proto::sasl::{BearerCredentials, Credentials, Mechanism, PlainCredentials};

use super::super::error::{LoginError, RefusalKind};
use super::super::login::{Identity, Login, Progress};
use super::super::{Pop3Login, SmtpLogin};
use super::{password, token};

/// Plays a script; the error is the machine's.
fn play(mut login: impl Login, script: &str, piece: usize) -> Result<(), LoginError> {
    let mut said = Vec::new();
    let mut progress = Progress::GoOn;
    let steps: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (at, step) in steps.iter().enumerate() {
        if let Some(line) = step.strip_prefix("S:") {
            said.extend_from_slice(line.strip_prefix(' ').unwrap_or(line).as_bytes());
            said.extend_from_slice(b"\r\n");
            // Lines in a row are one flight.
            if steps.get(at + 1).is_some_and(|next| next.starts_with("S:")) {
                continue;
            }
            assert_eq!(progress, Progress::GoOn, "before {step}");
            for mut input in std::mem::take(&mut said).chunks(piece) {
                while !input.is_empty() {
                    let (used, now) = login.receive(input)?;
                    assert!(used > 0, "stuck at {step}");
                    (input, progress) = (&input[used..], now);
                }
            }
        } else if let Some(line) = step.strip_prefix("C: ") {
            let expected = format!("{line}\r\n");
            assert_eq!(String::from_utf8_lossy(&login.output()), expected, "piece {piece}");
        } else if *step == "TLS" {
            assert_eq!(progress, Progress::StartTls);
            login.tls_started();
            progress = Progress::GoOn;
        } else if *step == "READY" {
            assert_eq!(progress, Progress::Ready);
            assert!(login.output().is_empty());
        } else {
            panic!("what is {step}?");
        }
    }
    Ok(())
}

fn plays<L: Login>(login: impl Fn() -> L, script: &str) {
    for piece in (1..60).chain([usize::MAX]) {
        play(login(), script, piece).unwrap_or_else(|error| panic!("in pieces of {piece}: {error}"));
    }
}

fn smtp(identity: &Identity) -> SmtpLogin {
    SmtpLogin::new("gw.example", Some(identity.clone()))
}

fn under_tls<L: Login>(mut login: L) -> L {
    login.tls_started();
    login
}

const SMTP_IN_CLEAR: &str = "
    S: 220-mx.example ESMTP
    S: 220 ready
    C: EHLO gw.example
    S: 250-mx.example
    S: 250-AUTH PLAIN LOGIN XOAUTH2
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 2.0.0 Go
    TLS
    C: EHLO gw.example
";

#[test]
fn smtp_asks_again_under_tls_and_after_the_login() {
    let script = format!(
        "{SMTP_IN_CLEAR}
        S: 250-mx.example
        S: 250 AUTH LOGIN PLAIN
        C: AUTH PLAIN AGFubmEAZ2VoZWlt
        S: 235 2.7.0 Authentication successful
        C: EHLO gw.example
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250 SIZE 1000
        READY"
    );
    plays(|| smtp(&password()), &script);
    let without = format!("{SMTP_IN_CLEAR}\nS: 250 mx.example\nREADY");
    plays(|| SmtpLogin::new("gw.example", None), &without);
}

/// Goal: a server that echoes what it was sent puts no secret into logs and replies; other words stay.
#[test]
fn words_that_hold_a_secret_are_not_shown() {
    let smtp_auth = "S: 220 mx.example\nC: EHLO gw.example\nS: 250-mx\nS: 250 AUTH PLAIN XOAUTH2\nC: AUTH ";
    let pop3_auth = "S: +OK\nC: CAPA\nS: +OK\n";
    let (plain, bearer) = ("AGFubmEAZ2VoZWlt", "dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHQwa2VuAQE=");
    for (identity, mechanism, response) in [(password(), "PLAIN", plain), (token(), "XOAUTH2", bearer)] {
        for (words, hidden) in [
            ("geheim is wrong for t0ken", true),
            ("Z2VoZWlt what? dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHQwa2VuAQE=", true),
            (&*format!("I do not know AUTH {mechanism} {response}"), true),
            ("anna may not AQ==", false),
        ] {
            let scripts = ["535 ", "299 ", "? "]
                .map(|code| format!("{smtp_auth}{mechanism} {response}\nS: {code}{words}"));
            for script in scripts {
                let error = play(under_tls(smtp(&identity)), &script, usize::MAX).unwrap_err();
                assert_eq!(error.to_string().contains("(words that hold"), hidden, "{script}: {error}");
                assert_eq!(error.to_string().contains(words), !hidden, "{script}: {error}");
            }
            let user_pass = "S: USER\nS: .\nC: USER anna\nS: +OK\nC: PASS geheim";
            let two_step = format!("S: SASL XOAUTH2\nS: .\nC: AUTH XOAUTH2\nS: + \nC: {response}");
            let dialogue = if mechanism == "PLAIN" { user_pass } else { &two_step };
            for answer in ["-ERR ", "? "] {
                let script = format!("{pop3_auth}{dialogue}\nS: {answer}{words}");
                let error =
                    play(under_tls(Pop3Login::new(Some(identity.clone()))), &script, usize::MAX).unwrap_err();
                assert_eq!(error.to_string().contains("(words that hold"), hidden, "{script}: {error}");
                assert_eq!(error.to_string().contains(words), !hidden, "{script}: {error}");
            }
        }
    }
}

#[test]
fn smtp_knows_every_mechanism() {
    for (identity, dialogue) in [
        (
            password(),
            "S: 250 AUTH LOGIN XOAUTH2
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: YW5uYQ==
            S: 334 UGFzc3dvcmQ6
            C: Z2VoZWlt",
        ),
        (
            token(),
            "S: 250 AUTH PLAIN XOAUTH2 OAUTHBEARER
            C: AUTH XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHQwa2VuAQE=",
        ),
        (
            token(),
            "S: 250 AUTH PLAIN OAUTHBEARER
            C: AUTH OAUTHBEARER bixhPWFubmEsAWF1dGg9QmVhcmVyIHQwa2VuAQE=",
        ),
    ] {
        let script = format!(
            "S: 220 hi\nC: EHLO gw.example\nS: 250-mx.example\n{dialogue}\nS: 235 ok\nC: EHLO gw.example\nS: 502 no\nREADY"
        );
        plays(|| under_tls(smtp(&identity)), &script);
    }
}

/// Goal: a response too long for the command goes on a line of its own.
#[test]
fn long_tokens_take_two_steps() {
    let bearer = BearerCredentials { user: "anna".into(), token: "x".repeat(3000).into() };
    let preferred = Some(Mechanism::OAuthBearer);
    let identity = Identity::new(Credentials::Bearer(bearer), preferred).unwrap();
    let greeting = "S: 220 hi\nC: EHLO gw.example\nS: 250-mx.example\nS: 250 AUTH XOAUTH2 OAUTHBEARER";
    plays(|| under_tls(smtp(&identity)), &format!("{greeting}\nC: AUTH OAUTHBEARER"));
    let mut login = under_tls(smtp(&identity));
    for line in ["220 hi\r\n", "250-mx\r\n250 AUTH XOAUTH2\r\n", "334 \r\n"] {
        login.receive(line.as_bytes()).unwrap();
        let out = login.output();
        assert!(line != "334 \r\n" || out.len() > 4000);
    }
    // An error report is answered, and then comes the no.
    login.receive(b"334 eyJzdGF0dXMiOiI0MDAifQ==\r\n").unwrap();
    assert_eq!(&*login.output(), b"\r\n");
    let refused = login.receive(b"535 5.7.8 no\r\n").unwrap_err();
    assert!(matches!(refused, LoginError::Refused(no) if no.kind == RefusalKind::Credentials));
}

#[test]
fn pop3_asks_again_under_tls_and_after_the_login() {
    let in_clear = "
        S: +OK Dovecot ready.
        C: STLS
        S: +OK Begin TLS negotiation now.
        TLS
        C: CAPA";
    for (identity, dialogue) in [
        (password(), "S: SASL PLAIN\nS: .\nC: AUTH PLAIN AGFubmEAZ2VoZWlt\nS: +OK Logged in."),
        (password(), "S: USER\nS: .\nC: USER anna\nS: +OK\nC: PASS geheim\nS: +OK"),
        (
            password(),
            "S: SASL LOGIN\nS: .\nC: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: YW5uYQ==\nS: +\nC: Z2VoZWlt\nS: +OK",
        ),
        (
            token(),
            "S: SASL PLAIN XOAUTH2\nS: .\nC: AUTH XOAUTH2\nS: +
            C: dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHQwa2VuAQE=\nS: +OK",
        ),
    ] {
        let script = format!("{in_clear}\nS: +OK\nS: TOP\n{dialogue}\nC: CAPA\nS: +OK\nS: UIDL\nS: .\nREADY");
        plays(|| Pop3Login::new(Some(identity.clone())), &script);
    }
    let old = "S: +OK\nC: CAPA\nS: -ERR what?\nC: USER anna\nS: +OK\nC: PASS geheim\nS: +OK\nC: CAPA\nS: -ERR what?\nREADY";
    plays(|| under_tls(Pop3Login::new(Some(password()))), old);
    plays(|| Pop3Login::new(None), &format!("{in_clear}\nS: +OK\nS: UIDL\nS: .\nREADY"));
}

/// Goal: without TLS nothing is said that could tell who it is, and what came before TLS is not believed.
#[test]
fn nobody_gets_a_password_in_clear() {
    for script in [
        "S: 220 hi\nC: EHLO gw.example\nS: 250-mx.example\nS: 250 AUTH PLAIN",
        "S: 220 hi\nC: EHLO gw.example\nS: 502 what?",
    ] {
        for piece in [1, 7, usize::MAX] {
            assert_eq!(play(smtp(&password()), script, piece), Err(LoginError::NoTls("STARTTLS")));
        }
    }
    let error = play(Pop3Login::new(Some(password())), "S: +OK\nC: STLS\nS: -ERR what?", 3);
    assert_eq!(error, Err(LoginError::NoTls("STLS")));
    let script = format!("{SMTP_IN_CLEAR}\nS: 250 mx.example");
    let error = play(smtp(&password()), &script, 5);
    assert_eq!(
        error,
        Err(LoginError::NoMechanism { token: false, offered: Vec::new() }),
        "AUTH was in clear"
    );
}

#[test]
fn what_was_not_asked_for_ends_it() {
    let whole = usize::MAX;
    for (script, expected) in [
        ("S: 220 hi\nS: 250 STARTTLS", "the server answered before it was asked"),
        ("S: 220 hi\nC: EHLO gw.example\nS: 250-mx\nS: 250 STARTTLS\nS: 220 go", "before it was asked"),
        (
            "S: 220 hi\nC: EHLO gw.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 AUTH",
            "in clear",
        ),
    ] {
        let error = play(smtp(&password()), script, whole).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (script, expected) in
        [("S: +OK\nS: +OK", "before it was asked"), ("S: +OK\nC: STLS\nS: +OK\nS: +OK", "in clear")]
    {
        let error = play(Pop3Login::new(Some(password())), script, whole).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Goal: a server cannot agree to a login that was not given, nor ask for more than there is.
#[test]
fn a_login_is_taken_only_once_it_was_given() {
    let smtp_to_auth = "S: 220 hi\nC: EHLO gw.example\nS: 250-mx\nS: 250 AUTH LOGIN\nC: AUTH LOGIN";
    for more in [
        "S: 235 ok",
        "S: 334 a\nC: YW5uYQ==\nS: 235 ok",
        "S: 250 ok",
        "S: 334 \nC: YW5uYQ==\nS: 334 \nC: Z2VoZWlt\nS: 334 x",
    ] {
        let error = play(under_tls(smtp(&password())), &format!("{smtp_to_auth}\n{more}"), 9).unwrap_err();
        assert!(matches!(error, LoginError::Unexpected { to: "the login", .. }), "{error}");
    }
    let script = "S: +OK\nC: CAPA\nS: +OK\nS: SASL XOAUTH2\nS: .\nC: AUTH XOAUTH2\nS: +OK";
    let error = play(under_tls(Pop3Login::new(Some(token()))), script, 9).unwrap_err();
    assert!(matches!(error, LoginError::Unexpected { .. }), "{error}");
}

#[test]
fn refusals_are_told_apart() {
    let smtp_kind = |at_greeting: bool, answer: &str| {
        let script = match at_greeting {
            true => format!("S: {answer}"),
            false => format!(
                "S: 220 hi\nC: EHLO gw.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AGFubmEAZ2VoZWlt\nS: {answer}"
            ),
        };
        match play(under_tls(smtp(&password())), &script, 4) {
            Err(LoginError::Refused(no)) => no.kind,
            other => panic!("{other:?}"),
        }
    };
    use RefusalKind::{Busy, Credentials, InUse, Permanent};
    for (at_greeting, answer, kind) in [
        (true, "421 4.7.0 too many", Busy),
        (true, "554 no service", Permanent),
        (false, "535 5.7.8 wrong", Credentials),
        (false, "550 5.7.1 wrong", Credentials),
        (false, "534 5.7.9 app password", Permanent),
        (false, "504 no such mechanism", Permanent),
        (false, "454 4.7.0 later", Busy),
        (false, "421 4.3.2 going down", Busy),
    ] {
        assert_eq!(smtp_kind(at_greeting, answer), kind, "{answer}");
    }
    let pop3_kind = |capability: &str, answer: &str| {
        let script = format!(
            "S: +OK\nC: CAPA\nS: +OK\nS: {capability}\nS: .\nC: USER anna\nS: +OK\nC: PASS geheim\nS: {answer}"
        );
        match play(under_tls(Pop3Login::new(Some(password()))), &script, 4) {
            Err(LoginError::Refused(no)) => no.kind,
            other => panic!("{other:?}"),
        }
    };
    for (capability, answer, kind) in [
        ("RESP-CODES", "-ERR wrong", Credentials),
        ("AUTH-RESP-CODE", "-ERR odd", Busy),
        ("AUTH-RESP-CODE", "-ERR [AUTH] wrong", Credentials),
        ("USER", "-ERR [IN-USE] locked", InUse),
        ("USER", "-ERR [SYS/TEMP] later", Busy),
        ("USER", "-ERR [LOGIN-DELAY] later", Busy),
        ("USER", "-ERR [SYS/PERM] never", Permanent),
    ] {
        assert_eq!(pop3_kind(capability, answer), kind, "{answer}");
    }
    let greeting = play(Pop3Login::new(None), "S: -ERR [SYS/TEMP] later", 4);
    assert!(matches!(greeting, Err(LoginError::Refused(no)) if no.kind == Busy));
}

#[test]
fn what_would_break_a_line_is_no_credential() {
    for (user, secret) in [("", "x"), ("x", ""), ("a\r\nQUIT", "x"), ("x", "a\nb"), ("x", "a\0b")] {
        let plain = PlainCredentials { user: user.into(), password: secret.into() };
        let error = Identity::new(Credentials::Password(plain), None).unwrap_err();
        assert_eq!(error, LoginError::BadCredentials, "{user:?} {secret:?}");
    }
    let shown = format!("{:?} {:?}", smtp(&password()), Pop3Login::new(Some(token())));
    assert!(!shown.contains("geheim") && !shown.contains("t0ken"), "{shown}");
}
