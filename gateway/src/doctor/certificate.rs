//! The certificate: its dates, its names, whether a sender that verifies would accept it, and whether the next one comes.

use anyhow::Result;
use serde_json::Value;

use super::Finding;
use crate::settings::{Settings, Tls};

const CHECK: &str = "certificate";
const DAYS_WARN: u64 = 14;

/// `shown`: what `certificate show` answers.
pub(super) fn check(settings: &Settings, shown: &Result<Value>) -> Finding {
    match shown {
        Ok(shown) => judge(settings, shown),
        Err(error) => {
            let advice = match settings.tls {
                Tls::Imported => "bring one with: postern-gateway certificate import FILE",
                _ => "see [tls] in the configuration",
            };
            Finding::fail(CHECK, format!("{error:#}"), advice)
        }
    }
}

fn judge(settings: &Settings, shown: &Value) -> Finding {
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    let names = shown["names"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let days = shown["days_left"].as_u64().unwrap_or(0);
    let renew = renewing(&settings.tls);
    if shown["not_yet_valid"] == true {
        return Finding::fail(
            CHECK,
            format!("not valid before {}", text("valid_from")),
            "set the machine's clock",
        );
    }
    if shown["expired"] == true {
        return Finding::fail(CHECK, format!("expired on {}", text("expires")), renew);
    }
    if let Some(trouble) = shown["trouble"].as_str() {
        let found = format!("what the files hold now cannot be used, the old one is served on: {trouble}");
        return Finding::warn(CHECK, found, "mend the files; they are taken within seconds");
    }
    if let Some(error) = shown["acme"]["last_error"].as_str() {
        let again = shown["acme"]["not_before"].as_str().unwrap_or("soon");
        let found = format!("the authority has issued none at the last attempt: {error}");
        let advice = format!(
            "the next attempt is made at {again}; after mending, run: postern-gateway certificate acme"
        );
        return Finding::warn(CHECK, found, advice);
    }
    if days < DAYS_WARN {
        return Finding::warn(CHECK, format!("expires on {}, in {days} days", text("expires")), renew);
    }
    if shown["covers_host_name"] == false {
        let found = format!("it is for {names}, not for host_name {}", settings.host_name);
        let advice = "senders that verify refuse it: get one for host_name, or set host_name to what the MX record says";
        return Finding::warn(CHECK, found, advice);
    }
    let found = format!("for {names}, until {}", text("expires"));
    match settings.tls {
        Tls::SelfSigned => Finding::ok(CHECK, format!("self-signed, to be pinned by archivers; {found}")),
        _ if shown["verified"] == true => Finding::ok(CHECK, format!("its chain is complete; {found}")),
        Tls::Acme if shown["source"] != "acme" => {
            let advice = "see whether one comes: postern-gateway certificate acme";
            Finding::warn(CHECK, "a self-signed one is served until the authority issues one", advice)
        }
        _ => {
            let advice = "put the intermediate certificates behind the leaf; with an authority of your own, senders and \
                          archivers must know it (acme.trust names it here)";
            let reason = text("not_verified_because");
            Finding::warn(CHECK, format!("this machine's authorities do not vouch for it: {reason}"), advice)
        }
    }
}

const fn renewing(tls: &Tls) -> &'static str {
    match tls {
        Tls::SelfSigned => {
            "run: postern-gateway certificate self-signed --force, and tell the archivers that pin it the new fingerprint"
        }
        Tls::Files { .. } => "renew it and put it in the place of the old one; it is taken within seconds",
        Tls::Imported => "renew it and run: postern-gateway certificate import FILE",
        Tls::Acme => "run: postern-gateway certificate acme, which tells why none was issued",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    fn settings(tls: Tls) -> Settings {
        let disk = postern_shared::disk::RealDisk;
        let host = [("POSTERN_GATEWAY__HOST_NAME".to_owned(), "gateway.example.com".to_owned())];
        Settings { tls, ..Settings::load(&disk, None, host).unwrap() }
    }

    #[test]
    fn dates_names_and_chain_are_judged() {
        let good = json!({
            "names": ["gateway.example.com"], "covers_host_name": true, "days_left": 80, "verified": true,
            "expires": "2027-01-01T00:00:00Z", "source": "files", "expired": false, "not_yet_valid": false,
        });
        let judged = |tls: &Tls, changes: Value| {
            let mut shown = good.clone();
            changes.as_object().unwrap().iter().for_each(|(key, value)| shown[key] = value.clone());
            let finding = check(&settings(tls.clone()), &Ok(shown));
            (finding.verdict, format!("{} {}", finding.found, finding.advice.unwrap_or_default()))
        };
        let files = Tls::Files { certificate: "c".into(), key: "k".into() };
        assert_eq!(judged(&files, json!({})).0, Verdict::Ok);
        assert_eq!(judged(&Tls::SelfSigned, json!({ "verified": false })).0, Verdict::Ok);
        let cases = [
            (&files, json!({ "verified": false }), Verdict::Warn, "intermediate certificates"),
            (&files, json!({ "days_left": 13 }), Verdict::Warn, "in 13 days"),
            (&files, json!({ "expired": true }), Verdict::Fail, "expired on 2027"),
            (&files, json!({ "not_yet_valid": true }), Verdict::Fail, "machine's clock"),
            (&files, json!({ "covers_host_name": false }), Verdict::Warn, "not for host_name"),
            (&files, json!({ "trouble": "no key" }), Verdict::Warn, "no key"),
            (&Tls::Acme, json!({ "acme": { "last_error": "no address" } }), Verdict::Warn, "no address"),
            (&Tls::Acme, json!({ "verified": false, "source": "x" }), Verdict::Warn, "certificate acme"),
        ];
        for (tls, changes, verdict, words) in cases {
            let (found, said) = judged(tls, changes);
            assert_eq!(found, verdict, "{said}");
            assert!(said.contains(words), "{said}");
        }
    }
}
