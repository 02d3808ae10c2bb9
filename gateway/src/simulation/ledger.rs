//! Which message is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::UNCONFIRMED;

use super::node::Node;
use crate::pop3_server::maildrop::{Maildrops, ServedMessage};
use crate::spool::{INLINE_BYTES_MAX, Spool};

/// A message's number, which its content tells.
pub(super) type Token = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It must be served.
    Stored,
    /// It must be served, and say that it is unconfirmed.
    Unconfirmed,
    /// It is prepared: it must not be served, and be there, unconfirmed, after a restart.
    Undecided,
    /// It is being confirmed: it must be there after a restart, confirmed or not.
    Confirming,
    /// Nobody will decide on it: it is or will be served, unconfirmed.
    Kept,
    /// It must not be served.
    Absent,
    /// It is being stored or deleted, or was when the power went.
    InDoubt,
}

/// What is found of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    unconfirmed: bool,
}

impl Fate {
    /// Whether that may be found; `settled` after a restart.
    fn allows(self, seen: Option<Seen>, settled: bool) -> bool {
        let (served, unconfirmed) = (seen.is_some(), seen.is_some_and(|seen| seen.unconfirmed));
        match self {
            Self::Stored => served && !unconfirmed,
            Self::Unconfirmed => unconfirmed,
            Self::Undecided => {
                if settled {
                    unconfirmed
                } else {
                    !served
                }
            }
            // Until then it may fail, when nobody waits for the answer any more.
            Self::Confirming => served || !settled,
            Self::Kept => unconfirmed || (!served && !settled),
            Self::Absent => !served,
            Self::InDoubt => true,
        }
    }

    fn after_restart(seen: Option<Seen>) -> Self {
        match seen {
            None => Self::Absent,
            Some(Seen { unconfirmed: true }) => Self::Unconfirmed,
            Some(Seen { unconfirmed: false }) => Self::Stored,
        }
    }
}

/// One mailbox's copy of a message.
#[derive(Debug)]
struct Copy {
    fate: Fate,
    /// Others are never unconfirmed.
    proxied: bool,
    unconfirmed: bool,
    /// Once it was seen.
    id: Option<MessageId>,
    served_bytes: u64,
}

/// Everything that was ever promised.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    contents: BTreeMap<Token, Vec<u8>>,
    copies: BTreeMap<(MailboxId, Token), Copy>,
    ids: BTreeMap<MessageId, (MailboxId, Token)>,
}

impl Ledger {
    /// A new message, which nobody was promised yet.
    pub(super) fn new_content(&mut self, dice: &mut Dice) -> Token {
        let token = self.contents.len() as u64;
        let lines = match dice.below(10) {
            0 => 6000 + dice.below(500),
            1..4 => dice.below(100),
            _ => dice.below(12),
        };
        let mut text = format!("Subject: token {token};\r\n\r\n");
        for line in 0..lines {
            // Dots to be stuffed, dots alone, and lines of different lengths.
            let start = ["", ".", "..", "From "][dice.index(4)];
            let _ = write!(text, "{start}{line}{}\r\n", ".".repeat(dice.index(3) * 28));
        }
        self.contents.insert(token, text.into_bytes());
        token
    }

    pub(super) fn content(&self, token: Token) -> &[u8] {
        &self.contents[&token]
    }

    /// It is handed to the disk.
    pub(super) fn committing(&mut self, token: Token, mailboxes: &BTreeSet<MailboxId>) {
        for mailbox in mailboxes {
            self.begin(token, *mailbox, false);
        }
    }

    /// The proxy hands it to the disk.
    pub(super) fn preparing(&mut self, token: Token, mailbox: MailboxId) {
        self.begin(token, mailbox, true);
    }

    fn begin(&mut self, token: Token, mailbox: MailboxId, proxied: bool) {
        let copy = Copy { fate: Fate::InDoubt, proxied, unconfirmed: false, id: None, served_bytes: 0 };
        let before = self.copies.insert((mailbox, token), copy);
        assert!(before.is_none(), "token {token} is committed twice");
    }

    /// What the proxy did with it, or is doing.
    pub(super) fn proxied(&mut self, token: Token, mailbox: MailboxId, fate: Fate) {
        self.decide(token, &BTreeSet::from([mailbox]), fate);
    }

    /// Its sender was told that it is stored.
    pub(super) fn stored(&mut self, token: Token, mailboxes: &BTreeSet<MailboxId>) {
        self.decide(token, mailboxes, Fate::Stored);
    }

    /// Its sender was told that it is not. A large file that the disk does not let go may be found by a restart.
    pub(super) fn refused(&mut self, token: Token, mailboxes: &BTreeSet<MailboxId>, read_only: bool) {
        let is_large = self.contents[&token].len() > INLINE_BYTES_MAX;
        self.decide(token, mailboxes, if read_only && is_large { Fate::InDoubt } else { Fate::Absent });
    }

    fn decide(&mut self, token: Token, mailboxes: &BTreeSet<MailboxId>, fate: Fate) {
        for mailbox in mailboxes {
            self.copies.get_mut(&(*mailbox, token)).expect("it was committed").fate = fate;
        }
    }

