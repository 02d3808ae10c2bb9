//! POP3S download of a full maildrop over one connection: ours and Dovecot.

use anyhow::{Context, Result};

use super::dovecot::Dovecot;
use super::intake::Gateway;
use super::load::Load;
use super::reader::{IN_FLIGHT, Maildrop};
use super::{Plan, Rates, progress};
use crate::{Security, foreign};

const MESSAGE_BYTES: usize = 50_000;

/// Fills a mailbox, gives Dovecot the same messages, measures both and prints a line.
pub fn run(plan: &Plan) -> Result<()> {
    let count = plan.download_messages;
    if !plan.wants("download") {
        return Ok(());
    }
    println!("\nPOP3S download, one connection, {IN_FLIGHT} RETRs in flight; messages per second");
    println!("{:20} {:>22} {:>20} {:>6}", "", "ours", "Dovecot", "ratio");
    progress(&format!("download: {count} messages into the mailboxes"));
    let gateway = Gateway::start(&plan.dir)?;
    let ours = fill(&gateway, count)?;
    let dovecot = start_dovecot(plan, &gateway, &ours)?;
    let (mut our_rates, mut dovecot_rates) = (Rates::default(), Rates::default());
    for round in 1..=plan.rounds {
        progress(&format!("download, round {round} of {}", plan.rounds));
        our_rates.push(ours.pull(count, MESSAGE_BYTES)?);
        if let Some(dovecot) = &dovecot {
            let rate = dovecot.maildrop().pull(count, MESSAGE_BYTES);
            dovecot_rates.push(rate.with_context(|| format!("Dovecot:\n{}", dovecot.log()))?);
        }
    }
    let ratio = our_rates.median() / dovecot_rates.median();
    println!("{:20} {our_rates:>22} {dovecot_rates:>20} {ratio:>6.2}", format!("{count} × 50 KB"));
    Ok(())
}

fn fill(gateway: &Gateway, count: usize) -> Result<Maildrop> {
    let load = Load { sessions: 8, bytes: MESSAGE_BYTES, security: Security::Clear };
    load.fill(gateway.program.address("smtp")?, &gateway.mailbox.address, count)?;
    Ok(Maildrop {
        address: gateway.program.address("pop3s")?,
        user: gateway.mailbox.id.clone(),
        password: gateway.mailbox.password.clone(),
    })
}

/// Dovecot with what ours serves, byte for byte; each has served all of it once, so that its indexes exist.
fn start_dovecot(plan: &Plan, gateway: &Gateway, ours: &Maildrop) -> Result<Option<Dovecot>> {
    let messages = ours.login()?.retrieve_all()?;
    if !foreign::has("dovecot") {
        println!("Dovecot is not installed: no peer in this table");
        return Ok(None);
    }
    let dovecot = Dovecot::start(&plan.dir, &messages, &gateway.identity())?;
    let warm_up = dovecot.maildrop().pull(messages.len(), MESSAGE_BYTES);
    warm_up.with_context(|| format!("Dovecot:\n{}", dovecot.log()))?;
    Ok(Some(dovecot))
}
