//! How the relay relays, what it wants done, and why it ends.

use std::sync::Arc;

use postern_shared::crypto::digest::Digest;

#[cfg(doc)]
use super::machine::Relay;
use super::message::{About, Held};
use crate::intake::memory::Memory;

/// How it relays.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server takes requests without waiting for responses.
    pub pipelining: bool,
    /// The longest message that is recorded.
    pub message_octets_max: u64,
    /// What of a message is held until it is whole.
    pub held_octets_max: usize,
    /// What is held of all sessions together.
    pub memory: Memory,
    /// What cannot be recorded goes through all the same.
    pub pass_unrecorded: bool,
}

/// What must happen next.
#[derive(Debug)]
pub enum Action {
    /// Send to the client.
    Answer(Vec<u8>),
    /// Send to the server.
    Ask(Vec<u8>),
    /// Record all of a message, unless it is known. It goes on meanwhile, and may ask for the next before this one is told.
    Record {
        /// Which.
        about: About,
        /// Its hash.
        sha256: Digest,
        /// What there is of it, of which nobody keeps anything when its outcome is told.
        held: Arc<Held>,
    },
    /// A message comes that will be recorded while it comes.
    Begin(About),
    /// The next piece of it. When that fails, say [`Relay::write_failed`].
    Write(Vec<u8>),
    /// That was all of it: make it durable, unless it is known.
    Finish {
        /// Which.
        about: About,
        /// Its hash.
        sha256: Digest,
    },
    /// That will never be whole: nothing of it is recorded.
    Abandon,
    /// A message goes through that is longer than any that is recorded.
    TooLong(About),
    /// Send everything and close both connections.
    Close(End),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The client said QUIT, and the server answered.
    #[error("the client said QUIT")]
    Quit,
    /// The client went without a word; so nothing is deleted.
    #[error("the client is gone")]
    ClientGone,
    /// The server went.
    #[error("the server closed the connection")]
    ServerGone,
    /// The server owed an answer for too long.
    #[error("the server said nothing for too long")]
    ServerSilent,
    /// The server sent what is no response.
    #[error("the server's answer is no POP3 response")]
    Garbage,
    /// The server sent what nobody asked for.
    #[error("the server sent something unasked")]
    Unasked,
    /// The server's answer has no end where one must be.
    #[error("the first line of the server's answer is too long")]
    LineTooLong,
    /// The client said QUIT, and the server was not told: it might have removed what could not be recorded.
    #[error("messages could not be recorded, so the server was not told QUIT")]
    NotDeleted,
    /// A message could not be recorded while it was sent.
    #[error("a message could not be recorded to its end")]
    NotRecorded,
}

/// A message was not recorded, whatever the reason was: it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;
