//! Deleting at the source what is archived, due, and was read back from the archive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::archivist::side_by_side;
use crate::archive::Kept;
use crate::profiles::job::RunError;
use crate::profiles::state::Pending;
use crate::sources::account::{Account, Deleted, FolderId, Item};
use crate::sources::{ItemId, SourceError};

/// Messages that are read back and then deleted together.
const TOGETHER: usize = 500;
/// When a source does not delete.
const PAUSE: Duration = Duration::from_secs(24 * 3600);

impl Shared {
    /// Orders the deletion of all that is due; what was ordered, for a source that deletes at the end of the session.
    pub(super) async fn delete(
        self: &Arc<Self>,
        account: &mut impl Account,
        ordered: &mut HashMap<ItemId, FolderId>,
    ) -> Result<(), RunError> {
        let mut behind = (FolderId(String::new()), ItemId(String::new()));
        while !self.context.is_cancelled() {
            let due = self.state.due(&self.account, self.clock.wall(), (&behind.0, &behind.1), TOGETHER)?;
            let Some(last) = due.last() else { break };
            behind = (last.folder.clone(), last.item.clone());
            let shared = Arc::clone(self);
            let read = tokio::task::spawn_blocking(move || shared.read_back(due));
            let whole = read.await.map_err(|error| RunError::Inside(error.to_string()))??;
            for (folder, items) in by_folder(whole) {
                ordered.extend(items.iter().map(|item| (item.clone(), folder.clone())));
                match account.delete(&folder, &items).await {
                    Ok(deleted) => self.deleted(&deleted, ordered)?,
                    Err(error @ SourceError::Folder { .. }) => {
                        self.tally.error(format!("{}: nothing is deleted there: {error}", self.name));
                        let later = self.clock.wall().plus(PAUSE);
                        for item in &items {
                            self.state.postpone(&self.account, &folder, item, later)?;
                        }
                        // The session may be worth nothing any more.
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Those that the archive gives back whole. The others stay where they are, to be archived once more.
    fn read_back(&self, due: Vec<Pending>) -> Result<Vec<Pending>, RunError> {
        let read = side_by_side(due, |pending| {
            let kept: Result<Kept, String> = pending.message.parse();
            let read =
                kept.and_then(|kept| self.instance.check_arrival(&kept).map_err(|error| error.to_string()));
            (pending, read)
        });
        let mut whole = Vec::new();
        for (pending, read) in read {
            match read {
                Ok(()) => whole.push(pending),
                Err(why) => {
                    let Pending { folder, item, message, .. } = pending;
                    let id = message.split(':').next().unwrap_or_default();
                    let why = format!("it is archived as {id} and cannot be read back: {why}");
                    self.tally.error(format!("{}: message {item} stays at the source: {why}", self.name));
                    let again = Item { id: item.clone(), flags: Vec::new(), internal_date: None, octets: 0 };
                    let now = self.clock.wall();
                    self.state.retry(&self.account, (&folder, &folder.0), &again, &why, now)?;
                    self.state.forget_pending(&self.account, [(folder, item)])?;
                    self.tally.add(|result| result.failed += 1);
                }
            }
        }
        Ok(whole)
    }

    /// Keeps what became of deletions.
    pub(super) fn deleted(
        &self,
        deleted: &Deleted,
        ordered: &HashMap<ItemId, FolderId>,
    ) -> Result<(), RunError> {
        let place = |item: &ItemId| ordered.get(item).map(|folder| (folder.clone(), item.clone()));
        self.state.forget_pending(&self.account, deleted.deleted.iter().filter_map(place))?;
        self.tally.add(|result| result.deleted_at_source += deleted.deleted.len() as u64);
        let later = self.clock.wall().plus(PAUSE);
        for (item, why) in &deleted.kept {
            self.tally.error(format!(
                "{}: message {item} is archived but was not deleted at the source: {why}",
                self.name
            ));
            if let Some(folder) = ordered.get(item) {
                self.state.postpone(&self.account, folder, item, later)?;
            }
        }
        Ok(())
    }
}

fn by_folder(all: Vec<Pending>) -> Vec<(FolderId, Vec<ItemId>)> {
    let mut folders: Vec<(FolderId, Vec<ItemId>)> = Vec::new();
    for Pending { folder, item, .. } in all {
        match folders.last_mut() {
            Some((last, items)) if *last == folder => items.push(item),
            _ => folders.push((folder, vec![item])),
        }
    }
    folders
}
