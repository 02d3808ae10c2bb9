//! Deleting on order: by id, in batches, and what the server says of each.

use super::EwsAccount;
use super::error::is_gone;
use super::folders::part_of;
use super::soap::Request;
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
            let ids: Vec<&str> = batch.iter().map(|id| id.0.as_str()).collect();
            let request = Request::DeleteItem(&ids, self.settings.disposal);
            let replies = self.service.ask(&request).await?;
            if replies.len() != batch.len() {
                return Err(self
                    .service
                    .nonsense(&request, "has more or fewer response messages than items"));
            }
            for (id, reply) in batch.iter().zip(replies) {
                let answer = reply.answer;
                // A request that was repeated finds gone what it deleted the first time.
                if !answer.is_error() || is_gone(&answer.code) {
                    deleted.deleted.push(id.clone());
                } else {
                    deleted.kept.push((id.clone(), format!("{}: {}", answer.code, answer.text)));
                }
            }
        }
        Ok(deleted)
    }
}
