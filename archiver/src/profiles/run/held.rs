//! Messages that were not wanted when they were listed: whether they are by now.
//!
//! They are looked at a stretch at a time. A look that the server refuses is made smaller until it is known which message is to
//! blame; one at which two sessions break is left for another run. Neither keeps another folder.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::account::{BREAKS_MAX, Pull};
use super::archivist::Place;
use super::patience::LeftOut;
use crate::profiles::job::RunError;
use crate::profiles::scope::Verdict;
use crate::profiles::state::StateError;
use crate::sources::account::{Account, FolderId, Item};
use crate::sources::{ItemId, SourceError};

/// Messages that are looked at together.
const TOGETHER: usize = if cfg!(test) { 4 } else { 2000 };
/// Looks that a server refuses in a folder before the others there wait for another run.
const REFUSED_MAX: u32 = 50;
/// The same of stretches at which sessions break.
const LEFT_MAX: u32 = 2;

/// What of a folder was looked at in this run.
#[derive(Default)]
pub(super) struct LookedAt {
    /// Everything up to that one.
    behind: Option<ItemId>,
    /// How often a session broke at the stretch behind it.
    breaks: u32,
    /// Stretches that were left out.
    left: u32,
    /// Looks that the server refused.
    refused: u32,
}

impl LookedAt {
    fn is_over(&self) -> bool {
        self.left >= LEFT_MAX || self.refused >= REFUSED_MAX
    }

    fn reached(&mut self, last: ItemId) {
        (self.behind, self.breaks) = (Some(last), 0);
    }
}

impl Pull<'_> {
    /// Fetches those of a folder that are wanted now, behind what was looked at in this run.
    pub(super) async fn held(
        &mut self,
        account: &mut impl Account,
        place: &Arc<Place>,
    ) -> Result<(), RunError> {
        let (shared, folder) = (self.shared, &place.folder);
        loop {
            let at = self.looked_at.entry(folder.clone()).or_default();
            if at.is_over() || shared.context.is_cancelled() {
                return Ok(());
            }
            let stretch = shared.state.held(&shared.account, folder, at.behind.as_ref(), TOGETHER)?;
            let Some(last) = stretch.last().map(|item| item.id.clone()) else { return Ok(()) };
            let wanted = match self.look_at(account, place, stretch).await {
                Err(RunError::Source(error)) => {
                    self.broke_at(place, last, &error);
                    return Err(error.into());
                }
                wanted => wanted?,
            };
            if !wanted.is_empty() {
                self.fetch(account, place, &wanted).await?;
            }
            self.looked_at.entry(folder.clone()).or_default().reached(last);
        }
    }

    /// Those of a stretch that are wanted now.
    async fn look_at(
        &mut self,
        account: &mut impl Account,
        place: &Place,
        stretch: Vec<Item>,
    ) -> Result<Vec<Item>, RunError> {
        let (shared, folder) = (self.shared, &place.folder);
        let (mut wanted, mut left) = (Vec::new(), vec![shared.may_be_wanted(stretch)]);
        while let Some(mut items) = left.pop() {
            if items.is_empty() {
                continue;
            }
            let error = match account.look(folder, &items).await {
                Ok(there) => {
                    wanted.extend(shared.judged(folder, &items, there)?);
                    continue;
                }
                Err(error @ SourceError::Folder { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            let at = self.looked_at.entry(folder.clone()).or_default();
            at.refused += 1;
            if at.refused >= REFUSED_MAX {
                self.tell(
                    place,
                    "more messages wait for their time there and are left for another run",
                    &error,
                );
                break;
            }
            match items.len() {
                1 => self.tell(place, &format!("message {} waits for its time", items[0].id), &error),
                len => {
                    left.push(items.split_off(len / 2));
                    left.push(items);
                }
            }
        }
        Ok(wanted)
    }

    /// A session broke while the stretch up to `last` was looked at.
    fn broke_at(&mut self, place: &Place, last: ItemId, error: &SourceError) {
        self.session.has_suspect = true;
        let at = self.looked_at.entry(place.folder.clone()).or_default();
        at.breaks += 1;
        if at.breaks >= BREAKS_MAX {
            at.reached(last);
            at.left += 1;
            self.session.left_out = Some(LeftOut::Folder);
            self.tell(place, "messages that wait for their time there are left for another run", error);
        }
    }

    fn tell(&self, place: &Place, what: &str, error: &SourceError) {
        self.shared.tally.error(format!("{}: {}: {what}: {error}", self.shared.name, place.name));
    }
}

impl Shared {
    /// Those of which the time has come, or may have.
    fn may_be_wanted(&self, mut held: Vec<Item>) -> Vec<Item> {
        let (filter, now) = (&self.profile.scope.filter, self.clock.wall());
        if !filter.waits_for_flags() {
            // Their time comes without anybody's doing.
            held.retain(|item| filter.judge(item, now) != Verdict::Later);
        }
        held
    }

    /// Those that are wanted as they are now. Which are gone or will never be wanted is forgotten.
    fn judged(&self, folder: &FolderId, held: &[Item], there: Vec<Item>) -> Result<Vec<Item>, StateError> {
        let there: HashMap<ItemId, Item> = there.into_iter().map(|item| (item.id.clone(), item)).collect();
        let (mut wanted, mut over) = (Vec::new(), Vec::new());
        for item in held {
            let Some(now_there) = there.get(&item.id) else {
                over.push(item.id.clone());
                self.tally.add(|result| result.gone += 1);
                continue;
            };
            match self.profile.scope.filter.judge(now_there, self.clock.wall()) {
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
