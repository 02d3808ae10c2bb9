//! Searching all stores of an instance as one.

use std::time::Duration;

use postern_shared::clock::UnixMillis;

use super::ArchiveError;
use super::catalog::Row;
use super::index::{CursorKey, Query, Search, Snippet, guarded, halves, search};
use super::instance::Instance;
use super::message::{Hit, HitPage, TextMissing};
use super::stores::Watch;

/// How long a search waits for what was archived just before; then it says how far behind it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a search may take.
const DEADLINE: Duration = Duration::from_secs(30);

impl Instance {
    /// Finds messages; the hits alone.
    #[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "of these it is one itself"))]
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, ArchiveError> {
        self.find(query).map(|page| page.hits)
    }

    /// Finds messages. Lets the indexes catch up before; where somebody follows in the background, it waits a moment for them. What
    /// cannot follow is searched as it is, and the page says so.
    #[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "of these it is one itself"))]
    pub fn find(&self, query: &Query) -> Result<HitPage, ArchiveError> {
        self.find_watched(query, &mut |_, _, _| false, &|| false)
    }

    /// The same; `watch` is told how the index catches up, and may end that. `ended`: whether nobody waits for the answer any more.
    pub fn find_watched(
        &self,
        query: &Query,
        watch: Watch<'_>,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<HitPage, ArchiveError> {
        let mut cannot = None;
        if self.is_safe() {
            // What was indexed before is found.
        } else if !self.following.is_followed() {
            cannot = self.follow(watch).err();
        } else if self.behind()? > 0 {
            self.following.wait(PATIENCE);
        }
        let mut page = self.find_until(query, ended)?;
        page.damaged.extend(cannot.map(|error| error.to_string()));
        Ok(page)
    }

    /// Finds messages in what is indexed.
    pub fn find_now(&self, query: &Query) -> Result<HitPage, ArchiveError> {
        self.find_until(query, &|| false)
    }

    fn find_until(&self, query: &Query, ended: &(dyn Fn() -> bool + Sync)) -> Result<HitPage, ArchiveError> {
        let mut page = HitPage { behind: self.behind()?, ..HitPage::default() };
        let (mut stores, mut indexes) = (Vec::new(), Vec::new());
        for attached in self.stores.open_stores() {
            let opened = attached.index.current();
            let damage = opened.as_ref().err().map(ToString::to_string).or_else(|| attached.index.damage());
            page.damaged
                .extend(damage.map(|damage| format!("the index of store {}: {damage}", attached.store.id)));
            if let Ok(generation) = opened {
                indexes.push(generation);
                stores.push(attached);
            }
        }
        let started = self.stores.moment();
        let late = || ended() || self.stores.moment().since(started) > DEADLINE;
        let key = CursorKey::new(&self.stores.derived(CursorKey::PURPOSE));
        let asked = Search { now: self.stores.now(), key, late: &late };
        let found = match guarded(|| search(query, &indexes, &asked)).and_then(|found| found) {
            Err(error @ ArchiveError::Index(_)) => {
                for attached in &stores {
                    attached.index.check_for_failure(self.stores.moment())?;
                }
                self.following.ring();
                return Err(error);
            }
            found => found?,
        };
        page.total = found.total;
        page.next = found.next;
        for place in found.places {
            // The catalog has the last word on who may see what.
            let attached = &stores[place.index];
            let row = attached.store.catalog().row(place.seq, query.archive.as_deref());
            let row = self.stores.asked(attached, row)?.flatten();
            // An index of an older catalog may have another message under that number: its text is not shown.
            page.hits.extend(row.map(|row| match halves(row.id) == place.id {
                true => hit(row, place.snippets, place.missing),
                false => hit(row, Vec::new(), Vec::new()),
            }));
        }
        // The search may be what met the damage.
        for attached in self.stores.open_stores() {
            let failure = attached.store.catalog_failure();
            page.damaged.extend(failure.map(|failure| format!("store {}: {failure}", attached.store.id)));
        }
        Ok(page)
    }
}

/// The message's date, or when it was captured.
pub(super) fn seconds(row: &Row) -> i64 {
    let captured = i64::try_from(row.received.unwrap_or(row.archived).0 / 1000).unwrap_or(i64::MAX);
    row.date.unwrap_or(captured)
}

fn hit(row: Row, snippets: Vec<Snippet>, missing: Vec<(String, String)>) -> Hit {
    let folders: Vec<String> =
        row.folders.iter().map(|placement| format!("{}/{}", placement.archive, placement.folder)).collect();
    let millis = u64::try_from(seconds(&row)).unwrap_or(0).saturating_mul(1000);
    Hit {
        id: row.id,
        date: UnixMillis(millis).rfc3339(),
        from: row.from,
        to: row.to,
        subject: row.subject,
        folder: folders.first().cloned().unwrap_or_default(),
        folders,
        size: row.bytes,
        quarantined: row.quarantined,
        snippets,
        text_missing: missing.into_iter().map(|(attachment, why)| TextMissing { attachment, why }).collect(),
    }
}
