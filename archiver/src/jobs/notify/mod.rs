//! Failures and recoveries of jobs, told by mail.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | `[notifications]` of the configuration |
//! | [`notices`] | what is to be told, and when: pure |
//! | [`message`] | a notice as a message |
//! | [`submit`] | that message to a mail server (RFC 6409, 3207, 4954) |
//! | [`sender`] | the daemon's task that does it |
//!
//! Promises
//! - A job that begins to fail is told once, and so is its recovery; while it goes on failing, one mail a day tells of all that do.
//! - What happens within half a minute goes into one mail.
//! - A mail that cannot be sent is tried again and logged; no job waits for it, or fails by it. What was told is on disk, so a
//!   restart neither forgets nor repeats.
//! - Passwords and tokens go over TLS only.
//!
//! Our own client and not a library's: certificates are judged as everywhere in Postern (`trust`, pinned ones too), on the
//! machines in `shared` that the gateway's proxy uses.

pub mod message;
pub mod notices;
pub mod sender;
pub mod settings;
pub mod submit;
#[cfg(test)]
mod tests;

pub use sender::Notifier;
pub use settings::NotificationSettings;
