//! The POP3 relay between two sides that send anything.

use std::collections::VecDeque;

use postern_gateway::intake::memory::Memory;
use postern_gateway::proxy::pop3::machine::{Action, End, Options, Relay, Unrecorded};
use postern_gateway::proxy::pop3::message::About;
use postern_shared::crypto::digest::sha256;

use super::octets::Octets;

const COMMANDS: [&[u8]; 12] = [
    b"RETR 1\r\n",
    b"RETR 2\r\n",
    b"DELE 1\r\n",
    b"DELE 2\r\n",
    b"UIDL\r\n",
    b"STAT\r\n",
    b"CAPA\r\n",
    b"TOP 1 0\r\n",
    b"RSET\r\n",
    b"XYZZY\r\n",
    b"QUIT\r\n",
    b"LANG\r\n",
];

const RESPONSES: [&[u8]; 10] = [
    b"+OK 1 u1\r\n",
    b"+OK 9 octets\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"some text\r\n",
    b"..\r\n",
    b".\r\n",
    b"+OK 9999 octets\r\n",
    b"a line that makes a message long enough to be streamed\r\n",
    b"\r\n",
];

/// The relay with a driver that checks what it is told to do.
struct Driver {
    relay: Relay,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// What was recorded, by number.
    recorded: Vec<u32>,
    incoming: Option<Vec<u8>>,
    /// Copies that are not made yet, and whether they are to wait.
    copies: VecDeque<About>,
    late: bool,
    answered: usize,
    asked: usize,
    pass: bool,
    fails: bool,
    closed: bool,
}

/// Whatever both sides send, and whatever fails: no panic; nothing is used that was not there; what is recorded is what its
/// hash says; no DELE for what was not recorded, unless the operator allows it; nothing behind the end; no growth beyond
/// what came in.
pub(super) fn run(data: &[u8]) {
    let mut octets = Octets::new(data);
    let flags = octets.next().unwrap_or_default();
    let options = Options {
        pipelining: flags & 1 == 1,
        message_octets_max: 2000,
        held_octets_max: if flags & 2 == 2 { 40 } else { 400 },
        memory: Memory::new(if flags & 4 == 4 { 0 } else { 100_000 }),
        pass_unrecorded: flags & 8 == 8,
    };
    let mut driver = Driver {
        relay: Relay::new(options),
        from_client: Vec::new(),
        from_server: Vec::new(),
        recorded: Vec::new(),
        incoming: None,
        copies: VecDeque::new(),
        late: flags & 16 == 16,
        answered: 0,
        asked: 0,
        pass: flags & 8 == 8,
        fails: false,
        closed: false,
    };
    let mut came = 0;
    while let Some(what) = octets.next() {
        let (to_server, piece) = match what % 32 {
            n @ 0..12 => (true, COMMANDS[usize::from(n)]),
            n @ 12..22 => (false, RESPONSES[usize::from(n) - 12]),
            22..24 => (true, octets.piece()),
            24 => {
                driver.copy();
                continue;
            }
            25..29 => (false, octets.piece()),
            29 => {
                driver.fails = !driver.fails;
                continue;
            }
            30 => {
                driver.closes(Relay::client_closed);
                continue;
            }
            _ => {
                driver.closes(|relay, actions| relay.server_lost(End::ServerGone, actions));
                continue;
            }
        };
        came += piece.len();
        let side = if to_server { &mut driver.from_client } else { &mut driver.from_server };
        side.extend_from_slice(piece);
        driver.go_on();
        // An answer of our own is a line for a line; a request grows by its unique-id.
        assert!(driver.answered <= 200 * came + 1000, "{} octets for {came}", driver.answered);
        assert!(driver.asked <= 10 * came + 100, "{} octets for {came}", driver.asked);
    }
    driver.closes(|relay, actions| relay.server_lost(End::ServerGone, actions));
    while driver.copy() {}
    assert!(driver.closed, "it ends with the server");
}

impl Driver {
    fn closes(&mut self, side: fn(&mut Relay, &mut Vec<Action>)) {
        if !self.closed {
            let mut actions = Vec::new();
            side(&mut self.relay, &mut actions);
            self.perform(actions);
        }
    }

