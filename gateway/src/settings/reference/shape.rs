//! What may stand behind a key, in words.

use std::path::PathBuf;

use postern_shared::config::{ByteSize, ListenAddresses, Period};
use postern_shared::telemetry::{Format, Level};
use postern_shared::tls::client::Trust;
use secrecy::SecretString;

/// A type of values.
pub(in crate::settings) trait Shape {
    /// In words, with the unit.
    const SHAPE: &'static str;
    /// It may be left out.
    const OPTIONAL: bool = false;
}

impl<S: Shape> Shape for Option<S> {
    const SHAPE: &'static str = S::SHAPE;
    const OPTIONAL: bool = true;
}

/// Says what may stand for a type.
macro_rules! choice {
    ($($type:ty: $shape:literal),+ $(,)?) => {
        $( impl $crate::settings::reference::Shape for $type { const SHAPE: &'static str = $shape; } )+
    };
}

pub(in crate::settings) use choice;

choice! {
    bool: "true or false",
    u16: "number from 0 to 65535",
    u32: "number",
    u64: "number",
    usize: "number",
    String: "text",
    SecretString: "text (secret)",
    PathBuf: "path",
    Vec<String>: "list of texts",
    ByteSize: "size: number of bytes, or text with B, KiB, MiB or GiB",
    Period: "time: text with ms, s, min, h or d",
    ListenAddresses: "address and port, or a list of them",
    Level: "`\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"` or `\"trace\"`",
    Format: "`\"text\"` or `\"json\"`",
    Trust: "`\"system\"`, `\"any\"`, `\"sha256:…\"` or `\"file:/path\"`",
}
