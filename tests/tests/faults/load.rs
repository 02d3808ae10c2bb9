//! Several senders and archivers at once, driven by a seed, that write down what they are promised.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{NewMailbox, Program};
use postern_tests::smtp::{SmtpClient, stuffed};
use postern_tests::{Security, messages};

use crate::ledger::{Key, Ledger};

/// For the gateway's configuration: what is longer is refused.
pub(crate) const LIMITS: &str = "[limits]\nmax_message_size = \"1 MiB\"\nlogin_failure_pause = \"1 ms\"\n";
const TOO_LONG: usize = 1024 * 1024 + 1;

/// Chance (SplitMix64), the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap_or(0)
    }
}

/// A number from the environment, as `make soak` sets it.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What all who work on one gateway share, also across its restarts.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) mailboxes: Vec<NewMailbox>,
    pub(crate) seed: u64,
    ledger: Mutex<Ledger>,
    next: AtomicUsize,
}

/// Where the gateway listens this time, and when to end.
#[derive(Debug)]
pub(crate) struct Doors {
    smtp: SocketAddr,
    pop3s: SocketAddr,
    /// From now on a broken connection is no failure.
    pub(crate) killed: AtomicBool,
    /// End behind the present session.
    pub(crate) stop: AtomicBool,
    /// Told of each 250.
    pub(crate) accepted: mpsc::Sender<()>,
}

impl Doors {
    pub(crate) fn of(gateway: &Program, accepted: mpsc::Sender<()>) -> Result<Self> {
        let status = gateway.json(&["status"])?;
        let address = |listener: &str| -> Result<SocketAddr> {
            Ok(status["listening"][listener][0].as_str().context("not listening")?.parse()?)
        };
        let (smtp, pop3s) = (address("smtp")?, address("pop3s")?);
        Ok(Self { smtp, pop3s, killed: false.into(), stop: false.into(), accepted })
    }
}

