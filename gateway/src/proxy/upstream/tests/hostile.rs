//! Servers that do all sorts of things: every one ends in an error, none in a hang, and none gets a credential in clear.

use tokio::task::JoinSet;

use super::scripted::{Act, Scripted, Shown, in_time};
use super::{password, token};
use crate::proxy::targets::TlsMode;
use crate::proxy::upstream::{LoginError, UpstreamError};

/// What is said in clear, up to where TLS begins.
const SMTP_UNTIL_TLS: [Act; 6] = [
    Act::Say(b"220 hi\r\n"),
    Act::Hear,
    Act::Say(b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"),
    Act::Hear,
    Act::Say(b"220 go\r\n"),
    Act::Tls,
];

fn leaked(acts: &[Act]) -> &'static [Act] {
    Box::leak(acts.to_vec().into_boxed_slice())
}

async fn smtp(acts: &[Act], deadline: &str) -> (UpstreamError, String) {
    let server = Scripted::start(Shown::Good, leaked(acts)).await;
    let target = server.target(TlsMode::StartTls);
    let error = in_time(server.dialer(deadline).smtp(&target, Some(password()))).await.unwrap_err();
    (error, server.heard())
}

async fn pop3(acts: &[Act], deadline: &str) -> (UpstreamError, String) {
    let server = Scripted::start(Shown::Good, leaked(acts)).await;
    let target = server.target(TlsMode::StartTls);
    let error = in_time(server.dialer(deadline).pop3(&target, Some(token()))).await.unwrap_err();
    (error, server.heard())
}

/// Goal: at each step of either dialogue a server may close, stall, send garbage, or never end: an error each time.
/// Method: the dialogue is cut off behind each of its steps, and goes on in each of those ways.
#[tokio::test]
async fn whatever_a_server_does_at_any_step_it_ends() {
    let smtp_whole = [
        &SMTP_UNTIL_TLS[..],
        &[
            Act::Hear,
            Act::Say(b"250-mx\r\n250 AUTH PLAIN\r\n"),
            Act::Hear,
            Act::Say(b"235 ok\r\n"),
            Act::Hear,
        ],
    ]
    .concat();
    let pop3_whole = [
        Act::Say(b"+OK\r\n"),
        Act::Hear,
        Act::Say(b"+OK\r\n"),
        Act::Tls,
        Act::Hear,
        Act::Say(b"+OK\r\nSASL XOAUTH2\r\n.\r\n"),
        Act::Hear,
        Act::Say(b"+ \r\n"),
        Act::Hear,
        Act::Say(b"+OK\r\n"),
        Act::Hear,
    ];
    let goings_on: [&[Act]; 6] = [
        &[],
        &[Act::Stall],
        &[Act::Say(b"\x00\xff\xfegarbage\r\n\r\n"), Act::Stall],
        &[Act::Flood(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")],
        &[Act::Flood(b"250-X\r\n")],
        &[Act::Flood(b"+OK\r\n")],
    ];
    let mut runs = JoinSet::new();
    for (whole, is_pop3) in [(&smtp_whole[..], false), (&pop3_whole[..], true)] {
        let until_tls = whole.iter().position(|act| matches!(act, Act::Tls)).unwrap();
        for end in 0..=whole.len() {
            for going_on in goings_on {
                let acts = [&whole[..end], going_on].concat();
                runs.spawn(async move {
                    let (_, heard) =
                        if is_pop3 { pop3(&acts, "2 s").await } else { smtp(&acts, "2 s").await };
                    assert!(end > until_tls || !heard.contains("AUTH"), "{acts:?}: {heard}");
                });
            }
        }
    }
    assert!(runs.len() > 100);
    runs.join_all().await;
}

#[tokio::test]
async fn lists_that_do_not_end_are_cut() {
    let acts = [Act::Say(b"220 hi\r\n"), Act::Hear, Act::Flood(b"250-X-MORE\r\n")];
    let (error, _) = smtp(&acts, "50 s").await;
    assert!(error.to_string().contains("does not end"), "{error}");
    let acts = [
        Act::Say(b"+OK\r\n"),
        Act::Hear,
        Act::Say(b"+OK\r\n"),
        Act::Tls,
        Act::Hear,
        Act::Say(b"+OK\r\n"),
        Act::Flood(b"X-MORE\r\n"),
    ];
    let (error, _) = pop3(&acts, "50 s").await;
    assert!(matches!(error, UpstreamError::Login { source: LoginError::Endless("CAPA"), .. }), "{error}");
}

#[tokio::test]
async fn no_starttls_no_credential() {
    let stripped =
        [Act::Say(b"220 hi\r\n"), Act::Hear, Act::Say(b"250-mx\r\n250 AUTH PLAIN\r\n"), Act::Stall];
    let (error, heard) = smtp(&stripped, "50 s").await;
    assert!(matches!(error, UpstreamError::Login { source: LoginError::NoTls(_), .. }), "{error}");
    assert_eq!(heard, "EHLO gw.example\r\n");
    let (error, heard) =
        pop3(&[Act::Say(b"+OK\r\n"), Act::Hear, Act::Say(b"-ERR what?\r\n"), Act::Stall], "50 s").await;
    assert!(matches!(error, UpstreamError::Login { source: LoginError::NoTls(_), .. }), "{error}");
    assert_eq!(heard, "STLS\r\n");
}

/// Goal: an answer that somebody on the way put behind the consent to TLS is not taken for one under TLS.
#[tokio::test]
async fn what_was_injected_before_tls_does_not_count() {
    let mut acts = SMTP_UNTIL_TLS;
    acts[4] = Act::Say(b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n");
    let (error, heard) = smtp(&acts, "50 s").await;
    assert!(matches!(error, UpstreamError::Login { source: LoginError::Injected, .. }), "{error}");
    assert!(!heard.contains("AUTH"));
}
