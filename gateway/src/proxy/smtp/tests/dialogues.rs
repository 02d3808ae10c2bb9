//! Runs the dialogues in `tests/dialogues/smtp-proxy` against the pure relay.
//!
//! A dialogue is a text file; `#` begins a comment. It begins behind the client's login. Each is run twice: with what either
//! side says as it stands, and octet by octet.
//!
//! ```text
//! server PIPELINING SIZE 1000     what the server can do, a comma between two; without this line everything
//! mailbox mbx-…                   where copies go: …a is active, …b suspended; without this line …a
//! limit 1000                      the longest message, in octets
//! refuse begin | content | prepare | confirm      the intake's disk is full at that step
//! refuse mailbox                  the mailbox is gone when a message begins
//! the mailbox is suspended        by the operator
//! C: text, c: text                a line the client sends, with and without CRLF; lines after each other come together
//! P: text, p: text                the same from the provider's server
//! G: text                         the next line that the server gets is exactly this
//! S: text                         the next line that the client gets is exactly this; a trailing … stands for anything
//! quiet                           neither side has got anything more
//! severed | closed                the connection with the server is cut; both are closed
//! the server is gone | the server is silent | the client is gone | the client is idle | shutdown
//! confirmed: text                 the next copy is confirmed, envelope first: <from> -> to, to | content
//! discarded: text, unconfirmed: text      or that became of it; a trailing … here too
//! ```
//!
//! Escapes are those of the dialogues of the SMTP receiver.

use std::path::{Path, PathBuf};

use postern_shared::disk::{Disk, RealDisk};
use postern_shared::proto::smtp::answer::Answer;
use postern_shared::proto::smtp::extensions::Extensions;

use super::stage::{Copy, Fate, Stage, all_extensions};
use crate::proxy::smtp::Event;
use crate::smtp_receiver::dialogues::unescape;

fn shown(copy: &Copy) -> Vec<u8> {
    let to: Vec<&str> = copy.envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    [format!("<{}> -> {} | ", copy.envelope.mail_from, to.join(", ")).as_bytes(), &copy.content].concat()
}

/// The next line of what was sent.
fn line(sent: &mut Vec<u8>, place: &str) -> String {
    let end =
        sent.windows(2).position(|end| end == b"\r\n").unwrap_or_else(|| panic!("{place}: nothing came"));
    String::from_utf8(sent.drain(..end + 2).collect()).unwrap().trim_end().to_owned()
}

fn matches(found: &str, expected: &str, place: &str) {
    match expected.strip_suffix('…') {
        Some(start) => assert!(found.starts_with(start), "{place}: {found}"),
        None => assert_eq!(found, expected, "{place}"),
    }
}

fn stage(text: &str) -> Stage {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let extensions = value("server ").map_or_else(all_extensions, |words| {
        let lines = std::iter::once("name").chain(words.split(',').map(str::trim));
        Extensions::read(&Answer { code: 250, lines: lines.map(str::to_owned).collect() })
    });
    let limit = value("limit ").map_or(1_000_000, |limit| limit.parse().unwrap());
    let mut stage = Stage::new(extensions, limit, value("mailbox ").unwrap_or("mbx-000000000000000a"));
    stage.refuse = value("refuse ").map(str::to_owned);
    stage
}

fn run(path: &Path, text: &str, octet_by_octet: bool) {
    let mut stage = stage(text);
    let (mut client, mut server, mut copies) = (Vec::new(), Vec::new(), 0);
    for (number, written) in text.lines().enumerate() {
        let place = format!("{}:{} (octet by octet: {octet_by_octet})", path.display(), number + 1);
        let (key, rest) = written.split_once(": ").unwrap_or((written.trim_end_matches(':'), ""));
        match key {
            "C" => client.extend([&unescape(rest)[..], b"\r\n"].concat()),
            "c" => client.extend(unescape(rest)),
            "P" => server.extend([&unescape(rest)[..], b"\r\n"].concat()),
            "p" => server.extend(unescape(rest)),
            _ => {}
        }
        if ["C", "c", "P", "p"].contains(&key) || key.starts_with('#') {
            continue;
        }
        let pieces = |said: Vec<u8>| {
            let step = if octet_by_octet { 1 } else { said.len().max(1) };
            said.chunks(step).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        pieces(std::mem::take(&mut client)).iter().for_each(|piece| stage.client_says(piece));
        pieces(std::mem::take(&mut server)).iter().for_each(|piece| stage.server_says(piece));
        match key {
            "G" => matches(&line(&mut stage.to_server, &place), rest, &place),
            "S" => matches(&line(&mut stage.to_client, &place), rest, &place),
            "quiet" => {
                assert_eq!(String::from_utf8_lossy(&stage.to_server), "", "{place}");
                assert_eq!(String::from_utf8_lossy(&stage.to_client), "", "{place}");
            }
            "severed" => assert!(stage.severed, "{place}"),
            "closed" => assert!(stage.closed, "{place}"),
            "the server is gone" => stage.event(Event::ServerGone),
            "the server is silent" => stage.event(Event::ServerSilent),
            "the client is gone" => stage.event(Event::ClientGone),
            "the client is idle" => stage.event(Event::Idle),
            "the mailbox is suspended" => stage.suspend(),
            "shutdown" => stage.event(Event::Shutdown),
            "confirmed" | "discarded" | "unconfirmed" => {
                let copy = stage.copies.get(copies).unwrap_or_else(|| panic!("{place}: no copy"));
                let fate = match key {
                    "confirmed" => Fate::Confirmed,
                    "discarded" => Fate::Discarded,
                    _ => Fate::Unconfirmed,
                };
                assert_eq!(copy.fate, fate, "{place}");
                let lossy = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                matches(&lossy(&shown(copy)), &lossy(&unescape(rest)), &place);
                copies += 1;
            }
            _ => {
                let settings = ["server ", "mailbox ", "limit ", "refuse "];
                let known = written.is_empty() || settings.iter().any(|start| written.starts_with(start));
                assert!(known, "{place}: {written:?} is not understood");
            }
        }
    }
    let name = path.display();
    assert_eq!(stage.copies.len(), copies, "{name}: copies that are not spoken of");
    assert_eq!(String::from_utf8_lossy(&stage.to_client), "", "{name}: replies that are not spoken of");
    assert_eq!(String::from_utf8_lossy(&stage.to_server), "", "{name}: commands that are not spoken of");
    assert!(!stage.closed || !stage.holds_a_message(), "{name}: half a message is left");
}

/// Goal: a client that logs in once more leaves its password nowhere, however long the line is.
#[test]
fn a_login_is_known_before_it_is_taken() {
    let mut stage = Stage::new(all_extensions(), 1000, "mbx-000000000000000a");
    assert!(stage.relay.expects_secret(b"auth PLAIN AGFubmEAc2VjcmV0\r\n"));
    assert!(!stage.relay.expects_secret(b"NOOP\r\n"));
    stage.client_says(&[b"AUTH PLAIN ".as_slice(), &[b'A'; 3000]].concat());
    assert!(stage.relay.expects_secret(b"AAAA\r\n"));
    stage.client_says(b"\r\n");
    assert!(!stage.relay.expects_secret(b"NOOP\r\n"));
}

#[test]
fn every_dialogue_goes_as_written() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/dialogues/smtp-proxy");
    let files = RealDisk.files(&dir).unwrap();
    assert!(files.len() >= 10);
    for path in files {
        let text = String::from_utf8(RealDisk.read(&path, 1 << 20).unwrap()).unwrap();
        run(&path, &text, false);
        run(&path, &text, true);
    }
}
