//! What hostile peers send, against the pure session: injection behind STARTTLS, octets that no command holds, lines and
//! sessions without end. What stands in for the end of a message is in `smuggling`.

use super::dialogues::{Stage, settings};
use super::session::{Event, Session};

pub(super) const ENVELOPE: &str =
    "MAIL FROM:<a@example.com>\r\nRCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n";
pub(super) fn stage(limit: u64) -> Stage {
    let mut stage = Stage::new(Session::new(settings(limit), true));
    stage.feed(b"HELO x\r\n");
    stage.replies.clear();
    stage
}

/// Sends `input` in pieces, as a network would; what was not taken stands before the next piece.
pub(super) fn send<'p>(stage: &mut Stage, pieces: impl IntoIterator<Item = &'p [u8]>) {
    let mut unread = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        unread = stage.feed(&unread);
        assert!(unread.len() <= 2048 || stage.closed || stage.handshake_pending, "unbounded");
    }
}

/// Every way to cut `input` once, and octet by octet.
pub(super) fn with_every_cut(input: &[u8], limit: u64, check: impl Fn(&Stage, &str)) {
    for cut in 0..=input.len() {
        let mut stage = stage(limit);
        send(&mut stage, [&input[..cut], &input[cut..]]);
        check(&stage, &format!("cut at {cut}"));
    }
    let mut stage = stage(limit);
    send(&mut stage, input.chunks(1));
    check(&stage, "octet by octet");
}

/// The codes of the replies, one a reply.
pub(super) fn codes(stage: &Stage) -> Vec<u16> {
    let text = String::from_utf8_lossy(&stage.replies).into_owned();
    text.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| line[..3].parse().unwrap()).collect()
}

/// Goal: what came in clear behind STARTTLS, in the same read or later, is neither carried out nor remembered
/// (RFC 3207 §4.2).
#[test]
fn what_is_injected_behind_starttls_is_gone() {
    let injected = format!("HELO evil\r\n{ENVELOPE}DATA\r\nevil\r\n.\r\n");
    let input = format!("HELO x\r\nMAIL FROM:<evil@example.org>\r\nSTARTTLS\r\n{injected}");
    for cut in 0..=input.len() {
        let mut stage = Stage::new(Session::new(settings(1000), false));
        stage.replies.clear();
        send(&mut stage, [&input.as_bytes()[..cut], &input.as_bytes()[cut..]]);
        assert!(stage.handshake_pending, "cut at {cut}");
        assert_eq!(codes(&stage), [250, 250, 220], "cut at {cut}");
        assert_eq!(stage.session.receive(injected.as_bytes(), &mut Vec::new()), 0, "nothing before TLS");
        stage.handshake_pending = false;
        stage.event(Event::TlsStarted);
        stage.replies.clear();
        let rest = format!("RCPT TO:<a@b>\r\nMAIL FROM:<a@b>\r\nSTARTTLS\r\nHELO y\r\n{ENVELOPE}");
        send(&mut stage, [rest.as_bytes()]);
        assert_eq!(codes(&stage), [503, 503, 503, 250, 250, 250], "cut at {cut}");
        assert!(stage.stored.is_empty());
    }
}

/// Goal: what is no line of text costs one error each, and is never half a command.
#[test]
fn octets_that_no_command_holds_are_refused() {
    let lines: [&[u8]; 14] = [
        b"NOOP\n",
        b"NOOP\r\r\n",
        b"NO\rOP\r\n",
        b"\rNOOP\r\n",
        b"NOOP \0\r\n",
        b"\0NOOP\r\n",
        b"\xffNOOP\r\n",
        b"HELO \xc3\xa4\r\n",
        b"HELO \xff\r\n",
        b"MAIL FROM:<\xc3\xa4@example.com>\r\n",
        b"MAIL FROM:<a@example.com\0>\r\n",
        b"MAIL FROM:<a@example.com>\rRCPT TO:<b>\r\n",
        b"MAIL FROM:<a@example.com> SMTPUTF8\0\r\n",
        b"\x16\x03\x01\x02\x00\x01\n",
    ];
    for line in lines {
        with_every_cut(&[line, b"RCPT TO:<a@b>\r\n"].concat(), 1000, |stage, cut| {
            let found = codes(stage);
            assert!(found.len() == 2 && found[0] >= 500, "{} {cut}: {found:?}", line.escape_ascii());
            assert_eq!(found[1], 503, "{} began no transaction, {cut}", line.escape_ascii());
        });
    }
}

/// Goal: a line of 10 MB, and an EHLO of 1 MB, cost one error and no memory.
/// Method: in reads of the driver's size; `send` checks that never more than one line's worth waits.
#[test]
fn lines_without_end_cost_one_error() {
    for line in ["x".repeat(10_000_000), format!("EHLO {}", "a".repeat(1_000_000)), "\r".repeat(1_000_000)] {
        let mut stage = stage(1000);
        let input = format!("{line}\r\nNOOP\r\n");
        send(&mut stage, input.as_bytes().chunks(65_536));
        assert_eq!(codes(&stage), [500, 250]);
    }
    let mut stage = stage(1000);
    send(&mut stage, "x".repeat(10_000_000).as_bytes().chunks(1000));
    assert_eq!(codes(&stage), [] as [u16; 0], "without an end there is nothing to answer");
}

/// Goal: 100,000 recipients in one transaction are answered one by one, and what is kept of them is bounded.
#[test]
fn a_hundred_thousand_recipients_are_bounded() {
    let mut stage = stage(1000);
    send(&mut stage, [&b"MAIL FROM:<>\r\n"[..]]);
    let batch = "RCPT TO:<mbx-000000000000000a@gateway.example.com>\r\n".repeat(1000);
    for _ in 0..100 {
        send(&mut stage, batch.as_bytes().chunks(4096));
    }
    let found = codes(&stage);
    assert_eq!(found.iter().filter(|code| **code == 250).count(), 1001);
    assert_eq!(found.iter().filter(|code| **code == 452).count(), 99_000);
    send(&mut stage, [&b"DATA\r\nx\r\n.\r\n"[..]]);
    assert_eq!(stage.stored[0].0.recipients.len(), 1000);
}

/// Goal: who tries out recipients is sent away, whatever he resets in between.
#[test]
fn guessing_recipients_ends_the_session() {
    let mut stage = stage(1000);
    for n in 0..1000 {
        let guess =
            format!("MAIL FROM:<>\r\nRCPT TO:<mbx-{n:016x}@gateway.example.com>\r\nRSET\r\nHELO x\r\n");
        send(&mut stage, [guess.as_bytes()]);
    }
    let found = codes(&stage);
    assert_eq!(found.iter().filter(|code| **code == 550).count(), 20, "no more than 20 answers");
    assert!(found.ends_with(&[421]) && stage.closed);
}

/// Goal: commands that do nothing may be sent for ever: they leave nothing behind.
#[test]
fn idle_commands_leave_nothing_behind() {
    let mut stage = stage(1000);
    for _ in 0..100 {
        send(&mut stage, [format!("NOOP\r\n{ENVELOPE}RSET\r\n").repeat(100).as_bytes()]);
    }
    let found = codes(&stage);
    assert!(found.len() == 40_000 && found.iter().all(|code| *code == 250));
    send(&mut stage, [&b"DATA\r\n"[..]]);
    assert!(codes(&stage).ends_with(&[503]) && stage.stored.is_empty());
}
