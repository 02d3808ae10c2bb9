//! What a POP3 server says it can do (RFC 2449 §5).

use std::str::FromStr as _;

use postern_shared::proto::sasl::Mechanism;

/// More than any server announces.
pub(super) const LINES_MAX: usize = 100;

/// The lines of a CAPA list, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    lines: Vec<String>,
}

impl Capabilities {
    /// Takes in one line; `false` when there are more than a list has. What is no printable ASCII is passed over.
    pub(super) fn read_line(&mut self, line: &[u8]) -> bool {
        if let Ok(text) = std::str::from_utf8(line)
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && !text.trim().is_empty()
        {
            self.lines.push(text.trim().to_owned());
        }
        self.lines.len() <= LINES_MAX
    }

    /// All lines, in the server's order: a name and perhaps parameters.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The parameters of a capability, when it is announced, in any case.
    pub fn parameters<'c>(&'c self, name: &'c str) -> Option<impl Iterator<Item = &'c str>> {
        let mut all = self.lines.iter().map(|line| line.split_ascii_whitespace());
        all.find_map(|mut words| words.next().filter(|word| word.eq_ignore_ascii_case(name)).map(|_| words))
    }

    /// Whether a capability is announced.
    pub fn has(&self, name: &str) -> bool {
        self.parameters(name).is_some()
    }

    /// The SASL mechanisms that we know, in the server's order.
    pub fn mechanisms(&self) -> Vec<Mechanism> {
        let words = self.parameters("SASL").into_iter().flatten();
        words.filter_map(|word| Mechanism::from_str(word).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_any_case() {
        let mut read = Capabilities::default();
        for line in ["TOP", "sasl PLAIN ntlm xoauth2", " EXPIRE 30 USER ", "", "\u{1b}[1m", "X-ÖDD"] {
            assert!(read.read_line(line.as_bytes()));
        }
        assert_eq!(read.lines().collect::<Vec<_>>(), ["TOP", "sasl PLAIN ntlm xoauth2", "EXPIRE 30 USER"]);
        assert_eq!(read.mechanisms(), [Mechanism::Plain, Mechanism::XOAuth2]);
        assert!(read.has("top") && !read.has("STLS"));
        assert_eq!(read.parameters("expire").unwrap().collect::<Vec<_>>(), ["30", "USER"]);
        let all_fit = (0..LINES_MAX).all(|_| read.read_line(b"X"));
        assert!(!all_fit, "a list ends");
    }
}
