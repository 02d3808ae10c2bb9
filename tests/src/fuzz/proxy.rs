//! What servers send to the proxy: answers over SMTP, and whole logins in both protocols.

use postern_gateway::proxy::upstream::{Identity, Login, Pop3Login, Progress, SmtpLogin};
use postern_shared::proto::sasl::{BearerCredentials, Credentials, PlainCredentials};
use postern_shared::proto::smtp::answer::{Answer, AnswerReader, BadAnswer, LINES_MAX};
use postern_shared::proto::smtp::extensions::Extensions;
use postern_shared::proto::smtp::reply::Reply;

use super::octets::{Octets, pieces};

/// Octets are the same answers, or the same error, however they are cut; an answer is bounded and holds nothing that
/// controls a terminal; passed on it is read again as the same.
pub(super) fn answer(data: &[u8]) {
    let (answers, error) = answers_in(&[data]);
    let mut parts = pieces(data);
    if let Some(first) = data.first() {
        parts.insert(0, std::slice::from_ref(first));
    }
    assert_eq!(answers_in(&parts), (answers.clone(), error), "cut differently");
    for answer in answers {
        assert!((200..600).contains(&answer.code) && (1..=LINES_MAX).contains(&answer.lines.len()));
        assert!(answer.lines.iter().all(|line| !line.contains(|c: char| c.is_control() && c != '\t')));
        let extensions = Extensions::read(&answer);
        assert!(extensions.auth.len() <= 4);
        assert!(answer.enhanced().is_none_or(|code| answer.lines[0].starts_with(code)));
        let tabless = answer.lines.iter().all(|line| !line.contains('\t'));
        let written = Reply::from(answer.clone()).to_bytes();
        assert!(!tabless || answers_in(&[&written]) == (vec![answer], None));
    }
}

fn answers_in(pieces: &[&[u8]]) -> (Vec<Answer>, Option<BadAnswer>) {
    let (mut reader, mut found) = (AnswerReader::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            match reader.read(piece) {
                Ok((used, answer)) => {
                    assert!(used > 0, "stuck");
                    found.extend(answer);
                    piece = &piece[used..];
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

const PASSWORD: &str = "open sesame 1001";

/// Lines that lead on, so that no luck is needed to get anywhere.
const LINES: [&[u8]; 14] = [
    b"220 mx.example.com ESMTP\r\n",
    b"250-mx.example.com\r\n250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n250 STARTTLS\r\n",
    b"250-mx.example.com\r\n250 AUTH LOGIN\r\n",
    b"334 \r\n",
    b"235 2.7.0 ok\r\n",
    b"535 5.7.8 no\r\n",
    b"421 later\r\n",
    b"+OK\r\n",
    b"+OK\r\nSASL PLAIN XOAUTH2\r\nUIDL\r\n.\r\n",
    b"+OK\r\nUSER\r\n.\r\n",
    b"+ \r\n",
    b"-ERR [IN-USE] no\r\n",
    b"-ERR\r\n",
    b".\r\n",
];

/// Whatever a server says: no credential before TLS, whole lines only, no login that was not given, and no secret in what
/// is shown of the machine.
///
/// The first octet chooses protocol, TLS and credentials; then each octet chooses a line above, or a piece of its own.
pub(super) fn login(data: &[u8]) {
    let mut octets = Octets::new(data);
    let kind = octets.next().unwrap_or(0);
    let user = || "anna@example.com".to_owned();
    let plain = || Credentials::Password(PlainCredentials { user: user(), password: PASSWORD.into() });
    let bearer = || Credentials::Bearer(BearerCredentials { user: user(), token: "t0ken.t0ken".into() });
    let identity = match kind % 4 {
        0 => None,
        1 => Identity::new(bearer(), None).ok(),
        _ => Identity::new(plain(), None).ok(),
    };
    let known = identity.is_some();
    if kind & 4 == 0 {
        one_login(SmtpLogin::new("gateway.example.com", identity), kind & 8 != 0, known, octets);
    } else {
        one_login(Pop3Login::new(identity), kind & 8 != 0, known, octets);
    }
}

fn one_login(mut login: impl Login + std::fmt::Debug, implicit: bool, known: bool, mut octets: Octets<'_>) {
    let (mut tls, mut proven) = (implicit, false);
    if implicit {
        login.tls_started();
    }
    while let Some(choice) = octets.next() {
        let mut input = LINES.get(usize::from(choice) % 20).copied().unwrap_or_else(|| octets.piece());
        while !input.is_empty() {
            assert!(!login.awaits().is_empty());
            let Ok((used, progress)) = login.receive(input) else { return };
            assert!(used > 0 && used <= input.len());
            input = &input[used..];
            match progress {
                Progress::GoOn => {}
                Progress::StartTls => {
                    assert!(!tls && input.is_empty(), "octets in clear behind the consent to TLS");
                    tls = true;
                    login.tls_started();
                }
                Progress::Ready => {
                    assert!(tls && (proven || !known), "a login that was not given");
                    return assert!(input.is_empty());
                }
            }
        }
        let out = login.output();
        let said = String::from_utf8_lossy(&out);
        assert!(said.is_empty() || said.ends_with("\r\n") && said.matches('\n').count() == 1, "{said:?}");
        let harmless = ["EHLO gateway.example.com\r\n", "STARTTLS\r\n", "STLS\r\n", "CAPA\r\n", ""];
        assert!(tls || harmless.contains(&&*said), "in clear: {said:?}");
        proven |= tls && !harmless.contains(&&*said) && !matches!(&*said, "AUTH LOGIN\r\n");
        let shown = format!("{login:?}");
        assert!(!shown.contains(PASSWORD) && !shown.contains("t0ken"), "{shown}");
    }
}

pub(super) fn answer_seeds() -> Vec<Vec<u8>> {
    let own: [&[u8]; 4] = [
        b"220-mx.example.com\r\n220 ready\r\n250-mx\r\n250-SIZE 1000\r\n250-AUTH PLAIN\r\n250 DSN\r\n",
        b"550 5.7.1 no\r\n354\r\n451-4.7.1 later\r\n451 4.7.1 please\n",
        b"250-a\r\n251 b\r\n",
        b"250 a\x1b[1m\xff\tb\r\n",
    ];
    own.into_iter().chain(LINES).map(<[u8]>::to_vec).collect()
}

pub(super) fn login_seeds() -> Vec<Vec<u8>> {
    let smtp = [[2, 0, 1, 0, 1, 4, 1], [10, 0, 2, 3, 3, 4, 2], [1, 0, 1, 0, 1, 4, 1], [0, 0, 1, 0, 1, 4, 1]];
    let pop3 =
        [[6, 7, 7, 8, 7, 8, 0], [14, 7, 9, 7, 7, 12, 0], [5, 7, 7, 8, 10, 7, 8], [13, 7, 8, 10, 11, 0, 0]];
    smtp.into_iter().chain(pop3).map(|seed| seed.to_vec()).collect()
}
