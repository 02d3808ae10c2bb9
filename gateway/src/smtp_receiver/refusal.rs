//! What a refusal is counted as.

use postern_shared::proto::smtp::reply::Reply;

use crate::monitoring::Refusal;

/// By the reply's codes (RFC 3463): whatever refuses says there why. `None` for replies that refuse nothing.
pub(super) fn counted_as(reply: &Reply) -> Option<Refusal> {
    if reply.code < 400 {
        return None;
    }
    let relay = || reply.lines.first().is_some_and(|line| line.starts_with("Relaying"));
    // Class (4 or 5) apart, the subject and detail tell.
    let (_, detail) = reply.enhanced.split_once('.').unwrap_or_default();
    Some(match (reply.code, detail) {
        (550, "1.1") => Refusal::UnknownMailbox,
        (_, "2.1") => Refusal::Suspended,
        (_, "7.1") if relay() => Refusal::Relay,
        (_, "3.4" | "2.3") => Refusal::TooLarge,
        (_, "3.1" | "2.2") => Refusal::Full,
        (451, _) => Refusal::LocalError,
        (_, "5.3") => Refusal::TooManyRecipients,
        (421, "7.0") => Refusal::TooManyErrors,
        (421, "4.2") => Refusal::Idle,
        (421, "3.2") => Refusal::Shutdown,
        (_, detail) if detail.starts_with("7.") => Refusal::Policy,
        (_, detail) if detail.starts_with("5.") => Refusal::Protocol,
        _ => Refusal::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::IntakeError;

    /// Goal: the replies that a session gives are each counted as what they are.
    #[test]
    fn replies_tell_their_reason() {
        let cases = [
            (Reply::new(250, "2.0.0", "Ok"), None),
            (Reply::new(354, "", "Go on"), None),
            (Reply::new(550, "5.1.1", "No such mailbox here"), Some(Refusal::UnknownMailbox)),
            (Reply::new(450, "4.2.1", "Mailbox takes no mail for now"), Some(Refusal::Suspended)),
            (Reply::new(550, "5.7.1", "Relaying denied: not a domain of this host"), Some(Refusal::Relay)),
            (Reply::new(550, "5.7.1", "Not from your network"), Some(Refusal::Policy)),
            (Reply::new(530, "5.7.0", "STARTTLS first"), Some(Refusal::Policy)),
            (Reply::new(552, "5.3.4", "Message is longer than this host takes"), Some(Refusal::TooLarge)),
            (Reply::new(452, "4.5.3", "Too many recipients"), Some(Refusal::TooManyRecipients)),
            (Reply::new(421, "4.7.0", "Too many errors"), Some(Refusal::TooManyErrors)),
            (Reply::new(503, "5.5.1", "MAIL first"), Some(Refusal::Protocol)),
            (IntakeError::Full { free_bytes: 0, needed_bytes: 1 }.reply(), Some(Refusal::Full)),
            (IntakeError::Temporary { reason: "x".into() }.reply(), Some(Refusal::LocalError)),
        ];
        for (reply, expected) in cases {
            assert_eq!(counted_as(&reply), expected, "{reply:?}");
        }
    }
}
