//! Text out of attached documents, in a process of its own.
//!
//! A document is whatever a stranger sent. So none is opened where mail is archived: `postern-archiver extract-worker` opens them, one
//! after the other, with nothing but a socket to whoever started it, bounded memory, processor time and output. When it dies or
//! takes too long, another one takes its place, and the message is marked: that attachment's text is missing, and why.
//!
//! | format | read | by |
//! |---|---|---|
//! | txt, csv, md, log, json, xml, ics, vcf and the like | yes | `text/plain.rs`; UTF-8, UTF-16, else Windows-1252 |
//! | html | yes | mail-parser |
//! | pdf | yes, unless a password is needed; not pictures of text | pdf-extract |
//! | docx, xlsx, pptx and their templates and macro forms | yes, with headers, notes, comments, embedded documents | `text/office.rs` |
//! | odt, ods, odp, odg | yes | `text/office.rs` |
//! | rtf | yes, not its embedded objects | `text/rtf.rs` |
//! | eml, forwarded messages | yes, with their attachments | `intake` |
//! | zip | yes: names, and what in it is listed here | `text/container.rs` |
//! | doc, xls, ppt, msg; rar, 7z, gz, tar; encrypted documents | No, and the message is marked | |
//!
//! Promises
//! - Whatever a document is, reading it ends after [`Limits::deadline`], or soon after nobody waits for it; and the worker never has
//!   more than its bounds.
//! - A document that killed two workers, or took too long, is not tried again, in this message or another, as long as the process
//!   lives. That no worker can be started is no document's fault: who asks is told, and asks again.
//! - An instance has no more workers at once than its share, all together no more than theirs; one that has nothing to do ends after a
//!   minute, and gives back what memory a document took.
//! - What is read in part only says so.
//!
//! Not here: text of bodies (`intake`), what is indexed of it (`archive/index`).

mod format;
mod frames;
mod limits;
mod text;
mod worker;
mod workers;

pub use format::Format;
pub use worker::run;
pub use workers::{Limits, Workers};

#[cfg(test)]
mod tests;
