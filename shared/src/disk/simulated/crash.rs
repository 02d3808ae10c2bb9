//! What is left when the power goes.

use std::collections::HashMap;

use super::file::{Change, Content};
use super::{Dice, State};

/// The disk as it is found when the power is back.
pub(super) fn after_cut(state: &State, dice: &mut Dice) -> State {
    let entries = state.entries.after_cut(state.order, dice);
    let contents = entries
        .inodes()
        .into_iter()
        .filter_map(|inode| state.contents.get(&inode).map(|content| (inode, content)))
        .map(|(inode, content)| (inode, Content::durable(content_after_cut(content, dice))))
        .collect();
    State { entries, contents, dice: Dice::new(dice.roll()), ..State::renewed(state.order) }
}

/// A file's octets as they are found when the power is back.
pub(super) fn content_after_cut(content: &Content, dice: &mut Dice) -> Vec<u8> {
    let Content { durable, pending, .. } = content;
    let mut fate = Fate::draw(pending, dice);
    let lengths = fate.lengths_until;
    let (mut bytes, mut len) = (durable.clone(), durable.len());
    for (number, change) in pending.iter().enumerate() {
        match change {
            Change::SetLen(to) => {
                if number < lengths {
                    bytes.resize(*to, 0);
                    len = *to;
                }
            }
            Change::Write { offset, bytes: new } => {
                if number < lengths {
                    len = len.max(offset + new.len());
                }
                for (sector, start, end) in sectors(*offset, new.len(), fate.sector_bytes) {
                    if number < fate.sector_until(sector, dice) {
                        if bytes.len() < end {
                            bytes.resize(end, 0);
                        }
                        bytes[start..end].copy_from_slice(&new[start - offset..end - offset]);
                    }
                }
            }
        }
    }
    bytes.resize(len, 0);
    bytes
}

/// Until which of the changes since the last sync each part of a file was written back.
struct Fate {
    sector_bytes: usize,
    changes: usize,
    lengths_until: usize,
    style: Style,
    sectors: HashMap<usize, usize>,
}

/// Each finds other mistakes: left to chance, a long file would never be found whole but for one sector.
enum Style {
    Nothing,
    Everything,
    /// In the order in which it was done.
    UpTo(usize),
    AllButSector(usize),
    OnlySector(usize),
    EachSectorByItself,
}

impl Fate {
    fn draw(pending: &[Change], dice: &mut Dice) -> Self {
        let changes = pending.len();
        let sector_bytes = if dice.once_in(2) { 512 } else { 4096 };
        let mut some_sector = || match pending.get(dice.index(changes)) {
            Some(Change::Write { offset, bytes }) => (offset + dice.index(bytes.len())) / sector_bytes,
            _ => 0,
        };
        let sector = some_sector();
        let style = match dice.below(6) {
            0 => Style::Nothing,
            1 => Style::Everything,
            2 => Style::UpTo(dice.index(changes + 1)),
            3 => Style::AllButSector(sector),
            4 => Style::OnlySector(sector),
            _ => Style::EachSectorByItself,
        };
        let lengths_until = match (&style, dice.below(3)) {
            (Style::Nothing, 0) => 0,
            (Style::UpTo(until), 0) => *until,
            (_, 1) => dice.index(changes + 1),
            _ => changes,
        };
        Self { sector_bytes, changes, lengths_until, style, sectors: HashMap::new() }
    }

    /// A sector holds all changes up to some moment: the cache writes it back as it is then.
    fn sector_until(&mut self, sector: usize, dice: &mut Dice) -> usize {
        match self.style {
            Style::Nothing => 0,
            Style::Everything => self.changes,
            Style::UpTo(until) => until,
            Style::AllButSector(lost) => {
                if sector == lost {
                    0
                } else {
                    self.changes
                }
            }
            Style::OnlySector(kept) => {
                if sector == kept {
                    self.changes
                } else {
                    0
                }
            }
            Style::EachSectorByItself => {
                let changes = self.changes;
                *self.sectors.entry(sector).or_insert_with(|| match dice.below(3) {
                    0 => 0,
                    1 => changes,
                    _ => dice.index(changes + 1),
                })
            }
        }
    }
}

/// The sectors that so many octets at `offset` touch: number, and first and last octet concerned.
fn sectors(offset: usize, len: usize, sector_bytes: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = offset + len;
    (offset / sector_bytes..end.div_ceil(sector_bytes))
        .map(move |sector| (sector, offset.max(sector * sector_bytes), end.min((sector + 1) * sector_bytes)))
}
