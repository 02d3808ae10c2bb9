//! Who received a message without being named in it.

use super::header::Header;
use super::participants::members;

/// Where a message names those it is meant for (RFC 5322 §3.6.3, §3.6.6).
const NAMING_FIELDS: [&str; 4] = ["To", "Cc", "Resent-To", "Resent-Cc"];

/// Those of `accepted` (paths as in RCPT TO, RFC 5321) that `header`, all of a message's header, does not name: its sender
/// wrote them as Bcc, or a list was expanded. `None` when the header cannot be read to its end, or names somebody in a way
/// that is not understood: nothing is claimed then.
///
/// Letter case makes no difference: of domains by RFC 5321 §2.3.11, of mailboxes because no server in use tells `Anna` from
/// `anna`.
pub fn hidden_recipients(header: &[u8], accepted: &[String]) -> Option<Vec<String>> {
    let parsed = Header::parse(header);
    if parsed.body < header.len() {
        return None;
    }
    let mut named = std::collections::HashSet::new();
    for list in NAMING_FIELDS.into_iter().flat_map(|name| parsed.all(name)) {
        for member in members(list) {
            named.insert(comparable(&member?));
        }
    }
    Some(accepted.iter().filter(|path| !named.contains(&comparable(path))).cloned().collect())
}

/// Lower case, and without the quotes of a local part that may need none (RFC 5322 §3.4.1).
fn comparable(address: &str) -> String {
    let lower = address.to_lowercase();
    match lower.rsplit_once('@') {
        Some((local, domain)) => {
            let local = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(local);
            format!("{}@{domain}", local.replace('\\', ""))
        }
        None => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(header: &str, accepted: &[&str]) -> Option<Vec<String>> {
        let accepted: Vec<String> = accepted.iter().map(|path| (*path).to_owned()).collect();
        hidden_recipients(header.as_bytes(), &accepted)
    }

    #[test]
    fn who_is_named_nowhere_is_hidden() {
        let header = "From: anna@example.com\r\nTo: =?utf-8?q?B=2C_b?= <Bob@Example.com>, \"c, d\" <carol@x>\r\n\
            Cc: team: dave@x, (erin@x) erin@y;,\r\n frank@x\r\nBcc: gina@x\r\n\r\n";
        let accepted = [
            "bob@example.COM",
            "carol@x",
            "dave@x",
            "erin@x",
            "erin@y",
            "frank@x",
            "gina@x",
            "anna@example.com",
        ];
        assert_eq!(hidden(header, &accepted).unwrap(), ["erin@x", "gina@x", "anna@example.com"]);
    }

    #[test]
    fn who_is_named_by_whoever_sent_it_again_is_not_hidden() {
        let header = "To: bob@x\r\nResent-To: carol@x\r\nResent-Cc: dave@x\r\n\r\n";
        assert_eq!(hidden(header, &["carol@x", "dave@x", "erin@x"]).unwrap(), ["erin@x"]);
    }

    #[test]
    fn a_message_that_names_nobody_hides_everybody() {
        for header in ["Subject: x\r\n\r\n", "To: undisclosed-recipients:;\r\n\r\n", "\r\n", ""] {
            assert_eq!(hidden(header, &["bob@x"]).unwrap(), ["bob@x"], "{header:?}");
        }
    }

    /// Goal: no recipient is called hidden because the header was not understood.
    #[test]
    fn of_what_is_not_understood_nothing_is_claimed() {
        for header in [
            "To: bob@x\r\nno field\r\nCc: carol@x\r\n\r\n",
            "To: bob @ x\r\n\r\n",
            "To: Carol\r\n\r\n",
            "To: \"x\r\n\r\n",
        ] {
            assert_eq!(hidden(header, &["carol@x"]), None, "{header:?}");
        }
    }

    #[test]
    fn quotes_that_mean_nothing_make_no_difference() {
        let header = "To: \"john.doe\"@x, <\"c\\\"d\"@x>\r\n\r\n";
        let accepted = ["john.doe@x", "\"john.doe\"@x", "\"c\\\"d\"@x", "erin@x"];
        assert_eq!(hidden(header, &accepted).unwrap(), ["erin@x"]);
    }
}
