use std::sync::Arc;

use postern_shared::disk::{Disk, RealDisk, SimulatedDisk};

use super::bench::{commit, content, id, instance, message, opened, read};
use crate::archive::octets::{FileOctets, Octets};
use crate::archive::stores::Commits;

fn pack_bytes(disk: &SimulatedDisk) -> u64 {
    let packs = disk.files(&instance().join("stores/0001/packs")).unwrap();
    packs.iter().map(|pack| disk.open_read(pack).unwrap().len().unwrap()).sum()
}

/// Goal: an attachment is stored once, whoever sends it in whatever message, in one batch or in several, and after a restart; encoded
/// in lines of another length too.
#[test]
fn a_part_is_stored_once() {
    let (bench, disk, stores) = opened();
    commit(&stores, vec![message(content(0, Some(1)), "anna")]).unwrap();
    let one = pack_bytes(&disk);
    assert!(one > 6000, "the attachment does not compress");
    let twenty: Vec<_> = (1..21).map(|n| message(content(n, Some(1)), "anna")).collect();
    let ids: Vec<_> = commit(&stores, twenty).unwrap().into_iter().map(id).collect();
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    let rewrapped = String::from_utf8(content(50, Some(1))).unwrap();
    let (head, rest) = rewrapped.split_once("base64\r\n\r\n").unwrap();
    let (encoded, end) = rest.split_once("\r\n--b--").unwrap();
    let joined = encoded.replace("\r\n", "");
    let lines: Vec<_> = joined.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let rewrapped = format!("{head}base64\r\n\r\n{}\n\n--b--{end}", lines.join("\n"));
    let other = commit(&stores, vec![message(rewrapped.clone().into_bytes(), "anna")]).unwrap();
    assert_eq!(read(&stores, id(other[0])).unwrap(), rewrapped.into_bytes());
    let grown = pack_bytes(&disk) - one;
    assert!(grown < 21 * 900, "{grown} bytes for 21 messages more");
    for (n, id) in (1..21).zip(ids) {
        assert_eq!(read(&stores, id).unwrap(), content(n, Some(1)));
    }
}

/// Goal: one copy for twenty recipients.
#[test]
fn twenty_recipients_cost_little_more_than_one() {
    let (_bench, disk, stores) = opened();
    commit(&stores, vec![message(content(0, Some(1)), "user0")]).unwrap();
    let one = pack_bytes(&disk);
    for n in 1..20 {
        commit(&stores, vec![message(content(0, Some(1)), &format!("user{n}"))]).unwrap();
    }
    let grown = pack_bytes(&disk) - one;
    assert!(grown < 19 * 400, "{grown} bytes for 19 recipients more");
    assert_eq!(stores.current().unwrap().store.leaves(), 1);
}

/// Goal: destroying one message's key takes that message and the parts that only it has; others keep what they share.
#[test]
fn a_destroyed_key_takes_one_message() {
    let (bench, disk, stores) = opened();
    let batch = vec![message(content(1, Some(1)), "anna"), message(content(2, Some(1)), "anna")];
    let ids: Vec<_> = commit(&stores, batch).unwrap().into_iter().map(id).collect();
    drop(stores);
    let keys = disk.files(&instance().join("stores/0001/keys")).unwrap().remove(0);
    disk.open(&keys).unwrap().write_all_at(&[&[0; 64]], 32 + 64).unwrap();
    let stores = bench.open(&disk).unwrap();
    assert!(read(&stores, ids[0]).unwrap_err().to_string().contains("no key"));
    assert_eq!(read(&stores, ids[1]).unwrap(), content(2, Some(1)), "it shares the attachment");
    // The key of a part is found through those that still have it.
    let third = commit(&stores, vec![message(content(3, Some(1)), "anna")]).unwrap();
    assert_eq!(read(&stores, id(third[0])).unwrap(), content(3, Some(1)));
}

/// Goal: a long message goes in and out without ever being in memory as a whole, and its attachment is still single.
#[test]
fn a_long_message_streams() {
    const BYTES: usize = 12 * 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let (_bench, disk, stores) = opened();
    let head = b"Subject: long\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let line = "QUFB".repeat(19) + "\r\n";
    let mut bytes = head.to_vec();
    bytes.extend(line.repeat(BYTES / line.len()).as_bytes());
    bytes.extend(b"\r\n--b--\r\n");
    let path = dir.path().join("long.eml");
    let file = RealDisk.create(&path).unwrap();
    file.write_all_at(&[&bytes], 0).unwrap();
    let octets: Arc<dyn Octets> = Arc::new(FileOctets::new(file, 0..bytes.len() as u64));
    let long = vec![stores.ready(message(Vec::new(), "anna"), Some(Arc::clone(&octets))).unwrap()];
    let outcome = stores.commit(&Commits::default(), long).unwrap().remove(0);
    let attached = stores.current().unwrap();
    let opened = attached.store.opened(id(outcome)).unwrap().unwrap();
    let (mut at, mut longest) = (0, 0);
    attached
        .store
        .copy_content(&opened, &mut |piece| {
            assert_eq!(piece, &bytes[at..at + piece.len()]);
            at += piece.len();
            longest = longest.max(piece.len());
            Ok(())
        })
        .unwrap();
    assert_eq!(at, bytes.len());
    assert!(longest < 1024 * 1024, "in stretches: {longest}");
    let again = vec![stores.ready(message(Vec::new(), "bob"), Some(octets)).unwrap()];
    assert_eq!(id(stores.commit(&Commits::default(), again).unwrap()[0]), id(outcome));
    let waiting = disk.files(&instance().join("stores/0001/packs")).unwrap();
    assert!(waiting.iter().all(|path| path.extension().unwrap() == "pack"), "{waiting:?}");
}