impl Load {
    /// A load for two new mailboxes.
    pub(crate) fn new(gateway: &Program, seed: u64) -> Result<Self> {
        let mailboxes = vec![NewMailbox::create(gateway, "one")?, NewMailbox::create(gateway, "two")?];
        Ok(Self { mailboxes, seed, ledger: Mutex::default(), next: AtomicUsize::new(1) })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Message by number: most are short, some are kept in files of their own.
    pub(crate) fn message(&self, number: usize) -> Vec<u8> {
        let mut random = Random(self.seed ^ (number as u64) << 20);
        let bytes = match random.below(20) {
            0..12 => 500 + random.below(5_000),
            12..18 => 5_000 + random.below(100_000),
            _ => 270_000 + random.below(400_000),
        };
        messages::sized(number, bytes)
    }

    /// Which message that is that was served; an error when it is not whole.
    pub(crate) fn recognise(&self, served: &[u8]) -> Result<usize> {
        let content = without_trace(served);
        let head = String::from_utf8_lossy(&content[..content.len().min(400)]);
        let number = head.split("Message-ID: <").nth(1).and_then(|rest| rest.split('@').next());
        let number = number.with_context(|| format!("no message of ours: {head}"))?.parse()?;
        ensure!(content == self.message(number), "message {number} is altered");
        Ok(number)
    }

    /// Starts senders and archivers. Each ends when told to, or with the gateway when that is killed; an error is
    /// whatever else went wrong.
    pub(crate) fn start<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        doors: &'s Doors,
        round: u64,
    ) -> Vec<ScopedJoinHandle<'s, Result<()>>> {
        let senders = [Security::Clear, Security::StartTls, Security::Clear, Security::Clear];
        let mut workers = Vec::new();
        for worker in 0..senders.len() + self.mailboxes.len() {
            let mut random = Random(self.seed ^ (round << 8 | worker as u64) << 32);
            workers.push(scope.spawn(move || {
                while !doors.stop.load(Ordering::SeqCst) {
                    let worked = match senders.get(worker) {
                        Some(_) if worker == 0 => self.pipeline(doors, &mut random),
                        Some(security) => self.send(doors, *security, &mut random),
                        None => self.pull(doors, worker - senders.len(), &mut random),
                    };
                    if let Err(error) = worked {
                        let killed = doors.killed.load(Ordering::SeqCst);
                        return if killed { Ok(()) } else { Err(error) };
                    }
                }
                Ok(())
            }));
        }
        workers
    }

    fn announce(&self, random: &mut Random) -> (usize, Vec<Key>) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let recipients: &[usize] = [&[0][..], &[1], &[0, 1]][random.below(3)];
        let keys: Vec<Key> = recipients.iter().map(|mailbox| (*mailbox, number)).collect();
        keys.iter().for_each(|key| self.ledger().announced(*key));
        (number, keys)
    }

    fn accepted(&self, doors: &Doors, keys: &[Key]) {
        keys.iter().for_each(|key| self.ledger().accepted(*key));
        // Whoever counts may have counted enough.
        let _ = doors.accepted.send(());
    }

    fn addresses(&self, keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|(mailbox, _)| self.mailboxes[*mailbox].address.as_str()).collect()
    }

    /// A session of some messages one by one, some of which must not appear.
    fn send(&self, doors: &Doors, security: Security, random: &mut Random) -> Result<()> {
        let mut client = SmtpClient::connect(doors.smtp, security)?;
        for _ in 0..1 + random.below(12) {
            let mailbox = self.mailboxes[random.below(2)].address.as_str();
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            match random.below(24) {
                0 => {
                    let reply =
                        client.send("a@example.com", &[mailbox], &messages::sized(number, TOO_LONG))?;
                    ensure!(reply.code == 552, "too long: {reply:?}");
                }
                1 => {
                    let stranger = "mbx-0000000000000000@gateway.example.com";
                    let reply = client.send("a@example.com", &[stranger], b"Subject: s\r\n\r\n")?;
                    ensure!(reply.code == 550, "to nobody: {reply:?}");
                }
                2 => {
                    // Never ended, so never a message.
                    client.command("MAIL FROM:<a@example.com>")?;
                    client.command(&format!("RCPT TO:<{mailbox}>"))?;
                    client.command("DATA")?;
                    let message = self.message(number);
                    return client.wire.send(&message[..message.len() / 2]);
                }
                _ => {
                    let (number, keys) = self.announce(random);
                    let reply =
                        client.send("a@example.com", &self.addresses(&keys), &self.message(number))?;
                    ensure!(reply.code == 250, "{reply:?}");
                    self.accepted(doors, &keys);
                }
            }
        }
        client.quit()
    }

    /// A session that sends several messages at once and then reads the answers.
    fn pipeline(&self, doors: &Doors, random: &mut Random) -> Result<()> {
        let mut client = SmtpClient::connect(doors.smtp, Security::Clear)?;
        for _ in 0..1 + random.below(6) {
            let (mut octets, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..1 + random.below(5) {
                let (number, keys) = self.announce(random);
                octets.extend_from_slice(b"MAIL FROM:<a@example.com>\r\n");
                for address in self.addresses(&keys) {
                    octets.extend_from_slice(format!("RCPT TO:<{address}>\r\n").as_bytes());
                }
                let message = self.message(number);
                octets.extend_from_slice(format!("BDAT {} LAST\r\n", message.len()).as_bytes());
                octets.extend_from_slice(&message);
                sent.push(keys);
            }
            client.wire.send(&octets)?;
            for keys in sent {
                for _ in 0..keys.len() + 2 {
                    let reply = client.reply()?;
                    ensure!(reply.code == 250, "{reply:?}");
                }
                self.accepted(doors, &keys);
            }
            // Sometimes a message by DATA, whose command stands behind the last one's content.
            if random.below(3) == 0 {
                let (number, keys) = self.announce(random);
                ensure!(client.command("MAIL FROM:<a@example.com>")?.code == 250);
                for address in self.addresses(&keys) {
                    ensure!(client.command(&format!("RCPT TO:<{address}>"))?.code == 250);
                }
                ensure!(client.command("DATA")?.code == 354);
                client.wire.send(&[&stuffed(&self.message(number))[..], b"NOOP\r\n"].concat())?;
                ensure!(client.reply()?.code == 250);
                self.accepted(doors, &keys);
                ensure!(client.reply()?.code == 250, "NOOP");
            }
        }
        client.quit()
    }

    pub(crate) fn login(&self, doors: &Doors, mailbox: usize) -> Result<Pop3Client> {
        let NewMailbox { id, password, .. } = &self.mailboxes[mailbox];
        Pop3Client::login(doors.pop3s, Security::Implicit, id, password)
    }

    /// The same once whoever vanished is noticed.
    pub(crate) fn login_when_free(&self, doors: &Doors, mailbox: usize) -> Result<Pop3Client> {
        loop {
            match self.login(doors, mailbox) {
                Err(error) if error.to_string().contains("[IN-USE]") => {}
                other => return other,
            }
        }
    }

    /// A session that reads some messages and deletes some of those, or vanishes before its QUIT.
    fn pull(&self, doors: &Doors, mailbox: usize, random: &mut Random) -> Result<()> {
        let mut client = match self.login(doors, mailbox) {
            // The one that vanished is not noticed yet.
            Err(error) if error.to_string().contains("[IN-USE]") => return Ok(()),
            other => other?,
        };
        let mut marked = Vec::new();
        for (number, size) in client.list()? {
            if marked.len() >= 12 || random.below(3) == 0 {
                continue;
            }
            let served = client.content(&format!("RETR {number}"))?;
            ensure!(served.len() as u64 == size, "listed with {size}, served with {}", served.len());
            let message = self.recognise(&served)?;
            if self.ledger().copies((mailbox, message)).most < 1 {
                bail!("message {message} is in mailbox {mailbox}, and was refused, deleted or never ended");
            }
            client.command(&format!("DELE {number}"))?;
            marked.push((mailbox, message));
        }
        if random.below(4) > 0 {
            self.end_deleting(client, &marked)?;
        }
        Ok(())
    }

    fn end_deleting(&self, client: Pop3Client, marked: &[Key]) -> Result<()> {
        marked.iter().for_each(|key| self.ledger().deleting(*key));
        client.quit()?;
        marked.iter().for_each(|key| self.ledger().deleted(*key));
        Ok(())
    }

    /// Does something amid the load; what was promised when it began, and when it was done.
    pub(crate) fn amid(
        &self,
        doors: &Doors,
        accepted: &mpsc::Receiver<()>,
        what: impl FnOnce() -> Result<()>,
    ) -> Result<(Ledger, Ledger)> {
        std::thread::scope(|scope| {
            let workers = self.start(scope, doors, 0);
            let wait = |count: usize| {
                (0..count).try_for_each(|_| accepted.recv_timeout(Duration::from_secs(60))).context("no load")
            };
            let done = wait(150).and_then(|()| {
                let before = self.ledger().clone();
                what()?;
                let after = self.ledger().clone();
                Ok((before, after))
            });
            let loaded = wait(20);
            doors.stop.store(true, Ordering::SeqCst);
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            }
            loaded?;
            done
        })
    }

    /// While nothing is under way: each mailbox holds what was promised, byte for byte, and nothing else. Of a full one,
    /// half is deleted.
    pub(crate) fn check(&self, gateway: &Program, random: &mut Random) -> Result<usize> {
        let doors = Doors::of(gateway, mpsc::channel().0)?;
        let mut held = 0;
        for mailbox in 0..self.mailboxes.len() {
            let mut client = self.login(&doors, mailbox)?;
            let served = client.retrieve_all()?;
            let numbers: Vec<usize> =
                served.iter().map(|served| self.recognise(served)).collect::<Result<_>>()?;
            self.ledger().settle(mailbox, &numbers)?;
            held += numbers.len();
            let mut marked = Vec::new();
            for (at, number) in numbers.iter().enumerate().filter(|_| numbers.len() > 40) {
                if random.below(2) == 0 {
                    client.command(&format!("DELE {}", at + 1))?;
                    marked.push((mailbox, *number));
                }
            }
            self.end_deleting(client, &marked)?;
        }
        Ok(held)
    }
}
