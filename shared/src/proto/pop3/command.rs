//! A client's line → a command.

use secrecy::SecretString;

use super::number::decimal;
use super::{AUTH_OCTETS_MAX, COMMAND_OCTETS_MAX, LOGIN_OCTETS_MAX, MessageNumber};
use crate::proto::sasl::Mechanism;

/// A command, its arguments checked.
#[derive(Debug, Clone)]
pub enum Command {
    /// List what the server can do (RFC 2449 §5).
    Capa,
    /// Name the mailbox (RFC 1939 §7).
    User(String),
    /// The password for it.
    Pass(SecretString),
    /// `AUTH` alone: list the mechanisms. In no current RFC, but Outlook and its like ask so.
    AuthList,
    /// Log in by SASL (RFC 5034), perhaps with the first response already in the command.
    Auth {
        /// By which mechanism.
        mechanism: Mechanism,
        /// Base64, or `=` for an empty one (RFC 5034 §4).
        initial: Option<SecretString>,
    },
    /// A SASL mechanism that nobody here knows.
    AuthOther,
    /// Begin TLS (RFC 2595 §4).
    Stls,
    /// Enter UTF-8 mode (RFC 6856 §2).
    Utf8,
    /// Count and size of the messages.
    Stat,
    /// Sizes of all messages or of one.
    List(Option<MessageNumber>),
    /// Unique-ids of all messages or of one.
    Uidl(Option<MessageNumber>),
    /// Send a message.
    Retr(MessageNumber),
    /// Send a message's header and the first lines of its body.
    Top {
        /// The message.
        number: MessageNumber,
        /// How many lines of the body.
        body_lines: u32,
    },
    /// Mark a message for deletion.
    Dele(MessageNumber),
    /// Do nothing.
    Noop,
    /// Unmark all messages.
    Rset,
    /// Delete what is marked, and end.
    Quit,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Longer than RFC 2449 §4 allows; for AUTH, than [`AUTH_OCTETS_MAX`], for USER and PASS, than [`LOGIN_OCTETS_MAX`].
    #[error("line too long")]
    TooLong,
    /// NUL, another control character, or an octet above 126 where none is allowed.
    #[error("invalid character in command")]
    BadCharacter,
    /// No such command here.
    #[error("unknown command")]
    Unknown,
    /// The command is known, its arguments are wrong.
    #[error("syntax: {usage}")]
    Syntax {
        /// How it is written.
        usage: &'static str,
    },
}

impl Command {
    /// Reads `line`, which comes without its CRLF. With `utf8` (the client said `UTF8`), USER and PASS may hold
    /// UTF-8 (RFC 6856 §2.2).
    pub fn parse(line: &[u8], utf8: bool) -> Result<Self, CommandError> {
        if line.len() + 2 > AUTH_OCTETS_MAX {
            return Err(CommandError::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| CommandError::BadCharacter)?;
        // NUL, CR and LF can stand in no argument: those octets end lines or strings elsewhere.
        if text.chars().any(char::is_control) {
            return Err(CommandError::BadCharacter);
        }
        let (verb, argument) = match text.split_once(' ') {
            Some((verb, argument)) => (verb, Some(argument)),
            None => (text, None),
        };
        let mut upper = [0; 4];
        let verb = verb_in_upper_case(verb, &mut upper);
        let octets_max = match verb {
            b"AUTH" => AUTH_OCTETS_MAX,
            b"USER" | b"PASS" => LOGIN_OCTETS_MAX,
            _ => COMMAND_OCTETS_MAX,
        };
        if line.len() + 2 > octets_max {
            return Err(CommandError::TooLong);
        }
        let may_be_utf8 = utf8 && matches!(verb, b"USER" | b"PASS");
        if !may_be_utf8 && !text.is_ascii() {
            return Err(CommandError::BadCharacter);
        }
        match verb {
            // Exactly one argument, so a space belongs to it (RFC 1939 §7, PASS).
            b"PASS" => match argument {
                Some(password) if !password.is_empty() => Ok(Self::Pass(SecretString::from(password))),
                _ => Err(CommandError::Syntax { usage: "PASS password" }),
            },
            b"USER" => match argument.map(str::trim) {
                Some(name) if !name.is_empty() => Ok(Self::User(name.into())),
                _ => Err(CommandError::Syntax { usage: "USER name" }),
            },
            b"AUTH" => parse_auth(argument.unwrap_or_default()),
            _ => parse_plain_command(verb, argument.unwrap_or_default()),
        }
    }
}

/// The verb in upper case (RFC 1939 §3: in any case); empty when it is longer than any there is.
fn verb_in_upper_case<'a>(verb: &str, upper: &'a mut [u8; 4]) -> &'a [u8] {
    let bytes = verb.as_bytes();
    let Some(upper) = upper.get_mut(..bytes.len()) else { return b"" };
    upper.copy_from_slice(bytes);
    upper.make_ascii_uppercase();
    upper
}

