//! Preparing and checking an installation.

use anyhow::{Context as _, Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use postern_shared::tls::server::Identity;
use serde_json::json;

use super::Args;
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
    show_certificate(&settings, args.json)
}

/// The certificate that the settings ask for; a self-signed one is made when it is missing.
pub(crate) fn identity(settings: &Settings, disk: &dyn Disk, clock: &dyn Clock) -> Result<Identity> {
    let identity = match &settings.tls {
        Tls::SelfSigned => {
            let mut names = vec![settings.host_name.clone(), settings.email_domain.clone()];
            names.dedup();
            Identity::self_signed(disk, &settings.data_dir.join("tls"), &names, clock.wall())
        }
        Tls::Files { certificate, key } => Identity::from_pem_files(disk, certificate, key),
    };
    Ok(identity?)
}

pub(super) fn show_certificate(settings: &Settings, json: bool) -> Result<()> {
    let identity = identity(settings, &RealDisk, &SystemClock::new())?;
    let fingerprint = format!("sha256:{}", identity.fingerprint());
    let expires = identity.expires().map(postern_shared::clock::UnixMillis::rfc3339);
    if json {
        println!("{}", json!({ "fingerprint": fingerprint, "expires": expires }));
    } else {
        println!("fingerprint  {fingerprint}\nexpires      {}", expires.as_deref().unwrap_or("-"));
    }
    Ok(())
}

/// Settings are checked already; this looks at what they name.
pub(super) fn check_config(settings: &Settings, json: bool) -> Result<()> {
    if let Tls::Files { certificate, key } = &settings.tls {
        let identity = Identity::from_pem_files(&RealDisk, certificate, key)?;
        if identity.expires().is_some_and(|expires| expires < SystemClock::new().wall()) {
            bail!("the certificate {} has expired", certificate.display());
        }
    }
    // Reads the certificate authorities that it names.
    Dialer::new(&settings.proxy, &settings.host_name, Vec::new()).context("[proxy] cannot be used")?;
    for key in &settings.without_effect {
        eprintln!("note: {key} has no effect in this version");
    }
    println!("{}", if json { json!({ "ok": true }).to_string() } else { "the configuration is good".into() });
    Ok(())
}
