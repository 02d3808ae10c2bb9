//! Messages that were not wanted when they were listed: whether they are by now.

use std::collections::HashMap;

use super::Shared;
use crate::profiles::job::RunError;
use crate::profiles::scope::Verdict;
use crate::sources::ItemId;
use crate::sources::account::{Account, FolderId, Item};

impl Shared {
    /// Those of a folder that are wanted now. Which are gone or will never be wanted is forgotten.
    pub(super) async fn wanted_by_now(
        &self,
        account: &mut impl Account,
        folder: &FolderId,
    ) -> Result<Vec<Item>, RunError> {
        let mut held = self.state.held(&self.account, folder)?;
        let (filter, now) = (&self.profile.scope.filter, self.clock.wall());
        if !filter.waits_for_flags() {
            // Their time comes without anybody's doing.
            held.retain(|item| filter.judge(item, now) != Verdict::Later);
        }
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let there = account.look(folder, &held).await?;
        let there: HashMap<ItemId, Item> = there.into_iter().map(|item| (item.id.clone(), item)).collect();
        let (mut wanted, mut over) = (Vec::new(), Vec::new());
        for item in &held {
            let Some(now_there) = there.get(&item.id) else {
                over.push(item.id.clone());
                self.tally.add(|result| result.gone += 1);
                continue;
            };
            match filter.judge(now_there, now) {
                Verdict::Wanted => wanted.push(now_there.clone()),
                Verdict::Later => {}
                Verdict::Unwanted => {
                    over.push(item.id.clone());
                    self.tally.add(|result| result.unwanted += 1);
                }
            }
        }
        self.state.release(&self.account, folder, Some(&over))?;
        Ok(wanted)
    }
}
