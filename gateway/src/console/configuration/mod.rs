//! The configuration file: what each key means, what it is set to and by what, and changing it.
//!
//! What keys mean comes from the settings themselves (`settings::reference`). Changes keep comments and order: one line is replaced or added
//! ([`edit`]), and the result is parsed and compared, so an edit can change nothing but what it was asked to.
//!
//! Promises
//! - Nothing is written that the gateway could not load. The one that it started with stays beside it as `.bak`.
//! - A key that the environment overrides is told; changing it in the file would change nothing.
//! - Secrets (keys that end in `secret` or `password`, and what looks like one in a comment) are shown as a mask. When it comes
//!   back, each stays with its table and `name`; a mask that could stand for another one is refused.

mod comments;
mod edit;
mod reference;
mod secrets;

pub(crate) use edit::{EditError, edited};
pub(crate) use reference::variable;
pub(super) use reference::{Key, keys};
pub(super) use secrets::{masked, unmasked};
