//! `certificate …`: showing, making, importing, asking an authority.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use postern_shared::clock::SystemClock;
use postern_shared::control::{self, CallError, call};
use postern_shared::data_dir::Holder;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::tls::server::{Bundle, Identity};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::args::CertificateAction;
use super::{output, password};
use crate::acme::Renewer;
use crate::app::Core;
use crate::command::{Command, execute_waiting};
use crate::settings::Settings;

const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn run(settings: &Settings, action: CertificateAction, json: bool) -> Result<()> {
    let (command, show): (_, fn(&Value) -> String) = match action {
        CertificateAction::Show => (Command::CertificateShow, output::certificate),
        CertificateAction::SelfSigned { names, force } => {
            (Command::CertificateSelfSigned { names, force }, output::new_certificate)
        }
        CertificateAction::Import { file, password_file, key } => {
            let bundle = bundle(&file, password_file.as_deref(), key.as_deref())?;
            (Command::CertificateImport { bundle }, output::new_certificate)
        }
        CertificateAction::Acme { staging_only } => return acme(settings, staging_only, json),
    };
    super::command(settings, &command, json, show)
}

/// Key and chain of what the operator brings, PKCS#12 or PEM.
fn bundle(file: &Path, password_file: Option<&Path>, key: Option<&Path>) -> Result<Bundle> {
    let read = |path: &Path| {
        let read = RealDisk.read(path, FILE_BYTES_MAX).map(Zeroizing::new);
        read.with_context(|| format!("cannot read {}", path.display()))
    };
    let content = read(file)?;
    let identity = if is_pem(&content) || key.is_some() {
        let (key_path, key) = match key {
            Some(path) => (path, read(path)?),
            None => (file, content.clone()),
        };
        Identity::from_pem(&content, file, &key, key_path)?
    } else {
        let password = password::read(password_file, &format!("Password of {}", file.display()))?;
        // There are files without one.
        let password = password.unwrap_or_default();
        Identity::from_pkcs12(&content, password.expose_secret())
            .with_context(|| file.display().to_string())?
    };
    Ok(identity.bundle())
}

fn is_pem(content: &[u8]) -> bool {
    content.windows(11).any(|window| window == b"-----BEGIN ")
}

/// Through the daemon when one runs, else here; either way each step is told as it comes.
fn acme(settings: &Settings, staging_only: bool, json: bool) -> Result<()> {
    let tell = |line: &str| eprintln!("{line}");
    let command = Command::CertificateAcme { staging_only };
    let answer = match call(&settings.data_dir, &command, |progress| tell(&progress.what)) {
        Err(CallError::NotRunning) => here(settings, staging_only, tell)?,
        answer => answer?,
    };
    println!("{}", if json { answer.to_string() } else { output::issued(&answer) });
    Ok(())
}

fn here(settings: &Settings, staging_only: bool, tell: impl Fn(&str)) -> Result<Value> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let core = Core::open(disk, clock, settings.clone(), Holder::Command)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let renewer = Renewer::new(Arc::new(core));
        let (context, mut told, _cancel) = control::Context::new();
        let work = execute_waiting(&renewer, staging_only, context);
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                Some(progress) = told.recv() => tell(&progress.what),
                done = &mut work => break done,
            }
        };
        while let Ok(progress) = told.try_recv() {
            tell(&progress.what);
        }
        done.map_err(|message| anyhow!(message))
    })
}
