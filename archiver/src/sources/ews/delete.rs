//! Deleting on order: by id, in batches, and what the server says of each. Not before it was looked whether each item is still
//! what was archived: at Exchange people edit items under the id they have.

use super::error::is_gone;
use super::folders::part_of;
use super::soap::{Answer, ItemRow, Request};
use super::{EwsAccount, item};
use crate::sources::account::{Deleted, FolderId};
use crate::sources::{ItemId, SourceError};

/// Items of one request.
const BATCH_ITEMS_MAX: usize = 50;

impl EwsAccount {
    pub(super) async fn delete_now(
        &mut self,
        folder: &FolderId,
        items: &[ItemId],
    ) -> Result<Deleted, SourceError> {
        let Some((part, _)) = part_of(folder) else {
            return Err(self.no_folder(folder, "it is no folder of this source"));
        };
        self.route(part);
        let mut deleted = Deleted::default();
        for batch in items.chunks(BATCH_ITEMS_MAX) {
            let same = self.unchanged(batch, &mut deleted).await?;
            if same.is_empty() {
                continue;
            }
            let ids: Vec<&str> = same.iter().map(item::id).collect();
            let answers =
                self.ask_each(&Request::DeleteItem(&ids, self.settings.disposal), ids.len()).await?;
            for (id, (answer, _)) in same.into_iter().zip(answers) {
                // A request that was repeated finds gone what it deleted the first time.
                if !answer.is_error() || is_gone(&answer.code) {
                    deleted.deleted.push(id);
                } else {
                    deleted.kept.push((id, format!("{}: {}", answer.code, answer.text)));
                }
            }
        }
        Ok(deleted)
    }

    /// Those that are as they were when they were archived, and may be deleted.
    async fn unchanged(
        &mut self,
        batch: &[ItemId],
        deleted: &mut Deleted,
    ) -> Result<Vec<ItemId>, SourceError> {
        let ids: Vec<&str> = batch.iter().map(item::id).collect();
        let mut same = Vec::new();
        let answers = self.ask_each(&Request::GetItem(&ids, false), ids.len()).await?;
        for (id, (answer, row)) in batch.iter().cloned().zip(answers) {
            if answer.is_error() && is_gone(&answer.code) {
                deleted.deleted.push(id);
            } else if answer.is_error() {
                deleted.kept.push((id, format!("{}: {}", answer.code, answer.text)));
            } else if row.id != item::id(&id) {
                deleted.kept.push((id, "the server answered with another item".into()));
            } else if row.modified.is_empty() {
                deleted.kept.push((id, "the server does not tell whether it was changed since".into()));
            } else if !item::is_delivered(&row) {
                deleted.changed.push((id, None));
            } else if !item::is_as_named(&row, &id) {
                deleted.changed.push((id, Some(item::name(&row))));
            } else {
                same.push(id);
            }
        }
        Ok(same)
    }

    /// What the server says of each item of a request, in their order.
    async fn ask_each(
        &mut self,
        request: &Request<'_>,
        count: usize,
    ) -> Result<Vec<(Answer, ItemRow)>, SourceError> {
        let replies = self.service.ask(request).await?;
        if replies.len() != count {
            return Err(self.service.nonsense(request, "has more or fewer response messages than items"));
        }
        let row = |rows: Vec<(_, ItemRow)>| rows.into_iter().next().map(|(_, row)| row).unwrap_or_default();
        Ok(replies.into_iter().map(|reply| (reply.answer, row(reply.items))).collect())
    }
}
