//! SMTP intake: ours, Postfix that holds in its queue, and a raw group commit of the same buffers.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::load::Load;
use super::{Plan, Rates, progress, raw_disk, settle};
use crate::program::{Kind, NewMailbox, Program};
use crate::upstream::{Identity, Postfix};
use crate::{Security, foreign};

/// The loads measured, their names as printed.
const ROWS: [(&str, Load); 9] = [
    ("1 × 5 KB", clear(1, 5_000)),
    ("16 × 5 KB", clear(16, 5_000)),
    ("64 × 5 KB", clear(64, 5_000)),
    ("1 × 50 KB", clear(1, 50_000)),
    ("16 × 50 KB", clear(16, 50_000)),
    ("64 × 50 KB", clear(64, 50_000)),
    ("16 × 5 MB", clear(16, 5_000_000)),
    ("16 × 50 KB STARTTLS", Load::new(16, 50_000, Security::StartTls)),
    ("16 × 5 KB STARTTLS each", Load::new(16, 5_000, Security::StartTls).reconnecting()),
];

const fn clear(sessions: usize, bytes: usize) -> Load {
    Load::new(sessions, bytes, Security::Clear)
}

/// The rates of one load.
#[derive(Default)]
struct Row {
    ours: Rates,
    postfix: Rates,
    raw: Rates,
    syncs: Rates,
}

/// Measures every load and prints a line for each as soon as it is known.
pub fn run(plan: &Plan) -> Result<()> {
    if !ROWS.iter().any(|(name, _)| plan.wants(name)) {
        return Ok(());
    }
    println!(
        "\nSMTP intake: sessions × size of a message; acknowledged, that is durable, messages per second"
    );
    println!(
        "{:23} {:>22} {:>20} {:>6} {:>24} {:>8} {:>18}",
        "", "ours", "Postfix hold", "ratio", "raw group commit", "ours/raw", "syncs of 4 KiB"
    );
    let postfix = start_postfix(&plan.dir)?;
    for (name, load) in ROWS.into_iter().filter(|(name, _)| plan.wants(name)) {
        let row = measure(plan, postfix.as_ref(), name, load)?;
        println!(
            "{name:23} {:>22} {:>20} {:>6.2} {:>24} {:>8.2} {:>18}",
            row.ours,
            row.postfix,
            row.ours.median() / row.postfix.median(),
            row.raw,
            row.ours.median() / row.raw.median(),
            row.syncs
        );
    }
    Ok(())
}

fn measure(plan: &Plan, postfix: Option<&Postfix>, name: &str, load: Load) -> Result<Row> {
    let mut row = Row::default();
    for round in 1..=plan.rounds {
        progress(&format!("intake {name}, round {round} of {}", plan.rounds));
        settle()?;
        row.syncs.push(raw_disk::sync_rate(&plan.dir)?);
        row.ours.push(ours(plan, load)?);
        settle()?;
        if let Some(postfix) = postfix {
            let rate = load.run(postfix.address, "journal@example.com", plan.turn);
            row.postfix.push(rate.with_context(|| format!("Postfix:\n{}", tail(&postfix.log())))?);
            postfix.clear()?;
            settle()?;
        }
        row.raw.push(raw_disk::group_commit(&plan.dir, load.sessions, load.bytes, plan.turn)?);
    }
    Ok(row)
}

/// A gateway with nothing in its spool, as Postfix has nothing in its queue.
fn ours(plan: &Plan, load: Load) -> Result<f64> {
    let gateway = Gateway::start(&plan.dir)?;
    let address = gateway.program.address("smtp")?;
    load.run(address, &gateway.mailbox.address, plan.turn)
        .with_context(|| format!("ours:\n{}", tail(&gateway.program.log())))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// All load comes from one address, which is no hostile one.
const UNLIMITED: &str = "[limits]\nconnections_per_minute = 0\n";

/// A running gateway with a mailbox, its data on the disk that is measured.
pub(crate) struct Gateway {
    pub(crate) program: Program,
    pub(crate) mailbox: NewMailbox,
    // Removed last.
    dir: TempDir,
}

impl Gateway {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, "")
    }

    /// With more configuration behind the limits'.
    pub(crate) fn start_with(dir: &Path, more: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("gateway").tempdir_in(dir)?;
        let mut program = Program::in_dir(Kind::Gateway, dir.path(), &format!("{UNLIMITED}{more}"))?;
        program.start()?;
        let mailbox = NewMailbox::create(&program, "bench")?;
        Ok(Self { program, mailbox, dir })
    }

    /// Its certificate, which the peers use as well.
    pub(crate) fn identity(&self) -> Identity {
        let dir = self.dir.path().join("data/tls");
        Identity { certificate: dir.join("self-signed.crt.pem"), key: dir.join("self-signed.key.pem") }
    }
}

/// Postfix that acknowledges what is durable in its hold queue and does nothing further with it.
fn start_postfix(dir: &Path) -> Result<Option<Postfix>> {
    if !foreign::has("postfix") {
        println!("Postfix is not installed: no peer in this table");
        return Ok(None);
    }
    let gateway = Gateway::start(dir)?;
    let identity = gateway.identity();
    let hold = "check_client_access static:HOLD, permit_mynetworks, reject";
    let tls = tempfile::Builder::new().prefix("identity").tempdir_in(dir)?.keep();
    std::fs::copy(identity.certificate, tls.join("crt.pem"))?;
    std::fs::copy(identity.key, tls.join("key.pem"))?;
    let more = format!(
        "smtpd_relay_restrictions = {hold}\nsmtpd_recipient_restrictions = {hold}\nin_flow_delay = 0\n\
         smtpd_tls_cert_file = {0}/crt.pem\nsmtpd_tls_key_file = {0}/key.pem\nsmtpd_tls_security_level = may",
        tls.display()
    );
    Postfix::start_in(dir, &more).map(Some)
}
