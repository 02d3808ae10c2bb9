//! What happens next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{ManualClock, UnixMillis};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::{Dice, EntryOrder};
use postern_shared::id::MailboxId;
use secrecy::SecretString;

use super::ledger::Ledger;
use super::node::Node;
use super::pop3_peer::Pop3Peer;
use super::proxy_peer::ProxyPeer;
use super::smtp_peer::SmtpPeer;
use crate::mailbox::{Edit, MailboxError, Status};
use crate::smtp_receiver::Event;
use crate::spool::Spool;

const SENDERS_MAX: usize = 6;
const PROXIES_MAX: usize = 3;
const ARCHIVERS_MAX: usize = 4;
const MAILBOXES_MAX: usize = 4;

/// Everything there is.
pub(super) struct World {
    dice: Dice,
    clock: Arc<ManualClock>,
    disk: SimulatedDisk,
    node: Node,
    senders: Vec<SmtpPeer>,
    proxies: Vec<ProxyPeer>,
    archivers: Vec<Pop3Peer>,
    mailboxes: Vec<(MailboxId, SecretString)>,
    /// Also of mailboxes that are gone: nothing may be in them.
    keys: BTreeMap<MailboxId, PrivateKey>,
    ledger: Ledger,
    /// The disk is full or read-only until then.
    trouble_steps: u64,
    log: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let clock = Arc::new(ManualClock::at(UnixMillis(1_700_000_000_000)));
        let order = [EntryOrder::Journal, EntryOrder::Any][dice.index(2)];
        let disk = SimulatedDisk::new(order);
        let node = Node::open(&disk, &clock).unwrap();
        let mut world = Self {
            dice,
            clock,
            disk,
            node,
            senders: Vec::new(),
            proxies: Vec::new(),
            archivers: Vec::new(),
            mailboxes: Vec::new(),
            keys: BTreeMap::new(),
            ledger: Ledger::default(),
            trouble_steps: 0,
            log: Vec::new(),
        };
        world.create_mailbox();
        world.create_mailbox();
        world
    }

    /// Lets one thing happen, and checks that all promises hold.
    pub(super) fn step(&mut self) {
        self.clock.advance(Duration::from_millis(self.dice.below(200)));
        self.end_trouble();
        match self.dice.below(100) {
            0..35 => self.sender_steps(),
            35..47 => self.proxy_steps(),
            47..75 => self.archiver_steps(),
            75..88 => self.write(),
            88..93 => self.operator(),
            93..96 => self.sweep(),
            96..99 => self.begin_trouble(),
            _ => self.kill(),
        }
        if self.disk.is_powered() {
            self.ledger.check(&self.node, &self.keys, false);
        } else {
            self.power_returns();
        }
        self.senders.retain(|peer| !peer.is_over());
        self.proxies.retain(|peer| !peer.is_over());
        self.archivers.retain(|peer| !peer.is_over());
    }

    /// Ends it in good order; returns what happened.
    pub(super) fn end(mut self) -> Vec<String> {
        self.trouble_steps = 0;
        self.disk.limit_bytes(None);
        self.disk.set_read_only(false);
        self.kill();
        // What the last restart found stays.
        let seed = self.dice.roll();
        self.disk = self.disk.crash(seed);
        self.restart();
        self.log
    }

    fn sender_steps(&mut self) {
        let ids: Vec<MailboxId> = self.mailboxes.iter().map(|(id, _)| *id).collect();
        let at = self.dice.index(SENDERS_MAX);
        let (dice, ledger, disk, log) = (&mut self.dice, &mut self.ledger, &self.disk, &mut self.log);
        match self.senders.get_mut(at) {
            None => self.senders.push(SmtpPeer::connect(&self.node)),
            Some(peer) if dice.once_in(60) => peer.vanish(),
            Some(peer) if dice.once_in(60) => peer.event(Event::Idle, ledger, disk, log),
            Some(peer) => peer.step(dice, &ids, ledger, disk, log),
        }
    }

    fn proxy_steps(&mut self) {
        let at = self.dice.index(PROXIES_MAX);
        let (dice, ledger, disk, log) = (&mut self.dice, &mut self.ledger, &self.disk, &mut self.log);
        match self.proxies.get_mut(at) {
            None if self.mailboxes.is_empty() => {}
            None => {
                let (mailbox, _) = self.mailboxes[dice.index(self.mailboxes.len())];
                self.proxies.extend(ProxyPeer::begin(&self.node, mailbox, dice, ledger));
            }
            Some(peer) if dice.once_in(25) => peer.vanish(ledger, log),
            Some(peer) => peer.step(dice, ledger, disk, log),
        }
    }

    fn archiver_steps(&mut self) {
        let at = self.dice.index(ARCHIVERS_MAX);
        let Some(peer) = self.archivers.get(at) else {
            if !self.mailboxes.is_empty() {
                let (mailbox, password) = &self.mailboxes[self.dice.index(self.mailboxes.len())];
                self.archivers.push(Pop3Peer::connect(*mailbox, password, &mut self.dice));
            }
            return;
        };
        let comes_for = peer.mailbox();
        let held = self.archivers.iter().any(|other| other.holds() == Some(comes_for));
        let (dice, ledger, disk, log) = (&mut self.dice, &mut self.ledger, &self.disk, &mut self.log);
        let peer = &mut self.archivers[at];
        if dice.once_in(60) {
            peer.vanish();
        } else {
            peer.step(dice, &self.node, held, ledger, disk, log);
        }
    }

    /// The spool's writer comes round, and whoever waited for it goes on.
    fn write(&mut self) {
        self.node.spool.step();
        let (ledger, disk, log) = (&mut self.ledger, &self.disk, &mut self.log);
        self.senders.iter_mut().for_each(|peer| peer.serve(ledger, disk, log));
        self.proxies.iter_mut().for_each(|peer| peer.serve(ledger, disk, log));
        for peer in &mut self.archivers {
            peer.serve(&mut self.dice, &self.node, ledger, disk, log);
        }
    }

    fn sweep(&mut self) {
        self.clock.advance(Duration::from_secs(self.dice.below(90)));
        let swept = self.node.spool.sweep();
        if let Ok(swept) = &swept {
            self.log.push(format!("swept: {swept:?}"));
        }
        // It lets the writer come round as well.
        self.write();
    }

    fn operator(&mut self) {
        if self.mailboxes.is_empty() || (self.mailboxes.len() < MAILBOXES_MAX && self.dice.once_in(4)) {
            return self.create_mailbox();
        }
        let at = self.dice.index(self.mailboxes.len());
        let id = self.mailboxes[at].0;
        let suspended = self.node.registry.status(id) == Some(Status::Suspended);
        if suspended && self.dice.once_in(2) {
            let usage = self.node.spool.usage(id);
            let deleted = self.node.registry.delete(id, || usage.messages + usage.undecided);
            if deleted.is_ok() {
                assert!(!self.ledger.holds_anything(id), "a mailbox is deleted only when it is empty");
                self.mailboxes.remove(at);
            }
            self.log.push(format!("operator: mailbox {at} gone: {}", deleted.is_ok()));
        } else {
            let status = if suspended { Status::Active } else { Status::Suspended };
            let edited = self.node.registry.edit(id, Edit { status: Some(status), ..Edit::default() });
            self.log.push(format!("operator: mailbox {at} {status:?}: {}", edited.is_ok()));
        }
    }

    fn create_mailbox(&mut self) {
        let created = self.node.registry.create("Journal", "", None);
        self.log.push(format!("operator: created: {}", created.is_ok()));
        if let Ok((mailbox, password)) = created {
            let (_, key) = self.node.registry.unlock(&mailbox.address, &password).unwrap();
            self.keys.insert(mailbox.id, key);
            self.mailboxes.push((mailbox.id, password));
        }
    }

    /// One trouble at a time: what can be promised of two at once is less.
    fn begin_trouble(&mut self) {
        if self.trouble_steps > 0 || self.disk.fault_is_pending() {
            return;
        }
        let operations = self.dice.below(12);
        match self.dice.below(5) {
            0 => {
                self.log.push("power: goes soon".into());
                self.disk.cut_power_after(operations);
            }
            1 | 2 => {
                self.log.push("fault: soon".into());
                self.disk.fail_after(operations, std::io::ErrorKind::Other);
            }
            3 => {
                self.log.push("disk: full".into());
                self.trouble_steps = 1 + self.dice.below(60);
                self.disk.limit_bytes(Some(self.disk.used_bytes() + self.dice.below(20_000)));
            }
            _ => {
                self.log.push("disk: read-only".into());
                self.trouble_steps = 1 + self.dice.below(60);
                self.disk.set_read_only(true);
            }
        }
    }

    fn end_trouble(&mut self) {
        if self.trouble_steps > 0 {
            self.trouble_steps -= 1;
            if self.trouble_steps == 0 {
                self.disk.limit_bytes(None);
                self.disk.set_read_only(false);
            }
        }
    }

    /// The program dies and is started again.
    fn kill(&mut self) {
        self.log.push(format!("killed after {} operations", self.disk.operations()));
        self.disk = self.disk.restart();
        self.restart();
    }

    /// The power is back; it may go again while the gateway starts.
    fn power_returns(&mut self) {
        self.log.push(format!("power: gone after {} operations", self.disk.operations()));
        self.disk = self.disk.crash(self.dice.roll());
        while self.dice.once_in(3) {
            self.disk.cut_power_after(self.dice.below(12));
            // Whether it has started by then or not: what it leaves counts.
            drop(Node::open(&self.disk, &self.clock));
            self.disk = self.disk.crash(self.dice.roll());
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.trouble_steps = 0;
        self.node =
            Node::open(&self.disk, &self.clock).unwrap_or_else(|error| panic!("it does not start: {error}"));
        // What they still hold belongs to a disk that is no more.
        self.senders.clear();
        self.proxies.clear();
        self.archivers.clear();
        assert!(self.node.registry.damaged().is_empty(), "{:?}", self.node.registry.damaged());
        let registry = &self.node.registry;
        self.mailboxes.retain(|(id, _)| !matches!(registry.show(*id), Err(MailboxError::Unknown(_))));
        self.ledger.check(&self.node, &self.keys, true);
        for (id, password) in &self.mailboxes {
            assert!(
                self.node.registry.unlock(&id.to_string(), password).is_some(),
                "{id} opens with its password"
            );
        }
    }
}