fn parse_auth(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(Command::AuthList),
        (Some(name), initial, None) => Ok(match name.parse() {
            Ok(mechanism) => Command::Auth { mechanism, initial: initial.map(SecretString::from) },
            Err(_) => Command::AuthOther,
        }),
        _ => Err(CommandError::Syntax { usage: "AUTH mechanism [response]" }),
    }
}

/// The commands whose arguments are none, or numbers. Trailing blanks are forgiven.
fn parse_plain_command(verb: &[u8], argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let (first, second) = (words.next(), words.next());
    if words.next().is_some() {
        return known_or_unknown(verb);
    }
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<MessageNumber>().ok());
    let found = match (verb, first, second) {
        (b"CAPA", None, None) => Some(Command::Capa),
        (b"STLS", None, None) => Some(Command::Stls),
        (b"UTF8", None, None) => Some(Command::Utf8),
        (b"STAT", None, None) => Some(Command::Stat),
        (b"NOOP", None, None) => Some(Command::Noop),
        (b"RSET", None, None) => Some(Command::Rset),
        (b"QUIT", None, None) => Some(Command::Quit),
        (b"LIST", None, None) => Some(Command::List(None)),
        (b"UIDL", None, None) => Some(Command::Uidl(None)),
        (b"LIST", one, None) => number(one).map(|number| Command::List(Some(number))),
        (b"UIDL", one, None) => number(one).map(|number| Command::Uidl(Some(number))),
        (b"RETR", one, None) => number(one).map(Command::Retr),
        (b"DELE", one, None) => number(one).map(Command::Dele),
        (b"TOP", one, Some(lines)) => {
            number(one).zip(decimal(lines)).map(|(number, body_lines)| Command::Top { number, body_lines })
        }
        _ => None,
    };
    found.map_or_else(|| known_or_unknown(verb), Ok)
}

