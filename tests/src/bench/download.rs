//! POP3S download of a full maildrop over one connection: ours and Dovecot.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use postern_archiver::sources::Source as _;
use postern_archiver::sources::gateway::{GatewaySource, Limits, Settings};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;

use super::intake::Gateway;
use super::load::Load;
use super::reader::{IN_FLIGHT, Maildrop};
use super::{Plan, Rates, progress, rate};
use crate::upstream::Dovecot;
use crate::{Security, foreign};

const MESSAGE_BYTES: usize = 50_000;

const USER: &str = "pop";
const PASSWORD: &str = "secret";

/// Fills a mailbox, gives Dovecot the same messages, measures both and prints a line.
pub fn run(plan: &Plan) -> Result<()> {
    let count = plan.download_messages;
    if !plan.wants("download") {
        return Ok(());
    }
    println!(
        "\nPOP3S download of {count} × 50 KB over one connection, up to {IN_FLIGHT} RETRs in flight; messages per second"
    );
    println!("{:20} {:>22} {:>20} {:>6}", "", "ours", "Dovecot", "ratio");
    progress(&format!("download: {count} messages into the mailboxes"));
    let gateway = Gateway::start(&plan.dir)?;
    let ours = fill(&gateway, count)?;
    let dovecot = start_dovecot(plan, &gateway, &ours)?;
    let clients: [(&str, Pull); 2] = [("pipelining reader", Maildrop::pull), ("the archiver's", archivers)];
    for (name, pull) in clients {
        let (mut our_rates, mut dovecot_rates) = (Rates::default(), Rates::default());
        for round in 1..=plan.rounds {
            progress(&format!("download, {name}, round {round} of {}", plan.rounds));
            our_rates.push(pull(&ours, count, MESSAGE_BYTES)?);
            if let Some(dovecot) = &dovecot {
                let rate = pull(&maildrop_of(dovecot), count, MESSAGE_BYTES);
                dovecot_rates.push(rate.with_context(|| format!("Dovecot:\n{}", dovecot.log()))?);
            }
        }
        let ratio = our_rates.median() / dovecot_rates.median();
        println!("{name:20} {our_rates:>22} {dovecot_rates:>20} {ratio:>6.2}");
    }
    Ok(())
}

/// Retrieves so many messages of at least so many octets; messages per second, login not counted.
type Pull = fn(&Maildrop, usize, usize) -> Result<f64>;

/// [`Maildrop::pull`] with the archiver's own client.
fn archivers(maildrop: &Maildrop, count: usize, bytes: usize) -> Result<f64> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let settings = Settings {
            host: maildrop.address.ip().to_string(),
            port: maildrop.address.port(),
            tls: TlsStart::Implicit,
            trust: Trust::Any,
            credentials: PlainCredentials {
                user: maildrop.user.clone(),
                password: maildrop.password.clone().into(),
            },
        };
        let mut source = GatewaySource::connect(&settings, Limits::default()).await?;
        let waiting = source.list(None).await?;
        let start = Instant::now();
        source.request(&waiting.into_iter().map(|message| message.id).collect::<Vec<_>>())?;
        let mut whole = 0;
        while let Some(message) = source.next().await? {
            whole += usize::from(message.content.is_ok_and(|content| content.len() >= bytes));
        }
        let taken = start.elapsed();
        source.finish().await?;
        ensure!(whole >= count, "{whole} messages of {bytes} octets came, {count} were sent");
        Ok(rate(count, taken))
    })
}

fn fill(gateway: &Gateway, count: usize) -> Result<Maildrop> {
    let load = Load::new(8, MESSAGE_BYTES, Security::Clear);
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
    let identity = gateway.identity();
    let mut dovecot = Dovecot::with(&identity).below(&plan.dir).user(USER, PASSWORD).start()?;
    dovecot.deliver(USER, &messages)?;
    let warm_up = maildrop_of(&dovecot).pull(messages.len(), MESSAGE_BYTES);
    warm_up.with_context(|| format!("Dovecot:\n{}", dovecot.log()))?;
    Ok(Some(dovecot))
}

fn maildrop_of(dovecot: &Dovecot) -> Maildrop {
    Maildrop { address: dovecot.pop3s, user: USER.to_owned(), password: PASSWORD.to_owned() }
}
