//! Copies of the directory, taken while the spool works; and spools of earlier versions.

use super::*;

/// Takes a copy file by file, in the order in which they are listed first.
struct Copying {
    to: Bench,
    left: Vec<PathBuf>,
    /// What was held when it began.
    before: Model,
}

impl Copying {
    fn begin(bench: &Bench, model: &Model) -> Self {
        let to = Bench::new();
        for dir in ["segments", "large"] {
            RealDisk.create_dir_all(&to.dir.path().join(dir)).unwrap();
        }
        let mut left = [bench.segments(), bench.large()].concat();
        left.reverse();
        Self { to, left, before: model.clone() }
    }

    fn copy(&mut self, from: &Path, files: usize) {
        for _ in 0..files {
            let Some(path) = self.left.pop() else { return };
            // As `cp` does with what is gone by then; nothing that counts may be.
            let Ok(bytes) = RealDisk.read(&path, u64::MAX) else { continue };
            let to = self.to.dir.path().join(path.strip_prefix(from).unwrap());
            RealDisk.create(&to).unwrap().write_all_at(&[&bytes], 0).unwrap();
        }
    }

    /// What did not change since the copy began is in it as it was.
    fn check(mut self, from: &Path, now: &Model) -> Result<(), TestCaseError> {
        self.copy(from, usize::MAX);
        let spool = self.to.open();
        let listed: BTreeMap<MessageId, bool> =
            spool.entries(mailbox()).iter().map(|entry| (entry.message, entry.unconfirmed)).collect();
        let held = served(&spool);
        self.before.restart();
        let mut now = now.clone();
        now.restart();
        for (message, body) in &self.before.served {
            let unconfirmed = self.before.unconfirmed.contains(message);
            if now.served.contains_key(message) {
                prop_assert_eq!(held.get(message), Some(body), "{} is lost", message);
            }
            // A decision since may be in it or not.
            if now.served.contains_key(message) && now.unconfirmed.contains(message) == unconfirmed {
                prop_assert_eq!(listed.get(message), Some(&unconfirmed), "{}", message);
            }
        }
        for message in listed.keys() {
            let known = self.before.served.contains_key(message) || !self.before.seen.contains(message);
            prop_assert!(known, "{} is back", message);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Goal: a plain copy holds everything that was held before it began and still is, with what was known of it, and
    /// nothing that was deleted before.
    /// Method: a file or two is copied between one operation and the next, sweeps among them, within the grace period.
    #[test]
    fn a_plain_copy_holds_what_was_held_before_it_began(
        ops in proptest::collection::vec(op(), 20..80),
        begins in 5usize..60,
        files in 1usize..3,
    ) {
        let bench = Bench::new();
        let spool = bench.open();
        let mut model = Model::default();
        let mut copying = None;
        for (n, op) in (0u8..).zip(ops) {
            if usize::from(n) == begins {
                copying = Some(Copying::begin(&bench, &model));
            }
            match op {
                Op::Sweep { pass_grace } => {
                    spool.sweep().unwrap();
                    if pass_grace && copying.is_none() {
                        bench.clock.advance(Duration::from_secs(61));
                    }
                }
                Op::Restart => {}
                other => model.apply(&other, n, &spool),
            }
            copying.iter_mut().for_each(|copying| copying.copy(bench.dir.path(), files));
        }
        if let Some(copying) = copying {
            copying.check(bench.dir.path(), &model)?;
        }
    }
}

/// Goal: spools that were written before there were prepared messages are read.
/// Method: a segment put together by hand, as their header drew it.
#[test]
fn spools_without_prepared_messages_are_read() {
    let record = |kind: u8, message: [u8; 16], body: &[u8]| {
        let mut bytes = [&b"PSR1"[..], &[kind, 0, 0, 0], &MAILBOX, &message].concat();
        bytes.extend_from_slice(&1_600_000_000_000_u64.to_be_bytes());
        bytes.extend_from_slice(&[&11_u64.to_be_bytes()[..], &(body.len() as u64).to_be_bytes()].concat());
        bytes.extend_from_slice(&[22_u32.to_be_bytes(), crc32c::crc32c(body).to_be_bytes()].concat());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        [&bytes, body].concat()
    };
    let mut segment = [&b"PSTNSEG1"[..], &1_u64.to_be_bytes(), &[0; 12]].concat();
    segment.extend_from_slice(&crc32c::crc32c(&segment).to_be_bytes());
    for n in 1..=3 {
        segment.extend_from_slice(&record(1, [n; 16], &body(n, 100)));
    }
    segment.extend_from_slice(&record(3, [2; 16], b""));

    let bench = Bench::new();
    let path = bench.dir.path().join("segments/0000000000000001.seg");
    RealDisk.create_dir_all(path.parent().unwrap()).unwrap();
    RealDisk.create(&path).unwrap().write_all_at(&[&segment], 0).unwrap();
    let spool = bench.open();
    assert_eq!(served(&spool), expect(&[(1, 100), (3, 100)]));
    assert!(spool.entries(mailbox()).iter().all(|entry| !entry.unconfirmed));
    assert_eq!(spool.damage(), []);
}