/// What a line is that fits no form: a known command wrongly used, or an unknown one.
fn known_or_unknown(verb: &[u8]) -> Result<Command, CommandError> {
    let usage = match verb {
        b"CAPA" => "CAPA",
        b"STLS" => "STLS",
        b"UTF8" => "UTF8",
        b"STAT" => "STAT",
        b"NOOP" => "NOOP",
        b"RSET" => "RSET",
        b"QUIT" => "QUIT",
        b"LIST" => "LIST [message]",
        b"UIDL" => "UIDL [message]",
        b"RETR" => "RETR message",
        b"DELE" => "DELE message",
        b"TOP" => "TOP message lines",
        _ => return Err(CommandError::Unknown),
    };
    Err(CommandError::Syntax { usage })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn shown(line: &str) -> String {
        match Command::parse(line.as_bytes(), false) {
            Ok(command) => format!("{command:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn commands_come_in_any_case_with_their_arguments() {
        for (line, expected) in [
            ("capa", "Capa"),
            ("QUIT ", "Quit"),
            ("list", "List(None)"),
            ("LIST 2", "List(Some(MessageNumber(2)))"),
            ("uidl 3", "Uidl(Some(MessageNumber(3)))"),
            ("Retr 1", "Retr(MessageNumber(1))"),
            ("TOP 1 0", "Top { number: MessageNumber(1), body_lines: 0 }"),
            ("top 12 4294967295", "Top { number: MessageNumber(12), body_lines: 4294967295 }"),
            ("DELE 9", "Dele(MessageNumber(9))"),
            ("USER  mbx-1 ", "User(\"mbx-1\")"),
            ("AUTH", "AuthList"),
            ("auth plain", "Auth { mechanism: Plain, initial: None }"),
            ("AUTH XOauth2", "Auth { mechanism: XOAuth2, initial: None }"),
            ("AUTH CRAM-MD5", "AuthOther"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, expected) in [
            ("", "unknown command"),
            (" ", "unknown command"),
            ("XYZZY", "unknown command"),
            ("APOP a b", "unknown command"),
            ("RETRIEVE 1", "unknown command"),
            ("RETR", "syntax: RETR message"),
            ("RETR 0", "syntax: RETR message"),
            ("RETR 1 2", "syntax: RETR message"),
            ("RETR +1", "syntax: RETR message"),
            ("DELE 4294967296", "syntax: DELE message"),
            ("TOP 1", "syntax: TOP message lines"),
            ("TOP 1 -1", "syntax: TOP message lines"),
            ("TOP 1 2 3", "syntax: TOP message lines"),
            ("STAT 1", "syntax: STAT"),
            ("USER", "syntax: USER name"),
            ("PASS ", "syntax: PASS password"),
            ("AUTH PLAIN a b", "syntax: AUTH mechanism [response]"),
            ("STAT\0", "invalid character in command"),
            ("USER a\tb", "invalid character in command"),
            ("RETR é", "invalid character in command"),
        ] {
            assert_eq!(shown(line), expected, "{line:?}");
        }
    }

    #[test]
    fn passwords_keep_their_spaces_and_stay_out_of_sight() {
        let Ok(Command::Pass(password)) = Command::parse(b"PASS  a b ", false) else { panic!("a password") };
        assert_eq!(password.expose_secret(), " a b ");
        assert!(!shown("PASS geheim").contains("geheim"));
        assert!(!shown("AUTH PLAIN Z2VoZWlt").contains("Z2Vo"));
    }

    #[test]
    fn utf8_is_taken_in_user_and_pass_after_utf8_only() {
        assert!(Command::parse("PASS pässword".as_bytes(), true).is_ok());
        assert!(Command::parse("USER ännä".as_bytes(), true).is_ok());
        for (line, utf8) in [
            ("PASS pässword".as_bytes(), false),
            ("LIST ä".as_bytes(), true),
            (b"PASS \xff".as_slice(), true),
            ("PASS a\u{85}b".as_bytes(), true),
        ] {
            assert_eq!(Command::parse(line, utf8).unwrap_err(), CommandError::BadCharacter, "{line:?}");
        }
    }

    #[test]
    fn lines_are_bounded_and_auth_has_more_room() {
        let list = |len: usize| Command::parse(format!("LIST 1{}", " ".repeat(len - 8)).as_bytes(), false);
        assert!(list(COMMAND_OCTETS_MAX).is_ok());
        assert_eq!(list(COMMAND_OCTETS_MAX + 1).unwrap_err(), CommandError::TooLong);
        for verb in ["PASS", "USER"] {
            let login =
                |len: usize| Command::parse(format!("{verb} {}", "x".repeat(len - 7)).as_bytes(), false);
            assert!(login(LOGIN_OCTETS_MAX).is_ok());
            assert_eq!(login(LOGIN_OCTETS_MAX + 1).unwrap_err(), CommandError::TooLong);
        }
        let auth =
            |len: usize| Command::parse(format!("AUTH PLAIN {}", "x".repeat(len - 13)).as_bytes(), false);
        assert!(auth(AUTH_OCTETS_MAX).is_ok());
        assert_eq!(auth(AUTH_OCTETS_MAX + 1).unwrap_err(), CommandError::TooLong);
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..300), utf8: bool) {
            let _ = Command::parse(&line, utf8);
        }
    }
}
