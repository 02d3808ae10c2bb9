//! What the overview warns of, by a clock moved by hand.

use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::tls::server::self_signed_files;

use super::super::warnings::{Severity, Warning, of_clock};
use super::*;
use crate::activity::{Kind, New, activity};
use crate::intake::{Envelope, Incoming as _, Intake as _, Origin, Provenance, Recipient, SealingIntake};
use crate::mailbox::{Edit, Status};
use crate::monitoring::metrics;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Stage {
    fn mailbox(&self) -> MailboxId {
        self.console.core.registry.create("Journal", "", None).unwrap().0.id
    }

    async fn deliver(&self, mailbox: MailboxId) {
        let core = &self.console.core;
        let (registry, spool) = (Arc::clone(&core.registry), Arc::clone(&core.spool));
        let (clock, ids) = (Arc::clone(&core.clock), Arc::clone(&core.ids));
        let intake = SealingIntake::new(registry, spool, clock, ids, "gateway.example.com".into());
        let recipient = Recipient { mailbox, address: format!("{mailbox}@gateway.example.com") };
        let envelope = Envelope { mail_from: "anna@example.com".into(), recipients: vec![recipient] };
        let peer = "192.0.2.7:40000".parse().unwrap();
        let helo = "mail.example.com".into();
        let provenance = Provenance { peer, helo, protocol: "ESMTPS", tls: None, origin: Origin::Journal };
        let mut incoming = intake.begin(envelope, provenance).unwrap();
        incoming.write(b"Subject: s\r\n\r\nhello\r\n").await.unwrap();
        incoming.commit(Normalised::default()).await.unwrap();
    }

    /// The warnings of that code.
    fn warned(&self, code: &str) -> Vec<Warning> {
        let all = self.console.overview().warnings;
        all.into_iter().filter(|warning| warning.code == code).collect()
    }
}

#[tokio::test]
async fn mail_that_nobody_pulls_is_told() {
    let stage = Stage::new();
    let mailbox = stage.mailbox();
    assert!(stage.warned("no-pull").is_empty());
    stage.deliver(mailbox).await;
    stage.clock.advance(DAY - MINUTE);
    assert!(stage.warned("no-pull").is_empty());
    stage.clock.advance(MINUTE);
    let late = stage.warned("no-pull");
    assert_eq!((late.len(), late[0].case, late[0].mailbox.clone()), (1, "late", Some(mailbox.to_string())));
    assert_eq!((late[0].values.name.as_deref(), late[0].values.hours), (Some("Journal"), Some(24)));
    let pulled = New::of(Kind::Pull, "pop3s", "opened").about(mailbox);
    activity().tell(stage.clock.wall(), pulled);
    assert!(stage.warned("no-pull").is_empty(), "somebody came");
    stage.clock.advance(DAY + HOUR);
    assert_eq!(stage.warned("no-pull")[0].values.hours, Some(25), "and comes no more");
}

#[tokio::test]
async fn silence_where_there_usually_is_mail_is_told() {
    let stage = Stage::new();
    let mailbox = stage.mailbox();
    for _ in 0..12 {
        stage.clock.advance(HOUR);
        activity().tell(stage.clock.wall(), New::of(Kind::Capture, "ESMTPS", "stored").about(mailbox));
    }
    stage.clock.advance(3 * HOUR - MINUTE);
    assert!(stage.warned("silence").is_empty());
    stage.clock.advance(MINUTE);
    let silent = stage.warned("silence");
    assert_eq!((silent.len(), silent[0].values.hours), (1, Some(3)));
    let suspend = Edit { status: Some(Status::Suspended), ..Edit::default() };
    stage.console.core.registry.edit(mailbox, suspend).unwrap();
    assert!(stage.warned("silence").is_empty(), "it is meant to be silent");
}

#[tokio::test]
async fn a_certificate_near_its_end_is_told() {
    let stage = Stage::new().serving();
    assert!(stage.warned("certificate").is_empty());
    let expires = stage.console.certificate().expires.unwrap();
    stage.clock.advance(expires.since(stage.clock.wall()) - 10 * DAY - HOUR);
    let told = stage.warned("certificate");
    let Warning { severity, case, values, .. } = &told[0];
    assert_eq!((*severity, *case, values.days), (Severity::Warning, "expires", Some(10)));
    stage.clock.advance(11 * DAY);
    let told = stage.console.overview().warnings;
    assert_eq!(
        (told[0].severity, told[0].case),
        (Severity::Critical, "expired"),
        "the gravest first: {told:?}"
    );
}

