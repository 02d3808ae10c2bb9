//! The gateway: journal mail in over SMTP, sealed into per-mailbox spools, out over POP3.
//!
//! `ARCHITECTURE.md` shows the flow; each room's header says what it promises.

pub mod acme;
pub mod activity;
pub mod app;
pub mod backup;
pub mod certificate;
pub mod cli;
pub mod command;
pub mod console;
pub mod daemon;
mod doctor;
pub mod intake;
pub mod listen;
pub mod login;
pub mod mailbox;
pub mod monitoring;
pub mod pop3_server;
pub mod proxy;
pub mod reload;
mod servers;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod smtp_receiver;
pub mod spool;
pub mod watchdog;