    /// Makes the first copy that waits; whether there was one.
    fn copy(&mut self) -> bool {
        let Some(about) = self.copies.pop_front().filter(|_| !self.closed) else { return false };
        let mut actions = Vec::new();
        let outcome = self.keep(&about);
        self.relay.recorded(outcome, &mut actions);
        self.perform(actions);
        self.go_on();
        true
    }

    fn go_on(&mut self) {
        loop {
            let mut actions = Vec::new();
            let used = self.relay.from_client(&self.from_client, &mut actions);
            self.from_client.drain(..used);
            let used = self.relay.from_server(&self.from_server, &mut actions);
            self.from_server.drain(..used);
            if self.closed {
                assert!(actions.is_empty(), "{actions:?} behind the end");
            }
            if self.closed || (actions.is_empty() && used == 0) {
                return;
            }
            self.perform(actions);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut more = Vec::new();
        for action in actions {
            assert!(!self.closed, "{action:?} behind the end");
            match action {
                Action::Answer(octets) => self.answered += octets.len(),
                Action::Ask(octets) => self.ask(&octets),
                Action::Record { about, sha256: hash, held } => {
                    let content: Vec<u8> = held.content().flatten().copied().collect();
                    assert_eq!(sha256(&content), hash);
                    self.copies.push_back(about);
                    assert!(self.copies.len() <= 8, "too many copies at once");
                    if !self.late
                        && let Some(about) = self.copies.pop_front()
                    {
                        let outcome = self.keep(&about);
                        self.relay.recorded(outcome, &mut more);
                    }
                }
                Action::Begin(_) => {
                    self.incoming = (!self.fails).then(Vec::new);
                    self.relay.recorded(self.incoming.as_ref().map(drop).ok_or(Unrecorded), &mut more);
                }
                Action::Write(octets) => match &mut self.incoming {
                    Some(incoming) if !self.fails => incoming.extend(octets),
                    _ => {
                        self.incoming = None;
                        self.relay.write_failed(&mut more);
                    }
                },
                Action::Finish { about, sha256: hash } => {
                    let outcome = match self.incoming.take() {
                        Some(content) => {
                            assert_eq!(sha256(&content), hash);
                            self.keep(&about)
                        }
                        None => Err(Unrecorded),
                    };
                    self.relay.recorded(outcome, &mut more);
                }
                Action::Abandon => self.incoming = None,
                Action::TooLong(_) => {}
                Action::Close(_) => self.closed = true,
            }
        }
        if !more.is_empty() {
            self.perform(more);
        }
    }

    fn keep(&mut self, about: &About) -> Result<(), Unrecorded> {
        if self.fails {
            return Err(Unrecorded);
        }
        let number = about.number.to_string().parse().expect("a number");
        self.recorded.push(number);
        Ok(())
    }

    fn ask(&mut self, octets: &[u8]) {
        self.asked += octets.len();
        let text = std::str::from_utf8(octets).expect("what we write ourselves");
        assert!(text.ends_with("\r\n"));
        for line in text.lines() {
            assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
            if let Some(number) = line.strip_prefix("DELE ") {
                let number = number.parse().expect("a number");
                assert!(self.pass || self.recorded.contains(&number), "{line} without a copy");
            }
        }
    }
}

/// Sessions as numbers of [`COMMANDS`] and [`RESPONSES`].
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![1, 0, 2, 10, 12, 13, 16, 18, 14, 14],
        vec![0, 0, 12, 13, 16, 21, 18, 2, 14, 10, 14],
        vec![3, 0, 12, 13, 20, 20, 18, 2, 14],
        vec![2, 3, 12, 13, 20, 20, 18, 14, 10, 14],
        vec![1, 29, 0, 12, 13, 16, 18, 2, 12, 13, 16, 18, 29, 2, 12, 13, 16, 18, 14],
        vec![9, 29, 2, 12, 13, 16, 18, 14, 1, 12, 19, 20, 18],
        vec![5, 4, 5, 6, 7, 8, 9, 11, 14, 16, 18, 14, 14, 16, 18, 14, 18, 14, 14, 18, 30],
        vec![1, 0, 12, 13, 16, 31],
        vec![17, 0, 1, 5, 12, 13, 16, 18, 12, 13, 20, 18, 14, 24, 24],
        vec![17, 0, 1, 12, 13, 16, 18, 12, 31, 24],
    ]
}
