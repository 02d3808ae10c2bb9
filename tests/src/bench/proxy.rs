//! The recording proxy beside the direct way: the same clients, the same Postfix and Dovecot, everything under TLS.
//!
//! Both ends and the servers run on one machine, so what the proxy computes is taken from the servers and the clients. How
//! much any proxy takes there is what HAProxy shows, which ends TLS on one side, begins it on the other and looks at
//! nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::intake::Gateway;
use super::load::{Load, in_threads, sum};
use super::reader::{IN_FLIGHT, Maildrop};
use super::{Plan, Rates, progress, settle};
use crate::upstream::submission::Delivery;
use crate::upstream::{Authority, Dovecot, Submission, TlsRelay};
use crate::{Security, foreign, messages};

const ROWS: [(&str, Load); 3] = [
    ("proxy SMTP 1 × 50 KB", Load::new(1, 50_000, Security::Implicit)),
    ("proxy SMTP 16 × 5 KB", Load::new(16, 5_000, Security::Implicit)),
    ("proxy SMTP 16 × 50 KB", Load::new(16, 50_000, Security::Implicit)),
];
/// Sessions, and how many messages each fetches, in parts of [`Plan::download_messages`].
const FETCHES: [(&str, usize, usize); 3] = [
    ("proxy POP3 1 × 50 KB, one by one", 1, 1),
    ("proxy POP3 1 × 50 KB", 1, IN_FLIGHT),
    ("proxy POP3 16 × 50 KB", 16, IN_FLIGHT),
];
const USERS: usize = 16;
const IDLE_CLIENTS: usize = 500;
const PASSWORD: &str = "secret";
const MESSAGE_BYTES: usize = 50_000;
/// Every server here is on loopback, with a certificate of our own making.
const CONFIG: &str = "pop3_sessions = 1000\npop3_sessions_per_address = 1000\n\
                      [proxy]\nallow_private_targets = true\ntrust = \"any\"\nsessions_per_account = 1000\n";
/// A process may serve many logins, or there would be no room for so many clients.
const MANY_LOGINS: &str = "service pop3-login {\n service_count = 0\n client_limit = 2000\n}\n\
                           service pop3 {\n process_limit = 1200\n}\nservice anvil {\n client_limit = 4000\n}\n\
                           service auth {\n client_limit = 6000\n}\ndefault_vsz_limit = 0";

/// Measures and prints a line for each row.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("proxy")
        && !ROWS.iter().any(|(name, _)| plan.wants(name))
        && !FETCHES.iter().any(|(name, ..)| plan.wants(name))
    {
        return Ok(());
    }
    if !foreign::has("postconf") || !foreign::has("dovecot") {
        println!("\nPostfix or Dovecot is not installed: nothing to stand the proxy before");
        return Ok(());
    }
    let servers = Servers::start(plan)?;
    println!(
        "\nThrough the recording proxy and straight to the same server, all under TLS; messages per second"
    );
    println!(
        "{:34} {:>20} {:>20} {:>6} {:>10} {:>20} {:>6}",
        "", "through the proxy", "direct", "ratio", "ms added", "TLS relay (HAProxy)", "ratio"
    );
    for (name, load) in ROWS.into_iter().filter(|(name, _)| plan.wants(name)) {
        let (mut proxied, mut direct, mut relayed) = (Rates::default(), Rates::default(), Rates::default());
        // Postfix waits for the disk, which swings, so more rounds than elsewhere; who goes first changes.
        let rounds = 2 * plan.rounds - 1;
        for round in 1..=rounds {
            progress(&format!("{name}, round {round} of {rounds}"));
            if round % 2 == 0 {
                direct.push(servers.send(plan, load, servers.submission.smtps)?);
            }
            proxied.push(servers.send_proxied(plan, load)?);
            if round % 2 == 1 {
                direct.push(servers.send(plan, load, servers.submission.smtps)?);
            }
            if let Some(relay) = servers.relay_before(servers.submission.smtps) {
                relayed.push(servers.send(plan, load, relay)?);
            }
        }
        print(name, load.sessions, &proxied, &direct, &relayed);
    }
    for (name, sessions, in_flight) in FETCHES.into_iter().filter(|(name, ..)| plan.wants(name)) {
        let (mut first, mut again) = (Rates::default(), Rates::default());
        let (mut direct, mut relayed) = (Rates::default(), Rates::default());
        for round in 1..=plan.rounds {
            progress(&format!("{name}, round {round} of {}", plan.rounds));
            settle()?;
            let gateway = start_gateway(&plan.dir)?;
            let fetch = |way: Way<'_>| servers.fetch(way, sessions, in_flight);
            first.push(fetch(Way::Proxy(&gateway))?);
            again.push(fetch(Way::Proxy(&gateway))?);
            direct.push(fetch(Way::To(servers.dovecot.pop3s))?);
            if let Some(relay) = servers.relay_before(servers.dovecot.pop3s) {
                relayed.push(fetch(Way::To(relay))?);
            }
        }
        print(name, sessions, &first, &direct, &relayed);
        print(&format!("{name}, known"), sessions, &again, &direct, &relayed);
    }
    if plan.wants("proxy") {
        idle(plan, &servers)?;
    }
    Ok(())
}

fn print(name: &str, sessions: usize, proxied: &Rates, direct: &Rates, relayed: &Rates) {
    let each = |rates: &Rates| sessions as f64 * 1000.0 / rates.median();
    println!(
        "{name:34} {proxied:>20} {direct:>20} {:>6.2} {:>10.2} {relayed:>20} {:>6.2}",
        proxied.median() / direct.median(),
        each(proxied) - each(direct),
        relayed.median() / direct.median()
    );
}

