//! Profiles: what is pulled from where, for whom, and what becomes of it at its source.
//!
//! | file | what |
//! |---|---|
//! | [`profile`] | a TOML file as an operator writes it → [`Profile`], checked |
//! | `document`, `raw`, `source`, [`scope`], `name` | its parts: secrets apart, keys, servers and accounts, folders and messages |
//! | [`stored`] | profiles on disk, `profiles/<name>.json` in an instance's directory, secrets sealed |
//! | `accounts` | a source's accounts as they are now, and the way into each; `exchange` the same for mailboxes at Exchange |
//! | [`state`] | what is known of the sources from run to run: cursors, what is to be tried again, what to be deleted |
//! | [`job`] | a run and its result; `run` how it goes |
//! | [`probe`] | `profile test`: each step into each account, in words |
//! | [`continuous`] | waits until something happens at a source |
//!
//! Promises
//! - A profile that cannot be used is refused when it is read, naming file, line and key; nothing unknown is passed over.
//! - A secret is in clear nowhere on our disk: it is sealed under the instance key, together with where it is sent, so
//!   that a profile file edited to name another server does not give it away.
//! - A file is replaced whole or not at all.
//! - A run acknowledges or deletes a message at the source only when the archive's commit of it is on disk and it was read back.
//!
//! Not here: the protocols (`sources`), what becomes of a message (`intake`), when a profile runs (`jobs`).

mod accounts;
pub mod continuous;
mod document;
mod exchange;
pub mod job;
mod name;
pub mod probe;
pub mod profile;
mod raw;
mod run;
pub mod scope;
mod source;
pub mod state;
pub mod stored;
#[cfg(test)]
mod tests;

pub use document::{Document, Fault};
pub use profile::{AfterCare, Assign, Profile, ProfileName};
pub use scope::Scope;
pub use source::{AccountName, Accounts, Login, Master, SourceProfile, Whose};
pub use stored::{OpenError, Profiles, StoreError, StoredProfile};
