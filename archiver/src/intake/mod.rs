//! The only door to an archive: octets as they were pulled, to a message to be committed.
//!
//! [`prepare`] takes off the gateway's trace fields (and keeps them as evidence), checks the message against them, unwraps a
//! journal report, decides in whose archives the message belongs, and extracts what it is found by.
//!
//! Promises
//! - The content that is archived is octet for octet what was sent to the gateway, or the original inside the report.
//! - Nothing is dropped: what belongs to nobody goes to `unassigned`, what cannot be read goes raw to `quarantine`.
//! - Trace fields are believed of a gateway and of nobody else.
//! - A message that changed between gateway and here is refused ([`Altered`]), so that it stays at the source.
//! - Whatever a message holds, preparing it ends, in bounded memory.
//!
//! Not here: storing (`archive`), pulling (`sources`).

mod decode;
mod extract;
mod prepare;
#[cfg(test)]
mod tests;

pub use extract::{attached_message, index_fields, index_fields_with_documents};
pub use prepare::{
    Altered, Arrival, LongError, Via, may_be_report, prepare, prepare_long, quarantine_unparsed,
};
