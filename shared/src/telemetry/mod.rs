//! What a program says of itself: log lines, the progress of long work, and numbers for Prometheus. Log and progress go
//! to standard error (the log to a file, when asked); results go to standard output.
//!
//! Promise: no secret and no content of mail is ever logged.

mod explain;
mod log;
pub mod metrics;
mod progress;

pub use explain::explain;
pub use log::{
    BadLevel, Format, Level, LogFile, Rotation, log_level, set_log_file, set_log_level, start_log,
    start_log_to,
};
pub use progress::{Progress, ProgressView};
