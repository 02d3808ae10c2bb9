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

use crate::intake::memory::{Memory, Share};

/// Octets that are kept back of what is streamed: without them there is neither an end nor a last line.
const KEPT_BACK: usize = 5;
/// Memory is asked for in such steps.
const STEP: usize = 16 * 1024;

/// For whom a message is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The client asked for it.
    Client,
    /// The client deletes it unread.
    Nobody,
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
    share: Share,
}

/// All of a message, in memory.
pub struct Held {
    /// The response as it came.
    raw: Vec<u8>,
    /// Of `raw`, the line before the content.
    status_octets: usize,
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

    /// The response as it came.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The same, when nobody else needs it.
    pub(super) fn into_raw(self) -> Vec<u8> {
        self.raw
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
        let mut capacity = self.raw.capacity();
        if needed > capacity {
            capacity = needed.next_multiple_of(STEP).max(2 * capacity).min(octets_max);
        }
        if input.is_empty() || !self.share.grow_to(memory, capacity) {
            return (0, Taken::NoRoom);
        }
        self.raw.reserve_exact(capacity - self.raw.len());
        let (used, whole) = self.decode(input, None);
        self.raw.extend_from_slice(&input[..used]);
        (used, if whole { Taken::Whole } else { Taken::More })
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
        self.status_octets = 0;
        (content, std::mem::replace(&mut self.raw, kept))
    }

    /// Takes octets while it is streamed. How many, whether it is whole, and content and octets as above.
    pub(super) fn pass(&mut self, input: &[u8]) -> (usize, bool, Vec<u8>, Vec<u8>) {
        let mut content = Vec::new();
        let recorded = self.way == Way::Streamed { recorded: true };
        let (used, whole) = self.decode(input, recorded.then_some(&mut content));
        let mut shown = std::mem::take(&mut self.raw);
        shown.extend_from_slice(&input[..used]);
        self.raw = shown.split_off(shown.len() - KEPT_BACK.min(shown.len()));
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

    /// The response as far as it was kept back.
    pub(super) fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// The same of what was held to its end.
    pub(super) fn into_held(self) -> Held {
        Held { raw: self.raw, status_octets: self.status_octets, _share: self.share }
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
