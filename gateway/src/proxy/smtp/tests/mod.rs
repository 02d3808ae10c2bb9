//! The SMTP relay held to its promises: written dialogues, stand-ins for the end of data, everything that may go wrong in any
//! order against a server that keeps a record, and real connections with a real spool.

mod anything;
mod dialogues;
mod server;
mod sessions;
mod smuggling;
mod stage;
