//! UIDL and LIST, put together.

use super::ClientError;
use crate::proto::pop3::number::decimal_u64;
use crate::proto::pop3::reply::printable;
use crate::proto::pop3::{MessageNumber, UidlToken};

/// A message in the maildrop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this session.
    pub number: MessageNumber,
    /// Its unique-id.
    pub uidl: UidlToken,
    /// Its size in octets, as the server claims.
    pub octets: u64,
}

/// The two lists while they come in.
#[derive(Debug, Default)]
pub(super) struct Listing {
    unique_ids: Vec<(MessageNumber, UidlToken)>,
    sizes: Vec<(MessageNumber, u64)>,
    /// Lines of each list that found no room.
    unique_ids_left: u64,
    sizes_left: u64,
}

impl Listing {
    /// One line of the UIDL response.
    pub(super) fn unique_id(&mut self, line: &[u8], messages_max: usize) -> Result<(), ClientError> {
        let entry =
            two_words(line).and_then(|(number, uidl)| Some((number.parse().ok()?, uidl.parse().ok()?)));
        push((&mut self.unique_ids, &mut self.unique_ids_left), entry, line, messages_max)
    }

    /// One line of the LIST response.
    pub(super) fn size(&mut self, line: &[u8], messages_max: usize) -> Result<(), ClientError> {
        let entry =
            two_words(line).and_then(|(number, octets)| Some((number.parse().ok()?, decimal_u64(octets)?)));
        push((&mut self.sizes, &mut self.sizes_left), entry, line, messages_max)
    }

    /// Every message that both lists name, and how many more there are than a list may hold. They must name the same ones,
    /// each once, and by unique-ids that are unique unless `same_uidls`.
    pub(super) fn finish(mut self, same_uidls: bool) -> Result<(Vec<Listed>, u64), ClientError> {
        self.unique_ids.sort_by_key(|&(number, _)| number);
        self.sizes.sort_by_key(|&(number, _)| number);
        if !self.unique_ids.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(ClientError::Listing("a message number twice".into()));
        }
        let left_out = self.unique_ids_left.max(self.sizes_left);
        if left_out > 0 {
            // Of two lists that go on, each in an order of its own, the beginnings need not name the same ones.
            self.keep_what_both_name();
        }
        let numbers = |left: &(MessageNumber, _), right: &(MessageNumber, u64)| left.0 == right.0;
        if self.unique_ids.len() != self.sizes.len()
            || !self.unique_ids.iter().zip(&self.sizes).all(|(left, right)| numbers(left, right))
        {
            return Err(ClientError::Listing("UIDL and LIST name different messages".into()));
        }
        let mut by_uidl: Vec<&UidlToken> = self.unique_ids.iter().map(|(_, uidl)| uidl).collect();
        by_uidl.sort();
        let twice = by_uidl.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some(twice) = twice.filter(|_| !same_uidls) {
            return Err(ClientError::Listing(format!("the unique-id {} twice", twice[0])));
        }
        let sizes = self.sizes.into_iter().map(|(_, octets)| octets);
        let listed = |((number, uidl), octets)| Listed { number, uidl, octets };
        Ok((self.unique_ids.into_iter().zip(sizes).map(listed).collect(), left_out))
    }

    /// Both are in the order of their numbers.
    fn keep_what_both_name(&mut self) {
        let sizes = &self.sizes;
        self.unique_ids
            .retain(|(number, _)| sizes.binary_search_by_key(number, |&(number, _)| number).is_ok());
        let unique_ids = &self.unique_ids;
        self.sizes
            .retain(|(number, _)| unique_ids.binary_search_by_key(number, |&(number, _)| number).is_ok());
    }
}

fn push<T>(
    (list, left): (&mut Vec<T>, &mut u64),
    entry: Option<T>,
    line: &[u8],
    messages_max: usize,
) -> Result<(), ClientError> {
    let entry = entry.ok_or_else(|| ClientError::Listing(format!("the line {:?}", printable(line))))?;
    if list.len() < messages_max {
        list.push(entry);
    } else {
        *left += 1;
    }
    Ok(())
}

/// The first two words; more may follow (RFC 1939 §5, LIST).
fn two_words(line: &[u8]) -> Option<(&str, &str)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some((words.next()?, words.next()?))
}
