//! A client's line after login → what is asked of the server for it.
//!
//! Lines are taken apart and written anew: what goes to the server is what was understood here, and nothing else.

use postern_shared::proto::pop3::{COMMAND_OCTETS_MAX, Command, CommandError, MessageNumber, Reply};

/// A TOP of so many lines is a preview; one of more reads the message.
pub(super) const PREVIEW_LINES_MAX: u32 = 100;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// One line comes back.
    Line(String),
    /// A line comes back, and when it is `+OK` lines up to a dot.
    Listing(String),
    /// What the server can do.
    Capabilities,
    /// A message, or so many lines of its body that it must be recorded.
    Retrieve { number: MessageNumber, body_lines: Option<u32> },
    /// The deletion of a message.
    Delete(MessageNumber),
    /// The end.
    Quit,
    /// Nothing that goes to the server; this is the answer.
    Refused(Reply),
}

impl Request {
    /// Reads `line`, which comes without its end.
    pub(super) fn read(line: &[u8]) -> Self {
        if line.len() + 2 > COMMAND_OCTETS_MAX {
            return Self::too_long();
        }
        match Command::parse(line, false) {
            Ok(command) => Self::of(&command),
            Err(CommandError::Unknown) => {
                of_rare(line).unwrap_or_else(|| Self::refused(&CommandError::Unknown))
            }
            Err(error) => Self::refused(&error),
        }
    }

    /// For a line that was longer than any may be.
    pub(super) fn too_long() -> Self {
        Self::refused(&CommandError::TooLong)
    }

    fn refused(error: &CommandError) -> Self {
        Self::Refused(Reply::err(error.to_string()))
    }

    fn of(command: &Command) -> Self {
        match *command {
            Command::Capa => Self::Capabilities,
            Command::Stat => Self::Line("STAT".into()),
            Command::Noop => Self::Line("NOOP".into()),
            Command::Rset => Self::Line("RSET".into()),
            Command::Utf8 => Self::Line("UTF8".into()),
            Command::List(None) => Self::Listing("LIST".into()),
            Command::Uidl(None) => Self::Listing("UIDL".into()),
            Command::List(Some(number)) => Self::Line(format!("LIST {number}")),
            Command::Uidl(Some(number)) => Self::Line(format!("UIDL {number}")),
            Command::Top { number, body_lines } if body_lines > PREVIEW_LINES_MAX => {
                Self::Retrieve { number, body_lines: Some(body_lines) }
            }
            Command::Top { number, body_lines } => Self::Listing(format!("TOP {number} {body_lines}")),
            Command::Retr(number) => Self::Retrieve { number, body_lines: None },
            Command::Dele(number) => Self::Delete(number),
            Command::Quit => Self::Quit,
            Command::User(_)
            | Command::Pass(_)
            | Command::AuthList
            | Command::Auth { .. }
            | Command::AuthOther
            | Command::Stls => Self::Refused(Reply::err("Not after login")),
        }
    }
}

/// LANG (RFC 6856 §3) and LAST (RFC 1460), which a gateway's own mailboxes do not have.
fn of_rare(line: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (verb, argument, None) = (words.next()?, words.next(), words.next()) else { return None };
    let tag = |tag: &str| {
        tag == "*" || tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && tag.len() <= 40
    };
    match argument {
        None if verb.eq_ignore_ascii_case("LAST") => Some(Request::Line("LAST".into())),
        None if verb.eq_ignore_ascii_case("LANG") => Some(Request::Listing("LANG".into())),
        Some(language) if verb.eq_ignore_ascii_case("LANG") && tag(language) => {
            Some(Request::Line(format!("LANG {language}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_the_server_is_written_anew() {
        for (line, expected) in [
            ("list", "Line or lines LIST"),
            ("LIST 007", "Line LIST 7"),
            ("uidl  3 ", "Line UIDL 3"),
            ("TOP 1 00", "Line or lines TOP 1 0"),
            ("TOP 1 100", "Line or lines TOP 1 100"),
            ("last", "Line LAST"),
            ("lang", "Line or lines LANG"),
            ("Lang de-AT", "Line LANG de-AT"),
            ("LANG *", "Line LANG *"),
            ("LANG a b", "-ERR unknown command"),
            ("LANG a\u{1}b", "-ERR invalid character in command"),
            ("XTND", "-ERR unknown command"),
            ("APOP a b", "-ERR unknown command"),
            ("RETR", "-ERR syntax: RETR message"),
            ("USER x", "-ERR Not after login"),
            ("STLS", "-ERR Not after login"),
            ("AUTH PLAIN", "-ERR Not after login"),
        ] {
            let shown = match Request::read(line.as_bytes()) {
                Request::Line(text) => format!("Line {text}"),
                Request::Listing(text) => format!("Line or lines {text}"),
                Request::Refused(reply) => reply.to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(shown, expected, "{line}");
        }
        let one = "1".parse().unwrap();
        assert_eq!(Request::read(b"retr 1"), Request::Retrieve { number: one, body_lines: None });
        assert_eq!(Request::read(b"TOP 1 101"), Request::Retrieve { number: one, body_lines: Some(101) });
        let all = Request::Retrieve { number: one, body_lines: Some(u32::MAX) };
        assert_eq!(Request::read(b"TOP 1 4294967295"), all);
        assert_eq!(Request::read(b"DELE 1"), Request::Delete(one));
        assert_eq!(Request::read(b"quit"), Request::Quit);
        assert_eq!(Request::read(b"CAPA"), Request::Capabilities);
        assert_eq!(Request::read(&[b' '; 300]), Request::too_long());
    }
}
