//! Messages: what the gateway says of them, and what journal reports hold.

pub mod trace;
