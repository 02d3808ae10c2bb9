use std::sync::Arc;

use postern_shared::clock::ManualClock;
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::crypto::seal::{Expected, Opener, Sealer};
use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step};
use postern_shared::id::MessageId;
use secrecy::{ExposeSecret, SecretString};

use super::*;

fn open_on(disk: Arc<dyn Disk>, dir: &std::path::Path) -> Registry {
    let clock = Arc::new(ManualClock::at(UnixMillis(5)));
    Registry::open(disk, clock, dir, "Gateway.Example.Com", Argon2Cost::TESTS_ONLY).unwrap()
}

fn open(dir: &std::path::Path) -> Registry {
    open_on(Arc::new(RealDisk), dir)
}

/// A message sealed as one that arrives is.
fn seal(registry: &Registry, mailbox: MailboxId) -> (Expected, Vec<u8>) {
    let message = MessageId::from_bytes([7; 16]);
    let (_receiving, encapsulation) = registry.receive(mailbox).unwrap();
    let sealer = Sealer::new(mailbox, message, &encapsulation);
    let (pieces, sealed) = sealer.finish(Vec::new(), Vec::new()).unwrap();
    let bytes = pieces.concat();
    let trailer_bytes = sealed.trailer_bytes;
    (Expected { mailbox, message, sealed_bytes: bytes.len() as u64, trailer_bytes }, bytes)
}

fn suspend(registry: &Registry, id: MailboxId) {
    registry.edit(id, Edit { status: Some(Status::Suspended), ..Edit::default() }).unwrap();
}

#[test]
fn a_created_mailbox_is_found_after_a_restart_and_opens_with_its_password_only() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let (mailbox, password) = registry.create(" Journal ", "all mail", None).unwrap();
    assert_eq!(mailbox.name, "Journal");
    assert_eq!(mailbox.address, format!("{}@gateway.example.com", mailbox.id));
    let (expected, sealed) = seal(&registry, mailbox.id);

    let registry = open(dir.path());
    assert_eq!(registry.list(), std::slice::from_ref(&mailbox));
    for user in [mailbox.id.to_string(), mailbox.address.clone(), mailbox.address.to_uppercase()] {
        let (id, key) = registry.unlock(&user, &password).expect("the right password");
        assert_eq!(id, mailbox.id);
        assert!(Opener::new(sealed.clone(), expected, &key).is_ok(), "{user}");
    }
    let wrong = SecretString::from("wrong".to_owned());
    assert!(registry.unlock(&mailbox.address, &wrong).is_none());
    assert!(registry.unlock("mbx-0000000000000000", &password).is_none());
    assert!(registry.unlock(&format!("{}@elsewhere.example", mailbox.id), &password).is_none());
}

/// Goal: "stored nowhere" is true of what is on disk.
#[test]
fn neither_password_nor_private_key_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let (mailbox, password) = registry.create("Journal", "", None).unwrap();
    let (_, key) = registry.unlock(&mailbox.address, &password).unwrap();
    let files = RealDisk.files(dir.path()).unwrap();
    assert_eq!(files.len(), 1);
    let text = String::from_utf8(RealDisk.read(&files[0], 100_000).unwrap()).unwrap();
    assert!(!text.contains(password.expose_secret()));
    assert!(!text.contains(&hex::encode(*key.to_seed())));
}

#[test]
fn edits_last() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let (mailbox, _) = registry.create("Journal", "", None).unwrap();
    let edit = Edit {
        name: Some("Sales".into()),
        description: Some("sales only".into()),
        status: Some(Status::Suspended),
        policy: PolicyEdit { require_tls: Some(true), ..PolicyEdit::default() },
    };
    registry.edit(mailbox.id, edit).unwrap();
    let shown = open(dir.path()).show(mailbox.id).unwrap();
    assert_eq!((shown.name.as_str(), shown.description.as_str()), ("Sales", "sales only"));
    assert!(shown.policy.require_tls);
    assert_eq!(open(dir.path()).status(mailbox.id), Some(Status::Suspended));
    for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
        let refused = registry.edit(mailbox.id, Edit { name: Some(bad.into()), ..Edit::default() });
        assert!(matches!(refused, Err(MailboxError::BadText { .. })), "{bad:?}");
    }
}

/// Goal: nothing that could still hold mail, or be about to, is deleted or loses its key.
#[test]
fn reset_and_delete_want_a_suspended_empty_idle_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    let (mailbox, old) = registry.create("Journal", "", None).unwrap();
    let id = mailbox.id;
    assert!(matches!(registry.delete(id, || 0), Err(MailboxError::NotSuspended(_))));
    assert!(matches!(registry.reset_password(id, || 0), Err(MailboxError::NotSuspended(_))));

    suspend(&registry, id);
    assert!(matches!(registry.delete(id, || 3), Err(MailboxError::NotEmpty { messages: 3, .. })));
    assert!(matches!(registry.reset_password(id, || 3), Err(MailboxError::NotEmpty { .. })));

    let arriving = registry.receive(id).unwrap();
    assert!(matches!(registry.delete(id, || 0), Err(MailboxError::Receiving(_))));
    assert!(matches!(registry.reset_password(id, || 0), Err(MailboxError::Receiving(_))));
    drop(arriving);

    let (_, new) = registry.reset_password(id, || 0).unwrap();
    assert!(registry.unlock(&mailbox.address, &old).is_none());
    assert!(open(dir.path()).unlock(&mailbox.address, &new).is_some());

    registry.delete(id, || 0).unwrap();
    assert!(matches!(registry.delete(id, || 0), Err(MailboxError::Unknown(_))));
    assert_eq!(open(dir.path()).list(), []);
}

