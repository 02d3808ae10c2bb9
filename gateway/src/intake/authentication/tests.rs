use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::arc::ArcSealer;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use mail_auth::hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use mail_auth::hickory_resolver::proto::rr::rdata::TXT;
use mail_auth::hickory_resolver::proto::rr::{RData, Record, RecordType};
use mail_auth::{AuthenticatedMessage, AuthenticationResults};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use tokio::net::UdpSocket;

use super::*;

const MESSAGE: &[u8] = b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: s\r\n\r\nhello\r\n";
/// Long enough for a busy machine; no test here waits for it.
const LONG: Duration = Duration::from_secs(30);

/// A name server on loopback that knows some TXT records.
async fn name_server(zone: &[(&str, &str)]) -> Checker {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let zone: HashMap<String, String> =
        zone.iter().map(|(name, text)| (format!("{name}."), (*text).to_owned())).collect();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((octets, client)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..octets]) else { continue };
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            let query = question.queries[0].clone();
            let name = query.name().clone();
            match zone.get(&name.to_lowercase().to_ascii()) {
                Some(text) if query.query_type() == RecordType::TXT => {
                    let text = TXT::new(vec![text.clone()]);
                    answer.add_answer(Record::from_rdata(name, 60, RData::TXT(text)));
                }
                Some(_) => {}
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.add_query(query);
            let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
        }
    });
    Checker::new(&RealDisk, &[address], LONG).unwrap()
}

fn bounds(deadline: Duration) -> Bounds {
    Bounds { deadline, message_bytes_max: 1000, at_once: 2, memory_bytes: 4096 }
}

fn arrived() -> Arrived {
    Arrived {
        client: "192.0.2.1".parse().unwrap(),
        helo: "mail.example.com".into(),
        mail_from: "anna@example.com".into(),
        host_name: "gateway.example.com".into(),
        content: None,
    }
}

async fn results(checker: &Checker, arrived: Arrived, message: &[u8]) -> Vec<String> {
    let bounds = Bounds { message_bytes_max: 100_000, memory_bytes: 1 << 20, ..bounds(LONG) };
    let mut check = Authentication::new(Arc::new(checker.clone()), bounds).begin();
    // In pieces, as it comes from the network.
    message.chunks(7).for_each(|piece| check.write(piece));
    check.finish(arrived).await
}

/// A fresh key, and the TXT record that publishes it.
fn key() -> (Ed25519Key, String) {
    let key = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().unwrap()).unwrap();
    let public = format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key()));
    (key, public)
}

fn signed(key: Ed25519Key, domain: &str) -> Vec<u8> {
    let signer = DkimSigner::from_key(key).domain(domain).selector("s1").headers(["From", "To", "Subject"]);
    [signer.sign(MESSAGE).unwrap().to_header().into_bytes(), MESSAGE.to_vec()].concat()
}

