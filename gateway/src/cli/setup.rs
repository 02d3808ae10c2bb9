//! Preparing and checking an installation.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use postern_shared::tls::client::{Trust, client_config};
use serde_json::json;

use super::args::CertificateAction;
use super::{Args, certificate};
use crate::certificate::Keeper;
use crate::proxy::upstream::Dialer;
use crate::settings::{Settings, Tls};

/// Writes what is missing: configuration file, data directory, certificate.
pub(super) fn init(args: &Args, email_domain: Option<&str>) -> Result<()> {
    if let Some(file) = &args.config
        && !RealDisk.exists(file)?
    {
        let example = include_str!("../../../config/gateway.toml");
        let text = email_domain
            .map_or_else(|| example.into(), |domain| example.replace("gateway.example.com", domain));
        write_atomic(&RealDisk, file, text.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    let settings = Settings::load(&RealDisk, args.config.as_deref(), std::env::vars())?;
    RealDisk
        .create_dir_all(&settings.data_dir)
        .with_context(|| format!("cannot create the data directory {}", settings.data_dir.display()))?;
    certificate::run(&settings, CertificateAction::Show, args.json)
}

pub(super) fn check_config(settings: &Settings, json: bool) -> Result<()> {
    check_named(settings, Arc::new(RealDisk), Arc::new(SystemClock::new()))?;
    println!("{}", if json { json!({ "ok": true }).to_string() } else { "the configuration is good".into() });
    Ok(())
}

/// Settings are checked already; this looks at what they name.
pub(crate) fn check_named(settings: &Settings, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<()> {
    // Of these two the one is made when it is missing, and the other comes later.
    if !matches!(settings.tls, Tls::SelfSigned | Tls::Acme) {
        let now = clock.wall();
        let expires = Keeper::open(settings, disk, clock)?.identity().expires();
        if let Some(expires) = expires.filter(|expires| *expires < now) {
            bail!("the certificate has expired on {expires}");
        }
    }
    if let Some(path) = &settings.acme.trust {
        client_config(&Trust::Authorities(path.clone())).context("key acme.trust")?;
    }
    // Reads the certificate authorities that it names.
    Dialer::new(&settings.proxy, &settings.host_name, Vec::new()).context("[proxy] cannot be used")?;
    Ok(())
}
