//! What a power cut, or an error, leaves of the mailboxes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use postern_shared::clock::ManualClock;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, Fault, FaultyDisk, SimulatedDisk, Step};
use secrecy::SecretString;

use super::*;

fn open(disk: &SimulatedDisk) -> Result<Registry, MailboxError> {
    open_on(Arc::new(disk.clone()))
}

fn open_on(disk: Arc<dyn Disk>) -> Result<Registry, MailboxError> {
    let clock = Arc::new(ManualClock::at(UnixMillis(5)));
    let dir = Path::new("/data/mailboxes");
    Registry::open(disk, clock, dir, "gateway.example.com", Argon2Cost::TESTS_ONLY)
}

/// A mailbox, and its password if anybody was told.
type State = (Mailbox, Option<SecretString>);

/// What a mailbox may be like: each state it had since it was certain; `None` when there is none.
type Possible = Vec<Option<State>>;

/// All mailboxes there may be.
#[derive(Default)]
struct Ledger(BTreeMap<MailboxId, Possible>);

impl Ledger {
    /// An operation that should lead to `new`.
    fn answered(&mut self, id: MailboxId, new: Option<State>, done: bool) {
        let possible = self.0.entry(id).or_insert_with(|| vec![None]);
        if done {
            *possible = vec![new];
        } else {
            possible.push(new);
        }
    }

    fn check(&self, registry: &Registry, context: &str) {
        assert!(registry.damaged().is_empty(), "{context}: {:?}", registry.damaged());
        for (id, possible) in &self.0 {
            let found = registry.show(*id).ok();
            let fits = possible.iter().any(|state| match (state, &found) {
                (None, None) => true,
                (Some((mailbox, password)), Some(found)) => {
                    let opens = |password| registry.unlock(&found.address, password).is_some();
                    mailbox == found && password.as_ref().is_none_or(opens)
                }
                _ => false,
            });
            assert!(fits, "{context}: {found:?} is none of {possible:?}");
        }
    }
}

/// Creates, edits, resets and deletes; notes what came of it. Ends when the power does.
fn work(registry: &Registry, ledger: &mut Ledger) {
    let Some((kept, password)) = create(registry, ledger) else { return };
    for status in [Status::Suspended, Status::Active, Status::Suspended] {
        let edit = Edit { status: Some(status), ..Edit::default() };
        let edited = registry.edit(kept.id, edit);
        let new = Mailbox { status, ..kept.clone() };
        ledger.answered(kept.id, Some((new, Some(password.clone()))), edited.is_ok());
    }
    let reset = registry.reset_password(kept.id, || 0).ok().map(|(_, password)| password);
    let suspended = Mailbox { status: Status::Suspended, ..kept };
    ledger.answered(suspended.id, Some((suspended.clone(), reset.clone())), reset.is_some());
    let edit = Edit { name: Some("renamed".into()), ..Edit::default() };
    let edited = registry.edit(suspended.id, edit);
    let new = Mailbox { name: "renamed".into(), ..suspended };
    ledger.answered(new.id, Some((new, reset)), edited.is_ok());

    let Some((gone, _)) = create(registry, ledger) else { return };
    let edit = Edit { status: Some(Status::Suspended), ..Edit::default() };
    let edited = registry.edit(gone.id, edit).is_ok();
    ledger.answered(gone.id, Some((Mailbox { status: Status::Suspended, ..gone.clone() }, None)), edited);
    let deleted = registry.delete(gone.id, || 0).is_ok();
    ledger.answered(gone.id, None, deleted);
}

fn create(registry: &Registry, ledger: &mut Ledger) -> Option<(Mailbox, SecretString)> {
    let (mailbox, password) = registry.create("Journal", "", None).ok()?;
    ledger.answered(mailbox.id, Some((mailbox.clone(), Some(password.clone()))), true);
    Some((mailbox, password))
}

fn operations() -> u64 {
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    work(&open(&disk).unwrap(), &mut Ledger::default());
    disk.operations()
}

/// Goal: whenever the power goes, each mailbox is as it was last acknowledged, or as it was about to be; none is damaged.
/// Method: cut behind every operation of the disk, in both orders of entries; also while the registry is opened again.
#[test]
fn mailboxes_survive_a_power_cut_whole() {
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        for cut in 0..=operations() {
            for seed in 0..4 {
                let context = format!("{order:?}, cut after {cut}, seed {seed}");
                let disk = SimulatedDisk::new(order).with_power_until(cut);
                let mut ledger = Ledger::default();
                if let Ok(registry) = open(&disk) {
                    work(&registry, &mut ledger);
                }
                let disk = disk.crash(seed);
                disk.cut_power_after(seed);
                // Only what it leaves counts.
                let _ = open(&disk);
                let disk = disk.crash(seed);
                ledger.check(&open(&disk).unwrap(), &context);
                work(&open(&disk).unwrap(), &mut ledger);
                ledger.check(&open(&disk.crash(seed)).unwrap(), &format!("{context}, later"));
            }
        }
    }
}

/// Goal: what was refused did not happen, whatever failed: not now, not after a restart, not after a power cut. Above
/// all, the keys on disk are those that mail is sealed to.
/// Method: each operation of the disk fails once in turn.
#[test]
fn an_error_leaves_memory_and_disk_of_one_mind() {
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        for fault in 0..operations() {
            let context = format!("{order:?}, fault at {fault}");
            let disk = SimulatedDisk::new(order);
            disk.fail_after(fault, std::io::ErrorKind::Other);
            let Ok(registry) = open(&disk) else { continue };
            work(&registry, &mut Ledger::default());
            for later in [disk.restart(), disk.crash(fault)] {
                let later = open(&later).unwrap();
                assert!(later.damaged().is_empty() && registry.damaged().is_empty(), "{context}");
                assert_eq!(later.list(), registry.list(), "{context}");
                for Mailbox { id, .. } in registry.list() {
                    assert_eq!(later.sealed_to(id).unwrap(), registry.sealed_to(id).unwrap(), "{context}");
                }
            }
        }
    }
}

/// Goal: mail is not sealed to a key that a restart may not know, and other mailboxes go on.
/// Method: the directory cannot be synced any more, so a change is neither made nor taken back for certain.
#[test]
fn a_mailbox_in_doubt_takes_no_mail() {
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let registry = open(&disk).unwrap();
    let (doubtful, _) = registry.create("Journal", "", None).unwrap();
    let (other, _) = registry.create("Other", "", None).unwrap();
    registry.edit(doubtful.id, Edit { status: Some(Status::Suspended), ..Edit::default() }).unwrap();

    let fault = Fault::from(Step::SyncDir, 0, std::io::ErrorKind::Other);
    let registry = open_on(Arc::new(FaultyDisk::new(Arc::new(disk.clone()), fault))).unwrap();
    assert!(matches!(registry.reset_password(doubtful.id, || 0), Err(MailboxError::Io { .. })));
    assert!(registry.receive(doubtful.id).is_err());
    assert_eq!(registry.status(doubtful.id), Some(Status::Suspended));
    let said = registry.damaged()[0].to_string();
    assert!(said.contains("restart the gateway"), "{said}");
    assert!(registry.receive(other.id).is_ok());
    assert!(open(&disk.restart()).unwrap().receive(doubtful.id).is_ok());
}
