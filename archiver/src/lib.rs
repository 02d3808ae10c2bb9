//! The archiver: pulls mail from gateways into archive instances, and finds it there.
//!
//! `ARCHITECTURE.md` shows the flow; each room's header says what it promises.

// Tests look behind the gate; everybody else comes through it.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod access;
pub mod api;
pub mod app;
pub mod archive;
pub mod cli;
pub mod command;
pub mod daemon;
pub mod documents;
pub mod intake;
pub mod jobs;
pub mod monitoring;
pub mod profiles;
pub mod settings;
pub mod sources;
#[cfg(test)]
mod stage;
