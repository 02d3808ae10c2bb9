//! Sessions that end before their time, and what logins cost.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock, Moment, SystemClock};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::id::MailboxId;
use secrecy::SecretString;
use tokio::io::AsyncReadExt;

use super::dialogues::{Client, Stage};
use super::in_memory::InMemory;
use super::maildrop::{Accounts, LoginError};
use super::{Pop3Server, Settings};
use crate::login::{BackOff, LOGINS_WAITING, LoginPool};

const LOGIN: [&str; 3] =
    ["connect pop3s", "S: +OK Postern ready", "C: AUTH PLAIN AG1ieC0wMDAwMDAwMDAwMDAwMDBhAG9wZW4gc2VzYW1l"];

/// Goal: a broken connection frees the maildrop and deletes nothing, also when the server was amid a message.
#[tokio::test]
async fn a_client_that_vanishes_amid_a_message_leaves_everything() {
    let mut stage = Stage::new("message long\n");
    for _ in 0..2 {
        stage.steps(&LOGIN).await;
        stage
            .steps(&[
                "C: DELE 1",
                "C: RSET",
                "C: RETR 1",
                "S: +OK Maildrop has 1 messages, 27000000 octets",
                "S: +OK Message 1 marked",
                "S: +OK No message is marked",
                "S: +OK 27000000 octets",
                "S: filling",
                "hang up",
                "left: 1",
            ])
            .await;
    }
}

/// Goal: a session that is cancelled from outside lets the maildrop go.
#[tokio::test]
async fn an_aborted_session_frees_the_maildrop() {
    let mut stage = Stage::new("message\n| x\n");
    for _ in 0..2 {
        stage.steps(&LOGIN).await;
        stage.step("S: +OK Maildrop has 1 messages, 3 octets").await;
        let Client { served, stream, .. } = stage.clients.remove("the client").unwrap();
        served.abort();
        assert!(served.await.unwrap_err().is_cancelled());
        drop(stream);
    }
}

/// Goal: at shutdown a session is let go between two commands; what it marked stays.
#[tokio::test]
async fn shutdown_lets_sessions_go_and_deletes_nothing() {
    let mut stage = Stage::new("message\n| x\n");
    stage.steps(&LOGIN).await;
    stage.steps(&["S: +OK Maildrop has 1 messages, 3 octets", "C: DELE 1", "S: +OK Message 1 marked"]).await;
    stage.shutdown.turn();
    stage.steps(&["closed", "left: 1"]).await;
}

/// Goal: content that cannot be completed never gets an end, so no client takes it for a whole message.
#[tokio::test]
async fn a_message_damaged_in_the_middle_ends_the_connection() {
    let mut stage = Stage::new("message damaged in the middle\n");
    stage.steps(&LOGIN).await;
    stage
        .steps(&[
            "C: RETR 1",
            "C: DELE 1",
            "C: QUIT",
            "S: +OK Maildrop has 1 messages, 180000 octets",
            "S: +OK 180000 octets",
        ])
        .await;
    let Client { mut stream, served, .. } = stage.clients.remove("the client").unwrap();
    let mut rest = Vec::new();
    // Cut off without a farewell of TLS, perhaps; what came before counts.
    let _ = stream.read_to_end(&mut rest).await;
    served.await.unwrap();
    assert!(rest.starts_with(b"filling\r\nfilling\r\n") && rest.len() < 180_000, "{} octets", rest.len());
    assert!(!rest.windows(3).any(|three| three == b".\r\n"), "no end is given");
    stage.step("left: 1").await;
}

/// Goal: a failed login costs its pause before it is answered.
#[tokio::test]
async fn a_failed_login_waits() {
    let pause = Duration::from_millis(30);
    let mut stage = Stage::with("", Settings { failure_pause: pause, ..Settings::default() });
    stage.steps(&["connect pop3s", "S: +OK Postern ready", "C: USER x", "S: +OK Send PASS"]).await;
    let clock = SystemClock::new();
    stage.steps(&["C: PASS y", "S: -ERR [AUTH] Wrong user name or password"]).await;
    assert!(clock.moment().since(Moment::default()) >= pause);
}

/// Counts who is inside, and keeps everybody there for a while in case a third one comes.
#[derive(Default)]
struct Crowd {
    counts: Mutex<(usize, usize)>,
    entered: Condvar,
}

impl Accounts for Crowd {
    fn unlock(&self, _: &str, _: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        let mut counts = self.counts.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        self.entered.notify_all();
        let wait = Duration::from_millis(50);
        let (mut counts, _) = self.entered.wait_timeout_while(counts, wait, |counts| counts.1 < 3).unwrap();
        counts.0 -= 1;
        Err(LoginError::WrongPassword)
    }
}

/// Goal: however many log in at once, no more passwords are checked at once than allowed (each takes 64 MiB).
/// Method: checks that last until a third one has entered, or long enough that it would have.
#[tokio::test]
async fn passwords_are_checked_two_at_a_time() {
    let crowd = Arc::new(Crowd::default());
    let back_off = BackOff { free: u32::MAX, ..BackOff::default() };
    let settings = Settings { failure_pause: Duration::ZERO, back_off, ..Settings::default() };
    let server = Pop3Server::new(Arc::clone(&crowd), Arc::new(InMemory::default()), settings);
    let mut stage = Stage::new("");
    for name in ["a", "b", "c", "d", "e", "f"] {
        stage.connect_to(&server, &format!("pop3s as {name}")).await;
        stage.steps(&["S: +OK Postern ready", "C: AUTH PLAIN AHgAeQ==", "send"]).await;
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        stage.steps(&[&format!("use {name}"), "S: -ERR [AUTH] Wrong user name or password"]).await;
    }
    let most = crowd.counts.lock().unwrap().1;
    assert!(most <= 2, "{most} at once");
}

/// Counts passwords that were checked; none is right.
#[derive(Default)]
struct Counted(Mutex<u32>);

impl Accounts for Counted {
    fn unlock(&self, _: &str, _: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError> {
        *self.0.lock().unwrap() += 1;
        Err(LoginError::WrongPassword)
    }
}

/// Goal: of many logins sent at once from one address, no more are checked than the back-off allows, and the others
/// are told to come again, at the cost of nothing.
#[tokio::test]
async fn a_flood_of_logins_from_one_address_is_refused_unchecked() {
    let counted = Arc::new(Counted::default());
    let clock = Arc::new(ManualClock::default());
    let back_off = BackOff { free: 2, ..BackOff::default() };
    let settings = Settings {
        failure_pause: Duration::ZERO,
        logins: Arc::new(LoginPool::new(1, LOGINS_WAITING)),
        back_off,
        clock: clock.clone(),
        ..Settings::default()
    };
    let server = Pop3Server::new(Arc::clone(&counted), Arc::new(InMemory::default()), settings);
    let mut stage = Stage::new("");
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for name in &names {
        stage.connect_to(&server, &format!("pop3s as {name}")).await;
        stage.steps(&["S: +OK Postern ready", "C: AUTH PLAIN AHgAeQ==", "send"]).await;
    }
    for name in &names {
        stage.step(&format!("use {name}")).await;
        let said = stage.clients.get_mut(name).unwrap().line().await;
        assert!(
            said.starts_with("-ERR [AUTH] ") || said.starts_with("-ERR [SYS/TEMP] Too many failed"),
            "{said}"
        );
    }
    assert_eq!(*counted.0.lock().unwrap(), 2);
    clock.advance(back_off.first);
    stage.steps(&["C: AUTH PLAIN AHgAeQ==", "S: -ERR [AUTH] Wrong user name or password"]).await;
}
