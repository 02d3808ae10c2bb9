//! The SMTP relay held to its promises: written dialogues, cuts everywhere, everything that may go wrong in any order, and
//! real connections.

mod dialogues;
mod stage;
