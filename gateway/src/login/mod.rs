//! Logins, whoever they are for: who must wait before another password is checked, and where passwords are checked.
//!
//! | file | what |
//! |---|---|
//! | [`guard`] | back-off per address and per account, and what it means for lock-outs |
//! | `pool` | the few threads that compute Argon2id |
//!
//! Promises
//! - Guessing slows the guesser, and locks out nobody else.
//! - Passwords take bounded computing and memory, and intake goes first.
//!
//! Not here: the passwords (`mailbox`, `proxy::oauth`), the protocols (`pop3_server`, `proxy`).

pub mod guard;
mod pool;

pub use guard::{Attempt, BackOff, Guard};
pub use pool::{LOGINS_AT_ONCE, LOGINS_WAITING, LoginPool, NotDone};
