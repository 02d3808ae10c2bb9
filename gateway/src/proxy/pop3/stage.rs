//! The relay between a client and a server that are texts, with a recorder in memory; for tests.

use std::collections::VecDeque;

use postern_shared::crypto::digest::sha256;

use super::machine::{Action, End, Options, Relay, Unrecorded};
use super::message::About;
use super::transfer::COMMITTING_MAX;
use crate::intake::memory::Memory;

/// What of recording fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Failing {
    #[default]
    Nothing,
    Everything,
    Begin,
    Write,
    Finish,
}

/// Something that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    Answered(Vec<u8>),
    Asked(Vec<u8>),
    /// Unique-id and content; whether it was known.
    Recorded(String, Vec<u8>, bool),
    TooLong,
    Ended(End),
}

pub(super) struct Stage {
    pub(super) relay: Relay,
    pub(super) failing: Failing,
    /// Copies of what is held are made by [`Stage::copy`] only.
    pub(super) late: bool,
    copies: VecDeque<(About, Vec<u8>)>,
    pub(super) outs: Vec<Out>,
    pub(super) kept: Vec<(String, Vec<u8>)>,
    pub(super) closed: bool,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    incoming: Option<Vec<u8>>,
}

pub(super) fn options() -> Options {
    Options {
        pipelining: true,
        message_octets_max: 1_000_000,
        held_octets_max: 100_000,
        memory: Memory::new(1_000_000),
        pass_unrecorded: false,
    }
}

impl Stage {
    pub(super) fn new(options: Options) -> Self {
        Self {
            relay: Relay::new(options),
            failing: Failing::default(),
            late: false,
            copies: VecDeque::new(),
            outs: Vec::new(),
            kept: Vec::new(),
            closed: false,
            from_client: Vec::new(),
            from_server: Vec::new(),
            incoming: None,
        }
    }

    pub(super) fn late(self, late: bool) -> Self {
        Self { late, ..self }
    }

    pub(super) fn client_sends(&mut self, octets: &[u8]) {
        self.from_client.extend_from_slice(octets);
        self.go_on();
    }

    pub(super) fn server_sends(&mut self, octets: &[u8]) {
        self.from_server.extend_from_slice(octets);
        self.go_on();
    }

    pub(super) fn client_closes(&mut self) {
        let mut actions = Vec::new();
        self.relay.client_closed(&mut actions);
        self.perform(actions);
    }

    pub(super) fn server_closes(&mut self) {
        let mut actions = Vec::new();
        self.relay.server_lost(End::ServerGone, &mut actions);
        self.perform(actions);
    }

    /// Whether copies wait.
    pub(super) fn copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Makes the first copy that waits; whether there was one.
    pub(super) fn copy(&mut self) -> bool {
        let Some((about, content)) = self.copies.pop_front().filter(|_| !self.closed) else { return false };
        let mut actions = Vec::new();
        let outcome = self.keep(&about, content, self.failing == Failing::Nothing);
        self.relay.recorded(outcome, &mut actions);
        self.perform(actions);
        if !self.closed {
            self.go_on();
        }
        true
    }

    fn go_on(&mut self) {
        loop {
            let mut actions = Vec::new();
            let used = self.relay.from_client(&self.from_client, &mut actions);
            self.from_client.drain(..used);
            let used = self.relay.from_server(&self.from_server, &mut actions);
            self.from_server.drain(..used);
            if (actions.is_empty() && used == 0) || self.closed {
                return;
            }
            self.perform(actions);
        }
    }

    /// As the driver does: what is reported leads to actions behind those that are there.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut more = Vec::new();
        for action in actions {
            assert!(!self.closed, "{action:?} behind the end");
            match action {
                Action::Answer(octets) => self.outs.push(Out::Answered(octets)),
                Action::Ask(octets) => self.outs.push(Out::Asked(octets)),
                Action::Record { about, sha256: hash, held } => {
                    let content: Vec<u8> = held.content().flatten().copied().collect();
                    assert_eq!(sha256(&content), hash);
                    self.copies.push_back((about, content));
                    assert!(self.copies.len() <= COMMITTING_MAX, "{:?}", self.relay);
                    if !self.late
                        && let Some((about, content)) = self.copies.pop_front()
                    {
                        let outcome = self.keep(&about, content, self.failing == Failing::Nothing);
                        self.relay.recorded(outcome, &mut more);
                    }
                }
                Action::Begin(_) => {
                    let fails = matches!(self.failing, Failing::Everything | Failing::Begin);
                    self.incoming = (!fails).then(Vec::new);
                    self.relay.recorded(if fails { Err(Unrecorded) } else { Ok(()) }, &mut more);
                }
                Action::Write(octets) => {
                    if self.failing == Failing::Write {
                        self.incoming = None;
                        self.relay.write_failed(&mut more);
                    } else if let Some(incoming) = &mut self.incoming {
                        incoming.extend(octets);
                    }
                }
                Action::Finish { about, sha256: hash } => {
                    let outcome = match self.incoming.take() {
                        Some(content) => {
                            assert_eq!(sha256(&content), hash);
                            self.keep(&about, content, self.failing != Failing::Finish)
                        }
                        None => Err(Unrecorded),
                    };
                    self.relay.recorded(outcome, &mut more);
                }
                Action::Abandon => self.incoming = None,
                Action::TooLong(_) => self.outs.push(Out::TooLong),
                Action::Close(end) => {
                    self.closed = true;
                    self.outs.push(Out::Ended(end));
                }
            }
        }
        if !more.is_empty() {
            self.perform(more);
        }
    }

    fn keep(&mut self, about: &About, content: Vec<u8>, works: bool) -> Result<(), Unrecorded> {
        let uidl = about.uidl.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let entry = (uidl.clone(), content.clone());
        let known = self.kept.contains(&entry);
        if !known && !works {
            return Err(Unrecorded);
        }
        if !known {
            self.kept.push(entry);
        }
        self.outs.push(Out::Recorded(uidl, content, known));
        Ok(())
    }
}
