//! Why there is no certificate, in the authority's own words.

use instant_acme::{Error, Problem};
use postern_shared::telemetry::explain;

use crate::certificate::ChangeError;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The authority says no.
    #[error("{step}: the authority says: {words}{advice}", advice = advice(.kind))]
    Refused {
        /// What was asked for.
        step: String,
        /// The kind of problem (RFC 8555 §6.7), without its prefix.
        kind: String,
        /// Its words.
        words: String,
    },
    /// It cannot be reached, does not answer in time or not as it should.
    #[error("{step}: {reason}")]
    Trouble {
        /// What was asked for.
        step: String,
        /// What happened.
        reason: String,
    },
    /// What is needed here cannot be had.
    #[error("{0}")]
    Local(String),
    /// The certificate came, and cannot be stored or served.
    #[error(transparent)]
    Certificate(#[from] ChangeError),
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

fn advice(kind: &str) -> &'static str {
    match kind {
        "connection" => {
            " -> port 80 of this name must reach [listen] http01 from the Internet: look at DNS, firewall and port \
             forwarding"
        }
        "dns" => " -> the name needs an A or AAAA record that points here",
        "unauthorized" => {
            " -> something else answers on port 80 of this name: forward it, or /.well-known/acme-challenge/, to here"
        }
        "caa" => " -> the domain's CAA records do not allow this authority",
        "rateLimited" => " -> wait; trying again sooner makes it longer",
        "externalAccountRequired" => {
            " -> this authority wants external account binding, which is not supported"
        }
        _ => "",
    }
}

impl AcmeError {
    pub(super) fn of(step: &str, error: &Error) -> Self {
        match error {
            Error::Api(problem) => Self::refused(step, problem),
            other => Self::Trouble { step: step.to_owned(), reason: explain(other) },
        }
    }

    pub(super) fn refused(step: &str, problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix(PREFIX).unwrap_or(kind).to_owned();
        let mut words = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            words.push_str(&format!("; {sub}"));
        }
        if !kind.is_empty() {
            words.push_str(&format!(" ({kind})"));
        }
        Self::Refused { step: step.to_owned(), kind, words: shown(&words) }
    }

    /// The same with what is said of another name.
    pub(super) fn and(mut self, other: &Self) -> Self {
        if let (Self::Refused { words, .. }, Self::Refused { step, words: more, .. }) = (&mut self, other) {
            words.push_str(&shown(&format!("; {step}: {more}")));
        }
        self
    }

    /// Whether the authority was not there or had trouble of its own: that says nothing about us.
    pub(super) fn is_the_authoritys(&self) -> bool {
        match self {
            Self::Trouble { .. } => true,
            Self::Refused { kind, .. } => kind == "serverInternal",
            _ => false,
        }
    }

    pub(super) fn is_kind(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }
}

/// An authority's words go to terminals and logs.
fn shown(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> AcmeError {
        let json = serde_json::json!({ "type": format!("{PREFIX}{kind}"), "detail": detail, "status": 403 });
        let problem: Problem = serde_json::from_value(json).unwrap();
        AcmeError::of("mail.example.com", &Error::Api(problem))
    }

    #[test]
    fn the_authoritys_words_come_with_what_to_do() {
        let said = problem("connection", "Fetching http://mail.example.com/: Connection refused").to_string();
        assert!(said.starts_with("mail.example.com: the authority says: Fetching http://"), "{said}");
        assert!(said.contains("(connection) -> port 80"), "{said}");
        assert!(
            !problem("connection", "x").is_the_authoritys()
                && problem("serverInternal", "x").is_the_authoritys()
        );
        let hostile = problem("malformed", &format!("\x1b[2J{}", "x".repeat(5000))).to_string();
        assert!(!hostile.contains('\x1b') && hostile.len() < 1200);
    }
}
