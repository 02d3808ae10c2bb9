//! Command lines.

use secrecy::SecretString;

use super::parameters::{MailParameters, RcptParameters};
use super::path::{self, Address};
use super::reply::Reply;
use crate::proto::sasl::{Mechanism, UnknownMechanism};

/// The longest command line taken, CRLF included. RFC 5321 §4.5.3.1.4 wants 512, extensions add to it.
pub const LINE_BYTES_MAX: usize = 2048;

/// A command.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "RFC 5321 §4.1.1 names them")]
pub enum Command {
    Ehlo { name: String },
    Helo { name: String },
    Mail { from: Option<Address>, parameters: MailParameters },
    Rcpt { to: Address, parameters: RcptParameters },
    Data,
    Bdat { bytes: u64, last: bool },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth { mechanism: Result<Mechanism, UnknownMechanism>, initial: Option<SecretString> },
}

/// Parses a line, its CRLF cut off. The error is the reply that refuses it.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    if line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err(Reply::new(500, "5.5.2", "NUL or a bare line end in a command"));
    }
    let text = std::str::from_utf8(line).map_err(|_| Reply::new(500, "5.5.2", "Not ASCII, nor UTF-8"))?;
    let text = text.trim_end_matches([' ', '\t']);
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let command = parse_verb(&verb.to_ascii_uppercase(), rest.trim_start_matches(' '))?;
    let may_be_utf8 = matches!(&command, Command::Mail { parameters, .. } if parameters.smtputf8)
        || matches!(&command, Command::Rcpt { .. });
    if !text.is_ascii() && !may_be_utf8 {
        return Err(Reply::new(553, "5.6.7", "Only ASCII without SMTPUTF8"));
    }
    Ok(command)
}

fn parse_verb(verb: &str, rest: &str) -> Result<Command, Reply> {
    let alone = |command: Command| {
        if rest.is_empty() { Ok(command) } else { Err(syntax("This command takes no parameter")) }
    };
    match verb {
        "EHLO" => Ok(Command::Ehlo { name: client_name(rest)? }),
        "HELO" => Ok(Command::Helo { name: client_name(rest)? }),
        "MAIL" => parse_mail(rest),
        "RCPT" => parse_rcpt(rest),
        "DATA" => alone(Command::Data),
        "BDAT" => parse_bdat(rest),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "STARTTLS" => alone(Command::StartTls),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "HELP" => Ok(Command::Help),
        "AUTH" => parse_auth(rest),
        _ => Err(Reply::new(500, "5.5.1", "Unknown command")),
    }
}

/// Whether a line that was refused must end the session, because nobody knows what the octets behind it are: those of a
/// chunk, when a BDAT cannot be read (RFC 3030 §2), or of a request that a browser was lured into sending here.
pub fn loses_step(line: &[u8]) -> bool {
    let verb = line.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    [&b"BDAT"[..], b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"]
        .iter()
        .any(|other| verb.eq_ignore_ascii_case(other))
}

fn syntax(text: &str) -> Reply {
    Reply::new(501, "5.5.4", text)
}

/// Senders write all sorts of names here; it is kept as evidence, so it only must be one printable word.
fn client_name(rest: &str) -> Result<String, Reply> {
    let fine = !rest.is_empty() && rest.len() <= 255 && rest.chars().all(|c| c.is_ascii_graphic());
    if fine { Ok(rest.to_owned()) } else { Err(syntax("A host name is missing")) }
}

fn after_prefix<'r>(rest: &'r str, prefix: &str) -> Option<&'r str> {
    let (head, tail) = rest.split_at_checked(prefix.len())?;
    // Some clients put a space behind the colon.
    head.eq_ignore_ascii_case(prefix).then(|| tail.trim_start_matches(' '))
}

fn parse_mail(rest: &str) -> Result<Command, Reply> {
    let rest = after_prefix(rest, "FROM:").ok_or_else(|| syntax("MAIL FROM:<address>"))?;
    let (path, parameters) = path::split_path(rest).ok_or_else(|| syntax("MAIL FROM:<address>"))?;
    let from = match path {
        "" => None,
        path => Some(path::parse(path).ok_or_else(|| Reply::new(501, "5.1.7", "Not a sender address"))?),
    };
    Ok(Command::Mail { from, parameters: MailParameters::read(parameters)? })
}

fn parse_rcpt(rest: &str) -> Result<Command, Reply> {
    let rest = after_prefix(rest, "TO:").ok_or_else(|| syntax("RCPT TO:<address>"))?;
    let (path, parameters) = path::split_path(rest).ok_or_else(|| syntax("RCPT TO:<address>"))?;
    let to = path::parse(path).ok_or_else(|| Reply::new(501, "5.1.3", "Not a recipient address"))?;
    Ok(Command::Rcpt { to, parameters: RcptParameters::read(parameters)? })
}

/// RFC 4954 §4.
fn parse_auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or_else(|| syntax("AUTH mechanism [initial-response]"))?.parse();
    let initial = words.next().map(SecretString::from);
    match words.next() {
        None => Ok(Command::Auth { mechanism, initial }),
        Some(_) => Err(syntax("AUTH mechanism [initial-response]")),
    }
}

/// RFC 3030 §2.
fn parse_bdat(rest: &str) -> Result<Command, Reply> {
    let wrong = || syntax("BDAT size [LAST]");
    let (size, last) = rest.split_once(' ').map_or((rest, None), |(size, last)| (size, Some(last.trim())));
    let last = match last {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(wrong()),
    };
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // More than 64 bits hold is more than any peer can send: the chunk never ends, so nothing behind it is a command.
    Ok(Command::Bdat { bytes: size.parse().unwrap_or(u64::MAX), last })
}
