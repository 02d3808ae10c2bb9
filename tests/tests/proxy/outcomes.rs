//! What a server may do to a message, what the client is told, and what copy stays.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use postern_tests::provider::{Copy, Gateway, Provider};
use postern_tests::smtp::{SmtpReply, stuffed};

use crate::awkward;
use crate::scripted::{EXTENSIONS, Peer, Scripted, smtp_login};

/// What a server does at a step instead of what it should.
#[derive(Debug, Clone, Copy)]
enum Does {
    Says(&'static str),
    HangsUp,
    FallsSilent,
}

use Does::{FallsSilent, HangsUp, Says};

/// What becomes of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    Nothing,
    Committed,
    Unconfirmed,
}

use Stays::{Committed, Nothing, Unconfirmed};

/// The step (a command, `content` for the first line of a message, `.` for its end), what the server does, what the client is
/// told, and what stays.
type Case = (&'static str, Does, &'static str, Stays);

const CASES: [Case; 27] = [
    (".", Says("250 2.0.0 queued\r\n"), "250 2.0.0 queued", Committed),
    (".", Says("250-2.0.0 queued\r\n250 2.0.0 as 12\r\n"), "250 2.0.0 queued", Committed),
    (".", Says("250 2.0.0 queued\r\n250 2.0.0 and again\r\n"), "250 2.0.0 queued", Committed),
    (".", Says("550 5.7.1 spam\r\n"), "550 5.7.1 spam", Nothing),
    (".", Says("451 4.3.0 later\r\n"), "451 4.3.0 later", Nothing),
    (".", Says("421 4.3.2 closing\r\n"), "421 4.3.2 closing", Nothing),
    (
        ".",
        HangsUp,
        "451 4.4.2 The connection with your provider's server was lost: the message may have been sent",
        Unconfirmed,
    ),
    (
        ".",
        FallsSilent,
        "451 4.4.2 Your provider's server took too long: the message may have been sent",
        Unconfirmed,
    ),
    (
        ".",
        Says("hello\r\n"),
        "451 4.4.2 Your provider's server does not make sense: the message may have been sent",
        Unconfirmed,
    ),
    (
        ".",
        Says("354 go on\r\n"),
        "451 4.4.2 Your provider's server does not make sense: the message may have been sent",
        Unconfirmed,
    ),
    (
        ".",
        Says("250-2.0.0 que"),
        "451 4.4.2 Your provider's server took too long: the message may have been sent",
        Unconfirmed,
    ),
    (
        "content",
        HangsUp,
        "451 4.4.2 The connection with your provider's server was lost: the message was not sent",
        Nothing,
    ),
    ("content", Says("552 5.3.4 too big\r\n"), "552 5.3.4 too big", Nothing),
    (
        "content",
        Says("250 2.0.0 queued\r\n"),
        "451 4.4.2 Your provider's server does not make sense: the message was not sent",
        Nothing,
    ),
    (
        "content",
        Says("\u{0}\u{1}\r\n"),
        "451 4.4.2 Your provider's server does not make sense: the message was not sent",
        Nothing,
    ),
    ("DATA", Says("554 5.5.1 no\r\n"), "554 5.5.1 no", Nothing),
    ("DATA", Says("250 2.0.0 queued\r\n"), "421 4.4.2 Your provider's server does not make sense", Nothing),
    ("DATA", HangsUp, "421 4.4.2 The connection with your provider's server was lost", Nothing),
    ("DATA", FallsSilent, "421 4.4.2 Your provider's server took too long", Nothing),
    ("RCPT", Says("550 5.1.1 unknown\r\n"), "550 5.1.1 unknown", Nothing),
    ("RCPT", Says("452 4.2.2 full\r\n"), "452 4.2.2 full", Nothing),
    ("RCPT", Says("354 go on\r\n"), "421 4.4.2 Your provider's server does not make sense", Nothing),
    ("RCPT", HangsUp, "421 4.4.2 The connection with your provider's server was lost", Nothing),
    ("MAIL", Says("553 5.7.1 not yours\r\n"), "553 5.7.1 not yours", Nothing),
    ("MAIL", Says("421 4.3.2 closing\r\n"), "421 4.3.2 closing", Nothing),
    ("MAIL", FallsSilent, "421 4.4.2 Your provider's server took too long", Nothing),
    (
        "MAIL",
        Says("250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 queued\r\n"),
        "421 4.4.2 Your provider's server does not make sense",
        Nothing,
    ),
];

const DEADLINES: &str =
    "reply_deadline = \"4 s\"\nend_of_data_deadline = \"4 s\"\nsessions_per_account = 100\n";

