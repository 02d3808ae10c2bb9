//! EWS as octets and values: requests into envelopes, answers out of them. No socket, no clock.
//!
//! | file | what |
//! |---|---|
//! | [`xml`] | XML as it arrives |
//! | [`request`] | what can be asked (MS-OXWSFOLD, MS-OXWSSYNC, MS-OXWSSRCH, MS-OXWSCORE) |
//! | [`answer`] | response messages, folders, items and contents as they arrive (MS-OXWSCDATA) |
//! | `base64` | content as it arrives |
//! | `tags` | properties of the store (MS-OXPROPS) |
//!
//! | request | used for |
//! |---|---|
//! | GetFolder | roles: which folder is the inbox |
//! | SyncFolderHierarchy | the folders of a mailbox |
//! | FindFolder, shallow | public folders |
//! | SyncFolderItems | what is new, changed, gone |
//! | FindItem | what is in a public folder |
//! | GetItem | content as MIME; flags |
//! | DeleteItem | after-care |
//! | ExportItems, notifications, everything that writes | No |
//!
//! Promises
//! - Memory does not grow with an answer: content is handed on in pieces, rows one by one, texts are cut.
//! - A row counts when its element has ended, an answer when its own has; what is cut off is told by [`Decoder::finish`].
//!
//! Not here: connections, logins, waiting (`service`).

pub mod answer;
mod base64;
pub mod request;
mod tags;
#[cfg(test)]
mod tests;
pub mod xml;

pub use answer::{Answer, BadAnswer, Change, Decoder, Event, FolderRow, ItemRow, Version};
pub use request::{Caller, Disposal, Place, Request};
pub use tags::{Flags, Stamp};
