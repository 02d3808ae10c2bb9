//! Replies.

use std::fmt::Write as _;

/// A reply: three-digit code, enhanced status code (empty for greetings, 354 and EHLO), text lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2.
    pub code: u16,
    /// RFC 3463, `"5.1.1"`; empty where RFC 2034 §4 wants none.
    pub enhanced: &'static str,
    /// At least one line, without line ends.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// Whether it says no, for now or for good.
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// As it goes over the wire. Control characters in the text become `?`, so that nothing a peer wrote can end a
    /// line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            let separator = if i + 1 == self.lines.len() { ' ' } else { '-' };
            // Writing to a String cannot fail.
            let _ = write!(out, "{:03}{separator}", self.code);
            if !self.enhanced.is_empty() {
                let _ = write!(out, "{} ", self.enhanced);
            }
            out.extend(line.chars().map(|c| if c.is_control() { '?' } else { c }));
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}