fn serve(peer: &mut Peer, step: &str, does: Does, severed: &Sender<()>) -> Result<()> {
    let act = |peer: &mut Peer| match does {
        Says(text) => peer.say(text),
        HangsUp => bail!("hung up"),
        FallsSilent => peer.fall_silent(),
    };
    let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
    loop {
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            verb if verb == step => act(peer)?,
            "QUIT" => return peer.say("221 2.0.0 bye\r\n"),
            "DATA" => {
                peer.say("354 go on\r\n")?;
                if step == "content" {
                    peer.line()?;
                    if act(peer).is_err() {
                        peer.hang_up()?;
                    } else {
                        drop(peer.fall_silent());
                    }
                    return Ok(severed.send(())?);
                }
                peer.content()?;
                if step == "." { act(peer)? } else { peer.say("250 2.0.0 queued\r\n")? }
            }
            _ => peer.say("250 2.0.0 ok\r\n")?,
        }
        line = peer.line()?;
    }
}

/// Sends message `number`; what the client is told. When the server does something amid the message, the rest of it is sent
/// once the gateway has cut the server off.
fn send(gateway: &Gateway, port: u16, number: usize, severed: Option<&Receiver<()>>) -> Result<String> {
    let mut client = gateway.sending("smtps", port)?;
    let (to, message) = ("bob@mail.test", awkward(number));
    let told = |reply: &SmtpReply| format!("{} {}", reply.code, reply.lines.join(" "));
    for command in ["MAIL FROM:<anna@mail.test>", &format!("RCPT TO:<{to}>"), "DATA"] {
        let reply = client.command(command)?;
        if reply.code >= 400 {
            return Ok(told(&reply));
        }
    }
    let stuffed = stuffed(&message);
    let (half, rest) = stuffed.split_at(stuffed.len() / 2);
    client.wire.send(half)?;
    if let Some(severed) = severed {
        severed.recv()?;
    }
    client.wire.send(rest)?;
    Ok(told(&client.reply()?))
}

fn stays(copies: &[Copy], number: usize) -> Result<Stays> {
    let found: Vec<&Copy> = copies.iter().filter(|copy| copy.content == awkward(number)).collect();
    Ok(match found.as_slice() {
        [] => Nothing,
        [copy] if copy.trace.unconfirmed => Unconfirmed,
        [_] => Committed,
        more => bail!("{} copies", more.len()),
    })
}

/// Goal: whatever the server does at whatever step, the client is told what happened as far as anybody knows, what the
/// server took has a copy, what it refused or did not get has none, and what nobody knows about is kept and marked.
/// Method: all cases at once, each with a server and a message of its own.
#[test]
fn the_copy_is_what_the_server_said() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway(DEADLINES)?;
    let told: Vec<Result<String>> = std::thread::scope(|scope| {
        let run = |number: usize, (step, does, _, _): Case| {
            let (gateway, provider) = (&gateway, &provider);
            scope.spawn(move || {
                let (severed, is_severed) = mpsc::channel();
                let severed = Mutex::new(severed);
                let server = Scripted::start(&provider.identity, move |peer| {
                    let severed = severed.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    serve(peer, step, does, &severed)
                })?;
                send(gateway, server.port, number, (step == "content").then_some(&is_severed))
            })
        };
        let runs: Vec<_> = CASES.into_iter().enumerate().map(|(number, case)| run(number, case)).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let copies = gateway.take()?;
    for (number, ((step, does, expected, copy), told)) in CASES.into_iter().zip(told).enumerate() {
        let told = told.with_context(|| format!("{step} {does:?}\n{}", gateway.program.log()))?;
        ensure!(told.starts_with(expected), "{step} {does:?}: {told}, not {expected}");
        assert_eq!(stays(&copies, number)?, copy, "{step} {does:?}: {told}");
    }
    ensure!(!gateway.program.log().contains("panicked"), "{}", gateway.program.log());
    Ok(())
}

/// Goal: what a server can do is what it says behind the login, not what it said before.
#[test]
fn extensions_are_asked_for_again_behind_the_login() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    let behind = "250-DSN\r\n250 SIZE 1000\r\n";
    let server = Scripted::start(&provider.identity, move |peer| {
        let mut line = smtp_login(peer, EXTENSIONS, behind)?;
        while line != "QUIT" {
            peer.say("250 ok\r\n")?;
            line = peer.line()?;
        }
        peer.say("221 bye\r\n")
    })?;
    let client = gateway.sending("smtps", server.port)?;
    let offers = |name: &str| client.extensions.iter().any(|line| line == name);
    ensure!(offers("DSN") && offers("SIZE 1000"), "{:?}", client.extensions);
    ensure!(!offers("8BITMIME") && !offers("ENHANCEDSTATUSCODES"), "{:?}", client.extensions);
    client.quit()
}

