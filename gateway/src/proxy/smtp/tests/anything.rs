//! Everything that may happen, in any order, against a server that keeps a record.

use postern_shared::proto::smtp::extensions::Extensions;
use proptest::prelude::*;

use super::server::Server;
use super::stage::{Fate, Stage, all_extensions};
use crate::proxy::smtp::Event;

#[derive(Debug, Clone)]
enum Happening {
    Client(Vec<u8>),
    /// The network carries so many octets to the server, and so many of its answers back.
    Carry(usize, usize),
    ServerDies,
    ServerSilent,
    ClientDies,
    Idle,
    Shutdown,
    Refuse(Option<&'static str>),
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fragments: Vec<&[u8]> = vec![
        b"EHLO x\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n",
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nRCPT TO:<z@y.example>\r\nBDAT 5\r\nabcde",
        b"RCPT TO:<x@y.example>\r\n",
        b"RCPT TO:<z@y.example>\r\n",
        b"DATA\r\n",
        b"text\r\n",
        b"..dot\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
        b"BDAT 5\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT 3 LAST\r\nabc",
        b"BDAT 40000\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY x\r\n",
        b"abcde",
    ];
    prop_oneof![
        20 => proptest::sample::select(fragments).prop_map(<[u8]>::to_vec),
        1 => Just(vec![b'x'; 40_000]),
        // Makes one of our own chunks full, so that the server answers before the end.
        2 => Just([b"BDAT 40000\r\n", &[b'x'; 40_000][..], b"BDAT 3 LAST\r\nabc"].concat()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let steps = vec![Some("begin"), Some("content"), Some("prepare"), Some("confirm"), None, None, None];
    prop_oneof![
        40 => fragment().prop_map(Happening::Client),
        20 => Just(Happening::Carry(usize::MAX, usize::MAX)),
        8 => (0..60usize, 0..30usize).prop_map(|(there, back)| Happening::Carry(there, back)),
        1 => Just(Happening::ServerDies),
        1 => Just(Happening::ServerSilent),
        1 => Just(Happening::ClientDies),
        1 => Just(Happening::Idle),
        1 => Just(Happening::Shutdown),
        2 => proptest::sample::select(steps).prop_map(Happening::Refuse),
    ]
}

/// Both sides and the network between.
struct World {
    stage: Stage,
    server: Server,
    /// Answers on their way.
    answers: Vec<u8>,
    server_died: bool,
    client_died: bool,
    /// Whether a copy may be unconfirmed although the server's answer came.
    confirm_fails: bool,
}

impl World {
    fn happen(&mut self, what: Happening) {
        if self.stage.closed {
            return;
        }
        match what {
            Happening::Client(octets) if !self.client_died => self.stage.client_says(&octets),
            Happening::Carry(there, back) => self.carry(there, back),
            Happening::ServerDies => {
                self.server_died = true;
                self.stage.event(Event::ServerGone);
            }
            Happening::ServerSilent if self.stage.relay.awaited().is_some() => {
                self.stage.event(Event::ServerSilent);
            }
            Happening::ClientDies => {
                self.client_died = true;
                self.stage.event(Event::ClientGone);
            }
            Happening::Idle if self.stage.relay.wants_client() => self.stage.event(Event::Idle),
            Happening::Shutdown => self.stage.event(Event::Shutdown),
            Happening::Refuse(step) => {
                self.confirm_fails |= step == Some("confirm");
                self.stage.refuse = step.map(str::to_owned);
            }
            _ => {}
        }
        if self.stage.severed {
            self.stage.to_server.clear();
            self.answers.clear();
        }
    }

    fn carry(&mut self, there: usize, back: usize) {
        if self.server_died || self.stage.severed {
            return;
        }
        let there = there.min(self.stage.to_server.len());
        let carried: Vec<u8> = self.stage.to_server.drain(..there).collect();
        self.answers.extend(self.server.take(&carried).into_bytes());
        let back = back.min(self.answers.len());
        let carried: Vec<u8> = self.answers.drain(..back).collect();
        if !carried.is_empty() {
            self.stage.server_says(&carried);
        }
    }

    fn check(&self) {
        let Self { stage, server, .. } = self;
        assert!(server.ended.len() <= stage.copies.len(), "the server got a message without a copy");
        for (number, ended) in server.ended.iter().enumerate() {
            let copy = &stage.copies[number];
            assert_eq!(copy.content, ended.content, "message {number}");
            let recipients: Vec<_> = copy.envelope.recipients.iter().map(|to| to.address.clone()).collect();
            assert_eq!(recipients, ended.to, "message {number}");
            // An answer may be on its way, or never come.
            let expected = if ended.taken { Fate::Confirmed } else { Fate::Discarded };
            let open = matches!(copy.fate, Fate::Unconfirmed | Fate::Prepared);
            assert!(copy.fate == expected || open, "message {number}: {:?}, {ended:?}", copy.fate);
        }
        let said = String::from_utf8_lossy(&stage.to_client);
        for (number, copy) in stage.copies.iter().enumerate() {
            let promised = said.contains(&format!("250 END-{number}\r\n"));
            assert!(
                !promised || self.confirm_fails || copy.fate == Fate::Confirmed,
                "promised: {:?}",
                copy.fate
            );
            assert!(copy.fate != Fate::Confirmed || promised, "confirmed and not said");
            let told = said.contains(&format!("554 NO-{number}\r\n"));
            assert!(!told || copy.fate == Fate::Discarded, "message {number}");
            // Of chunks the first refusal is what the client hears.
            let told = told || said.contains(" CHUNK ");
            assert!(told || copy.fate != Fate::Discarded, "message {number}");
            if copy.fate == Fate::Prepared {
                // Chunks before the end may not be answered yet.
                assert!(stage.relay.awaited().is_some(), "a copy that nobody decides on");
                assert_eq!(number + 1, stage.copies.len());
            }
        }
        assert!(!stage.closed || !stage.holds_a_message());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    /// Goal: whatever happens, a message that came to its end at the server has a copy that says the same; what the server took
    /// and said so is confirmed before the client hears of it, what it refused has none, what nobody knows is kept.
    #[test]
    fn copies_are_what_the_server_got(
        happenings in proptest::collection::vec(happening(), 0..60),
        moods in proptest::collection::vec(0..12u8, 0..20),
        chunking in any::<bool>(),
        pipelining in any::<bool>(),
    ) {
        let extensions = Extensions { chunking, pipelining, ..all_extensions() };
        let mut world = World {
            stage: Stage::new(extensions, 60_000, "mbx-000000000000000a"),
            server: Server::new(moods),
            answers: Vec::new(),
            server_died: false,
            client_died: false,
            confirm_fails: false,
        };
        for what in happenings {
            world.happen(what);
            world.check();
        }
        for _ in 0..200 {
            world.happen(Happening::Carry(usize::MAX, usize::MAX));
        }
        world.check();
        if world.stage.relay.awaited().is_some() {
            world.happen(Happening::ServerDies);
            world.check();
        }
        prop_assert!(world.stage.copies.iter().all(|copy| copy.fate != Fate::Prepared));
    }
}
