//! What `certificate show` tells.

use postern_shared::clock::UnixMillis;
use postern_shared::disk::Disk;
use postern_shared::tls::server::{Identity, Leaf};
use serde_json::{Value, json};

use super::Keeper;
use crate::settings::Settings;

const AUTHORITIES_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Keeper {
    /// What is served, and from which source.
    pub fn shown(&self) -> Value {
        let (origin, trouble) = (self.origin(), self.trouble());
        let mut value = described(&self.identity(), &self.settings(), &*self.disk, self.clock.wall());
        value["mode"] = self.settings().tls.mode().into();
        value["source"] = origin.name().into();
        value["trouble"] = trouble.into();
        value
    }

    /// Whether a client would accept it that knows this machine's authorities, or the operator's own.
    pub(crate) fn accepted(&self) -> Result<(), String> {
        verified(&self.identity(), &self.settings(), &*self.disk, self.clock.wall())
    }
}

/// What a certificate says, and who would accept it.
pub(super) fn described(identity: &Identity, settings: &Settings, disk: &dyn Disk, now: UnixMillis) -> Value {
    let leaf = identity.leaf();
    let expires = leaf.as_ref().map(|leaf| leaf.not_after);
    let chain: Vec<Value> = identity
        .links()
        .into_iter()
        .map(|link| {
            json!({ "subject": link.subject, "issuer": link.issuer, "expires": link.not_after.rfc3339() })
        })
        .collect();
    let accepted = verified(identity, settings, disk, now);
    json!({
        "fingerprint": format!("sha256:{}", identity.fingerprint()),
        "names": leaf.as_ref().map(|leaf| leaf.names.clone()),
        "covers_host_name": leaf.as_ref().is_some_and(|leaf: &Leaf| leaf.covers(&settings.host_name)),
        "valid_from": leaf.as_ref().map(|leaf| leaf.not_before.rfc3339()),
        "expires": expires.map(UnixMillis::rfc3339),
        "expired": expires.is_some_and(|expires| expires <= now),
        "not_yet_valid": leaf.as_ref().is_some_and(|leaf| now < leaf.not_before),
        "days_left": expires.map(|expires| expires.since(now).as_secs() / 86_400),
        "chain": chain,
        "chain_in_order": identity.is_ordered(),
        "verified": accepted.is_ok(),
        "not_verified_because": accepted.err(),
    })
}

/// Whether a client would accept it that knows this machine's authorities, or the operator's own.
fn verified(
    identity: &Identity,
    settings: &Settings,
    disk: &dyn Disk,
    now: UnixMillis,
) -> Result<(), String> {
    let by_machine = identity.verify(&settings.host_name, now);
    let own = settings.acme.trust.as_ref().and_then(|path| disk.read(path, AUTHORITIES_BYTES_MAX).ok());
    match own {
        Some(own) if by_machine.is_err() => identity.verify_with(&own, &settings.host_name, now),
        _ => by_machine,
    }
}