/// Goal: a client that goes amid a message has sent none: the server gets no end of it, and there is no copy.
#[test]
fn a_client_that_goes_amid_a_message_sent_none() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let (begun, ended) = (Mutex::new(begun), Mutex::new(ended));
    let server = Scripted::start(&provider.identity, move |peer| {
        let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
        while line != "DATA" {
            peer.say("250 ok\r\n")?;
            line = peer.line()?;
        }
        peer.say("354 go on\r\n")?;
        peer.line()?;
        begun.lock().unwrap_or_else(PoisonError::into_inner).send(())?;
        let content = peer.content();
        ended.lock().unwrap_or_else(PoisonError::into_inner).send(content.is_ok())?;
        Ok(())
    })?;
    for long in [false, true] {
        let mut client = gateway.sending("smtps", server.port)?;
        for command in ["MAIL FROM:<anna@mail.test>", "RCPT TO:<bob@mail.test>", "DATA"] {
            ensure!(client.command(command)?.code < 400);
        }
        let message = if long { postern_tests::messages::sized(1, 400_000) } else { awkward(1) };
        // All but the end, so that a message for nobody looks whole.
        client.wire.send(&stuffed(&message)[..message.len() - 10])?;
        has_begun.recv()?;
        drop(client);
        ensure!(!has_ended.recv()?, "the server got an end that the client had not sent");
    }
    gateway.wait_for_log("proxied smtp session ended", 2)?;
    assert_eq!(gateway.take()?.len(), 0);
    Ok(())
}

/// Goal: when a client goes behind the end of its message, its copy is what the server says of it all the same.
#[test]
fn a_client_that_goes_too_early_changes_nothing() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    for (number, (answer, expected, logged)) in [
        ("250 2.0.0 queued\r\n", Committed, "message sent, copy on disk"),
        ("550 5.7.1 spam\r\n", Nothing, "refused a message; its copy is gone"),
    ]
    .into_iter()
    .enumerate()
    {
        let (at_end, has_end) = mpsc::channel();
        let (go_on, gone) = mpsc::channel::<()>();
        let (at_end, gone) = (Mutex::new(at_end), Arc::new(Mutex::new(gone)));
        let server = Scripted::start(&provider.identity, move |peer| {
            let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
            while line != "DATA" {
                peer.say("250 ok\r\n")?;
                line = peer.line()?;
            }
            peer.say("354 go on\r\n")?;
            peer.content()?;
            at_end.lock().unwrap_or_else(PoisonError::into_inner).send(())?;
            gone.lock().unwrap_or_else(PoisonError::into_inner).recv()?;
            peer.say(answer)
        })?;
        let mut client = gateway.sending("smtps", server.port)?;
        for command in ["MAIL FROM:<anna@mail.test>", "RCPT TO:<bob@mail.test>", "DATA"] {
            ensure!(client.command(command)?.code < 400);
        }
        client.wire.send(&stuffed(&awkward(number)))?;
        has_end.recv()?;
        drop(client);
        go_on.send(())?;
        gateway.wait_for_log(logged, 1)?;
        assert_eq!(stays(&gateway.take()?, number)?, expected, "{answer}");
    }
    Ok(())
}

/// Goal: a server may take longer over a message than a client may be silent, or a command may take: it is waited for, the client
/// is told what it says then, and the session goes on.
#[test]
fn a_server_may_take_its_time_over_a_message() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("reply_deadline = \"3 s\"\nsmtp_idle_deadline = \"3 s\"\n")?;
    let server = Scripted::start(&provider.identity, |peer| {
        let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
        while line != "QUIT" {
            if line == "DATA" {
                peer.say("354 go on\r\n")?;
                peer.content()?;
                // Longer than either of the two.
                std::thread::sleep(std::time::Duration::from_secs(7));
            }
            peer.say("250 2.0.0 ok\r\n")?;
            line = peer.line()?;
        }
        peer.say("221 2.0.0 bye\r\n")
    })?;
    let mut client = gateway.sending("smtps", server.port)?;
    for number in 0..2 {
        let reply = client.send("anna@mail.test", &["bob@mail.test"], &awkward(number))?;
        ensure!(reply.code == 250, "{reply:?}\n{}", gateway.program.log());
    }
    client.quit()?;
    let copies = gateway.take()?;
    for number in 0..2 {
        assert_eq!(stays(&copies, number)?, Committed);
    }
    Ok(())
}
