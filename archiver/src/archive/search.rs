//! Searching all stores of an instance as one.

use std::time::Duration;

use postern_shared::clock::UnixMillis;

use super::ArchiveError;
use super::catalog::Row;
use super::index::{Query, Snippet, guarded, search};
use super::instance::Instance;
use super::message::{Hit, HitPage, TextMissing};
use super::stores::Watch;

/// How long a search waits for what was archived just before; then it says how far behind it is.
const PATIENCE: Duration = Duration::from_secs(5);

impl Instance {
    /// Finds messages; the hits alone.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, ArchiveError> {
        self.find(query).map(|page| page.hits)
    }

    /// Finds messages. Lets the indexes catch up before; where somebody follows in the background, it waits a moment for them.
    pub fn find(&self, query: &Query) -> Result<HitPage, ArchiveError> {
        self.find_watched(query, &mut |_, _, _| false)
    }

    /// The same; `watch` is told how the index catches up, and may end that.
    pub fn find_watched(&self, query: &Query, watch: Watch<'_>) -> Result<HitPage, ArchiveError> {
        if self.is_safe() {
            // What was indexed before is found.
        } else if !self.following.is_followed() {
            self.follow(watch)?;
        } else if self.behind()? > 0 {
            self.following.wait(PATIENCE);
        }
        self.find_now(query)
    }

    /// Finds messages in what is indexed.
    pub fn find_now(&self, query: &Query) -> Result<HitPage, ArchiveError> {
        let stores = self.stores.open_stores();
        let mut page = HitPage { behind: self.behind()?, ..HitPage::default() };
        let mut indexes = Vec::with_capacity(stores.len());
        for attached in &stores {
            let damage = attached.index.damage();
            page.damaged
                .extend(damage.map(|damage| format!("the index of store {}: {damage}", attached.store.id)));
            let failure = attached.store.catalog_failure();
            page.damaged.extend(failure.map(|failure| format!("store {}: {failure}", attached.store.id)));
            indexes.push(attached.index.current()?);
        }
        let found = match guarded(|| search(query, &indexes, self.stores.now())).and_then(|found| found) {
            Err(error @ ArchiveError::Index(_)) => {
                for attached in &stores {
                    attached.index.check()?;
                }
                self.following.ring();
                return Err(error);
            }
            found => found?,
        };
        page.total = found.total;
        page.next = found.next.map(|cursor| cursor.to_string());
        for place in found.places {
            // The catalog has the last word on who may see what.
            let attached = &stores[place.index];
            let row = attached.store.catalog().row(place.seq, query.archive.as_deref());
            let row = self.stores.asked(attached, row)?.flatten();
            page.hits.extend(row.map(|row| hit(row, place.snippets, place.missing)));
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
