//! What is counted of the proxy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use postern_shared::telemetry::metrics::{Counter, Exposition, Gauge, Held, Kind};

use crate::proxy::upstream::FailureStep;

/// Which protocol is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// SMTP.
    Smtp,
    /// POP3.
    Pop3,
}

const PROTOCOLS: [&str; 2] = ["smtp", "pop3"];

/// What came of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyLogin {
    /// The server took it.
    Ok,
    /// Wrong user name, password or token.
    WrongCredentials,
    /// By a bad route, a policy, or the server for good.
    NotAllowed,
    /// The server, or something here, could not for now.
    Unavailable,
    /// Too many from there failed; the server was not asked.
    MustWait,
    /// The account has too many sessions.
    TooManySessions,
}

const LOGINS: [&str; 6] =
    ["ok", "wrong_credentials", "not_allowed", "unavailable", "must_wait", "too_many_sessions"];
/// In the order of [`FailureStep`].
const STEPS: [&str; 6] = ["policy", "resolve", "connect", "tls", "greeting", "login"];

/// What became of a message that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    /// It has a copy.
    Recorded,
    /// It had one already.
    Known,
    /// The server refused it, and so it has none.
    Refused,
    /// Nobody knows whether the server took it; the copy is kept and marked.
    Unconfirmed,
    /// It could not be recorded.
    Failed,
}

const MESSAGES: [&str; 5] = ["recorded", "known", "refused", "unconfirmed", "failed"];

/// Accounts counted one by one; what further ones do is counted under [`OTHERS`].
const ACCOUNTS_MAX: usize = 1000;
const OTHERS: &str = "other";

/// Everything counted of the proxy since the process started.
#[derive(Debug)]
pub struct ProxyMetrics {
    logins: [[Counter; LOGINS.len()]; 2],
    failures: [Counter; STEPS.len()],
    open: [Gauge; 2],
    messages: [[Counter; MESSAGES.len()]; 2],
    accounts: Mutex<BTreeMap<String, u64>>,
}

impl ProxyMetrics {
    pub(super) const fn new() -> Self {
        Self {
            logins: [const { [const { Counter::new() }; LOGINS.len()] }; 2],
            failures: [const { Counter::new() }; STEPS.len()],
            open: [const { Gauge::new() }; 2],
            messages: [const { [const { Counter::new() }; MESSAGES.len()] }; 2],
            accounts: Mutex::new(BTreeMap::new()),
        }
    }

    /// Somebody tried to log in.
    pub fn login(&self, protocol: ProxyProtocol, outcome: ProxyLogin) {
        self.logins[protocol as usize][outcome as usize].add(1);
    }

    /// There was no getting to a server, or into it.
    pub fn upstream_failed(&self, step: FailureStep) {
        self.failures[step as usize].add(1);
    }

    /// A session begins; it lasts as long as the value.
    pub fn session(&'static self, protocol: ProxyProtocol) -> Held<'static> {
        self.open[protocol as usize].hold()
    }

    /// A message passed.
    pub fn message(&self, protocol: ProxyProtocol, outcome: Proxied) {
        self.messages[protocol as usize][outcome as usize].add(1);
    }

    /// A copy was made of a message of that account (`user%host`).
    pub fn account_message(&self, account: &str) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = accounts.get_mut(account) {
            *count += 1;
            return;
        }
        let name = if accounts.len() < ACCOUNTS_MAX { account } else { OTHERS };
        *accounts.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn show(&self, out: &mut Exposition) {
        let help = "Logins through the proxy, by result.";
        by_protocol(out, "postern_gateway_proxy_logins_total", help, ("result", &LOGINS), &self.logins);
        let help = "Servers that could not be reached or logged in at, by how far it got.";
        let mut family = out.family("postern_gateway_proxy_upstream_failures_total", Kind::Counter, help);
        for (step, counter) in STEPS.iter().zip(&self.failures) {
            family.sample(&[("step", step)], counter.value());
        }
        let help = "Proxied sessions open now, logins included.";
        let mut family = out.family("postern_gateway_proxy_sessions_open", Kind::Gauge, help);
        for (protocol, gauge) in PROTOCOLS.iter().zip(&self.open) {
            family.sample(&[("protocol", protocol)], gauge.value());
        }
        let help = "Messages that passed the proxy, by what became of their copy.";
        by_protocol(out, "postern_gateway_proxy_messages_total", help, ("result", &MESSAGES), &self.messages);
        let help = "Copies made, by account (the first thousand; later ones are \"other\").";
        let mut family = out.family("postern_gateway_proxy_account_messages_total", Kind::Counter, help);
        for (account, count) in &*self.accounts.lock().unwrap_or_else(PoisonError::into_inner) {
            family.sample(&[("account", account)], count);
        }
    }
}

fn by_protocol<const N: usize>(
    out: &mut Exposition,
    name: &'static str,
    help: &str,
    (label, values): (&'static str, &[&'static str; N]),
    counters: &[[Counter; N]; 2],
) {
    let mut family = out.family(name, Kind::Counter, help);
    for (protocol, counters) in PROTOCOLS.iter().zip(counters) {
        for (value, counter) in values.iter().zip(counters) {
            family.sample(&[("protocol", protocol), (label, value)], counter.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each kind is counted under its own name, and peers cannot make up accounts without end.
    #[test]
    fn everything_is_shown_under_its_name() {
        static COUNTED: ProxyMetrics = ProxyMetrics::new();
        COUNTED.login(ProxyProtocol::Smtp, ProxyLogin::TooManySessions);
        COUNTED.login(ProxyProtocol::Pop3, ProxyLogin::Ok);
        COUNTED.upstream_failed(FailureStep::Policy);
        COUNTED.upstream_failed(FailureStep::Login);
        COUNTED.message(ProxyProtocol::Pop3, Proxied::Known);
        COUNTED.message(ProxyProtocol::Smtp, Proxied::Failed);
        let open = COUNTED.session(ProxyProtocol::Smtp);
        COUNTED.account_message("a\"nna%mail.example.com");
        for n in 0..ACCOUNTS_MAX + 9 {
            COUNTED.account_message(&format!("{n}%h"));
        }
        let mut out = Exposition::default();
        COUNTED.show(&mut out);
        drop(open);
        let shown = out.finish();
        for line in [
            "proxy_logins_total{protocol=\"smtp\",result=\"too_many_sessions\"} 1",
            "proxy_logins_total{protocol=\"pop3\",result=\"ok\"} 1",
            "proxy_logins_total{protocol=\"pop3\",result=\"must_wait\"} 0",
            "proxy_upstream_failures_total{step=\"policy\"} 1",
            "proxy_upstream_failures_total{step=\"login\"} 1",
            "proxy_upstream_failures_total{step=\"tls\"} 0",
            "proxy_messages_total{protocol=\"pop3\",result=\"known\"} 1",
            "proxy_messages_total{protocol=\"smtp\",result=\"failed\"} 1",
            "proxy_sessions_open{protocol=\"smtp\"} 1",
            "proxy_account_messages_total{account=\"a\\\"nna%mail.example.com\"} 1",
            "proxy_account_messages_total{account=\"other\"} 10",
        ] {
            assert!(shown.contains(&format!("postern_gateway_{line}\n")), "{line} is not in\n{shown}");
        }
        assert_eq!(COUNTED.open[0].value(), 0);
    }
}
