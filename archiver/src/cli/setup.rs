//! Preparing and checking an installation.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use postern_shared::disk::{Disk, RealDisk, give_to_owner_of, write_atomic};
use postern_shared::tls::server::Identity;
use serde_json::{Value, json};

use crate::monitoring::FREE_BYTES_MIN;
use crate::settings::Settings;

/// Writes what is missing: configuration file, data directory.
pub(super) fn init(config: Option<&Path>) -> Result<ExitCode> {
    let written = config.filter(|file| !RealDisk.exists(file).unwrap_or(true));
    if let Some(file) = written {
        let example = include_str!("../../../config/archiver.toml");
        write_atomic(&RealDisk, file, example.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    let settings = Settings::load(&RealDisk, config, std::env::vars())?;
    RealDisk
        .create_dir_all(&settings.data_dir)
        .with_context(|| format!("cannot create the data directory {}", settings.data_dir.display()))?;
    if let Some(file) = written {
        // Written by root, it is for the daemon to read.
        give_to_owner_of(&settings.data_dir, file)
            .with_context(|| format!("cannot give {} to the daemon's user", file.display()))?;
    }
    println!("data_dir  {}", settings.data_dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Settings are checked already; what is left is the files that they name.
pub(super) fn check_config(settings: &Settings, json: bool) -> Result<ExitCode> {
    if let Some((certificate, key)) = &settings.certificate {
        Identity::from_pem_files(&RealDisk, certificate, key)?;
    }
    for key in &settings.without_effect {
        eprintln!("note: {key} has no effect in this version");
    }
    println!("{}", if json { json!({ "ok": true }).to_string() } else { "the configuration is good".into() });
    Ok(ExitCode::SUCCESS)
}

/// Looks for trouble in what `status` says; fails when there is any.
pub(super) fn doctor(settings: &Settings, status: &Value, json: bool) -> Result<ExitCode> {
    let mut trouble = Vec::new();
    let free = RealDisk.free_bytes(&settings.data_dir)?;
    if free < FREE_BYTES_MIN {
        trouble.push(format!("only {} MiB free in {}", free >> 20, settings.data_dir.display()));
    }
    for instance in status["instances"].as_array().into_iter().flatten() {
        let id = instance["id"].as_str().unwrap_or_default();
        if matches!(instance["state"].as_str(), Some("safe" | "stopped")) {
            let state = instance["state"].as_str().unwrap_or_default();
            eprintln!(
                "note: instance {id} is {state}, so nothing is archived there; instance start {id} ends that"
            );
        }
        if instance["state"] == "opening" {
            eprintln!("note: instance {id} is being opened; ask again in a while");
        }
        let damage = instance["damage"].as_array().into_iter().flatten().filter_map(Value::as_str);
        trouble.extend(
            instance["error"].as_str().into_iter().chain(damage).map(|what| format!("instance {id}: {what}")),
        );
    }
    match (json, trouble.is_empty()) {
        (true, _) => println!("{}", json!({ "trouble": trouble })),
        (false, true) => println!("ok"),
        (false, false) => println!("TROUBLE {}", trouble.join("\nTROUBLE ")),
    }
    Ok(if trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
