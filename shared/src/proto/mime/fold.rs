//! What makes two copies one message.
//!
//! A server that expands a list or splits recipients (bifurcation) journals one message several times; the copies differ
//! in fields that say how they travelled. The fold key is SHA-256 over the Message-ID, the body, and every field but
//! those. Two messages with one key are the same message to a reader; their octets are kept all the same, in the report.

use super::header::Header;
use crate::crypto::digest::{Digest, Sha256};

/// Fields that may differ between copies of one message, lower case; a trailing `-` stands for all that begin so.
const TRAVEL: [&str; 14] = [
    "received",
    "return-path",
    "delivered-to",
    "x-original-to",
    "x-envelope-to",
    "x-gm-original-to",
    "authentication-results",
    "received-spf",
    "arc-",
    "x-ms-",
    "x-microsoft-",
    "x-forefront-",
    "x-originatororg",
    "x-eop",
];

/// The fold key of a message; `None` when it has no Message-ID, for then nothing says that two copies are one.
pub fn fold_key(message: &[u8]) -> Option<Digest> {
    let header = Header::parse(message);
    let id = header.first("Message-ID").filter(|id| !id.is_empty())?;
    let mut hash = Sha256::new();
    hash.update(b"postern fold v1\0");
    hash.update(id.as_bytes());
    for field in header.fields.iter().filter(|field| !travels(&field.name)) {
        hash.update(b"\0");
        hash.update(field.name.to_ascii_lowercase().as_bytes());
        hash.update(b":");
        hash.update(field.value.as_bytes());
    }
    hash.update(b"\0\0");
    hash.update(&message[header.body..]);
    Some(hash.finish())
}

fn travels(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TRAVEL.iter().any(|known| if known.ends_with('-') { name.starts_with(known) } else { name == *known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_travelled_apart_fold_and_others_do_not() {
        let key = |extra: &str, body: &str| {
            fold_key(format!("{extra}Message-ID: <1@x>\r\nSubject: s\r\n\r\n{body}").as_bytes())
        };
        let plain = key("", "text").unwrap();
        assert_eq!(key("Received: by a\r\nX-MS-Exchange-Foo: 1\r\nARC-Seal: i=1\r\n", "text"), Some(plain));
        assert_ne!(key("", "other"), Some(plain));
        assert_ne!(key("To: b@example.com\r\n", "text"), Some(plain));
        assert_eq!(fold_key(b"Subject: s\r\n\r\nx"), None);
    }
}
