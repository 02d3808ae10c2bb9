//! `+OK` and `-ERR` lines, written by the server and read by the client.

use std::borrow::Cow;
use std::fmt;

use super::RESPONSE_OCTETS_MAX;

/// A machine-readable reason (RFC 2449 §8, RFC 3206).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// Another session holds the maildrop.
    InUse,
    /// The credentials are wrong.
    Auth,
    /// Trouble that will pass.
    SysTemp,
    /// Trouble that needs a person.
    SysPerm,
    /// Logged in too soon after the last time.
    LoginDelay,
    /// UTF-8 is needed for that (RFC 6856 §5).
    Utf8,
}

impl ResponseCode {
    const ALL: [Self; 6] =
        [Self::InUse, Self::Auth, Self::SysTemp, Self::SysPerm, Self::LoginDelay, Self::Utf8];

    fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "IN-USE",
            Self::Auth => "AUTH",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::LoginDelay => "LOGIN-DELAY",
            Self::Utf8 => "UTF8",
        }
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first line of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `+OK` rather than `-ERR`.
    pub ok: bool,
    /// The reason in brackets.
    pub code: Option<ResponseCode>,
    /// What a person may read.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// `+OK text`.
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self { ok: true, code: None, text: text.into() }
    }

    /// `-ERR text`.
    pub fn err(text: impl Into<Cow<'static, str>>) -> Self {
        Self { ok: false, code: None, text: text.into() }
    }

    /// The same with a reason: `-ERR [IN-USE] text`.
    #[must_use]
    pub fn with(self, code: ResponseCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The line with its CRLF: printable ASCII, never longer than [`RESPONSE_OCTETS_MAX`].
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(if self.ok { b"+OK" } else { b"-ERR" });
        if let Some(code) = self.code {
            out.extend_from_slice(format!(" [{code}]").as_bytes());
        }
        if !self.text.is_empty() {
            out.push(b' ');
        }
        let room = RESPONSE_OCTETS_MAX - 2 - (out.len() - start);
        let printable = |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { byte } else { b'?' };
        out.extend(self.text.bytes().take(room).map(printable));
        out.extend_from_slice(b"\r\n");
    }

    /// Reads a server's line, which comes without its CRLF; `None` when it is neither `+OK` nor `-ERR`.
    ///
    /// The case of both is forgiven. What cannot be printed is replaced in the text, so it may stand in a log.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (ok, rest) = if let Some(rest) = strip_prefix_ignoring_case(line, b"+OK") {
            (true, rest)
        } else {
            (false, strip_prefix_ignoring_case(line, b"-ERR")?)
        };
        if !matches!(rest.first(), None | Some(b' ')) {
            return None;
        }
        let text = printable(rest.trim_ascii());
        let (code, text) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((code, rest)) => {
                // Codes may be refined behind a slash (RFC 2449 §8): `SYS/TEMP/disk` is read as `SYS/TEMP`.
                let known = ResponseCode::ALL.into_iter().find(|known| {
                    strip_prefix_ignoring_case(code.as_bytes(), known.as_str().as_bytes())
                        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
                });
                if known.is_some() { (known, rest.trim().to_owned()) } else { (None, text) }
            }
            None => (None, text),
        };
        Some(Self { ok, code, text: text.into() })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ok { "+OK" } else { "-ERR" })?;
        if let Some(code) = self.code {
            write!(f, " [{code}]")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// A peer's bytes as text for people: control characters and broken UTF-8 replaced, at most 200 characters.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(200)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

fn strip_prefix_ignoring_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = bytes.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_carry_their_code() {
        assert_eq!(written(&Reply::ok("")), "+OK\r\n");
        assert_eq!(
            written(&Reply::err("held elsewhere").with(ResponseCode::InUse)),
            "-ERR [IN-USE] held elsewhere\r\n"
        );
    }

    #[test]
    fn a_text_can_neither_break_nor_overflow_the_line() {
        assert_eq!(written(&Reply::err("a\r\n+OK b\u{1b}é")), "-ERR a??+OK b???\r\n");
        assert_eq!(written(&Reply::ok("x".repeat(1000))).len(), RESPONSE_OCTETS_MAX);
    }

    #[test]
    fn servers_lines_are_read() {
        let parse = |line: &str| Reply::parse(line.as_bytes());
        assert_eq!(parse("+OK"), Some(Reply::ok("")));
        assert_eq!(parse("+ok hello"), Some(Reply::ok("hello")));
        assert_eq!(parse("-ERR [sys/perm] gone"), Some(Reply::err("gone").with(ResponseCode::SysPerm)));
        assert_eq!(parse("-ERR [SYS/TEMP/disk]"), Some(Reply::err("").with(ResponseCode::SysTemp)));
        assert_eq!(parse("-ERR [XYZ] odd"), Some(Reply::err("[XYZ] odd")));
        assert_eq!(parse("-ERR [AUTHOR] odd"), Some(Reply::err("[AUTHOR] odd")));
        assert_eq!(parse("-ERR \x1b[31mred"), Some(Reply::err("\u{fffd}[31mred")));
        for line in ["", "OK", "+OKAY", "+", "-ER", "220 smtp.example.com ESMTP", "* OK IMAP4rev1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ok: bool, code in 0..7_usize, text in "[a-zA-Z0-9.,]([ -Z^-~]{0,150}[a-z])?") {
            let reply = Reply { ok, code: ResponseCode::ALL.get(code).copied(), text: text.into() };
            let line = written(&reply);
            prop_assert_eq!(Reply::parse(line.trim_end_matches("\r\n").as_bytes()), Some(reply));
        }
    }
}
