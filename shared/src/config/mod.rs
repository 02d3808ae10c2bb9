//! Settings: a TOML file, overridden by environment variables, checked into types that cannot be wrong.
//!
//! Each program has a raw type (serde, every field optional, unknown keys refused) and a checked one made from it.
//! [`load`] reads the raw one; every error names the file, the line and the key, or the environment variable.

mod load;
mod values;

pub use load::{ConfigError, load, parse};
pub use values::{ByteSize, ListenAddresses, Period};
