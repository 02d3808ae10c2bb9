//! The dialer against servers that behave, and against those that only pretend to be who they are.

use std::io;

use postern_shared::tls::client::Trust;

use super::scripted::{Act, Scripted, Shown, dialer, in_time};
use super::{password, token};
use crate::proxy::Host;
use crate::proxy::targets::{Forbidden, Target, TlsMode};
use crate::proxy::upstream::{FailureStep, UpstreamError};

const SUBMISSION: &[Act] = &[
    Act::Say(b"220 mx.example ESMTP\r\n"),
    Act::Hear,
    Act::Say(b"250-mx.example\r\n250 STARTTLS\r\n"),
    Act::Hear,
    Act::Say(b"220 go\r\n"),
    Act::Tls,
    Act::Hear,
    Act::Say(b"250-mx.example\r\n250 AUTH PLAIN\r\n"),
    Act::Hear,
    Act::Say(b"235 ok\r\n"),
    Act::Hear,
    Act::Say(b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 7\r\n"),
    Act::Stall,
];

const POP3S: &[Act] = &[
    Act::Tls,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nSASL XOAUTH2\r\n.\r\n"),
    Act::Hear,
    Act::Say(b"+ \r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\n"),
    Act::Hear,
    Act::Say(b"+OK\r\nUIDL\r\n.\r\n"),
    Act::Stall,
];

#[tokio::test]
async fn a_login_ends_with_what_the_server_can_do_then() {
    let server = Scripted::start(Shown::Good, SUBMISSION).await;
    let target = server.target(TlsMode::StartTls);
    let smtp = in_time(server.dialer("50 s").smtp(&target, Some(password()))).await.unwrap();
    assert!(smtp.extensions.pipelining && smtp.extensions.size == Some(7) && !smtp.extensions.starttls);
    assert_eq!(smtp.link.server(), format!("localhost:{}", server.address.port()));
    assert_eq!(smtp.link.tls().unwrap().version, "TLSv1.3");
    assert_eq!(smtp.link.tls().unwrap().server_name.as_deref(), Some("localhost"));
    assert!(smtp.link.certificate().is_some());
    let heard = server.heard();
    assert!(heard.contains("AUTH PLAIN AGFubmEAZ2VoZWlt"), "{heard}");

    let server = Scripted::start(Shown::Good, POP3S).await;
    let target = server.target(TlsMode::Implicit);
    let pop3 = in_time(server.dialer("50 s").pop3(&target, Some(token()))).await.unwrap();
    assert!(pop3.capabilities.has("UIDL") && !pop3.capabilities.has("SASL"));
}

/// Goal: nobody without the right certificate gets a word that tells who it is.
#[tokio::test]
async fn a_wrong_certificate_gets_no_credential() {
    for shown in [Shown::OtherName, Shown::Expired, Shown::SelfSigned] {
        for (script, mode) in [(SUBMISSION, TlsMode::StartTls), (POP3S, TlsMode::Implicit)] {
            let server = Scripted::start(shown, script).await;
            let (dialer, target) = (server.dialer("50 s"), server.target(mode));
            let error = match mode {
                TlsMode::StartTls => in_time(dialer.smtp(&target, Some(password()))).await.unwrap_err(),
                TlsMode::Implicit => in_time(dialer.pop3(&target, Some(token()))).await.unwrap_err(),
            };
            assert!(error.not_trusted().is_some(), "{shown:?}: {error}");
            assert_eq!(error.step(), FailureStep::Tls);
            let heard = server.heard();
            assert!(!heard.contains("AUTH") && !heard.contains("PASS"), "{heard}");
            // The operator who has compared the fingerprint may pin it, and who wants may take any.
            let pin = Trust::Pinned(error.not_trusted().unwrap().presented);
            for trust in [pin, Trust::Any] {
                let target = Target { trust, ..server.target(mode) };
                match mode {
                    TlsMode::StartTls => drop(in_time(dialer.smtp(&target, None)).await.unwrap()),
                    TlsMode::Implicit => drop(in_time(dialer.pop3(&target, None)).await.unwrap()),
                }
            }
        }
    }
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_connected_to() {
    let server = Scripted::start(Shown::Good, SUBMISSION).await;
    let target = server.target(TlsMode::StartTls);
    let error = in_time(dialer("").smtp(&target, Some(password()))).await.unwrap_err();
    let forbidden = Forbidden::Reserved("a loopback address");
    assert!(matches!(error, UpstreamError::Forbidden { why, .. } if why == forbidden), "{error}");
    assert_eq!(error.step(), FailureStep::Policy);
    let named = dialer(&format!("[proxy]\nallow = ['localhost']\ntrust = '{}'", server.trust()));
    assert!(in_time(named.smtp(&target, None)).await.is_ok());
    let denied = dialer("[proxy]\nallow = ['localhost']\ndeny = ['127.0.0.0/8']");
    let error = in_time(denied.smtp(&target, None)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Forbidden { why: Forbidden::Denied, .. }), "{error}");
}

#[tokio::test]
async fn names_and_ports_that_lead_nowhere_are_told() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = Host::Address(free.ip());
    let target = Target { host, port: free.port(), tls: TlsMode::Implicit, trust: Trust::Any };
    let all = dialer("[proxy]\nallow_private_targets = true");
    let error = in_time(all.pop3(&target, None)).await.unwrap_err();
    assert_eq!(error.step(), FailureStep::Connect, "{error}");
    let unknown = Target { host: Host::Name("nowhere.example".into()), ..target };
    let settings = crate::settings::Settings::load(&postern_shared::disk::RealDisk, None, Vec::new());
    let fails = std::sync::Arc::new(|_: &str| Err(io::Error::other("no such host")));
    let lost = super::super::dial::Dialer::with_look_up(&settings.unwrap().proxy, "gw", Vec::new(), fails);
    let error = in_time(lost.unwrap().pop3(&unknown, None)).await.unwrap_err();
    assert_eq!(error.step(), FailureStep::Resolve, "{error}");
}
