//! What was promised: how many copies of a message a mailbox must hold at least, and may hold at most.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// A message in a mailbox: the mailbox's place in the list, the message's number.
pub(crate) type Key = (usize, usize);

/// Between two answers the bounds differ: what is under way may have happened or not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copies {
    /// Acknowledged, and no deletion begun. Below zero when a deletion was begun before the sender read its 250.
    pub(crate) least: i32,
    /// Begun and not refused, and no deletion acknowledged.
    pub(crate) most: i32,
}

/// Every message that anybody was promised something about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(BTreeMap<Key, Copies>);

impl Ledger {
    /// Its end is about to be sent.
    pub(crate) fn announced(&mut self, key: Key) {
        self.0.entry(key).or_default().most += 1;
    }

    /// 250.
    pub(crate) fn accepted(&mut self, key: Key) {
        self.0.entry(key).or_default().least += 1;
    }

    /// QUIT is about to be sent.
    pub(crate) fn deleting(&mut self, key: Key) {
        self.0.entry(key).or_default().least -= 1;
    }

    /// +OK to QUIT.
    pub(crate) fn deleted(&mut self, key: Key) {
        self.0.entry(key).or_default().most -= 1;
    }

    /// Its copies now; none when nobody sent it.
    pub(crate) fn copies(&self, key: Key) -> Copies {
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// Whether anybody ever sent it whole.
    pub(crate) fn knows(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }

    /// What a mailbox must hold.
    pub(crate) fn promised(&self, mailbox: usize) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .filter(move |((at, _), copies)| *at == mailbox && copies.least > 0)
            .map(|(key, _)| key.1)
    }

    /// Compares what a mailbox holds with what was promised, while nothing is under way; nothing is in doubt behind it.
    pub(crate) fn settle(&mut self, mailbox: usize, held: &[usize]) -> Result<()> {
        let mut counts: BTreeMap<usize, i32> = BTreeMap::new();
        for number in held {
            *counts.entry(*number).or_default() += 1;
        }
        for number in counts.keys() {
            self.0.get(&(mailbox, *number)).with_context(|| {
                format!("message {number} is in mailbox {mailbox}, and was refused or never ended")
            })?;
        }
        for ((_, number), copies) in self.0.range_mut((mailbox, 0)..(mailbox + 1, 0)) {
            let count = counts.get(number).copied().unwrap_or(0);
            ensure!(
                copies.least <= count && count <= copies.most,
                "message {number} is {count} times in mailbox {mailbox}: {copies:?}"
            );
            *copies = Copies { least: count, most: count };
        }
        Ok(())
    }
}
