//! The certificate: whether there is one, its dates, its names, and whether a sender that verifies would accept it.

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::disk::RealDisk;
use postern_shared::tls::server::{Identity, Leaf};

use super::Finding;
use crate::cli::identity;
use crate::settings::{Settings, Tls};

const CHECK: &str = "certificate";
const DAYS_WARN: u64 = 14;

pub(super) fn check(settings: &Settings, clock: &dyn Clock) -> (Finding, Option<Identity>) {
    let identity = match identity(settings, &RealDisk, clock) {
        Ok(identity) => identity,
        Err(error) => {
            return (Finding::fail(CHECK, format!("{error:#}"), "see [tls] in the configuration"), None);
        }
    };
    let Some(leaf) = identity.leaf() else {
        let advice = "put the server's own certificate first in its file";
        return (Finding::fail(CHECK, "it cannot be read", advice), Some(identity));
    };
    let now = clock.wall();
    let finding = judge(&leaf, &settings.host_name, &settings.tls, now).unwrap_or_else(|| {
        let found = format!("for {}, until {}", leaf.names.join(", "), leaf.not_after);
        match &settings.tls {
            Tls::SelfSigned => Finding::ok(CHECK, format!("self-signed, to be pinned by archivers; {found}")),
            Tls::Files { .. } => match identity.verify(&settings.host_name, now) {
                Ok(()) => Finding::ok(CHECK, format!("its chain is complete; {found}")),
                Err(reason) => {
                    let advice = "put the intermediate certificates behind the leaf in tls.certificate; with an authority \
                                  of your own, senders and archivers must know it";
                    Finding::warn(CHECK, format!("this machine's authorities do not vouch for it: {reason}"), advice)
                }
            },
        }
    });
    (finding, Some(identity))
}

/// What is wrong with its dates or names.
fn judge(leaf: &Leaf, host_name: &str, tls: &Tls, now: UnixMillis) -> Option<Finding> {
    let renew = match tls {
        Tls::SelfSigned => {
            "remove tls/self-signed.* in the data directory and restart: another is made, to be pinned anew"
        }
        Tls::Files { .. } => "renew it and restart the daemon",
    };
    if now < leaf.not_before {
        return Some(Finding::fail(
            CHECK,
            format!("not valid before {}", leaf.not_before),
            "set the machine's clock",
        ));
    }
    let left = leaf.not_after.since(now).as_secs() / 86_400;
    if leaf.not_after <= now {
        return Some(Finding::fail(CHECK, format!("expired on {}", leaf.not_after), renew));
    }
    if left < DAYS_WARN {
        return Some(Finding::warn(CHECK, format!("expires on {}, in {left} days", leaf.not_after), renew));
    }
    if !leaf.covers(host_name) {
        let found = format!("it is for {}, not for host_name {host_name}", leaf.names.join(", "));
        let advice = "senders that verify refuse it: get one for host_name, or set host_name to what the MX record says";
        return Some(Finding::warn(CHECK, found, advice));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn dates_and_names_are_judged() {
        let day = Duration::from_secs(86_400);
        let from = UnixMillis(1_800_000_000_000);
        let leaf =
            Leaf { names: vec!["*.example.com".into()], not_before: from, not_after: from.plus(90 * day) };
        let judged = |host: &str, days: u32| {
            let now = from.plus(days * day);
            judge(&leaf, host, &Tls::SelfSigned, now).map(|finding| (finding.verdict, finding.found))
        };
        assert_eq!(judged("gateway.example.com", 1), None);
        assert_eq!(judged("gateway.example.com", 80).unwrap().0, Verdict::Warn);
        assert_eq!(judged("gateway.example.com", 90).unwrap().0, Verdict::Fail);
        assert!(
            judged("gateway.example.org", 1).unwrap().1.contains("not for host_name gateway.example.org")
        );
        let early = judge(&leaf, "gateway.example.com", &Tls::SelfSigned, UnixMillis(from.0 - 1)).unwrap();
        assert_eq!(
            (early.verdict, early.advice.as_deref()),
            (Verdict::Fail, Some("set the machine's clock"))
        );
    }
}
