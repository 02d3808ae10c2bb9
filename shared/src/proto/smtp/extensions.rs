//! What a server says it can do: the answer to EHLO (RFC 5321 §4.1.1.1), read by a client.

use super::answer::Answer;
use crate::proto::sasl::Mechanism;

/// The extensions that matter here. Nothing announced is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// 8BITMIME (RFC 6152).
    pub eightbitmime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// SIZE (RFC 1870): the longest message, 0 when the server knows no fixed limit.
    pub size: Option<u64>,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954): the mechanisms that we know, in the server's order.
    pub auth: Vec<Mechanism>,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
}

impl Extensions {
    /// Reads an answer to EHLO; what is unknown is passed over.
    pub fn read(answer: &Answer) -> Self {
        let mut found = Self::default();
        // The first line is the server's name.
        for line in answer.lines.iter().skip(1) {
            found.read_line(line);
        }
        found
    }

    fn read_line(&mut self, line: &str) {
        // Servers of old announced `AUTH=LOGIN` as well.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "CHUNKING" => self.chunking = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "8BITMIME" => self.eightbitmime = true,
            "DSN" => self.dsn = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "SIZE" => self.size = Some(words.next().map_or(0, size)),
            "AUTH" => {
                for mechanism in words.filter_map(|word| word.parse().ok()) {
                    if !self.auth.contains(&mechanism) {
                        self.auth.push(mechanism);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Twenty digits can be more than 64 bits hold; what is no number is no limit that we could keep to.
fn size(text: &str) -> u64 {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().unwrap_or(u64::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Extensions {
        Extensions::read(&Answer { code: 250, lines: lines.iter().map(|line| (*line).to_owned()).collect() })
    }

    #[test]
    fn an_answer_to_ehlo_is_understood() {
        let found = read(&[
            "PIPELINING",
            "size 35882577",
            "8BITMIME",
            "AUTH SCRAM-SHA-256 plain LOGIN PLAIN",
            "AUTH=XOAUTH2",
            "ENHANCEDSTATUSCODES",
            "SMTPUTF8",
            "chunking ",
            "DSN",
            "X-ODD STARTTLS",
        ]);
        assert_eq!(
            found,
            Extensions {
                pipelining: false,
                chunking: true,
                smtputf8: true,
                eightbitmime: true,
                dsn: true,
                size: Some(35_882_577),
                starttls: false,
                auth: vec![Mechanism::Plain, Mechanism::Login, Mechanism::XOAuth2],
                enhanced_status_codes: true,
            },
            "the first line is a name"
        );
        assert_eq!(read(&["mx"]), Extensions::default());
    }

    #[test]
    fn odd_sizes_are_no_limit() {
        for (line, size) in
            [("SIZE", 0), ("SIZE 0", 0), ("SIZE x", 0), ("SIZE 99999999999999999999", u64::MAX)]
        {
            assert_eq!(read(&["mx", line]).size, Some(size), "{line}");
        }
    }
}
