//! Looks at files that come, change and break.

use std::path::Path;
use std::time::Duration;

use postern_shared::clock::ManualClock;
use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step, write_atomic};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn settings(dir: &Path, tls: &str) -> Settings {
    let text = format!("host_name = 'gateway.example.com'\ndata_dir = {:?}\n{tls}", dir.join("data"));
    let path = dir.join("gateway.toml");
    write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
    Settings::load(&RealDisk, Some(&path), []).unwrap()
}

/// PEM files `crt` and `key` in `dir`.
fn put(dir: &Path, made: UnixMillis) -> Digest {
    let source = tempfile::tempdir().unwrap();
    let names = ["gateway.example.com".to_owned()];
    let identity = Identity::self_signed(&RealDisk, source.path(), &names, made).unwrap();
    let (certificate, key) = self_signed_files(source.path());
    for (from, to) in [(certificate, "crt"), (key, "key")] {
        write_atomic(&RealDisk, &dir.join(to), &RealDisk.read(&from, 10_000).unwrap()).unwrap();
    }
    identity.fingerprint()
}

fn files(dir: &Path) -> Settings {
    let (certificate, key) = (dir.join("crt"), dir.join("key"));
    settings(dir, &format!("[tls]\nmode = 'files'\ncertificate = {certificate:?}\nkey = {key:?}"))
}

fn keeper(settings: &Settings, clock: &Arc<ManualClock>) -> Keeper {
    Keeper::open(settings, Arc::new(RealDisk), Arc::<ManualClock>::clone(clock)).unwrap()
}

/// Goal: what changes is served; what is broken, half there or expired is told and replaces nothing.
#[test]
fn files_are_taken_when_they_change_and_when_they_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let first = put(dir.path(), NOW);
    let keeper = keeper(&files(dir.path()), &clock);
    assert_eq!(keeper.look(false), Look::Same);
    let second = put(dir.path(), NOW);
    assert_eq!(keeper.look(false), Look::Swapped);
    assert_eq!((keeper.identity().fingerprint() == second, first == second), (true, false));

    for broken in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA", b"nonsense"] {
        write_atomic(&RealDisk, &dir.path().join("crt"), broken).unwrap();
        assert!(matches!(keeper.look(false), Look::Kept(_)));
        assert_eq!(keeper.trouble(), None, "the operator may be in the midst of it");
        assert!(matches!(keeper.look(false), Look::Kept(_)));
        assert!(keeper.trouble().is_some_and(|text| text.contains("crt")), "{:?}", keeper.trouble());
        assert_eq!(keeper.identity().fingerprint(), second);
        keeper.seen().trouble = None;
    }
    RealDisk.remove(&dir.path().join("crt")).unwrap();
    assert!(matches!(keeper.look(true), Look::Kept(_)));
    assert!(keeper.trouble().is_some_and(|text| text.contains("No such file")), "told at once when asked");

    let third = put(dir.path(), NOW);
    assert_eq!((keeper.look(false), keeper.trouble()), (Look::Swapped, None));
    assert_eq!(keeper.identity().fingerprint(), third);
}

/// Goal: a key that comes after its certificate, and dates that are not now, are waited for.
#[test]
fn what_is_half_there_or_out_of_its_time_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let third = put(dir.path(), NOW);
    let keeper = keeper(&files(dir.path()), &clock);
    let old_key = RealDisk.read(&dir.path().join("key"), 10_000).unwrap();
    let fourth = put(dir.path(), NOW);
    let new_key = RealDisk.read(&dir.path().join("key"), 10_000).unwrap();
    write_atomic(&RealDisk, &dir.path().join("key"), &old_key).unwrap();
    assert!(matches!(keeper.look(false), Look::Kept(_)), "the certificate came, its key did not yet");
    assert_eq!(keeper.identity().fingerprint(), third);
    write_atomic(&RealDisk, &dir.path().join("key"), &new_key).unwrap();
    assert_eq!((keeper.look(false), keeper.trouble()), (Look::Swapped, None));
    assert_eq!(keeper.identity().fingerprint(), fourth);

    put(dir.path(), UnixMillis(1));
    assert!(matches!(keeper.look(true), Look::Kept(reason) if reason.contains("expired on 1979")));
    put(dir.path(), NOW.plus(40 * DAY));
    assert!(matches!(keeper.look(true), Look::Kept(reason) if reason.contains("not valid before")));
    clock.advance(40 * DAY);
    assert_eq!(keeper.look(true), Look::Swapped, "its time has come");
}

/// Goal: a self-signed certificate lives its time, and is made anew with its names before it ends, in a running daemon and
/// at a start.
#[test]
fn the_self_signed_one_is_renewed_before_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), "");
    let clock = Arc::new(ManualClock::at(NOW));
    let keeper_ = keeper(&settings, &clock);
    let (first, expires) = (keeper_.identity().fingerprint(), keeper_.identity().expires().unwrap());
    clock.advance(expires.since(NOW) - 31 * DAY);
    assert_eq!(keeper_.look(false), Look::Same);
    assert_eq!(keeper(&settings, &clock).identity().fingerprint(), first, "a restart changes nothing");
    clock.advance(DAY);
    assert_eq!(keeper_.look(false), Look::Swapped);
    let second = keeper_.identity();
    assert_ne!(second.fingerprint(), first);
    assert_eq!(second.leaf().unwrap().names, ["gateway.example.com"]);
    assert_eq!(keeper(&settings, &clock).identity().fingerprint(), second.fingerprint());
    clock.advance(second.expires().unwrap().since(clock.wall()) + DAY);
    assert_ne!(keeper(&settings, &clock).identity().fingerprint(), second.fingerprint(), "at a start, too");
}

/// Goal: a disk that takes no new certificate leaves the old one served.
#[test]
fn a_full_disk_keeps_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), "");
    let clock = Arc::new(ManualClock::at(NOW));
    let first = keeper(&settings, &clock).identity();
    let fault = Fault::nth(Step::Write, 0, std::io::ErrorKind::StorageFull);
    let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault));
    let keeper = Keeper::open(&settings, disk, Arc::<ManualClock>::clone(&clock)).unwrap();
    clock.advance(first.expires().unwrap().since(NOW) - DAY);
    assert!(matches!(keeper.look(true), Look::Kept(_)));
    assert_eq!(keeper.identity().fingerprint(), first.fingerprint());
    assert_eq!(keeper.look(true), Look::Swapped, "the fault was a passing one");
}

/// Goal: with an authority, a stand-in is served until its certificate is there.
#[test]
fn a_stand_in_is_served_until_the_authority_has_issued() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), "[tls]\nmode = 'acme'\n[acme]\naccept_terms = true");
    let clock = Arc::new(ManualClock::at(NOW));
    let keeper = keeper(&settings, &clock);
    assert_eq!(keeper.origin(), Origin::StandIn);
    let elsewhere = tempfile::tempdir().unwrap();
    let names = ["gateway.example.com".to_owned()];
    let issued = Identity::self_signed(&RealDisk, elsewhere.path(), &names, NOW).unwrap();
    keeper.store_issued(&issued).unwrap();
    assert_eq!(keeper.origin(), Origin::Acme);
    assert_eq!(keeper.identity().fingerprint(), issued.fingerprint());
    let shown = keeper.shown();
    assert_eq!((shown["mode"].as_str(), shown["source"].as_str()), (Some("acme"), Some("acme")));
    assert_eq!(shown["verified"], false);
}