#[tokio::test]
async fn spf_says_whether_the_client_may_speak_for_the_domain() {
    let zone = [
        ("example.com", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("soft.example", "v=spf1 ~all"),
        ("wrong.example", "v=spf1 ip4:nonsense -all"),
        ("mail.example.com", "v=spf1 ip6:2001:db8::/32 -all"),
    ];
    let checker = name_server(&zone).await;
    for (client, from, expected) in [
        ("192.0.2.1", "anna@example.com", "spf=pass smtp.mailfrom=example.com"),
        ("::ffff:192.0.2.1", "anna@example.com", "spf=pass smtp.mailfrom=example.com"),
        ("198.51.100.1", "anna@example.com", "spf=fail smtp.mailfrom=example.com"),
        ("192.0.2.1", "anna@soft.example", "spf=softfail smtp.mailfrom=soft.example"),
        ("192.0.2.1", "anna@wrong.example", "spf=permerror smtp.mailfrom=wrong.example"),
        ("192.0.2.1", "anna@none.example", "spf=none smtp.mailfrom=none.example"),
        ("2001:db8::1", "", "spf=pass smtp.helo=mail.example.com"),
    ] {
        let arrived = Arrived { client: client.parse().unwrap(), mail_from: from.into(), ..arrived() };
        let results = results(&checker, arrived, MESSAGE).await;
        assert_eq!(results, [expected, "dkim=none", "arc=none", "dmarc=none header.from=example.com"]);
    }
}

/// Goal: a signature holds for what was signed and for nothing else, and DMARC follows from it.
#[tokio::test]
async fn dkim_and_dmarc_follow_the_signature() {
    let (key, public) = key();
    let zone = [("s1._domainkey.example.com", public.as_str()), ("_dmarc.example.com", "v=DMARC1; p=reject")];
    let checker = name_server(&zone).await;
    let message = signed(key, "example.com");
    let pass = "dkim=pass header.d=example.com header.s=s1";
    let checked = results(&checker, arrived(), &message).await;
    assert_eq!(checked[1..], [pass, "arc=none", "dmarc=pass header.from=example.com"].map(str::to_owned));

    let alter = |from: &str, to: &str| {
        let text = String::from_utf8(message.clone()).unwrap();
        text.replacen(from, to, 1).into_bytes()
    };
    let failed = |results: Vec<String>, why: &str| {
        assert!(results[1].starts_with("dkim=fail (") && results[1].contains(why), "{results:?}");
        assert_eq!(results[3], "dmarc=fail (p=reject) header.from=example.com");
    };
    failed(results(&checker, arrived(), &alter("hello", "hallo")).await, "ody hash");
    failed(results(&checker, arrived(), &alter("Subject: s", "Subject: t")).await, "does not verify");
    let other = results(&checker, arrived(), &alter("s=s1", "s=s2")).await;
    assert!(other[1].starts_with("dkim=permerror ("), "there is no such key: {other:?}");
}

/// Goal: of a journal report the original's signatures are checked too, while their keys are still published.
#[tokio::test]
async fn a_journal_reports_original_is_looked_at() {
    let (key, public) = key();
    let checker = name_server(&[("s1._domainkey.example.com", &public)]).await;
    let original = signed(key, "example.com");
    let report = |original: &[u8]| {
        let head = "From: Exchange <journal@example.org>\r\nX-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
             Sender: anna@example.com\r\nMessage-Id: <1@example.com>\r\nTo: bob@example.org\r\n\r\n--b\r\n\
             Content-Type: message/rfc822\r\n\r\n";
        [head.as_bytes(), original, b"\r\n--b--\r\n"].concat()
    };
    let checked = results(&checker, arrived(), &report(&original)).await;
    let expected = [
        "dkim=none",
        "arc=none",
        "dmarc=none header.from=example.org",
        "original-dkim=pass header.d=example.com header.s=s1",
        "original-arc=none",
    ];
    assert_eq!(checked[1..], expected.map(str::to_owned));
    let altered = String::from_utf8(original).unwrap().replace("hello", "hallo");
    let checked = results(&checker, arrived(), &report(altered.as_bytes())).await;
    assert!(checked[4].starts_with("original-dkim=fail ("), "{checked:?}");
}

#[tokio::test]
async fn an_arc_chain_is_followed() {
    let (key, public) = key();
    let checker = name_server(&[("s2._domainkey.list.example", &public)]).await;
    let parsed = AuthenticatedMessage::parse(MESSAGE).unwrap();
    let before = mail_auth::ArcOutput::default();
    let said = AuthenticationResults::new("list.example");
    let sealer = ArcSealer::from_key(key).domain("list.example").selector("s2").headers(["From", "Subject"]);
    let set = sealer.seal(&parsed, &said, &before).unwrap();
    let message = [set.to_header().into_bytes(), MESSAGE.to_vec()].concat();
    let pass = "arc=pass header.d=list.example header.s=s2";
    assert_eq!(results(&checker, arrived(), &message).await[2], pass);
    let altered = String::from_utf8(message).unwrap().replace("hello", "hallo");
    let results = results(&checker, arrived(), altered.as_bytes()).await;
    assert!(results[2].starts_with("arc=fail ("), "{results:?}");
}

/// Goal: a name server that never answers costs the deadline and no more, and what did not need it is still told.
#[tokio::test]
async fn silence_is_told_at_the_deadline() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let deadline = Duration::from_millis(300);
    let checker = Checker::new(&RealDisk, &[silent.local_addr().unwrap()], LONG).unwrap();
    let authentication = Authentication::new(Arc::new(checker), bounds(deadline));
    let mut check = authentication.begin();
    check.write(MESSAGE);
    let clock = SystemClock::new();
    let start = clock.moment();
    let results = check.finish(arrived()).await;
    let waited = clock.moment().since(start);
    assert_eq!(results, ["spf=temperror (deadline)", "dkim=none", "arc=none", "dmarc=temperror (deadline)"]);
    assert!(waited >= deadline && waited < LONG, "{waited:?}");
    let places = Arc::clone(&authentication.parts.places).acquire_many_owned(2);
    assert!(timeout(LONG, places).await.is_ok(), "nothing goes on behind it");
}

