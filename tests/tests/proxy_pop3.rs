//! Mail clients of others fetch their mail from a real Dovecot through the gateway.

use anyhow::{Context as _, Result};
use postern_tests::Security::{self, Implicit, StartTls};
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, After, fetchmail, getmail, mpop, poplib};
use postern_tests::foreign::has;
use postern_tests::messages;
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::upstream::{Authority, Dovecot};

const USER: &str = "anna%b@mail.test";
const PASSWORD: &str = "s3cret pass%word";
const ALL: [&str; 6] = ["dovecot", "mpop", "fetchmail", "getmail", "python3", "openssl"];

/// A message with a lone dot, leading dots and octets beyond ASCII; every third is too long to be held.
fn awkward(number: usize) -> Vec<u8> {
    let filling = "x".repeat(70).repeat(if number.is_multiple_of(3) { 1 } else { 10 }) + "\r\n.";
    let times = if number.is_multiple_of(3) { 6000 } else { 3 };
    let body = format!(".\r\n..\r\n.leading\r\n\r\nGrüße number {number}\r\n{}", filling.repeat(times));
    messages::plain(number, "anna@mail.test", "bob@mail.test", "awkward", &body)
}

struct Stage {
    gateway: Program,
    mailbox: NewMailbox,
    dovecot: Dovecot,
    /// Its certificate is read at every start.
    _authority: Authority,
}

impl Stage {
    fn new() -> Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.identity()?;
        let dovecot = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
        let settings = format!(
            "[proxy]\nallow_private_targets = true\ntrust = \"file:{}\"\n\
             [[proxy.target]]\nhost = \"localhost\"\nprotocol = \"pop3\"\nport = {}\ntls = \"implicit\"\n",
            authority.certificate().display(),
            dovecot.pop3s.port(),
        );
        let gateway = Program::started(Kind::Gateway, &settings)?;
        let mailbox = NewMailbox::create(&gateway, "anna")?;
        Ok(Self { gateway, mailbox, dovecot, _authority: authority })
    }

    /// As a user sets it up: only host and user name differ from the provider's.
    fn account(&self, security: Security) -> Result<Account> {
        let listener = if security == Implicit { "pop3s" } else { "pop3" };
        let user = format!("{}%localhost:{}%{}", USER, self.dovecot.pop3s.port(), self.mailbox.id);
        Ok(Account::new(self.gateway.address(listener)?, security, &user, PASSWORD))
    }

    /// What was recorded.
    fn copies(&self) -> Result<Vec<Vec<u8>>> {
        let NewMailbox { id, password, .. } = &self.mailbox;
        let mut client = Pop3Client::login(self.gateway.address("pop3s")?, Implicit, id, password)?;
        let served = client.retrieve_all()?;
        client.quit()?;
        let check = |served: &Vec<u8>| {
            let text = String::from_utf8_lossy(served);
            assert!(text.contains("X-Postern-Capture: pop3-proxy\r\n"), "{text}");
            without_trace(served).to_vec()
        };
        Ok(sorted(served.iter().map(check).collect()))
    }
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

fn installed() -> bool {
    ALL.iter().all(|program| has(program))
}

/// Goal: every client gets what was delivered through the proxy, over both ways into TLS; and however often it is fetched,
/// there is one copy of each message, octet for octet.
#[test]
fn every_client_fetches_through_the_proxy_and_each_message_is_recorded_once() -> Result<()> {
    if !installed() {
        return Ok(());
    }
    let mut stage = Stage::new()?;
    let delivered = sorted((1..=4).map(awkward).collect());
    stage.dovecot.deliver(USER, &delivered)?;
    for security in [StartTls, Implicit] {
        let account = stage.account(security)?;
        let check = |client: &str, fetched: Result<Vec<Vec<u8>>>| -> Result<()> {
            let fetched =
                fetched.with_context(|| format!("{client}, {security:?}\n{}", stage.gateway.log()))?;
            assert!(sorted(fetched) == delivered, "{client}, {security:?}");
            Ok(())
        };
        check("poplib", poplib::fetch(&account, After::Keep))?;
        check("mpop", mpop::fetch(&account, After::Keep))?;
        check("fetchmail", fetchmail::fetch(&account, After::Keep))?;
        if security == Implicit {
            check("getmail", getmail::fetch(&account, After::Keep))?;
        }
        for flights in [Flights::Each, Flights::One] {
            let fetched = thunderbird::fetch(&account, "PLAIN", 4, After::Keep, flights)?;
            check("thunderbird", Ok(fetched.messages))?;
        }
    }
    assert!(stage.copies()? == delivered);
    let account = stage.account(Implicit)?;
    let mut client = Pop3Client::login(stage.gateway.address("pop3s")?, Implicit, &account.user, PASSWORD)?;
    let capabilities = client.lines("CAPA")?;
    for (name, passes) in [("PIPELINING", true), ("UIDL", true), ("SASL", false), ("USER", false)] {
        let found = capabilities.iter().any(|line| line.split(' ').next() == Some(name));
        assert_eq!(found, passes, "{name}: {capabilities:?}");
    }
    client.quit()
}

