//! The archiver: pulls mail from gateways into archive instances, and finds it there.

pub mod archive;
pub mod intake;
pub mod profiles;
pub mod sources;