    /// Deletions begin (`None`), or have been done or refused.
    pub(super) fn deleting(&mut self, ids: &[MessageId], done: Option<bool>) {
        let fate = match done {
            None => Fate::InDoubt,
            Some(true) => Fate::Absent,
            Some(false) => Fate::Stored,
        };
        for id in ids {
            let key = self.ids.get(id).unwrap_or_else(|| panic!("nobody has seen {id}"));
            let copy = self.copies.get_mut(key).expect("it was seen");
            let unchanged = fate == Fate::Stored && copy.unconfirmed;
            copy.fate = if unchanged { Fate::Unconfirmed } else { fate };
        }
    }

    /// What of a mailbox must be served, and how much more may be.
    pub(super) fn count(&self, mailbox: MailboxId) -> (usize, usize) {
        let of = |fates: &[Fate]| {
            let ours = self.copies.iter().filter(|((other, _), _)| *other == mailbox);
            ours.filter(|(_, copy)| fates.contains(&copy.fate)).count()
        };
        (of(&[Fate::Stored, Fate::Unconfirmed]), of(&[Fate::InDoubt, Fate::Confirming, Fate::Kept]))
    }

    /// Whether a mailbox has something that must not be lost, shown or not.
    pub(super) fn holds_anything(&self, mailbox: MailboxId) -> bool {
        let ours = self.copies.iter().filter(|((other, _), _)| *other == mailbox);
        ours.into_iter().any(|(_, copy)| !matches!(copy.fate, Fate::Absent | Fate::InDoubt))
    }

    /// Checks what a client got for `id`, announced with that size.
    pub(super) fn check_served(&self, mailbox: MailboxId, id: MessageId, served_bytes: u64, served: &[u8]) {
        let (of, token) = self.ids.get(&id).unwrap_or_else(|| panic!("nobody has seen {id}"));
        assert_eq!(*of, mailbox, "{id} is another mailbox's");
        assert_eq!(served.len() as u64, served_bytes, "token {token}: size");
        assert_eq!(self.copies[&(mailbox, *token)].served_bytes, served_bytes, "token {token}: size changed");
        assert!(served.ends_with(self.content(*token)), "token {token} is not served as it came");
        let unconfirmed = self.copies[&(mailbox, *token)].unconfirmed;
        assert_eq!(served.starts_with(UNCONFIRMED), unconfirmed, "token {token}: what it says of itself");
    }

    /// Compares with what the spool holds. `settled`: nothing is under way, so what was in doubt is decided by what is
    /// found; and every message is read, not only new ones.
    pub(super) fn check(&mut self, node: &Node, keys: &BTreeMap<MailboxId, PrivateKey>, settled: bool) {
        let mut found = BTreeMap::new();
        for (mailbox, key) in keys {
            for entry in node.spool.entries(*mailbox) {
                if settled || !self.ids.contains_key(&entry.message) {
                    let served = read(node, *mailbox, entry.message, key);
                    self.identify(*mailbox, entry.message, &served);
                    self.check_served(*mailbox, entry.message, entry.served_bytes, &served);
                }
                let place = self.ids[&entry.message];
                let seen = Seen { unconfirmed: entry.unconfirmed };
                assert!(found.insert(place, seen).is_none(), "{place:?} is there twice");
            }
        }
        for (place, copy) in &mut self.copies {
            let seen = found.remove(place);
            assert!(copy.fate.allows(seen, settled), "{place:?} should be {:?} and is {seen:?}", copy.fate);
            assert!(copy.proxied || !copy.unconfirmed, "{place:?} was not proxied");
            if settled {
                copy.fate = Fate::after_restart(seen);
            }
        }
        assert!(found.is_empty(), "never committed: {found:?}");
    }

    /// Finds out by its content which message `id` is. It must not have had another id before.
    fn identify(&mut self, mailbox: MailboxId, id: MessageId, served: &[u8]) {
        let start = memchr::memmem::find(served, b"Subject: token ").expect("a message of ours");
        let number: Vec<u8> = served[start + 15..].iter().copied().take_while(u8::is_ascii_digit).collect();
        let token: Token = String::from_utf8(number).unwrap().parse().unwrap();
        let copy = self
            .copies
            .get_mut(&(mailbox, token))
            .unwrap_or_else(|| panic!("token {token} was never committed"));
        assert_eq!(
            *copy.id.get_or_insert(id),
            id,
            "token {token} is there twice or has changed its unique-id"
        );
        copy.served_bytes = served.len() as u64;
        copy.unconfirmed = served.starts_with(UNCONFIRMED);
        self.ids.insert(id, (mailbox, token));
    }
}

fn read(node: &Node, mailbox: MailboxId, id: MessageId, key: &PrivateKey) -> Vec<u8> {
    let mut message = node.maildrops.open(mailbox, id, key).unwrap_or_else(|error| panic!("{error}"));
    let mut served = Vec::new();
    while let Some(piece) = message.next_piece().unwrap_or_else(|error| panic!("{error}")) {
        served.extend_from_slice(piece);
    }
    served
}
