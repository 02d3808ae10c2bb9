//! What the overview warns of, by a clock moved by hand.

use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::Normalised;

use super::super::warnings::{Severity, Warning, of_clock};
use super::*;
use crate::activity::{Kind, New, activity};
use crate::certificate::Keeper;
use crate::intake::{Envelope, Incoming as _, Intake as _, Origin, Provenance, Recipient, SealingIntake};
use crate::mailbox::{Edit, Status};

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
    let stage = Stage::new();
    let core = &stage.console.core;
    let keeper = Keeper::open(&core.settings(), Arc::clone(&core.disk), Arc::clone(&core.clock)).unwrap();
    core.keeper.set(Arc::new(keeper)).unwrap();
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
