//! Runs the dialogues in `tests/dialogues/pop3-proxy` against the machine, whole and in pieces of every small size.
//!
//! ```text
//! one at a time          the server takes no pipelining
//! held N                 octets of a message that are held
//! memory N               octets that are held of all messages
//! longest N              the longest message that is recorded
//! pass                   what cannot be recorded goes through
//!
//! C: text                the client sends a line; lines after each other go in one piece
//! S: text                the server sends a line, likewise
//! S+ text                the same without a line end
//! recording fails | begin fails | write fails | finish fails | recording works
//! recording is late      copies of what is held are made one by one:
//! a copy is made
//! client closes | server closes
//!
//! > text                 the server must get this line
//! < text                 the client must get this line
//! <+ text                the client must get this, without a line end
//! recorded UIDL N        a message of so many octets must be recorded; `-` for no unique-id
//! known UIDL N           it was recorded before
//! too long               a message must be said to be too long
//! ended: why             both connections must be closed
//! ```
//!
//! What comes out must be all that is listed behind what went in; only lines to the same side have an order.

use std::path::Path;

use postern_shared::disk::{Disk, RealDisk};

use super::stage::{Failing, Out, Stage, options};
use crate::intake::memory::Memory;

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    asked: String,
    answered: String,
    others: Vec<String>,
}

impl Seen {
    fn of(outs: Vec<Out>) -> Self {
        let mut seen = Self::default();
        for out in outs {
            match out {
                Out::Asked(octets) => seen.asked.push_str(std::str::from_utf8(&octets).unwrap()),
                Out::Answered(octets) => seen.answered.push_str(std::str::from_utf8(&octets).unwrap()),
                Out::Recorded(uidl, content, known) => {
                    let what = if known { "known" } else { "recorded" };
                    seen.others.push(format!("{what} {uidl} {}", content.len()));
                }
                Out::TooLong => seen.others.push("too long".into()),
                Out::Ended(why) => seen.others.push(format!("ended: {why}")),
            }
        }
        seen
    }

    fn expect(&mut self, step: &str) {
        let line = |rest: &str| format!("{}\r\n", rest.strip_prefix(' ').unwrap_or(rest));
        if let Some(rest) = step.strip_prefix('>') {
            self.asked.push_str(&line(rest));
        } else if let Some(rest) = step.strip_prefix("<+ ") {
            self.answered.push_str(rest);
        } else if let Some(rest) = step.strip_prefix('<') {
            self.answered.push_str(&line(rest));
        } else {
            self.others.push(step.to_owned());
        }
    }
}

fn stage_of(script: &str) -> Stage {
    let mut options = options();
    for line in script.lines() {
        match line.split_once(' ') {
            _ if line == "one at a time" => options.pipelining = false,
            _ if line == "pass" => options.pass_unrecorded = true,
            Some(("held", octets)) => options.held_octets_max = octets.parse().unwrap(),
            Some(("memory", octets)) => options.memory = Memory::new(octets.parse().unwrap()),
            Some(("longest", octets)) => options.message_octets_max = octets.parse().unwrap(),
            _ => {}
        }
    }
    Stage::new(options)
}

fn is_setting(step: &str) -> bool {
    ["one at a time", "pass"].contains(&step)
        || ["held ", "memory ", "longest "].iter().any(|word| step.starts_with(word))
}

fn run(name: &str, script: &str, piece: usize) {
    let mut stage = stage_of(script);
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let mut expected = Seen::default();
    let mut expecting = false;
    for (number, step) in script.lines().chain(["end"]).enumerate() {
        if step.is_empty() || step.starts_with('#') || is_setting(step) {
            continue;
        }
        let is_input =
            ["C:", "S:", "S+", "client closes", "server closes"].iter().any(|word| step.starts_with(word))
                || step.ends_with(" fails")
                || ["recording works", "recording is late", "a copy is made", "end"].contains(&step);
        let flush = |octets: &mut Vec<u8>, send: &mut dyn FnMut(&[u8])| {
            let octets = std::mem::take(octets);
            octets.chunks(piece).for_each(send);
        };
        if !step.starts_with("C:") {
            flush(&mut client, &mut |octets| stage.client_sends(octets));
        }
        if !step.starts_with("S:") && !step.starts_with("S+") {
            flush(&mut server, &mut |octets| stage.server_sends(octets));
        }
        if is_input && expecting {
            let seen = Seen::of(std::mem::take(&mut stage.outs));
            assert_eq!(seen, expected, "{name}, before line {}, pieces of {piece}", number + 1);
            (expected, expecting) = (Seen::default(), false);
        }
        let line = |text: &str| format!("{}\r\n", text.strip_prefix(' ').unwrap_or(text)).into_bytes();
        match step {
            "end" => {}
            "client closes" => stage.client_closes(),
            "server closes" => stage.server_closes(),
            "recording works" => stage.failing = Failing::Nothing,
            "recording is late" => stage.late = true,
            "a copy is made" => {
                assert!(stage.copy(), "{name}, line {}: there is none to be made", number + 1);
            }
            "recording fails" => stage.failing = Failing::Everything,
            "begin fails" => stage.failing = Failing::Begin,
            "write fails" => stage.failing = Failing::Write,
            "finish fails" => stage.failing = Failing::Finish,
            _ if step.starts_with("C:") => client.extend(line(&step[2..])),
            _ if step.starts_with("S:") => server.extend(line(&step[2..])),
            _ if step.starts_with("S+ ") => server.extend(&step.as_bytes()[3..]),
            _ => {
                expected.expect(step);
                expecting = true;
            }
        }
    }
}

#[test]
fn dialogues_go_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/dialogues/pop3-proxy");
    let files = RealDisk.files(&dir).unwrap();
    assert!(files.len() >= 8, "{} dialogues", files.len());
    for file in files {
        let script = String::from_utf8(RealDisk.read(&file, 1 << 20).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for piece in (1..=40).chain([1 << 20]) {
            run(&name, &script, piece);
        }
    }
}
