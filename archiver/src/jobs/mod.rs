//! Jobs: what the archiver does by itself, and when.
//!
//! | room | what |
//! |---|---|
//! | [`schedule`] | when a job is due: intervals, calendar times in a time zone, continuous |

pub mod schedule;
