//! Ports: with a daemon, does each answer as it should, and with the right certificate? Without one, could each be opened?

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use postern_shared::clock::UnixMillis;

use super::Finding;
use super::probe::{Probe, challenges};
use crate::listen::BindError;
use crate::settings::{Settings, Tls};

const CHECK: &str = "ports";
const SHOWN: &str = "certificate at the ports";
const CHALLENGES: &str = "challenges";
const DEADLINE: Duration = Duration::from_secs(5);

/// Whether each listener answers; `probes` is nothing when no daemon runs.
pub(super) fn check(settings: &Settings, probes: Option<&[Probe]>) -> Finding {
    let Some(probes) = probes else { return free(settings) };
    let (mut good, mut trouble) = (Vec::new(), Vec::new());
    for Probe { name, address, shown } in probes {
        match shown {
            Ok(_) => good.push(format!("{name} {address}")),
            Err(error) => trouble.push(format!("{name} {address}: {error}")),
        }
    }
    if trouble.is_empty() {
        return Finding::ok(CHECK, format!("all answer: {}", good.join(", ")));
    }
    let advice = "look into the daemon's log; after a change of the configuration, restart it";
    Finding::fail(CHECK, trouble.join("; "), advice)
}

/// Whether each listener shows the certificate that the daemon means to show, for the right name and in its time.
pub(super) fn check_shown(
    settings: &Settings,
    probes: &[Probe],
    fingerprint: &str,
    now: UnixMillis,
) -> Finding {
    let (mut good, mut trouble, mut doubt) = (Vec::new(), Vec::new(), None);
    for Probe { name, address, shown } in probes {
        let Ok(Some(shown)) = shown else { continue };
        let found = format!("sha256:{}", shown.fingerprint);
        let wrong = match &shown.leaf {
            None => Some("its certificate cannot be read".to_owned()),
            Some(_) if found != fingerprint => Some(format!("it shows {found}, not {fingerprint}")),
            Some(leaf) if leaf.not_after <= now => Some(format!("it expired on {}", leaf.not_after)),
            Some(leaf) if now < leaf.not_before => {
                Some(format!("it is not valid before {}", leaf.not_before))
            }
            // Whoever pins it looks at no name.
            Some(leaf) if settings.tls != Tls::SelfSigned && !leaf.covers(&settings.host_name) => {
                let names = leaf.names.join(", ");
                doubt = Some(format!("it is for {names}, not for host_name {}", settings.host_name));
                None
            }
            Some(_) => None,
        };
        match wrong {
            None => good.push(name.as_str()),
            Some(wrong) => trouble.push(format!("{name} {address}: {wrong}")),
        }
    }
    if !trouble.is_empty() {
        let advice =
            "is something between here and the gateway, a proxy or another program? Else restart the daemon";
        return Finding::fail(SHOWN, trouble.join("; "), advice);
    }
    let found = format!("{fingerprint} at {}", good.join(", "));
    match doubt {
        None => Finding::ok(SHOWN, found),
        Some(doubt) => {
            let advice = "clients that verify refuse it: get a certificate for host_name";
            Finding::warn(SHOWN, format!("{found}; {doubt}"), advice)
        }
    }
}

/// Whether an authority's challenges come here, as far as that can be seen from here.
pub(super) fn check_challenges(settings: &Settings) -> Finding {
    let look = |name: &str| {
        let address = (name, 80).to_socket_addrs()?.next();
        let address = address.ok_or_else(|| std::io::Error::other("it has no address"))?;
        challenges(TcpStream::connect_timeout(&address, DEADLINE)?)
    };
    let names = &settings.acme.names;
    let trouble: Vec<String> = names
        .iter()
        .filter_map(|name| look(name).err().map(|error| format!("http://{name}: {error}")))
        .collect();
    if trouble.is_empty() {
        return Finding::ok(CHALLENGES, format!("port 80 of {} leads here", names.join(", ")));
    }
    let advice = "the authority asks port 80 of each name: let DNS, firewall and port forwarding lead it to [listen] http01. \
                  Behind address translation this look from inside may fail and the authority's succeed: \
                  postern-gateway certificate acme --staging-only tells";
    Finding::warn(CHALLENGES, trouble.join("; "), advice)
}

fn free(settings: &Settings) -> Finding {
    let listen = &settings.listen;
    let mut all = vec![
        ("smtp", &listen.smtp),
        ("smtps", &listen.smtps),
        ("submission", &listen.submission),
        ("pop3", &listen.pop3),
        ("pop3s", &listen.pop3s),
        ("metrics", &listen.metrics),
        ("console", &listen.console),
    ];
    if settings.tls == Tls::Acme {
        all.push(("http01", &listen.http01));
    }
    let mut trouble = Vec::new();
    for (listener, addresses) in all {
        for &address in &addresses.0 {
            if let Err(source) = TcpListener::bind(address) {
                trouble.push(BindError { listener, address, source }.to_string());
            }
        }
    }
    if trouble.is_empty() {
        return Finding::ok(CHECK, "no daemon runs, and all its ports are free");
    }
    Finding::fail(CHECK, trouble.join("; "), "or change the address in [listen]")
}

#[cfg(test)]
mod tests {
    use postern_shared::crypto::digest::sha256;
    use postern_shared::disk::RealDisk;
    use postern_shared::tls::server::Leaf;

    use super::super::Verdict;
    use super::super::probe::Shown;
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn probe(names: &[&str], not_after: UnixMillis) -> Probe {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = Leaf { names, not_before: UnixMillis(NOW.0 - 1000), not_after };
        let shown = Shown { fingerprint: sha256(b"a certificate"), leaf: Some(leaf) };
        Probe { name: "smtp".into(), address: ([127, 0, 0, 1], 25).into(), shown: Ok(Some(shown)) }
    }

    #[test]
    fn what_a_port_shows_is_judged() {
        let host = [("POSTERN_GATEWAY__HOST_NAME".to_owned(), "gateway.example.com".to_owned())];
        let settings = Settings { tls: Tls::Imported, ..Settings::load(&RealDisk, None, host).unwrap() };
        let right = format!("sha256:{}", sha256(b"a certificate"));
        let later = NOW.plus(Duration::from_secs(1000));
        let judged = |probe: Probe, fingerprint: &str| {
            let finding = check_shown(&settings, &[probe], fingerprint, NOW);
            (finding.verdict, finding.found)
        };
        assert_eq!(judged(probe(&["gateway.example.com"], later), &right).0, Verdict::Ok);
        let (verdict, found) = judged(probe(&["gateway.example.com"], later), "sha256:00");
        assert!(verdict == Verdict::Fail && found.contains("not sha256:00"), "{found}");
        let (verdict, found) = judged(probe(&["gateway.example.com"], NOW), &right);
        assert!(verdict == Verdict::Fail && found.contains("it expired on"), "{found}");
        let (verdict, found) = judged(probe(&["other.example.com"], later), &right);
        assert!(verdict == Verdict::Warn && found.contains("not for host_name"), "{found}");
    }
}
