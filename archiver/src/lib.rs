//! The archiver: pulls mail from gateways into archive instances, and finds it there.
//!
//! `ARCHITECTURE.md` shows the flow; each room's header says what it promises.

pub mod app;
pub mod archive;
pub mod cli;
pub mod command;
pub mod daemon;
pub mod documents;
pub mod intake;
pub mod profiles;
pub mod settings;
pub mod sources;