/// Goal: what a sender writes cannot pass for a result, and endless signatures cost no endless work.
#[tokio::test]
async fn a_hostile_message_says_nothing_of_its_own() {
    let checker = name_server(&[]).await;
    let signature = |domain: &str| {
        format!("DKIM-Signature: v=1; a=ed25519-sha256; d={domain}; s=x; h=from; bh=AAAA; b=AAAA\r\n")
    };
    let message =
        [signature("evil.example (ok) dkim=pass header.d=bank.example"), signature("a.example").repeat(20)];
    let message = [message.concat().as_bytes(), MESSAGE].concat();
    let results = results(&checker, arrived(), &message).await;
    let dkim: Vec<&String> = results.iter().filter(|result| result.starts_with("dkim=")).collect();
    assert!(dkim.len() <= SIGNATURES_SHOWN_MAX, "{results:?}");
    assert!(dkim.last().unwrap().contains("more signatures not checked"), "{results:?}");
    assert!(results.iter().all(|result| result.matches('=').count() <= 3 && !result.contains("dkim=pass")));
    assert!(results.iter().all(|result| !result.contains("d=bank")), "{results:?}");
}

/// Eight signatures, eight that could not be read, and how many more there are.
const SIGNATURES_SHOWN_MAX: usize = 17;

/// Answers when it is let go on, or never, or panics.
#[derive(Debug)]
enum Puppet {
    Stuck { asked: AtomicUsize },
    Panics,
}

impl Authenticator for Puppet {
    fn authenticate(&self, _: Arrived, findings: Findings) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::Stuck { asked } => {
                asked.fetch_add(1, Ordering::SeqCst);
                findings.put(Method::Spf, vec!["pass".into()]);
                Box::pin(std::future::pending())
            }
            Self::Panics => Box::pin(async { panic!("on purpose") }),
        }
    }
}

fn stuck(deadline: Duration) -> (Arc<Puppet>, Authentication) {
    let puppet = Arc::new(Puppet::Stuck { asked: AtomicUsize::new(0) });
    let authentication = Authentication::new(Arc::clone(&puppet) as Arc<dyn Authenticator>, bounds(deadline));
    (puppet, authentication)
}

#[tokio::test]
async fn what_is_known_at_the_deadline_counts() {
    let (_, authentication) = stuck(Duration::from_millis(1));
    let results = authentication.begin().finish(arrived()).await;
    let late = |method: &str| format!("{method}=temperror (deadline)");
    assert_eq!(results, ["spf=pass".to_owned(), late("dkim"), late("arc"), late("dmarc")]);
}

#[tokio::test]
async fn a_panic_inside_costs_the_results_only() {
    let authentication = Authentication::new(Arc::new(Puppet::Panics), bounds(LONG));
    let results = authentication.begin().finish(arrived()).await;
    assert!(results.iter().all(|result| result.ends_with("=temperror (internal error)")), "{results:?}");
}

/// Goal: places and memory are bounded over all messages, and are given back, also by a session that is gone.
#[tokio::test]
async fn what_is_over_a_bound_is_not_checked() {
    let (puppet, authentication) = stuck(LONG);
    let mut too_long = authentication.begin();
    too_long.write(&[b'x'; 600]);
    too_long.write(&[b'x'; 401]);
    assert!(matches!(too_long.content, Content::NotKept(TOO_LONG)));
    assert_eq!(authentication.parts.memory.available_permits(), 4, "what is not kept takes no memory");

    let mut kept: Vec<Check> = (0..5).map(|_| authentication.begin()).collect();
    kept.iter_mut().for_each(|check| check.write(b"x"));
    let busy = kept.iter().filter(|check| matches!(check.content, Content::NotKept(BUSY))).count();
    assert_eq!(busy, 1, "four messages of up to 1000 octets fit into 4 KiB");

    let mut waiting = Vec::new();
    for check in kept.drain(..2) {
        let mut finish = Box::pin(check.finish(arrived()));
        assert!(timeout(Duration::ZERO, &mut finish).await.is_err(), "it waits");
        waiting.push(finish);
    }
    let results = kept.remove(0).finish(arrived()).await;
    assert!(results.iter().all(|result| result.ends_with("=none (not checked: busy)")), "{results:?}");
    let Puppet::Stuck { asked } = &*puppet else { unreachable!() };
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    drop((waiting, kept));
    let parts = &authentication.parts;
    let all = Arc::clone(&parts.places).acquire_many_owned(2).await;
    let memory = Arc::clone(&parts.memory).acquire_many_owned(4).await;
    assert!(all.is_ok() && memory.is_ok(), "the places of sessions that are gone come back");
}