#[tokio::test]
async fn a_full_disk_and_a_clock_that_was_moved_are_told() {
    let stage = Stage::with("[console]\ndisk_warning = \"1 GiB\"\n");
    let said = |free| {
        let told = stage.console.of_disk(free);
        told.first().map(|warning| (warning.severity, warning.case, warning.values.free_bytes))
    };
    assert_eq!(said(Some(1 << 30)), None);
    assert_eq!(said(Some((1 << 30) - 1)), Some((Severity::Warning, "low", Some((1 << 30) - 1))));
    assert_eq!(said(Some(1000)), Some((Severity::Critical, "full", Some(1000))));
    assert_eq!(said(None), Some((Severity::Critical, "unreadable", None)));
    assert!(stage.warned("clock").is_empty(), "time that passes moves no clock");
    assert!(of_clock(10_000).is_none());
    assert_eq!(of_clock(-3_600_000).unwrap().values.seconds, Some(-3600));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told() {
    let stage = Stage::new().serving();
    let (certificate, _) = self_signed_files(&stage.data().join("tls"));
    write_atomic(&RealDisk, &certificate, b"half a certificate").unwrap();
    stage.console.core.keeper.get().unwrap().look(true);
    let told = stage.warned("certificate");
    assert_eq!((told.len(), told[0].severity, told[0].case), (1, Severity::Warning, "kept"), "{told:?}");
    assert!(
        told[0].values.reason.as_deref().is_some_and(|reason| reason.contains("self-signed")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_the_authority_said_is_told() {
    let state = json!({ "failures": 1, "last_error": "mail.example.com: the authority says: no" });
    let acme = "[tls]\nmode = \"acme\"\n[acme]\naccept_terms = true\n";
    let stage = Stage::found(acme, |data| {
        let tls = data.join("tls");
        RealDisk.create_dir_all(&tls).unwrap();
        write_atomic(&RealDisk, &tls.join("acme-state.json"), state.to_string().as_bytes()).unwrap();
    });
    let told = stage.warned("certificate");
    assert_eq!((told.len(), told[0].case), (1, "authority"), "{told:?}");
    assert_eq!(told[0].values.reason.as_deref(), Some("mail.example.com: the authority says: no"));
}

#[tokio::test]
async fn writing_that_failed_is_told_until_it_works_again() {
    let stage = Stage::new();
    metrics().group_committed(1, 0, Duration::ZERO, false);
    let told = stage.warned("commit");
    assert_eq!((told.len(), told[0].severity, told[0].case), (1, Severity::Critical, "failed"));
    metrics().group_committed(1, 0, Duration::ZERO, true);
    assert!(stage.warned("commit").is_empty());
}

#[tokio::test]
async fn damage_is_told_with_its_place() {
    let stage = Stage::new();
    let mailbox = stage.mailbox();
    let found = Stage::found("", |data| {
        RealDisk.create_dir_all(&data.join("mailboxes")).unwrap();
        write_atomic(&RealDisk, &data.join(format!("mailboxes/{mailbox}.json")), b"torn").unwrap();
    });
    let told = found.warned("damage");
    assert_eq!((told.len(), told[0].severity, told[0].case), (1, Severity::Critical, "found"), "{told:?}");
    assert!(told[0].values.reason.as_deref().is_some_and(|reason| reason.contains(&mailbox.to_string())));
}

#[tokio::test]
async fn an_audit_log_that_was_altered_is_told() {
    let stage = Stage::found("", |data| {
        RealDisk.create_dir_all(&data.join("console")).unwrap();
        write_atomic(&RealDisk, &data.join("console/audit.jsonl"), b"altered\n").unwrap();
    });
    let told = stage.warned("audit");
    assert_eq!((told.len(), told[0].severity, told[0].case), (1, Severity::Critical, "broken"), "{told:?}");
    assert!(told[0].values.reason.as_deref().is_some_and(|reason| reason.contains("line 1")), "{told:?}");
}

#[tokio::test]
async fn a_configuration_that_was_taken_back_is_told() {
    let told = Stage::taken_back("port 25 is taken").warned("configuration");
    assert_eq!((told.len(), told[0].case), (1, "taken-back"));
    assert_eq!(told[0].values.reason.as_deref(), Some("port 25 is taken"));
}
