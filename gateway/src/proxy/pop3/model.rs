//! The relay against a model: any commands, cut and interleaved anyhow, with a recorder that fails now and then.

use postern_shared::proto::pop3::DotEncoder;
use proptest::prelude::*;

use super::stage::{Failing, Out, Stage, options};
use crate::intake::memory::Memory;

/// A server that does what RFC 1939 says, at once.
#[derive(Debug, Clone)]
struct Server {
    messages: Vec<(String, Vec<u8>)>,
    knows_uidl: bool,
    marked: Vec<bool>,
    quit: bool,
}

impl Server {
    fn answer(&mut self, line: &str) -> Vec<u8> {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<usize>().ok());
        let message = number.and_then(|number| {
            let message = self.messages.get(number.checked_sub(1)?)?;
            (!self.marked[number - 1]).then_some((number, message))
        });
        let text = match (verb, message) {
            ("UIDL", _) if !self.knows_uidl => "-ERR what?\r\n".into(),
            ("UIDL", Some((number, (uidl, _)))) => format!("+OK {number} {uidl}\r\n"),
            ("LIST", Some((number, (_, content)))) => format!("+OK {number} {}\r\n", content.len()),
            ("LIST" | "UIDL", None) if number.is_none() => "+OK list\r\n1 x\r\n..\r\n.\r\n".into(),
            ("RETR" | "TOP", Some((_, (_, content)))) => {
                let mut answer = format!("+OK {} octets\r\n", content.len()).into_bytes();
                let mut encoder = DotEncoder::new();
                encoder.encode(content, &mut answer);
                encoder.finish(&mut answer);
                return answer;
            }
            ("DELE", Some((number, _))) => {
                self.marked[number - 1] = true;
                format!("+OK {number} marked\r\n")
            }
            ("RSET", _) => {
                self.marked.fill(false);
                "+OK\r\n".into()
            }
            ("QUIT", _) => {
                self.quit = true;
                "+OK bye\r\n".into()
            }
            ("NOOP" | "STAT", _) => "+OK fine\r\n".into(),
            ("CAPA", _) => "+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n".into(),
            _ => "-ERR no\r\n".into(),
        };
        text.into_bytes()
    }

    /// What a client that talks to it directly gets, as far as the relay passes it on.
    fn directly(&mut self, command: &str) -> Vec<u8> {
        match command {
            "XYZ" => b"-ERR unknown command\r\n".to_vec(),
            "CAPA" => b"+OK\r\nTOP\r\n.\r\n".to_vec(),
            command => self.answer(command),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    ClientSends(usize),
    ServerSends(usize),
    Recorder(Failing),
    Copy,
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1..5_u32).prop_map(|number| format!("RETR {number}")),
        4 => (1..5_u32).prop_map(|number| format!("DELE {number}")),
        1 => (1..5_u32).prop_map(|number| format!("TOP {number} 0")),
        1 => (1..5_u32).prop_map(|number| format!("UIDL {number}")),
        2 => prop::sample::select(vec!["STAT", "LIST", "UIDL", "CAPA", "NOOP", "RSET", "XYZ"])
            .prop_map(str::to_owned),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let failing =
        vec![Failing::Nothing, Failing::Everything, Failing::Begin, Failing::Write, Failing::Finish];
    prop_oneof![
        4 => (1..40_usize).prop_map(Step::ClientSends),
        8 => (1..90_usize).prop_map(Step::ServerSends),
        1 => prop::sample::select(failing).prop_map(Step::Recorder),
        2 => Just(Step::Copy),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let octets = prop::sample::select(b"a.\r\n".to_vec());
    (proptest::collection::vec(octets, 0..120), any::<bool>()).prop_map(|(mut content, empty)| {
        content.extend_from_slice(b"\r\n");
        if empty { Vec::new() } else { content }
    })
}

/// Both sides and all that is between them.
struct World {
    commands: Vec<String>,
    stage: Stage,
    server: Server,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    asked: Vec<u8>,
    answered: Vec<u8>,
    pass: bool,
}

impl World {
    fn take(&mut self) {
        let answered = self.answered.len();
        for out in std::mem::take(&mut self.stage.outs) {
            match out {
                Out::Asked(octets) => self.asked.extend(octets),
                Out::Answered(octets) => self.answered.extend(octets),
                Out::Recorded(..) | Out::TooLong | Out::Ended(_) => {}
            }
        }
        while let Some(end) = self.asked.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.asked.drain(..=end).collect();
            let line = std::str::from_utf8(&line).unwrap().trim_end().to_owned();
            if let Some(number) = line.strip_prefix("DELE ") {
                self.check_deletion(number.parse().unwrap());
            }
            self.from_server.extend(self.server.answer(&line));
        }
        if self.answered.len() > answered {
            // With the copies that there are now.
            self.check_answers();
        }
    }

    /// Nothing is deleted that was not recorded before.
    fn check_deletion(&self, number: usize) {
        if self.pass {
            return;
        }
        let (uidl, content) = &self.server.messages[number - 1];
        assert!(self.is_kept(uidl, content), "message {number} is deleted without a copy");
    }

    fn is_kept(&self, uidl: &str, content: &[u8]) -> bool {
        self.stage.kept.iter().any(|(kept, octets)| octets == content && (kept == uidl || kept == "-"))
    }

    /// Nothing more can happen.
    fn is_over(&self) -> bool {
        let nothing = self.from_client.is_empty() && self.from_server.is_empty() && !self.stage.copies();
        self.stage.closed || nothing
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ClientSends(octets) => {
                let octets = self.from_client.len().min(octets);
                let sent: Vec<u8> = self.from_client.drain(..octets).collect();
                self.stage.client_sends(&sent);
            }
            Step::ServerSends(octets) => {
                let octets = self.from_server.len().min(octets);
                let sent: Vec<u8> = self.from_server.drain(..octets).collect();
                self.stage.server_sends(&sent);
            }
            Step::Recorder(failing) => self.stage.failing = failing,
            Step::Copy => drop(self.stage.copy()),
        }
        self.take();
    }

    /// What the client got so far are the responses to its commands, in order: the server's own, or a refusal where a message could
    /// not be recorded. No message is whole without a copy.
    fn check_answers(&self) {
        let mut direct = Server { marked: vec![false; self.server.messages.len()], ..self.server.clone() };
        let mut rest = &self.answered[..];
        for command in self.commands.iter().map(String::as_str).chain(["QUIT"]) {
            let before = direct.clone();
            let expected = direct.directly(command);
            if let Some(behind) = rest.strip_prefix(&expected[..]) {
                rest = behind;
                if let Some(number) = command.strip_prefix("RETR ")
                    && expected.starts_with(b"+OK")
                    && !self.pass
                {
                    let (uidl, content) = &self.server.messages[number.parse::<usize>().unwrap() - 1];
                    assert!(self.is_kept(uidl, content), "{command} was answered without a copy");
                }
                continue;
            }
            if rest.is_empty() || expected.starts_with(rest) {
                return;
            }
            // It was refused here, so the server knows nothing of it.
            direct = before;
            assert!(!self.pass && (command.starts_with("RETR") || command.starts_with("DELE")), "{command}");
            let refused = rest.starts_with(b"-ERR [SYS/TEMP] Message");
            // The end of a message that could not be recorded amid its way.
            let cut = self.stage.closed && expected.starts_with(b"+OK") && !rest.ends_with(b"\r\n.\r\n");
            assert!(refused || cut, "{command}: {:?}", String::from_utf8_lossy(rest));
            let Some(end) = rest.iter().position(|&byte| byte == b'\n').filter(|_| refused) else { return };
            rest = &rest[end + 1..];
        }
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
    }
}

