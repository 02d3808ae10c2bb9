//! The envelope part: lines of `Name: value`.

/// What the journaling server knew of the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "MS-XJRNL §2.1 names them")]
pub struct JournalEnvelope {
    /// The reverse-path; empty for `<>`.
    pub sender: Option<String>,
    pub on_behalf_of: Option<String>,
    pub subject: Option<String>,
    pub message_id: Option<String>,
    pub label: Option<String>,
    pub mailbox: Option<String>,
    pub sent_utc: Option<String>,
    pub received_utc: Option<String>,
    pub recipients: Vec<JournalRecipient>,
    /// Lines that are none of these, as they are.
    pub unknown: Vec<String>,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecipient {
    /// Lower case.
    pub address: String,
    /// How it was addressed.
    pub kind: RecipientKind,
    /// The list it was expanded from, lower case.
    pub expanded_from: Option<String>,
    /// Whose mail was forwarded to it, lower case.
    pub forwarded_from: Option<String>,
}

/// How a recipient was addressed. The first three are given only when the server could trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "MS-XJRNL §2.1 names them")]
pub enum RecipientKind {
    To,
    Cc,
    Bcc,
    Recipient,
}

const LINES_MAX: usize = 100_000;

impl JournalEnvelope {
    /// Reads the part's decoded text. What is no line of the grammar is kept in `unknown`.
    pub fn parse(text: &str) -> Self {
        let mut envelope = Self::default();
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines().take(LINES_MAX) {
            match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
                Some(folded) => folded.push_str(line),
                None => lines.push(line.to_owned()),
            }
        }
        lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty())
            .for_each(|line| envelope.line(line));
        envelope
    }

    /// Whether it says anything of whom the message is from or to.
    pub fn is_empty(&self) -> bool {
        self.sender.is_none() && self.recipients.is_empty()
    }

    fn line(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        let text = || Some(value.to_owned());
        match name.trim().to_ascii_lowercase().as_str() {
            "sender" if self.sender.is_none() => self.sender = Some(address(value)),
            "on-behalf-of" => self.on_behalf_of = Some(address(value)),
            "subject" if self.subject.is_none() => self.subject = text(),
            "message-id" if self.message_id.is_none() => self.message_id = text(),
            "label" => self.label = text(),
            "mailbox" => self.mailbox = Some(address(value)),
            "sentutc" => self.sent_utc = text(),
            "receivedutc" => self.received_utc = text(),
            "to" => self.recipient(RecipientKind::To, value),
            "cc" => self.recipient(RecipientKind::Cc, value),
            "bcc" => self.recipient(RecipientKind::Bcc, value),
            "recipient" => self.recipient(RecipientKind::Recipient, value),
            _ => self.unknown.push(line.to_owned()),
        }
    }

    /// `addr`, `addr, Expanded: list`, `addr, Forwarded: original`.
    fn recipient(&mut self, kind: RecipientKind, value: &str) {
        let mut parts = value.split(", ");
        let address = address(parts.next().unwrap_or_default());
        if address.is_empty() {
            return;
        }
        let mut found = JournalRecipient { address, kind, expanded_from: None, forwarded_from: None };
        for part in parts {
            match part.split_once(':').map(|(name, value)| (name.trim().to_ascii_lowercase(), value)) {
                Some((name, list)) if name == "expanded" => found.expanded_from = Some(self::address(list)),
                Some((name, from)) if name == "forwarded" => found.forwarded_from = Some(self::address(from)),
                _ => {}
            }
        }
        self.recipients.push(found);
    }
}

/// An address out of `anna@example.com`, `<anna@example.com>` or `"Anna" <anna@example.com>`, lower case.
fn address(text: &str) -> String {
    let inside = text.rsplit_once('<').map_or(text, |(_, rest)| rest.split('>').next().unwrap_or(rest));
    inside.trim().trim_matches('"').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_grammar_is_read() {
        let envelope = JournalEnvelope::parse(
            "Sender: Anna@Example.com\r\nOn-Behalf-Of: boss@example.com\r\nMessage-Id: <1@x>\r\nSubject: a: b\r\n\
             Label: Secret\r\nMailbox: m@example.com\r\nSentUtc: 1\r\nReceivedUtc: 2\r\n\
             To: \"Bob\" <bob@example.com>\r\nCC: c@example.com, Expanded: List@example.com\r\n\
             Bcc: d@example.com, Forwarded: e@example.com\r\nrecipient: f@example.com\r\nNovelty: yes\r\n\r\n",
        );
        assert_eq!(envelope.sender.as_deref(), Some("anna@example.com"));
        assert_eq!(envelope.on_behalf_of.as_deref(), Some("boss@example.com"));
        assert_eq!(envelope.subject.as_deref(), Some("a: b"));
        let kinds: Vec<_> = envelope.recipients.iter().map(|who| (who.kind, who.address.as_str())).collect();
        assert_eq!(
            kinds,
            [
                (RecipientKind::To, "bob@example.com"),
                (RecipientKind::Cc, "c@example.com"),
                (RecipientKind::Bcc, "d@example.com"),
                (RecipientKind::Recipient, "f@example.com"),
            ]
        );
        assert_eq!(envelope.recipients[1].expanded_from.as_deref(), Some("list@example.com"));
        assert_eq!(envelope.recipients[2].forwarded_from.as_deref(), Some("e@example.com"));
        assert_eq!(envelope.unknown, ["Novelty: yes"]);
        assert_eq!(JournalEnvelope::parse("Sender: <>").sender.as_deref(), Some(""));
        assert!(JournalEnvelope::parse("hello\r\nworld").is_empty());
    }
}
