//! The management API: HTTPS on 8474, everything that the command line lets the daemon do, for bearer tokens. Its checks of the machine
//! (`doctor`, `check-config`) are for who sits at it.
//!
//! | file | what |
//! |---|---|
//! | `routes` | one table: each route, the command it stands for, what it takes and how it answers |
//! | `request` | a request to a command |
//! | `handle` | the way of a request: command, admission, answer; messages are sent while they are read |
//! | `calls` | long calls: begun, watched, cancelled, forgotten |
//! | `door` | in front of every route: the token, and what every answer says |
//! | `throttle` | who guesses at tokens waits; pure |
//! | `places`, `shares` | how many connections there may be; how much is done at once, in all and of an instance |
//! | `server` | TLS, HTTP/1.1, deadlines |
//! | `document`, `page` | the OpenAPI document and a page to read it on |
//! | `problem` | errors (RFC 9457) |
//!
//! Standards: RFC 9110 and 9112 (HTTP), RFC 6750 (bearer tokens), RFC 9457, OpenAPI 3.1.
//!
//! Promises
//! - Without a token only the document and its page are served.
//! - Every route is a command, and goes the way that all commands go (`access`): right, audit line, then the work.
//! - Connections, headers, bodies, the time of each, what is done at once, calls and their results are bounded; of what is done and kept an
//!   instance has its share.
//! - Cookies count for nothing and no other origin is allowed, so no foreign page can use a browser's rights.
//!
//! Not here: what commands do (`command`), who may (`access`), metrics (`monitoring`).

mod calls;
mod document;
mod door;
mod handle;
mod page;
mod places;
mod problem;
mod request;
mod routes;
mod server;
mod shares;
mod throttle;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

pub use document::document_text;
pub(crate) use server::serve_routes;
pub use server::{Bound, identity, serve};

use crate::app::Core;
use crate::command::Commands;
use calls::Calls;
use problem::Problem;
use shares::Shares;
use throttle::Throttle;

/// Commands that are answered at once, and messages that are sent; far fewer than there are threads, one of which tells that the daemon lives.
const SHORT_MAX: usize = 64;
const SHORT_OF_INSTANCE_MAX: usize = 8;

/// Everything that requests need.
#[derive(Debug)]
pub struct Api {
    core: Arc<Core>,
    commands: Commands,
    calls: Calls,
    /// Of what is answered at once: each holds one of the runtime's threads for blocking.
    short: Shares,
    throttle: Mutex<Throttle>,
}

impl Api {
    /// The API of an archiver.
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            commands: Commands(Arc::clone(&core)),
            calls: Calls::new(Arc::clone(&core.clock)),
            short: Shares::new(SHORT_MAX, SHORT_OF_INSTANCE_MAX),
            core,
            throttle: Mutex::default(),
        }
    }

    /// Cancels the long calls that run, and waits until they have come to an end.
    pub async fn end_calls(&self) {
        self.calls.end().await;
    }

    /// Long calls that run now.
    pub fn calls_running(&self) -> usize {
        self.calls.running()
    }
}
