//! One message on its way from the server.
//!
//! | way | to the client | to the mailbox |
//! |---|---|---|
//! | held | nothing yet | nothing yet: it is looked at whole, and may be known already |
//! | streamed | as it comes, but for its last octets | as it comes |
//! | drained | nothing: it was refused | nothing |
//!
//! A message begins held; it leaves memory when it grows too long, or when too many are held.

use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::proto::pop3::dot::Decoded;
use postern_shared::proto::pop3::{DotDecoder, MessageNumber, UidlToken};

use super::shown::Shown;
use crate::intake::memory::{Memory, Share};

/// Octets that are kept back of what is streamed: without them there is neither an end nor a last line.
const KEPT_BACK: usize = 5;
/// Memory is asked for in such steps.
const STEP: usize = 16 * 1024;

/// For whom a message is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The client asked for it, or for so many lines of its body.
    Client { body_lines: Option<u32> },
    /// The client deletes it unread.
    Nobody,
}

impl Reader {
    pub(super) fn is_client(self) -> bool {
        matches!(self, Self::Client { .. })
    }

    fn shown(self) -> Shown {
        Shown::new(match self {
            Self::Client { body_lines } => body_lines,
            Self::Nobody => None,
        })
    }
}

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its number in this session.
    pub number: MessageNumber,
    /// What the server calls it across sessions.
    pub uidl: Option<UidlToken>,
    /// How long the server says it is.
    pub announced_octets: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Held,
    Streamed { recorded: bool },
    Drained,
}

/// A message that began.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) about: About,
    pub(super) reader: Reader,
    pub(super) way: Way,
    decoder: DotDecoder,
    sha256: Sha256,
    octets: u64,
    /// The response as it came: all of it while held, its last octets while streamed.
    raw: Vec<u8>,
    /// Of `raw`, the line before the content.
    status_octets: usize,
    shown: Shown,
    share: Share,
}

/// All of a message, in memory.
pub struct Held {
    /// The response as it came.
    raw: Vec<u8>,
    /// Of `raw`, the line before the content.
    status_octets: usize,
    content_octets: u64,
    reader: Reader,
    _share: Share,
}

impl Held {
    /// The content, dots undone, in pieces.
    pub fn content(&self) -> impl Iterator<Item = &[u8]> + Send {
        content(&self.raw[self.status_octets..])
    }

    /// How much it takes.
    pub(super) fn octets(&self) -> usize {
        self.raw.capacity()
    }

    /// How long the content is.
    pub(super) fn content_octets(&self) -> u64 {
        self.content_octets
    }

    /// The response as its reader gets it.
    pub(super) fn shown(&self) -> Vec<u8> {
        self.cut(self.raw.clone())
    }

    /// The same, when nobody else needs it.
    pub(super) fn into_shown(mut self) -> Vec<u8> {
        let raw = std::mem::take(&mut self.raw);
        self.cut(raw)
    }

    fn cut(&self, mut raw: Vec<u8>) -> Vec<u8> {
        self.reader.shown().cut_last(&mut raw, self.status_octets);
        raw
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("octets", &self.raw.len()).finish_non_exhaustive()
    }
}

/// What came of octets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// More are needed.
    More,
    /// The message is whole.
    Whole,
    /// It cannot be held any longer.
    NoRoom,
}

impl Message {
    /// A message whose first line came.
    pub(super) fn begin(about: About, reader: Reader, status: &[u8]) -> Self {
        Self {
            about,
            reader,
            way: Way::Held,
            decoder: DotDecoder::new(),
            sha256: Sha256::new(),
            octets: 0,
            raw: status.to_vec(),
            status_octets: status.len(),
            shown: reader.shown(),
            share: Share::default(),
        }
    }

    /// How long it is so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The hash of its content so far.
    pub(super) fn sha256(&self) -> Digest {
        self.sha256.clone().finish()
    }

    /// Takes octets while it is held; how many, and what came of it.
    pub(super) fn hold(&mut self, input: &[u8], memory: &Memory, octets_max: usize) -> (usize, Taken) {
        let room = octets_max.saturating_sub(self.raw.len());
        let input = &input[..input.len().min(room)];
        let needed = self.raw.len() + input.len();
        if input.is_empty() || !self.has_room_for(needed, memory, octets_max) {
            return (0, Taken::NoRoom);
        }
        let (used, whole) = self.decode(input, None);
        self.raw.extend_from_slice(&input[..used]);
        (used, if whole { Taken::Whole } else { Taken::More })
    }

    /// Room for `needed` octets: as the server announced where it did, so that nothing is moved when more comes; else, and for
    /// a server that announced too little, in growing steps.
    fn has_room_for(&mut self, needed: usize, memory: &Memory, octets_max: usize) -> bool {
        let before = self.raw.capacity();
        if needed <= before && self.share.grow_to(memory, before) {
            return true;
        }
        let announced = self.about.announced_octets.and_then(|octets| usize::try_from(octets).ok());
        // Its own octets, what their dots are doubled with, and the lines around them.
        let announced = announced.map(|octets| octets.saturating_add(octets / 64 + STEP / 16));
        let announced = announced.filter(|octets| (needed..=octets_max).contains(octets));
        let step = needed.next_multiple_of(STEP).max(2 * before).min(octets_max);
        let found = announced.into_iter().chain([step]).find(|octets| self.share.grow_to(memory, *octets));
        self.raw.reserve_exact(found.map_or(0, |capacity| capacity - self.raw.len()));
        found.is_some()
    }

