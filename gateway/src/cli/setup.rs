//! Checking a configuration.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::tls::client::{Trust, client_config};
use serde_json::json;

use crate::certificate::Keeper;
use crate::proxy::upstream::Dialer;
use crate::settings::{Settings, Tls};

pub(super) fn check_config(settings: &Settings, json: bool) -> Result<()> {
    check_all(settings)?;
    println!("{}", if json { json!({ "ok": true }).to_string() } else { "the configuration is good".into() });
    Ok(())
}

/// Settings are checked already; this looks at all that they name.
pub(super) fn check_all(settings: &Settings) -> Result<()> {
    check_certificate(settings, Arc::new(RealDisk), Arc::new(SystemClock::new()))?;
    check_named(settings)
}

/// Whether the certificate that they name can be served.
pub(crate) fn check_certificate(
    settings: &Settings,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    // Of these two the one is made when it is missing, and the other comes later.
    if !matches!(settings.tls, Tls::SelfSigned | Tls::Acme) {
        let now = clock.wall();
        let expires = Keeper::open(settings, disk, clock)?.identity().expires();
        if let Some(expires) = expires.filter(|expires| *expires < now) {
            bail!("the certificate has expired on {expires}");
        }
    }
    Ok(())
}

/// Whether whatever else they name is there.
pub(crate) fn check_named(settings: &Settings) -> Result<()> {
    if let Some(path) = &settings.acme.trust {
        client_config(&Trust::Authorities(path.clone())).context("key acme.trust")?;
    }
    // Reads the certificate authorities that it names.
    Dialer::new(&settings.proxy, &settings.host_name, Vec::new()).context("[proxy] cannot be used")?;
    Ok(())
}
