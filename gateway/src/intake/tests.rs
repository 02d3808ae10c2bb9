//! Mail on its way through the proxy, from the first piece to what POP3 serves.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::crypto::seal::Opener;
use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};
use postern_shared::id::MessageIds;
use postern_shared::proto::mime::trace::{self, Capture, Trace};
use serde_json::json;

use super::*;
use crate::mailbox::{Edit, MailboxError, Registry, Status};
use crate::pop3_server::SpooledMaildrops;
use crate::pop3_server::maildrop::{Maildrops, ServedMessage};
use crate::spool::{INLINE_BYTES_MAX, SegmentSpool, Settings, Spool};

const MESSAGE: &[u8] = b"From: anna@example.com\r\nTo: Bob <bob@example.net>\r\nSubject: s\r\n\r\nhello\r\n";

struct Bench {
    disk: SimulatedDisk,
    registry: Arc<Registry>,
    spool: Arc<SegmentSpool>,
    intake: SealingIntake,
    mailbox: MailboxId,
    key: PrivateKey,
}

/// The other parts of a gateway: registry, spool and intake on `disk`.
fn open(disk: &SimulatedDisk, stepped: bool) -> (Arc<Registry>, Arc<SegmentSpool>, SealingIntake) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mailboxes, spool) = (Path::new("/mailboxes"), Path::new("/spool"));
    let cost = Argon2Cost::TESTS_ONLY;
    let domain = "gateway.example.com";
    let registry = Registry::open(Arc::clone(&disk), Arc::clone(&clock), mailboxes, domain, cost).unwrap();
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    let open = if stepped { SegmentSpool::open_stepped } else { SegmentSpool::open };
    let spool = Arc::new(open(disk, Arc::clone(&clock), spool, settings).unwrap());
    let ids = Arc::new(MessageIds::default());
    spool.newest().into_iter().for_each(|newest| ids.at_least(newest));
    let (registry, as_spool) = (Arc::new(registry), Arc::clone(&spool) as Arc<dyn Spool>);
    let intake = SealingIntake::new(Arc::clone(&registry), as_spool, clock, ids, domain.into());
    (registry, spool, intake)
}

impl Bench {
    fn new(stepped: bool) -> Self {
        let disk = SimulatedDisk::new(EntryOrder::Journal);
        let (registry, spool, intake) = open(&disk, stepped);
        let (mailbox, password) = registry.create("Proxied", "", None).unwrap();
        let (_, key) = registry.unlock(&mailbox.address, &password).unwrap();
        Self { disk, registry, spool, intake, mailbox: mailbox.id, key }
    }

    fn restart(&mut self) {
        self.disk = self.disk.restart();
        (self.registry, self.spool, self.intake) = open(&self.disk, false);
    }

    fn envelope(&self, recipients: &[&str]) -> Envelope {
        let recipient = |address: &&str| Recipient { mailbox: self.mailbox, address: (*address).to_owned() };
        Envelope {
            mail_from: "anna@example.com".into(),
            recipients: recipients.iter().map(recipient).collect(),
        }
    }

    /// A message that was sent, up to its final dot.
    async fn sent(&self, message: &[u8]) -> SealingMessage {
        let envelope = self.envelope(&["bob@example.net", "carol@example.net"]);
        let mut incoming = self.intake.begin(envelope, provenance(Origin::SmtpProxy(proxied()))).unwrap();
        for piece in message.chunks(50_000) {
            incoming.write(piece).await.unwrap();
        }
        assert_eq!(incoming.content_sha256(), sha256(message));
        incoming
    }

    async fn prepared(&self, message: &[u8]) -> PreparedMessage {
        self.sent(message).await.prepare(Normalised::default()).await.unwrap()
    }

    /// What POP3 lists and serves; the sizes must agree.
    fn served(&self) -> Vec<(Trace, Vec<u8>)> {
        let maildrops = SpooledMaildrops::new(Arc::clone(&self.spool) as Arc<dyn Spool>);
        let read = |entry: crate::pop3_server::maildrop::Entry| {
            let mut message = maildrops.open(self.mailbox, entry.id, &self.key).unwrap();
            let mut served = Vec::new();
            while let Some(piece) = message.next_piece().unwrap() {
                served.extend_from_slice(piece);
            }
            assert_eq!(served.len() as u64, entry.served_bytes, "as STAT and LIST say");
            let (trace, content) = trace::split(&served);
            let trace = trace.expect("the gateway's own fields");
            assert_eq!(trace.id, entry.id);
            (trace, content.to_vec())
        };
        maildrops.snapshot(self.mailbox).into_iter().map(read).collect()
    }