proptest! {
    /// Goal: whatever is asked, however it is cut and whatever fails: no DELE and no whole message before its copy, each copy
    /// once, every command answered once and in order, and nothing is ever stuck.
    #[test]
    fn the_relay_keeps_its_promises(
        contents in proptest::collection::vec(content(), 1..4),
        commands in proptest::collection::vec(command(), 0..25),
        steps in proptest::collection::vec(step(), 0..300),
        (knows_uidl, pipelining, pass, late) in any::<(bool, bool, bool, bool)>(),
        held in 20..150_usize,
        memory in prop::sample::select(vec![0, 1_000_000]),
    ) {
        let messages: Vec<_> =
            contents.into_iter().enumerate().map(|(n, content)| (format!("u{n}"), content)).collect();
        let marked = vec![false; messages.len()];
        let options = super::machine::Options {
            pipelining,
            held_octets_max: held,
            memory: Memory::new(memory),
            pass_unrecorded: pass,
            ..options()
        };
        let lines: String = commands.iter().map(|command| format!("{command}\r\n")).collect();
        let mut world = World {
            stage: Stage::new(options).late(late),
            commands,
            server: Server { messages, knows_uidl, marked, quit: false },
            from_client: format!("{lines}QUIT\r\n").into_bytes(),
            from_server: Vec::new(),
            asked: Vec::new(),
            answered: Vec::new(),
            pass,
        };
        for step in steps {
            world.step(step);
        }
        while !world.is_over() {
            world.step(Step::ClientSends(7));
            world.step(Step::ServerSends(11));
            world.step(Step::Copy);
        }
        prop_assert!(world.stage.closed, "stuck: {:?}", world.stage.relay);
        world.check_answers();
        let mut once = world.stage.kept.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), world.stage.kept.len());
    }

    /// Goal: whatever a server sends: no panic, no DELE that nobody asked for, no message whole without a copy of it, an end.
    #[test]
    fn no_server_gets_it_out_of_step(
        pieces in proptest::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    &b"+OK\r\n"[..], b"-ERR\r\n", b".\r\n", b"+OK 1 u1\r\n", b"+OK 99999999 octets\r\n", b"\r\n", b"text\r\n", b"+",
                ]).prop_map(<[u8]>::to_vec),
                proptest::collection::vec(any::<u8>(), 1..40),
                Just(vec![b'x'; 5000]),
            ],
            0..60,
        ),
        commands in proptest::collection::vec(command(), 1..12),
        held in 20..6000_usize,
        late in any::<bool>(),
    ) {
        let options = super::machine::Options { held_octets_max: held, ..options() };
        let mut stage = Stage::new(options).late(late);
        let mut pieces = pieces.into_iter();
        let mut wanted: Vec<&str> = Vec::new();
        for command in &commands {
            stage.client_sends(format!("{command}\r\n").as_bytes());
            wanted.extend(command.strip_prefix("DELE "));
            for piece in pieces.by_ref().take(5) {
                if !stage.closed {
                    stage.server_sends(&piece);
                }
            }
        }
        if !stage.closed {
            stage.server_closes();
        }
        while stage.copy() {}
        let mut deleted = Vec::new();
        let mut recorded = 0;
        let mut answered = Vec::new();
        for out in &stage.outs {
            match out {
                Out::Asked(octets) => {
                    let text = String::from_utf8(octets.clone()).unwrap();
                    let here: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("DELE ")).map(str::to_owned).collect();
                    prop_assert!(here.is_empty() || recorded > 0, "nothing was recorded yet");
                    deleted.extend(here);
                }
                Out::Recorded(..) => recorded += 1,
                Out::Answered(octets) => answered.extend_from_slice(octets),
                Out::TooLong | Out::Ended(_) => {}
            }
        }
        for number in &deleted {
            let position = wanted.iter().position(|wanted| wanted == number);
            prop_assert!(position.is_some(), "nobody deletes {number}");
            wanted.remove(position.unwrap());
        }
        prop_assert!(stage.closed);
        prop_assert!(matches!(stage.outs.last(), Some(Out::Ended(_))));
    }
}

#[test]
fn a_message_that_grows_too_long_on_its_way_gets_no_end() {
    for piece in [1, 7, 1000] {
        let options = super::machine::Options { held_octets_max: 10, message_octets_max: 30, ..options() };
        let mut stage = Stage::new(options);
        stage.client_sends(b"RETR 1\r\n");
        let answer = [&b"+OK 1 a\r\n+OK\r\n"[..], &[b'x'; 40], b"\r\n.\r\n"].concat();
        for piece in answer.chunks(piece) {
            if !stage.closed {
                stage.server_sends(piece);
            }
        }
        assert!(stage.closed && stage.kept.is_empty());
        assert!(stage.outs.contains(&Out::TooLong));
        let answered: Vec<u8> = stage
            .outs
            .iter()
            .filter_map(|out| if let Out::Answered(octets) = out { Some(octets.clone()) } else { None })
            .flatten()
            .collect();
        assert!(!answered.ends_with(b".\r\n"));
    }
}
