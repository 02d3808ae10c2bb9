//! What a program says of itself: log lines, and the progress of long work. Both go to standard error; results go to
//! standard output.
//!
//! Promise: no secret and no content of mail is ever logged.

mod explain;
mod log;
mod progress;

pub use explain::explain;
pub use log::{BadLevel, Level, start_log};
pub use progress::{Progress, ProgressView};