/// How a client gets to the server.
#[derive(Clone, Copy)]
enum Way<'g> {
    /// By the name that the gateway makes a route of.
    Proxy(&'g Gateway),
    /// As if what listens there were the server.
    To(SocketAddr),
}

/// What the proxy stands before.
struct Servers {
    submission: Submission,
    dovecot: Dovecot,
    /// When HAProxy is installed.
    relay: Option<TlsRelay>,
    /// Messages in each maildrop.
    each: usize,
}

impl Servers {
    fn start(plan: &Plan) -> Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.identity()?;
        let mut setup = Dovecot::with(&identity).below(&plan.dir).with(MANY_LOGINS);
        for number in 0..USERS {
            setup = setup.user(&user(number), PASSWORD);
        }
        let mut dovecot = setup.start()?;
        let each = (plan.download_messages / USERS).max(1);
        for number in 0..USERS {
            let mail: Vec<Vec<u8>> =
                (0..each).map(|at| messages::sized(number * each + at, MESSAGE_BYTES)).collect();
            dovecot.deliver(&user(number), &mail)?;
        }
        let submission = Submission::start_in(&plan.dir, &identity, &dovecot, Delivery::Held, "")?;
        let relay = if foreign::has("haproxy") {
            let servers = [submission.smtps, dovecot.pop3s];
            Some(TlsRelay::start_in(&plan.dir, &identity, &servers, thread::available_parallelism()?.get())?)
        } else {
            None
        };
        let servers = Self { submission, dovecot, relay, each };
        // Dovecot's indexes exist from the first time on.
        servers.fetch(Way::To(servers.dovecot.pop3s), USERS, IN_FLIGHT)?;
        Ok(servers)
    }

    fn relay_before(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.relay.as_ref()?.before(server)
    }

    fn send(&self, plan: &Plan, load: Load, address: SocketAddr) -> Result<f64> {
        let rate = load.run_logged_in(address, (&user(0), PASSWORD), "rcpt@example.com", plan.turn);
        let rate = rate.with_context(|| format!("Postfix:\n{}", self.submission.log()))?;
        self.submission.clear()?;
        settle()?;
        Ok(rate)
    }

    fn send_proxied(&self, plan: &Plan, load: Load) -> Result<f64> {
        let gateway = start_gateway(&plan.dir)?;
        let name = format!("{}%{}%{}", user(0), self.submission.smtps, gateway.mailbox.id);
        let address = gateway.program.address("smtps")?;
        let rate = load.run_logged_in(address, (&name, PASSWORD), "rcpt@example.com", plan.turn);
        let rate = rate.with_context(|| format!("the proxy:\n{}", gateway.program.log()))?;
        self.submission.clear()?;
        settle()?;
        Ok(rate)
    }

    /// Every session fetches the messages of a maildrop of its own.
    fn fetch(&self, way: Way<'_>, sessions: usize, in_flight: usize) -> Result<f64> {
        let all_logged_in = Barrier::new(sessions);
        let session = |number: usize| {
            let logged_in = self.maildrop(number, way).and_then(|maildrop| maildrop.login());
            // Before `?`: the others wait here.
            all_logged_in.wait();
            let mut client = logged_in?;
            let start = Instant::now();
            if in_flight == 1 {
                for message in 1..=self.each {
                    ensure!(client.content(&format!("RETR {message}"))?.len() >= MESSAGE_BYTES, "too short");
                }
            } else {
                super::reader::retrieve(&mut client.wire, self.each)?;
            }
            let taken = start.elapsed();
            client.quit()?;
            Ok((self.each, taken))
        };
        let fetched = in_threads(sessions, session).and_then(|sessions| sum(&sessions));
        fetched.with_context(|| match way {
            Way::Proxy(gateway) => format!("the proxy:\n{}", gateway.program.log()),
            Way::To(_) => format!("Dovecot:\n{}", self.dovecot.log()),
        })
    }

    fn maildrop(&self, number: usize, way: Way<'_>) -> Result<Maildrop> {
        let (address, user) = match way {
            Way::To(address) => (address, user(number)),
            Way::Proxy(gateway) => {
                let name = format!("{}%{}%{}", user(number), self.dovecot.pop3s, gateway.mailbox.id);
                (gateway.program.address("pop3s")?, name)
            }
        };
        Ok(Maildrop { address, user, password: PASSWORD.to_owned() })
    }
}

fn user(number: usize) -> String {
    format!("user{number}@example.com")
}

fn start_gateway(dir: &Path) -> Result<Gateway> {
    Gateway::start_with(dir, CONFIG)
}

/// Clients that have logged in and say nothing.
fn idle(plan: &Plan, servers: &Servers) -> Result<()> {
    let gateway = start_gateway(&plan.dir)?;
    let before = gateway.program.resident_bytes()?;
    progress(&format!("proxy: {IDLE_CLIENTS} idle POP3 clients"));
    let maildrop = servers.maildrop(0, Way::Proxy(&gateway))?;
    let clients: Vec<_> = (0..IDLE_CLIENTS).map(|_| maildrop.login()).collect::<Result<_>>()?;
    // Memory that is given back is given back by then.
    thread::sleep(Duration::from_secs(2));
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    let with = gateway.program.resident_bytes()?;
    println!(
        "Memory with {IDLE_CLIENTS} idle POP3 clients through the proxy: {:.1} MiB, {:.1} MiB before them",
        mib(with),
        mib(before)
    );
    drop(clients);
    Ok(())
}
