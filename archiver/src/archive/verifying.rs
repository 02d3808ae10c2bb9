//! How far a verification has come, so that it goes on where it was ended.
//!
//! ```text
//! work/verify.json             for each store: how far, and how much of the next file counts
//! work/verify.0001.findings    what was found, a JSON object a line
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use super::files::{read_json, write_json};
use super::stores::{Finding, Verification};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    state: Verification,
    /// Findings in their file, and their octets.
    findings: u64,
    findings_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Verifying<'d> {
    disk: &'d dyn Disk,
    work: PathBuf,
    states: BTreeMap<String, Kept>,
}

impl<'d> Verifying<'d> {
    /// What was kept in `work`; nothing when it is to begin `afresh`, or cannot be read.
    pub(super) fn open(disk: &'d dyn Disk, work: &Path, afresh: bool) -> Result<Self, ArchiveError> {
        let mut verifying = Self { disk, work: work.into(), states: BTreeMap::new() };
        let path = verifying.path();
        if disk.exists(&path).map_err(ArchiveError::file(&path))? && !afresh {
            verifying.states = read_json(disk, &path).unwrap_or_default();
        }
        Ok(verifying)
    }

    fn path(&self) -> PathBuf {
        self.work.join("verify.json")
    }

    fn findings_path(&self, store: &str) -> PathBuf {
        self.work.join(format!("verify.{store}.findings"))
    }

    /// Where that of a store goes on, when it can; else where it begins.
    pub(super) fn state(&mut self, store: &str, epoch: &str, now: UnixMillis) -> Verification {
        let kept = self.states.get(store).filter(|kept| kept.state.goes_on(epoch, now));
        if let Some((kept, findings)) = kept.and_then(|kept| Some((kept, self.findings(store, kept)?))) {
            return Verification { findings, ..kept.state.clone() };
        }
        self.states.remove(store);
        Verification { epoch: epoch.into(), begun: now, ..Verification::default() }
    }

    fn findings(&self, store: &str, kept: &Kept) -> Option<Vec<Finding>> {
        if kept.findings == 0 {
            return Some(Vec::new());
        }
        let file = self.disk.open_read(&self.findings_path(store)).ok()?;
        let len = file.len().ok().filter(|len| *len >= kept.findings_bytes).map(|_| kept.findings_bytes)?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let findings: Vec<Finding> = lines.map(serde_json::from_slice).collect::<Result<_, _>>().ok()?;
        (findings.len() as u64 == kept.findings).then_some(findings)
    }

    /// Keeps how far that of a store has come: first what was found since, then the state that counts it.
    pub(super) fn save(&mut self, store: &str, state: &Verification) -> Result<(), ArchiveError> {
        let path = self.findings_path(store);
        let kept = self.states.entry(store.into()).or_default();
        let known = usize::try_from(kept.findings).unwrap_or(usize::MAX);
        let new = state.findings.get(known..).unwrap_or_default();
        if !new.is_empty() {
            let mut lines = Vec::new();
            for finding in new {
                serde_json::to_writer(&mut lines, finding)
                    .map_err(|error| ArchiveError::File { path: path.clone(), reason: error.to_string() })?;
                lines.push(b'\n');
            }
            let file = match self.disk.exists(&path).map_err(ArchiveError::file(&path))? {
                true => self.disk.open(&path),
                false => {
                    self.disk.create(&path).and_then(|file| self.disk.sync_dir(&self.work).map(|()| file))
                }
            };
            let written = file.and_then(|file| {
                file.write_all_at(&[&lines], kept.findings_bytes)?;
                file.sync_data()
            });
            written.map_err(ArchiveError::file(&path))?;
            kept.findings += new.len() as u64;
            kept.findings_bytes += lines.len() as u64;
        }
        kept.state = Verification { findings: Vec::new(), ..state.clone() };
        write_json(self.disk, &self.path(), &self.states)
    }

    /// Removes everything: it came to its end.
    pub(super) fn forget(self) -> Result<(), ArchiveError> {
        for path in self.disk.files(&self.work).map_err(ArchiveError::file(&self.work))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name == "verify.json" || (name.starts_with("verify.") && name.ends_with(".findings")) {
                self.disk.remove(&path).map_err(ArchiveError::file(&path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::{Disk, RealDisk};

    use super::*;

    fn finding(n: usize) -> Finding {
        Finding { store: "0001".into(), message: None, what: format!("{n} {}", "x".repeat(300)) }
    }

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    /// Goal: a verification with as many findings as are told goes on; one of another catalog, or of long ago, begins anew.
    #[test]
    fn it_goes_on_with_all_findings_and_with_its_own_catalog_only() {
        let dir = tempfile::tempdir().unwrap();
        let open = |afresh| Verifying::open(&RealDisk, dir.path(), afresh).unwrap();
        let mut verifying = open(false);
        let mut state = verifying.state("0001", "one", NOW);
        for n in 0..10_000 {
            state.findings.push(finding(n));
            state.after = n as u64;
            if n % 1000 == 7 || n == 9_999 {
                verifying.save("0001", &state).unwrap();
            }
        }
        assert!(
            RealDisk.read(&verifying.path(), 1 << 20).unwrap().len() < 1000,
            "it does not grow with what is found"
        );
        assert_eq!(open(false).state("0001", "one", NOW), state);
        let begun = |epoch: &str, now: UnixMillis| open(false).state("0001", epoch, now).after;
        assert_eq!(begun("two", NOW), 0, "a rebuilt catalog numbers anew");
        let day = 24 * 3600 * 1000;
        assert_eq!(begun("one", UnixMillis(NOW.0 + 3 * day)), 9_999);
        assert_eq!(begun("one", UnixMillis(NOW.0 + 365 * day)), 0);
        assert_eq!(open(true).state("0001", "one", NOW).after, 0);
        open(false).forget().unwrap();
        assert_eq!(RealDisk.files(dir.path()).unwrap(), [""; 0].map(PathBuf::from));
    }

    /// Goal: what was written amid a crash does not count.
    #[test]
    fn findings_behind_those_that_count_are_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut verifying = Verifying::open(&RealDisk, dir.path(), false).unwrap();
        let mut state = verifying.state("0001", "one", NOW);
        state.findings.push(finding(1));
        verifying.save("0001", &state).unwrap();
        let path = verifying.findings_path("0001");
        let len = RealDisk.open_read(&path).unwrap().len().unwrap();
        RealDisk.open(&path).unwrap().write_all_at(&[b"{\"half"], len).unwrap();
        let mut again = Verifying::open(&RealDisk, dir.path(), false).unwrap();
        assert_eq!(again.state("0001", "one", NOW), state);
        state.findings.push(finding(2));
        again.save("0001", &state).unwrap();
        assert_eq!(Verifying::open(&RealDisk, dir.path(), false).unwrap().state("0001", "one", NOW), state);
    }
}
