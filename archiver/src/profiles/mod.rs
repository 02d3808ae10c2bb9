//! Profiles: what is pulled from where, for whom.
//!
//! | file | what |
//! |---|---|
//! | [`profile`] | a TOML file as an operator writes it → [`Profile`], checked |
//! | [`job`] | one run: pull, archive, only then delete at the source |
//! | [`stored`] | profiles on disk, `profiles/<name>.json` in an instance's directory, passwords sealed |
//!
//! Promises
//! - A profile that cannot be used is refused when it is read, naming file, line and key; nothing unknown is passed over.
//! - A password is in clear nowhere on our disk: it is sealed under the instance key, together with where it is sent, so
//!   that a profile file edited to name another server does not give it away.
//! - A file is replaced whole or not at all.
//!
//! - A run acknowledges a message at the source only when the archive's commit of it is on disk.
//!
//! Not here: the protocols (`sources`), what becomes of a message (`intake`). Later: schedules.

pub mod job;
pub mod profile;
pub mod stored;
#[cfg(test)]
mod tests;

pub use profile::{Assign, Profile, ProfileName, SourceProfile};
pub use stored::{Profiles, StoreError, StoredProfile};
