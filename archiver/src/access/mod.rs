//! Who may do what, and the one gate in front of archived mail.
//!
//! | file | what |
//! |---|---|
//! | `tokens` | bearer tokens of the API: what is stored of them |
//! | `caller` | who asks: the operator on this machine, or a token, perhaps one that stands for a user |
//! | `needs` | one table of all commands and what each asks of its caller; what is not in it only the operator may do |
//! | `admission` | in front of every command: may it be done, and the audit line, before it is done |
//! | `gate` | reading mail: right, audit line on disk, and only then data |
//!
//! Promises
//! - Mail leaves an instance through [`Gate`] only: Clippy refuses the use of [`Instance`](crate::archive::Instance)'s reading
//!   functions anywhere else but in tests (`clippy.toml`).
//! - The audit line is on disk before anything is handed out or done; when it cannot be written, nothing is. What is refused
//!   is recorded too.
//! - A token of one instance learns nothing of another one, not even that it is there; also not of one that comes under the same
//!   id later.
//! - A token that stands for a user reads what that user may read at this moment, and sees no other archive's name.
//! - Managing an instance gives no right to read mail: who manages as a user gives it to nobody.
//! - When it cannot be told whose a message is, nobody has it who may not have all of them; and nobody is told that it is not there.
//!
//! Not here: the API itself (`api`), users (`archive`), the web pages and IMAP of users, which come later through this same gate.

mod admission;
mod caller;
mod gate;
mod needs;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use admission::{Asked, admit};
pub use caller::{Caller, Who};
pub(crate) use gate::Denied;
pub use gate::Gate;
pub use needs::Need;
pub use tokens::{NewToken, Scope, ShownToken, TokenError, Tokens};
