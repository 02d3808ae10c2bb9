//! An instance's stores: one current, others beside it, each whole in itself.
//!
//! New messages go to the current store. When that is full, another one takes its place. A message that arrives again is folded
//! into the store that has it.
//!
//! | state | read and searched | takes new messages | takes more of what it has |
//! |---|---|---|---|
//! | current | yes | yes | yes |
//! | normal | yes | no | yes |
//! | write-protected | yes | no | no: what is new about a message goes into a second copy in the current store |
//! | disabled | no | no | no |
//!
//! `stores.json` says which stores are attached, where they are, and in which state; it is replaced atomically, so there is
//! always exactly one current store. Parts are single in a store, across all users, folders and profiles, and not beyond it: a store
//! that needed another one's octets could not be detached, moved to other media or backed up by itself, and damage in one
//! would cost messages of the others. The price is one more copy of what comes again after a roll-over.
//!
//! Promises
//! - A commit returns `Ok` only when all of it would survive a power cut. Commits that come together are written together.
//! - What folds into a message that is here was compared with it: that message was read and has the hash of what arrived, or the fold
//!   key; a journal report that is relied on was read too. What cannot be read is archived anew.
//! - A store is open once at a time, in all processes and in this one: its lock file is held as long as anybody has it. It is closed when
//!   nothing writes to it.
//! - A damaged catalog costs its own store: the others are read, and the current one takes messages.
//! - UIDs are given once, also while a store is away: the current store's catalog knows the folders of all.
//! - Maintenance (verify, rebuild, compact, backup) runs beside archiving and reading, one at a time in an instance.

mod appended;
mod arrive;
mod backup;
mod begun;
mod catalog_file;
mod changes;
mod commit;
mod compact;
mod draft;
mod file;
mod fold;
mod kept;
mod lost;
mod read;
mod rebuild;
mod replay;
mod restore;
mod set;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub(in crate::archive) use arrive::Commits;
pub use arrive::Ready;
pub(in crate::archive) use catalog_file::{away_dir, remove_derived};
pub use file::{RollOver, State};
pub(in crate::archive) use restore::{left_of_an_instance, restore};
pub use set::StoreShown;
pub(in crate::archive) use set::{Attached, Stores};
pub(in crate::archive) use store::Store;
pub use verify::Finding;
pub(in crate::archive) use verify::Verification;

/// Told how far a long work has come, with what it counts in all; `true` ends it at the next safe point.
pub type Watch<'w> = &'w mut dyn FnMut(&str, u64, Option<u64>) -> bool;
