//! What was found damaged: told one by one up to a number, then counted.

use super::Damage;

/// Told one by one.
const TOLD_MAX: usize = 1000;

/// Damage found, in memory that does not grow with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::archive) struct Damages {
    told: Vec<Damage>,
    left_out: u64,
}

impl Damages {
    pub(in crate::archive) fn push(&mut self, damage: Damage) {
        if self.told.len() < TOLD_MAX {
            self.told.push(damage);
        } else {
            self.left_out += 1;
        }
    }

    pub(in crate::archive) fn append(&mut self, other: Self) {
        self.left_out += other.left_out;
        other.told.into_iter().for_each(|damage| self.push(damage));
    }

    pub(in crate::archive) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// All of them, told or not.
    pub(in crate::archive) fn count(&self) -> u64 {
        self.told.len() as u64 + self.left_out
    }

    pub(in crate::archive) fn told(&self) -> &[Damage] {
        &self.told
    }

    /// Those that are not told.
    pub(in crate::archive) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A line for each, and one for those that are left out.
    pub(in crate::archive) fn lines(&self) -> Vec<String> {
        let more =
            (self.left_out > 0).then(|| format!("and {} more; verify names each message", self.left_out));
        self.told.iter().map(ToString::to_string).chain(more).collect()
    }
}
