//! What the gateway's process takes of memory: idle, with a thousand long messages on their way at once, with a very
//! long one.

use std::net::SocketAddr;
use std::sync::Barrier;

use anyhow::{Result, ensure};

use super::intake::Gateway;
use super::load::in_threads;
use super::{Plan, progress};
use crate::Security;
use crate::smtp::SmtpClient;

const LINES_BYTES: usize = 64 * 1024;

/// Measures and prints the lines.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("memory") {
        return Ok(());
    }
    println!("\nMemory of the gateway's process, MiB resident");
    let gateway = Gateway::start(&plan.dir)?;
    // What creating a mailbox took (64 MiB for Argon2id) counts in the peak, and is given back.
    row("idle", gateway.program.resident_bytes()?);
    let address = gateway.program.address("smtp")?;
    let sessions = plan.memory_sessions;
    progress(&format!("memory: {sessions} sessions of 25 MB"));
    send_at_once(address, &gateway.mailbox.address, sessions, 25_000_000)?;
    row(&format!("peak, {sessions} sessions of 25 MB at once"), gateway.program.peak_bytes()?);

    let gateway = Gateway::start(&plan.dir)?;
    progress("memory: one message of 150 MB");
    send_at_once(gateway.program.address("smtp")?, &gateway.mailbox.address, 1, 150_000_000)?;
    row("peak, one message of 150 MB", gateway.program.peak_bytes()?);
    Ok(())
}

fn row(name: &str, bytes: u64) {
    println!("{name:40} {:>8.1}", bytes as f64 / (1024.0 * 1024.0));
}

/// All sessions are in the midst of a message when the first ends.
fn send_at_once(address: SocketAddr, to: &str, sessions: usize, bytes: usize) -> Result<()> {
    let lines = [[b'x'; 78].as_slice(), b"\r\n"].concat().repeat(LINES_BYTES / 80);
    let (pieces, all_are_here) = (bytes / lines.len(), Barrier::new(sessions));
    let session = |_| -> Result<()> {
        let mut client = SmtpClient::connect(address, Security::Clear);
        let mut begin = || -> Result<()> {
            let client = client.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            client.command("MAIL FROM:<sender@example.org>")?;
            client.command(&format!("RCPT TO:<{to}>"))?;
            client.command("DATA")?;
            (0..pieces - 1).try_for_each(|_| client.wire.send(&lines))
        };
        let begun = begin();
        // Before `?`: the others wait here.
        all_are_here.wait();
        begun?;
        let mut client = client?;
        client.wire.send(&lines)?;
        client.wire.send(b".\r\n")?;
        let reply = client.reply()?;
        ensure!(reply.code == 250, "{reply:?}");
        client.quit()
    };
    in_threads(sessions, session).map(drop)
}