type Fetch = fn(&Account, After) -> Result<Vec<Vec<u8>>>;

/// Goal: what a client deletes is gone at its provider, and recorded; what it deletes unread as well.
#[test]
fn every_client_deletes_through_the_proxy_what_was_recorded() -> Result<()> {
    if !installed() {
        return Ok(());
    }
    let mut stage = Stage::new()?;
    let account = stage.account(Implicit)?;
    let clients: [Fetch; 5] =
        [poplib::fetch, mpop::fetch, fetchmail::fetch, getmail::fetch, |account, after| {
            Ok(thunderbird::fetch(account, "PLAIN", 2, after, Flights::One)?.messages)
        }];
    let mut all = Vec::new();
    for (number, fetch) in clients.into_iter().enumerate() {
        let delivered = [awkward(2 * number), awkward(2 * number + 1)];
        stage.dovecot.deliver(USER, &delivered)?;
        assert_eq!(fetch(&account, After::Delete)?.len(), 2, "client {number}");
        assert_eq!(stage.dovecot.messages(USER)?, [[0; 0]; 0], "client {number}");
        all.extend(delivered);
    }
    let unread = awkward(100);
    stage.dovecot.deliver(USER, std::slice::from_ref(&unread))?;
    all.push(unread);
    let address = stage.gateway.address("pop3s")?;
    let mut client = Pop3Client::login(address, Implicit, &account.user, PASSWORD)?;
    client.command("TOP 1 0")?;
    assert_eq!(stage.copies()?.len(), 10, "TOP is not recorded");
    drop(client);
    let mut client = Pop3Client::login(address, Implicit, &account.user, PASSWORD)?;
    client.command("DELE 1")?;
    client.quit()?;
    assert_eq!(stage.dovecot.messages(USER)?, [[0; 0]; 0]);
    assert!(stage.copies()? == sorted(all));
    Ok(())
}

/// Goal: `kill -9` at any time loses nothing: what is no longer at the provider is in the gateway, and what is recorded is
/// whole.
/// Method: a client that fetches and deletes message by message; the gateway is killed once it has recorded so many, and
/// started again. Killed sessions say no QUIT, so the last round deletes what all of them asked for.
#[test]
fn kill_9_amid_a_session_loses_nothing() -> Result<()> {
    if !installed() {
        return Ok(());
    }
    let mut stage = Stage::new()?;
    let delivered = sorted((1..=12).map(awkward).collect());
    stage.dovecot.deliver(USER, &delivered)?;
    for records in [1, 3, 4, 8] {
        let before = stage.gateway.log().matches("fetched message on disk").count();
        let account = stage.account(Implicit)?;
        let fetching = std::thread::spawn(move || {
            thunderbird::fetch(&account, "PLAIN", 12, After::Delete, Flights::Each)
        });
        let recorded = || stage.gateway.log().matches("fetched message on disk").count() - before;
        while recorded() < records && !fetching.is_finished() {
            std::thread::yield_now();
        }
        stage.gateway.kill()?;
        // However it ended.
        let _ = fetching.join();
        stage.gateway.start()?;
        let left = stage.dovecot.messages(USER)?;
        let copies = stage.copies()?;
        for message in &delivered {
            assert!(left.contains(message) || copies.contains(message), "a message is lost");
        }
        assert!(copies.iter().all(|copy| delivered.contains(copy)), "a copy is not what was delivered");
        if left.is_empty() {
            break;
        }
    }
    let left = stage.dovecot.messages(USER)?.len();
    if left > 0 {
        thunderbird::fetch(&stage.account(Implicit)?, "PLAIN", left, After::Delete, Flights::One)?;
    }
    assert_eq!(stage.dovecot.messages(USER)?, [[0; 0]; 0]);
    let mut copies = stage.copies()?;
    // A message that was just being recorded may be there twice.
    copies.dedup();
    assert!(copies == delivered);
    Ok(())
}

/// Goal: what was recorded stays known over a restart, and over `kill -9`.
#[test]
fn a_restart_makes_no_second_copy() -> Result<()> {
    if !installed() {
        return Ok(());
    }
    let mut stage = Stage::new()?;
    let delivered = sorted((1..=3).map(awkward).collect());
    stage.dovecot.deliver(USER, &delivered)?;
    for kill in [true, false] {
        let fetched = poplib::fetch(&stage.account(Implicit)?, After::Keep)?;
        assert!(sorted(fetched) == delivered);
        if kill {
            stage.gateway.kill()?;
        } else {
            stage.gateway.stop()?;
        }
        stage.gateway.start()?;
    }
    poplib::fetch(&stage.account(Implicit)?, After::Keep)?;
    assert!(stage.copies()? == delivered);
    Ok(())
}
