use proptest::prelude::*;

use super::dialogues::{Stage, settings};
use super::session::{Event, Session, SessionLimits, SessionSettings};

const TO: &[u8] =
    b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<mbx-000000000000000a@gateway.example.com>\r\nDATA\r\n";

fn stage() -> Stage {
    Stage::new(Session::new(settings(1_000_000), true))
}

fn replies(stage: &Stage) -> String {
    String::from_utf8_lossy(&stage.replies).into_owned()
}

/// Goal: `250` at the end of data is a promise that only [`Event::Stored`] can give.
#[test]
fn the_end_of_data_is_answered_only_by_the_disk() {
    let mut session = Session::new(settings(1000), true);
    let mut actions = Vec::new();
    let input = [TO, b"x\r\n.\r\n"].concat();
    let mut rest = &input[..];
    while !session.is_waiting() {
        rest = &rest[session.receive(rest, &mut actions)..];
    }
    assert_eq!(session.receive(b"NOOP\r\n", &mut actions), 0, "nothing is taken meanwhile");
    let replied = |actions: &[super::Action], code: u16| {
        actions
            .iter()
            .filter(|action| matches!(action, super::Action::Reply(reply) if reply.code == code))
            .count()
    };
    assert_eq!(
        (replied(&actions, 354), replied(&actions, 250)),
        (1, 3),
        "EHLO, MAIL and RCPT are answered, no more"
    );
    session.handle(Event::Stored(Ok(Vec::new())), &mut actions);
    assert_eq!(replied(&actions, 250), 4);
}

#[test]
fn silence_and_shutdown_end_a_session_in_words_and_drop_what_was_half_sent() {
    for (event, text) in [(Event::Idle, "421 4.4.2"), (Event::Shutdown, "421 4.3.2")] {
        let mut stage = stage();
        stage.feed(&[TO, b"half"].concat());
        stage.event(event);
        assert!(stage.closed && replies(&stage).contains(text));
        assert!(stage.stored.is_empty());
        assert_eq!(stage.feed(b"\r\n.\r\n"), b"\r\n.\r\n", "nothing is taken any more");
    }
}

/// Goal: there is an end to one session, and nothing is lost by it.
#[test]
fn messages_and_errors_of_a_session_are_bounded() {
    let limited = |limits| {
        let settings = SessionSettings { limits, ..(*settings(1000)).clone() };
        Stage::new(Session::new(std::sync::Arc::new(settings), true))
    };
    let message = [TO, b"x\r\n.\r\n"].concat();
    let mut stage = limited(SessionLimits { messages_max: 2, errors_max: 20 });
    for _ in 0..3 {
        stage.feed(&message);
    }
    assert_eq!(stage.stored.len(), 2);
    assert!(
        stage.closed
            && replies(&stage).ends_with("421 4.7.0 Enough messages for one session; come again\r\n")
    );

    let mut stage = limited(SessionLimits { messages_max: 2, errors_max: 1 });
    stage.feed(b"NONSENSE\r\n");
    assert!(!stage.closed);
    stage.feed(b"NONSENSE\r\n");
    assert!(stage.closed && replies(&stage).contains("421 4.7.0 Too many errors"));
}

/// Goal: a full disk does not send senders away as if they had made the errors.
#[test]
fn our_own_faults_are_no_errors_of_the_peer() {
    let mut stage = stage();
    stage.feed(b"EHLO x\r\n");
    let full = || crate::intake::IntakeError::Full { free_bytes: 0, needed_bytes: 1 };
    for _ in 0..30 {
        stage.feed(TO);
        stage.event(Event::Failed(full()));
        stage.feed(b"x\r\n.\r\n");
    }
    assert_eq!(replies(&stage).matches("452 4.3.1").count(), 30);
    assert!(!stage.closed && stage.stored.is_empty());
}

#[test]
fn there_is_an_end_to_recipients() {
    let mut stage = stage();
    stage.feed(b"EHLO x\r\nMAIL FROM:<>\r\n");
    for _ in 0..1001 {
        stage.feed(b"RCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n");
    }
    let said = replies(&stage);
    assert_eq!(said.matches("250 2.1.5").count(), 1000);
    assert_eq!(said.matches("452 4.5.3").count(), 1);
}

/// What a peer may come up with: pieces of commands, of content, and of neither.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let commands: Vec<&[u8]> = vec![
        b"EHLO x\r\n",
        b"HELO y\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n",
        b"RCPT TO:<x@y.example>\r\n",
        // 100 octets at most; 50 octets of its quota left.
        b"RCPT TO:<mbx-000000000000000e@gateway.example.com>\r\n",
        b"RCPT TO:<mbx-000000000000000f@gateway.example.com>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"BDAT 5\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT 3 LAST\r\nabc",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"\r",
        b"\n",
        b"abcde",
    ];
    prop_oneof![
        5 => proptest::sample::select(commands).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Goal: whatever is said and wherever it is cut, the session says the same, stores the same, never promises more than
    /// was stored, and never panics.
    #[test]
    fn anything_said_in_any_pieces_means_the_same(fragments in proptest::collection::vec(fragment(), 0..40), cut in 1usize..50) {
        let input = fragments.concat();
        let mut whole = stage();
        whole.feed(&input);
        let mut pieces = stage();
        let mut unread = Vec::new();
        for piece in input.chunks(cut) {
            unread.extend_from_slice(piece);
            unread = pieces.feed(&unread);
            prop_assert!(unread.len() <= 2048 || pieces.closed, "{} octets wait", unread.len());
        }
        prop_assert_eq!(&pieces.replies, &whole.replies);
        prop_assert_eq!(&pieces.stored, &whole.stored);
        let promised = replies(&whole).matches("on disk as").count();
        prop_assert_eq!(promised, whole.stored.len());
    }
}

/// Goal: the number of sealed copies that one transaction can ask for is bounded.
#[test]
fn there_is_an_end_to_mailboxes() {
    let recipient = |n: u64| crate::intake::Recipient {
        mailbox: postern_shared::id::MailboxId::from_bytes(n.to_be_bytes()),
        address: String::new(),
    };
    let recipients: Vec<_> = (0..50).flat_map(|n| [recipient(n), recipient(n)]).collect();
    let transaction = super::transaction::Transaction { recipients, ..Default::default() };
    assert!(!transaction.is_one_mailbox_too_many(recipient(49).mailbox, 50), "one that is there already");
    assert!(transaction.is_one_mailbox_too_many(recipient(50).mailbox, 50));
}
