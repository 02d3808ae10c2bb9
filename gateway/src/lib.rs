//! The gateway: journal mail in over SMTP, sealed into per-mailbox spools, out over POP3.

pub mod intake;
pub mod listen;
pub mod mailbox;
pub mod pop3_server;
pub mod smtp_receiver;
pub mod spool;
