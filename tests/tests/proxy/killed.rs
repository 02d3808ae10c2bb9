//! SIGKILL of the gateway at each step between a copy prepared and a copy committed.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use postern_tests::provider::{Gateway, Provider};
use postern_tests::smtp::{SmtpClient, stuffed};

use crate::awkward;
use crate::scripted::{EXTENSIONS, Peer, Scripted, smtp_login};

/// How far the server came with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Content,
    End,
    Answered,
}

/// A server that tells how far it is, and answers the end of a message once it is told what.
struct Held {
    server: Scripted,
    reached: Receiver<Reached>,
    answer: Sender<&'static str>,
}

impl Held {
    fn start(provider: &Provider) -> Result<Self> {
        let (tell, reached) = mpsc::channel();
        let (answer, told) = mpsc::channel();
        let (tell, told) = (Mutex::new(tell), Mutex::new(told));
        let server = Scripted::start(&provider.identity, move |peer| {
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            serve(peer, &tell, &told)
        })?;
        Ok(Self { server, reached, answer })
    }

    fn wait_for(&self, wanted: Reached) -> Result<()> {
        let reached = self.reached.recv()?;
        ensure!(reached == wanted, "{reached:?}, not {wanted:?}");
        Ok(())
    }
}

fn serve(peer: &mut Peer, tell: &Sender<Reached>, answer: &Receiver<&'static str>) -> Result<()> {
    let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
    while line != "DATA" {
        peer.say("250 ok\r\n")?;
        line = peer.line()?;
    }
    peer.say("354 go on\r\n")?;
    peer.line()?;
    tell.send(Reached::Content)?;
    peer.content()?;
    tell.send(Reached::End)?;
    peer.say(answer.recv()?)?;
    tell.send(Reached::Answered)?;
    peer.fall_silent()
}

/// A client that has sent all but the last line, which the server has begun to get.
fn amid(gateway: &Gateway, held: &Held, message: &[u8]) -> Result<(SmtpClient, Vec<u8>)> {
    let mut client = gateway.sending("smtps", held.server.port)?;
    for command in ["MAIL FROM:<anna@mail.test>", "RCPT TO:<bob@mail.test>", "DATA"] {
        ensure!(client.command(command)?.code < 400);
    }
    let stuffed = stuffed(message);
    let (most, end) = stuffed.split_at(stuffed.len() - 5);
    client.wire.send(most)?;
    held.wait_for(Reached::Content)?;
    Ok((client, end.to_vec()))
}

/// What the log says once a copy is confirmed on disk, which may be behind the answer to the client.
const MARKED: &str = "message sent, copy on disk";

/// No copy.
const NONE: [bool; 0] = [];

/// What there is of the message behind a kill and a restart: whether it is unconfirmed.
fn after_a_kill(gateway: &mut Gateway, message: &[u8]) -> Result<Vec<bool>> {
    gateway.program.kill()?;
    gateway.program.start()?;
    let copies = gateway.take()?;
    copies
        .iter()
        .map(|copy| {
            ensure!(copy.content == message, "another message");
            ensure!(copy.trace.recipients == ["bob@mail.test"], "{:?}", copy.trace);
            Ok(copy.trace.unconfirmed)
        })
        .collect()
}

/// Goal: whenever the gateway dies, what the server took has its copy; what it never got whole has none; what it got and
/// had not answered has one that is marked; what it refused has none.
/// Method: short messages, which go into a segment, and long ones, which have a file of their own; a server that says how far
/// it is and waits; SIGKILL and a restart at each step.
#[test]
fn killed_at_each_step_no_accepted_message_is_without_copy() -> Result<()> {
    let provider = Provider::new()?;
    let mut gateway = provider.gateway("")?;
    for message in [awkward(1), postern_tests::messages::sized(2, 400_000)] {
        let held = Held::start(&provider)?;
        let client = amid(&gateway, &held, &message)?;
        assert_eq!(after_a_kill(&mut gateway, &message)?, NONE, "amid content");
        drop((client, held));

        let held = Held::start(&provider)?;
        let (mut client, end) = amid(&gateway, &held, &message)?;
        client.wire.send(&end)?;
        held.wait_for(Reached::End)?;
        assert_eq!(after_a_kill(&mut gateway, &message)?, [true], "not answered");
        drop(held);

        let held = Held::start(&provider)?;
        let (mut client, end) = amid(&gateway, &held, &message)?;
        client.wire.send(&end)?;
        held.wait_for(Reached::End)?;
        held.answer.send("250 2.0.0 queued\r\n")?;
        held.wait_for(Reached::Answered)?;
        // At no particular place between the answer and its way to the client.
        assert_eq!(after_a_kill(&mut gateway, &message)?.len(), 1, "answered");
        drop(held);

        let held = Held::start(&provider)?;
        let (mut client, end) = amid(&gateway, &held, &message)?;
        client.wire.send(&end)?;
        held.wait_for(Reached::End)?;
        held.answer.send("250 2.0.0 queued\r\n")?;
        ensure!(client.reply()?.code == 250);
        assert_eq!(after_a_kill(&mut gateway, &message)?.len(), 1, "the client was told");
        drop(held);

        let held = Held::start(&provider)?;
        let (mut client, end) = amid(&gateway, &held, &message)?;
        client.wire.send(&end)?;
        held.wait_for(Reached::End)?;
        let before = gateway.program.log().matches(MARKED).count();
        held.answer.send("250 2.0.0 queued\r\n")?;
        gateway.wait_for_log(MARKED, before + 1)?;
        assert_eq!(after_a_kill(&mut gateway, &message)?, [false], "the copy's mark is on disk");
        drop(held);

        let held = Held::start(&provider)?;
        let (mut client, end) = amid(&gateway, &held, &message)?;
        client.wire.send(&end)?;
        held.wait_for(Reached::End)?;
        held.answer.send("550 5.7.1 spam\r\n")?;
        ensure!(client.reply()?.code == 550);
        assert_eq!(after_a_kill(&mut gateway, &message)?, NONE, "refused");
    }
    Ok(())
}