#[test]
fn a_recovery_key_stays_through_a_password_reset() {
    let dir = tempfile::tempdir().unwrap();
    let recovery = PrivateKey::generate();
    let registry = open(dir.path());
    let (mailbox, _) = registry.create("Journal", "", Some(recovery.public())).unwrap();
    suspend(&registry, mailbox.id);
    registry.reset_password(mailbox.id, || 0).unwrap();
    let registry = open(dir.path());
    assert!(registry.show(mailbox.id).unwrap().recovery);
    let (expected, sealed) = seal(&registry, mailbox.id);
    assert!(Opener::recover(sealed, expected, &recovery).is_ok());
}

/// Goal: our own fault never tells a sender that the mailbox does not exist.
#[test]
fn a_damaged_file_refuses_mail_for_now_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(dir.path()).create("Journal", "", None).unwrap();
    let path = RealDisk.files(dir.path()).unwrap().remove(0);
    RealDisk.open(&path).unwrap().set_len(50).unwrap();
    let registry = open(dir.path());
    assert_eq!(registry.status(mailbox.id), Some(Status::Suspended));
    assert_eq!(registry.status(MailboxId::random()), None);
    let error = registry.show(mailbox.id).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(registry.damaged().len(), 1);
    assert!(registry.receive(mailbox.id).is_err());
}

#[test]
fn what_could_not_be_stored_did_not_happen() {
    let dir = tempfile::tempdir().unwrap();
    let fault = Fault::nth(Step::Sync, 0, std::io::ErrorKind::StorageFull);
    let registry = open_on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)), dir.path());
    assert!(matches!(registry.create("Journal", "", None), Err(MailboxError::Io { .. })));
    assert_eq!(registry.list(), []);
    registry.create("Journal", "", None).unwrap();
    assert_eq!(open(dir.path()).list().len(), 1);
}

/// Goal: a file written before there were policies is read, and an open policy leaves no mark in a file.
#[test]
fn a_file_without_a_policy_has_an_open_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(dir.path()).create("Journal", "", None).unwrap();
    let path = RealDisk.files(dir.path()).unwrap().remove(0);
    let text = || String::from_utf8(RealDisk.read(&path, 100_000).unwrap()).unwrap();
    assert!(!text().contains("policy"));
    assert!(open(dir.path()).policy(mailbox.id).unwrap().is_open());

    let policy = PolicyEdit { networks: vec!["2001:db8::/32".parse().unwrap()], ..PolicyEdit::default() };
    let registry = open(dir.path());
    let closed = registry.edit(mailbox.id, Edit { policy, ..Edit::default() }).unwrap().policy;
    assert!(text().contains("2001:db8::/32"));
    assert_eq!(open(dir.path()).policy(mailbox.id), Some(closed));
    let many = (0..=1000u32).map(|n| std::net::IpAddr::from(n.to_be_bytes()).into()).collect();
    let policy = PolicyEdit { networks: many, ..PolicyEdit::default() };
    let refused = registry.edit(mailbox.id, Edit { policy, ..Edit::default() });
    assert!(matches!(refused, Err(MailboxError::BadPolicy(_))));
}

/// Goal: nobody learns from the duration of a login whether a mailbox exists.
/// Method: the computing time (not the time passed, which depends on what else the machine does) of logins at the real
/// cost, in turns; a path that skips Argon2id, or computes it twice, is off by far more than the tolerance.
#[test]
fn a_login_costs_the_same_whether_the_mailbox_exists_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(UnixMillis(5)));
    let registry =
        Registry::open(Arc::new(RealDisk), clock, dir.path(), "gateway.example.com", Argon2Cost::DEFAULT)
            .unwrap();
    let (mailbox, _) = registry.create("Journal", "", None).unwrap();
    let wrong = SecretString::from("wrong".to_owned());
    let users = [
        mailbox.id.to_string(),
        "mbx-0000000000000000".to_owned(),
        "anna".to_owned(),
        format!("{}@elsewhere.example", mailbox.id),
    ];
    let cpu_micros = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    };
    let mut spent = [[0; 5]; 4];
    for round in 0..5 {
        for (user, spent) in users.iter().zip(&mut spent) {
            let before = cpu_micros();
            assert!(registry.unlock(user, &wrong).is_none());
            spent[round] = cpu_micros() - before;
        }
    }
    let medians = spent.map(|mut times| {
        times.sort_unstable();
        times[2]
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most * 2 < *least * 3, "microseconds of computing for {users:?}: {medians:?}");
}
