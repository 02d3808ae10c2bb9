//! Which archive it is that holds what was read.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction};

use super::{State, StateError};
use crate::archive::{ArchiveError, Instance};

impl State {
    /// Says that what is read goes there. When the archive does not hold any more what it held when something was read last, it is
    /// forgotten what was read; the answer says whether it was so.
    pub(in crate::profiles) fn tie(&self, instance: &Arc<Instance>) -> Result<bool, StateError> {
        let sql = "SELECT position FROM archive";
        let kept = self.read(|connection| connection.query_row(sql, [], |row| row.get(0)).optional())?;
        let kept: Option<String> = kept;
        let holds =
            kept.map_or(Ok(true), |kept| instance.holds(&kept)).map_err(|error| self.asked(&error))?;
        if !holds {
            tracing::error!(
                path = %self.path.display(),
                "the archive does not hold any more what was read into it (a backup that was restored, a disk rolled back?); \
                 everything at the source is listed again"
            );
            self.write(|transaction| {
                for table in ["cursors", "done", "held", "deletions", "archive"] {
                    transaction.execute(&format!("DELETE FROM {table}"), [])?;
                }
                Ok(())
            })?;
        }
        // One state is tied once.
        let _ = self.archive.set(Arc::downgrade(instance));
        Ok(!holds)
    }

    fn asked(&self, error: &ArchiveError) -> StateError {
        let reason = format!("the archive cannot say what it holds: {error}");
        StateError { path: self.path.clone(), reason, damaged: false }
    }

    /// Keeps how far the archive is: all that this transaction speaks of is in it.
    pub(super) fn keep_position(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let Some(instance) = self.archive.get().and_then(std::sync::Weak::upgrade) else { return Ok(()) };
        // What it says is asked for again the next time.
        let Ok(position) = instance.position() else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO archive VALUES (1, ?1)";
        transaction.prepare_cached(sql)?.execute([position]).map(drop)
    }
}