    /// It is held no longer. What there was: content for the mailbox, and octets for the client, but for the last ones.
    pub(super) fn stream(&mut self, recorded: bool) -> (Vec<u8>, Vec<u8>) {
        self.way = Way::Streamed { recorded };
        let content = if recorded {
            content(&self.raw[self.status_octets..]).fold(Vec::new(), joined)
        } else {
            Vec::new()
        };
        let shown = self.raw.len() - KEPT_BACK.min(self.raw.len() - self.status_octets);
        let kept = self.raw.split_off(shown);
        self.share = Share::default();
        let mut octets = std::mem::replace(&mut self.raw, kept);
        self.shown.cut(&mut octets, std::mem::take(&mut self.status_octets));
        (content, octets)
    }

    /// Takes octets while it is streamed. How many, whether it is whole, and content and octets as above.
    pub(super) fn pass(&mut self, input: &[u8]) -> (usize, bool, Vec<u8>, Vec<u8>) {
        let mut content = Vec::new();
        let recorded = self.way == Way::Streamed { recorded: true };
        let (used, whole) = self.decode(input, recorded.then_some(&mut content));
        let mut shown = std::mem::take(&mut self.raw);
        shown.extend_from_slice(&input[..used]);
        self.raw = shown.split_off(shown.len() - KEPT_BACK.min(shown.len()));
        self.shown.cut(&mut shown, 0);
        (used, whole, content, shown)
    }

    /// It goes nowhere from now on.
    pub(super) fn drain(&mut self) {
        self.way = Way::Drained;
        (self.raw, self.share, self.status_octets) = (Vec::new(), Share::default(), 0);
    }

    /// Takes octets while it is drained; how many, and whether that was all.
    pub(super) fn skip(&mut self, input: &[u8]) -> (usize, bool) {
        self.decode(input, None)
    }

    /// The end of the response, which was kept back.
    pub(super) fn into_end(mut self) -> Vec<u8> {
        self.shown.cut_last(&mut self.raw, 0);
        self.raw
    }

    /// The same of what was held to its end.
    pub(super) fn into_held(self) -> Held {
        Held {
            raw: self.raw,
            status_octets: self.status_octets,
            content_octets: self.octets,
            reader: self.reader,
            _share: self.share,
        }
    }

    fn decode(&mut self, input: &[u8], mut content: Option<&mut Vec<u8>>) -> (usize, bool) {
        let mut used = 0;
        loop {
            let (n, decoded) = self.decoder.next(&input[used..]);
            used += n;
            match decoded {
                Decoded::NeedMore => return (used, false),
                Decoded::End => return (used, true),
                Decoded::Content(piece) => {
                    self.sha256.update(piece);
                    self.octets += piece.len() as u64;
                    if let Some(content) = &mut content {
                        content.extend_from_slice(piece);
                    }
                }
            }
        }
    }
}

fn content(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> + Send {
    let mut decoder = DotDecoder::new();
    std::iter::from_fn(move || {
        let (used, decoded) = decoder.next(rest);
        rest = &rest[used..];
        match decoded {
            Decoded::Content(piece) => Some(piece),
            Decoded::End | Decoded::NeedMore => None,
        }
    })
}

fn joined(mut all: Vec<u8>, piece: &[u8]) -> Vec<u8> {
    all.extend_from_slice(piece);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(announced_octets: Option<u64>) -> Message {
        let number = "1".parse().unwrap();
        Message::begin(About { number, uidl: None, announced_octets }, Reader::Nobody, b"+OK\r\n")
    }

    /// Goal: what is announced is held without being moved; a server that announces anything else costs no more than what is
    /// held at most, and less than it announces where memory is short.
    #[test]
    fn room_is_made_for_what_is_announced() {
        const HELD_MAX: usize = 256 * 1024;
        let memory = Memory::new(4 * HELD_MAX);
        let held_max = HELD_MAX as u64;
        for (announced, growths) in
            [(None, 3), (Some(0), 4), (Some(50_000), 1), (Some(held_max), 3), (Some(u64::MAX), 3)]
        {
            let mut message = begun(announced);
            let mut grown = 0;
            for _ in 0..100 {
                let before = message.raw.capacity();
                assert_eq!(message.hold(&[b'x'; 500], &memory, HELD_MAX), (500, Taken::More));
                grown += usize::from(message.raw.capacity() != before);
                assert!(message.raw.capacity() <= HELD_MAX, "{announced:?}");
            }
            assert_eq!(grown, growths, "{announced:?}");
        }
        let mut message = begun(Some(50_000));
        let little = Memory::new(2 * STEP);
        assert_eq!(message.hold(&[b'x'; 500], &little, HELD_MAX), (500, Taken::More));
        assert_eq!(message.raw.capacity(), STEP);
        assert_eq!(message.hold(&[b'x'; 40_000], &little, HELD_MAX), (0, Taken::NoRoom));
    }
}