    fn suspend(&self) {
        let edit = Edit { status: Some(Status::Suspended), ..Edit::default() };
        self.registry.edit(self.mailbox, edit).unwrap();
    }
}

fn proxied() -> Proxied {
    Proxied {
        account: "anna@example.com%smtp.example.com".into(),
        server: "smtp.example.com:587".into(),
        server_tls: Some(("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into())),
        uidl: None,
    }
}

fn provenance(origin: Origin) -> Provenance {
    let peer = "192.0.2.7:40000".parse().unwrap();
    let (helo, protocol) = match origin {
        Origin::Pop3Proxy(_) => (String::new(), "POP3S"),
        _ => ("laptop".to_owned(), "ESMTPSA"),
    };
    Provenance { peer, helo, protocol, tls: None, origin }
}

/// Long enough for a file of its own.
fn long() -> Vec<u8> {
    [MESSAGE, &b"a line of text\r\n".repeat(INLINE_BYTES_MAX / 16 + 1)].concat()
}

/// Goal: what a client sends waits until its server has taken it, and then says whose account it was, where it went, and
/// who was hidden.
#[tokio::test]
async fn sent_mail_is_served_when_it_is_confirmed() {
    let bench = Bench::new(false);
    for message in [MESSAGE.to_vec(), long()] {
        let prepared = bench.prepared(&message).await;
        assert!(bench.served().is_empty(), "its server may still refuse it");
        let id = prepared.confirm().await.unwrap();
        let served = bench.served();
        let [(trace, content)] = &served[..] else { panic!("{served:?}") };
        assert_eq!((trace.id, content), (id, &message));
        assert_eq!((trace.capture, trace.unconfirmed), (Capture::SmtpProxy, false));
        assert_eq!((&trace.mail_from[..], &trace.helo[..]), ("anna@example.com", "laptop"));
        assert_eq!(trace.recipients, ["bob@example.net", "carol@example.net"]);
        let told = trace.proxied.as_ref().unwrap();
        assert_eq!(told.bcc, ["carol@example.net"]);
        let known = proxied();
        assert_eq!(
            (&told.account, &told.server, &told.server_tls),
            (&known.account, &known.server, &known.server_tls)
        );

        let body = bench.spool.open(bench.mailbox, id).unwrap();
        let expected = body.expected();
        let opener = Opener::new(body, expected, &bench.key).unwrap();
        let envelope: serde_json::Value = serde_json::from_slice(&opener.trailer().envelope).unwrap();
        let sealed = json!({
            "mail_from": "anna@example.com",
            "recipients": ["bob@example.net", "carol@example.net"],
            "capture": "smtp-proxy",
            "account": "anna@example.com%smtp.example.com",
            "server": "smtp.example.com:587",
            "server_tls": ["TLSv1.3", "TLS13_AES_256_GCM_SHA384"],
            "bcc": ["carol@example.net"],
        });
        assert_eq!(envelope, sealed);
        bench.spool.delete(bench.mailbox, &[id]).await.unwrap();
    }
}

/// Goal: of fetched mail nothing is said that is not known.
#[tokio::test]
async fn fetched_mail_tells_its_server_and_unique_id() {
    let bench = Bench::new(false);
    let origin = Origin::Pop3Proxy(Proxied { uidl: Some("c0ffee".into()), ..proxied() });
    let envelope = Envelope { mail_from: String::new(), ..bench.envelope(&[""]) };
    let mut incoming = bench.intake.begin(envelope, provenance(origin)).unwrap();
    incoming.write(MESSAGE).await.unwrap();
    incoming.commit(Normalised::default()).await.unwrap();
    let served = bench.served();
    let [(trace, content)] = &served[..] else { panic!("{served:?}") };
    assert_eq!(content, MESSAGE);
    assert_eq!((trace.capture, &trace.mail_from[..], trace.recipients.len()), (Capture::Pop3Proxy, "", 0));
    let told = trace.proxied.as_ref().unwrap();
    assert_eq!((told.uidl.as_deref(), told.bcc.len()), (Some("c0ffee"), 0));
    assert_eq!(trace.peer, "192.0.2.7:40000".parse().unwrap());
}

#[tokio::test]
async fn what_its_server_refused_leaves_nothing() {
    let mut bench = Bench::new(false);
    for message in [MESSAGE.to_vec(), long()] {
        bench.prepared(&message).await.discard().await.unwrap();
    }
    assert!(bench.served().is_empty());
    bench.restart();
    assert!(bench.served().is_empty());
}

/// Goal: a session that dies between the copy and the answer leaves the copy, which says what is not known.
#[tokio::test]
async fn what_nobody_decides_on_is_kept_and_says_so() {
    let mut bench = Bench::new(false);
    let kept = bench.prepared(MESSAGE).await.keep_unconfirmed();
    drop(bench.prepared(&long()).await);
    let check = |served: &[(Trace, Vec<u8>)], count| {
        assert_eq!(served.len(), count);
        assert!(served.iter().all(|(trace, _)| trace.unconfirmed && trace.capture == Capture::SmtpProxy));
        assert_eq!(served[0].0.id, kept);
    };
    check(&bench.served(), 2);
    let undecided = bench.prepared(MESSAGE).await;
    check(&bench.served(), 2);
    // The gateway is killed.
    bench.restart();
    drop(undecided);
    check(&bench.served(), 3);
}

/// Goal: who gives up in the middle of a step leaves nothing that is there and never shown.
/// Method: the spool writes when it is told to, so each step's future can be dropped while it waits.
#[tokio::test]
async fn who_gives_up_amid_a_decision_leaves_no_doubt() {
    let bench = Bench::new(true);
    let waiting = |incoming: SealingMessage| {
        let mut prepare = Box::pin(incoming.prepare(Normalised::default()));
        assert!(prepare.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        prepare
    };
    let mut confirmed = waiting(bench.sent(MESSAGE).await);
    let mut discarded = waiting(bench.sent(MESSAGE).await);
    drop(waiting(bench.sent(MESSAGE).await));
    bench.spool.step();
    assert_eq!(bench.served().len(), 1, "the one whose session died");
    let (confirmed, discarded) = ((&mut confirmed).await.unwrap(), (&mut discarded).await.unwrap());
    {
        let (confirm, discard) = (pin!(confirmed.confirm()), pin!(discarded.discard()));
        assert!(confirm.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(discard.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    bench.spool.step();
    let unconfirmed: Vec<bool> = bench.served().iter().map(|(trace, _)| trace.unconfirmed).collect();
    assert_eq!(unconfirmed, [false, true], "what was handed over is done");
    assert_eq!(bench.spool.usage(bench.mailbox).undecided, 0);
}

/// Goal: while a copy waits for its decision, the keys that open it stay.
#[tokio::test]
async fn a_mailbox_stays_until_all_is_decided() {
    let bench = Bench::new(false);
    let prepared = bench.prepared(MESSAGE).await;
    bench.suspend();
    let deleted = bench.registry.delete(bench.mailbox, || bench.spool.usage(bench.mailbox).messages);
    assert!(matches!(deleted, Err(MailboxError::Receiving(_))), "{deleted:?}");
    prepared.discard().await.unwrap();
    bench.registry.delete(bench.mailbox, || bench.spool.usage(bench.mailbox).messages).unwrap();
    let gone = bench.intake.begin(bench.envelope(&["a@x"]), provenance(Origin::SmtpProxy(proxied())));
    assert!(matches!(gone, Err(IntakeError::MailboxGone { .. })), "{gone:?}");
}

/// Goal: a confirmation that the disk refuses loses nothing: another server has the message.
#[tokio::test]
async fn a_copy_that_cannot_be_confirmed_is_kept() {
    let mut bench = Bench::new(false);
    let (confirmed, discarded) = (bench.prepared(MESSAGE).await, bench.prepared(MESSAGE).await);
    bench.disk.set_read_only(true);
    confirmed.confirm().await.unwrap_err();
    discarded.discard().await.unwrap_err();
    let unconfirmed = |bench: &Bench| bench.served().iter().filter(|(trace, _)| trace.unconfirmed).count();
    assert_eq!(unconfirmed(&bench), 2);
    bench.disk.set_read_only(false);
    bench.restart();
    assert_eq!(unconfirmed(&bench), 2);
}

#[tokio::test]
async fn journal_mail_is_not_prepared_and_proxied_mail_goes_to_one_mailbox() {
    let bench = Bench::new(false);
    let mut journal = bench.intake.begin(bench.envelope(&["a@x"]), provenance(Origin::Journal)).unwrap();
    journal.write(MESSAGE).await.unwrap();
    assert!(matches!(journal.prepare(Normalised::default()).await, Err(IntakeError::Temporary { .. })));
    let (other, _) = bench.registry.create("Other", "", None).unwrap();
    let mut envelope = bench.envelope(&["a@x", "b@x"]);
    envelope.recipients[1].mailbox = other.id;
    let refused = bench.intake.begin(envelope, provenance(Origin::SmtpProxy(proxied())));
    assert!(matches!(refused, Err(IntakeError::Temporary { .. })), "{refused:?}");
    assert!(bench.served().is_empty());
}
