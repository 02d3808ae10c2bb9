//! `init`: from a few answers to a machine on which the gateway can be started.
//!
//! | file | what |
//! |---|---|
//! | `answers` | what is wanted, each checked as soon as it is said |
//! | `asked` | the questions on a terminal |
//! | `look` | what of an answer this machine can see: names, ports, files |
//! | `write` | the configuration file, data directory, what to do next |
//!
//! Promises
//! - What is not said by a flag is asked for on a terminal, and gets its default elsewhere and with `--yes`.
//! - A configuration that is there is left alone without `--force`, and kept as `.bak` with it. It is replaced as a whole or
//!   not at all, and only by one that the gateway takes.
//! - It may be run again: what is there already stays.

mod answers;
mod asked;
mod look;
mod write;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::telemetry::Level;

use super::Args;
use crate::settings::{DEFAULT_FILE, Settings};
use answers::{Answers, from_flags};

/// What may be said beforehand.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InitArgs {
    /// The domain of all mailbox addresses, for example gateway.example.com [default: the machine's name].
    #[arg(long, alias = "email-domain", value_name = "DOMAIN")]
    domain: Option<String>,
    /// The name in greetings and in the certificate, by which senders, archivers and browsers connect [default: the domain].
    #[arg(long, value_name = "NAME")]
    host_name: Option<String>,
    /// Where the certificate comes from [default: self-signed, or what the flags below ask for].
    #[arg(long, value_enum)]
    certificate: Option<CertificateArg>,
    /// With --certificate files: the certificate with its chain (PEM), the leaf first.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// With --certificate files: its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// With --certificate lets-encrypt: you agree to its terms of service (https://letsencrypt.org/repository/).
    #[arg(long)]
    accept_terms: bool,
    /// With --certificate lets-encrypt: an address to which it may write.
    #[arg(long, value_name = "ADDRESS")]
    contact: Option<String>,
    /// error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// Where mailboxes and sealed mail are stored [default: /var/lib/postern/gateway].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Ask nothing: what no flag says gets its default.
    #[arg(long, short)]
    yes: bool,
    /// Replace a configuration file that is there; it is kept beside the new one as .bak.
    #[arg(long)]
    force: bool,
}

/// Where the certificate may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CertificateArg {
    /// Made here; archivers can pin it, browsers warn of it.
    SelfSigned,
    /// PEM files of your own, taken anew when they change.
    Files,
    /// From Let's Encrypt, which asks port 80 of the host name.
    LetsEncrypt,
}

/// Prepares the machine.
pub(super) fn run(args: &Args, flags: &InitArgs) -> Result<()> {
    let file = args.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let is_there = RealDisk.exists(&file).with_context(|| format!("cannot look at {}", file.display()))?;
    let answers = if is_there && !flags.force {
        eprintln!("{} is there and stays as it is; --force replaces it", file.display());
        None
    } else {
        let answers = answers(flags)?;
        write::configuration(&file, &answers)?;
        Some(answers)
    };
    let settings = Settings::load(&RealDisk, Some(&file), std::env::vars())?;
    write::data_dir(&settings, answers.as_ref().map(|_| file.as_path()))?;
    super::certificate::run(&settings, super::args::CertificateAction::Show, args.json)?;
    if answers.is_some() {
        eprintln!("\n{}", write::next_steps(&settings, &file));
    }
    Ok(())
}

fn answers(flags: &InitArgs) -> Result<Answers> {
    let machine = crate::settings::machine_name();
    let asks = !flags.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !asks {
        let (answers, notes) = from_flags(flags, &machine)?;
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        return Ok(answers);
    }
    asked::ask(flags, &machine, &mut std::io::stdin().lock(), &mut std::io::stderr())
}

/// Whether it is the file that is read when none is named.
fn is_default(file: &Path) -> bool {
    file == Path::new(DEFAULT_FILE)
}
