//! Whether cost grows with what waits: intake, start and login with up to a million small messages in the spool.

use std::time::Instant;

use anyhow::Result;

use super::intake::Gateway;
use super::load::Load;
use super::reader::Maildrop;
use super::{Plan, progress, rate};
use crate::Security;
use crate::program::NewMailbox;

const MESSAGE_BYTES: usize = 1_000;
const SESSIONS: usize = 32;

/// Fills a spool in tenths and prints a line for each that is asked for.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("scale") {
        return Ok(());
    }
    println!(
        "\nScale: messages of 1 KB that wait; what more cost then (login without Argon2id's 0.1 s or so)"
    );
    println!(
        "{:>10} {:>16} {:>10} {:>10} {:>12}",
        "messages", "intake, msg/s", "start, s", "login, s", "MiB resident"
    );
    let mut gateway = Gateway::start(&plan.dir)?;
    let argon2 = login_time(&gateway, &gateway.mailbox)?;
    let mut there = 0;
    for goal in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|goal| *goal <= plan.scale_messages) {
        progress(&format!("scale: up to {goal} messages"));
        let more = goal - there;
        // The last tenth is what is measured, and no less than a thousand.
        let measured = (goal / 10).max(1_000).min(more);
        fill(&gateway, more - measured)?;
        let begin = Instant::now();
        fill(&gateway, measured)?;
        let intake = rate(measured, begin.elapsed());
        there = goal;
        gateway.program.stop()?;
        let begin = Instant::now();
        gateway.program.start()?;
        let start = begin.elapsed().as_secs_f64();
        let login = (login_time(&gateway, &gateway.mailbox)? - argon2).max(0.0);
        let resident = gateway.program.resident_bytes()? as f64 / (1024.0 * 1024.0);
        println!("{there:>10} {intake:>16.0} {start:>10.2} {login:>10.2} {resident:>12.0}");
    }
    Ok(())
}

fn fill(gateway: &Gateway, count: usize) -> Result<()> {
    let load = Load::new(SESSIONS, MESSAGE_BYTES, Security::Clear);
    load.repeat(gateway.program.address("smtp")?, &gateway.mailbox.address, count)
}

/// Seconds from PASS to the answer of STAT.
fn login_time(gateway: &Gateway, mailbox: &NewMailbox) -> Result<f64> {
    let address = gateway.program.address("pop3s")?;
    let maildrop = Maildrop { address, user: mailbox.id.clone(), password: mailbox.password.clone() };
    let begin = Instant::now();
    let mut client = maildrop.login()?;
    client.command("STAT")?;
    let taken = begin.elapsed().as_secs_f64();
    client.quit()?;
    Ok(taken)
}
