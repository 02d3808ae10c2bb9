//! Deleting on order: marked, expunged by UID, and looked at again.

use std::collections::{BTreeMap, BTreeSet};

use postern_shared::proto::imap::{Code, Command, Condition, Response, Uid, UidSet};

use super::ImapSource;
use super::changes::{id_of, uid_of};
use crate::sources::account::{Deleted, FolderId, Item};
use crate::sources::{ItemId, SourceError};

/// Octets of a set of UIDs in one command: servers take lines of 8,000 octets (RFC 7162 §4).
pub(super) const SET_OCTETS_MAX: usize = 4000;

impl ImapSource {
    pub(super) async fn delete_now(
        &mut self,
        folder: &FolderId,
        items: &[ItemId],
    ) -> Result<Deleted, SourceError> {
        let mut deleted = Deleted::default();
        let state = self.open(folder, true, false).await?;
        let mut uids = BTreeSet::new();
        for id in items {
            match uid_of(id) {
                Some((validity, uid)) if validity == state.validity.get() => {
                    uids.insert(uid);
                }
                _ => deleted.kept.push((id.clone(), "the server numbered its messages anew since".into())),
            }
        }
        for set in UidSet::of(uids.iter().copied()).in_pieces(SET_OCTETS_MAX) {
            self.delete_set(&set, state.validity, &mut deleted).await?;
        }
        Ok(deleted)
    }

    async fn delete_set(
        &mut self,
        set: &UidSet,
        validity: Uid,
        deleted: &mut Deleted,
    ) -> Result<(), SourceError> {
        let ids = |set: &UidSet| -> Vec<ItemId> {
            let numbers = set.ranges().iter().flat_map(Clone::clone);
            numbers.filter_map(Uid::new).map(|uid| id_of(validity, uid)).collect()
        };
        let keep = |deleted: &mut Deleted, why: &str| {
            deleted.kept.extend(ids(set).into_iter().map(|id| (id, why.to_owned())));
        };
        let mark = Command::new(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"));
        let (condition, text) = self.perform(mark, "STORE", |_| Ok(())).await?;
        if condition != Condition::Ok {
            keep(deleted, &text.to_string());
            return Ok(());
        }
        // EXPUNGE would remove what others marked too.
        if !self.connection.session.capabilities().has("UIDPLUS") {
            keep(deleted, "it is marked as deleted; the server has no UIDPLUS to remove it alone");
            return Ok(());
        }
        let expunge = Command::new(&format!("UID EXPUNGE {set}"));
        let (condition, text) = self.perform(expunge, "EXPUNGE", |_| Ok(())).await?;
        if condition != Condition::Ok {
            keep(deleted, &text.to_string());
            return Ok(());
        }
        let left = self.existing(set).await?;
        for id in ids(set) {
            match uid_of(&id) {
                Some((_, uid)) if left.contains(&uid) => {
                    deleted.kept.push((id, "the server says it is deleted, and still has it".into()));
                }
                _ => deleted.deleted.push(id),
            }
        }
        Ok(())
    }

    /// What the server has under these names now: under another UIDVALIDITY, nothing.
    pub(super) async fn look_now(
        &mut self,
        folder: &FolderId,
        items: &[Item],
    ) -> Result<Vec<Item>, SourceError> {
        let state = self.open(folder, false, false).await?;
        let known = items.iter().filter_map(|item| uid_of(&item.id));
        let uids = known.filter(|(validity, _)| *validity == state.validity.get()).map(|(_, uid)| uid);
        let (asked, mut found) = (uids.collect::<BTreeSet<Uid>>(), BTreeMap::new());
        for set in UidSet::of(asked.iter().copied()).in_pieces(SET_OCTETS_MAX) {
            let look = Command::new(&format!("UID FETCH {set} (UID FLAGS INTERNALDATE RFC822.SIZE)"));
            let (condition, text) = self
                .perform(look, "FETCH", |response| {
                    if let Response::Fetch(fetch) = response
                        && let Some(uid) = fetch.uid.filter(|uid| set.contains(*uid))
                    {
                        // Flags that changed meanwhile may be told alone, before or after.
                        let item = found.entry(uid).or_insert_with(|| Item {
                            id: id_of(state.validity, uid),
                            flags: Vec::new(),
                            internal_date: None,
                            octets: 0,
                        });
                        item.flags = fetch.flags.unwrap_or(std::mem::take(&mut item.flags));
                        item.internal_date = fetch.internal_date.or(item.internal_date);
                        item.octets = fetch.size.unwrap_or(item.octets);
                    }
                    Ok(())
                })
                .await?;
            if condition != Condition::Ok {
                if text.code.as_ref().is_some_and(Code::is_temporary) {
                    return Err(self.refused("FETCH", text));
                }
                let (host, text) =
                    (self.settings.host.clone(), format!("its messages cannot be looked at: {text}"));
                return Err(SourceError::Folder { host, folder: folder.clone(), text });
            }
        }
        // Of what is there and was not described nothing is known.
        let silent = asked.into_iter().filter(|uid| !found.contains_key(uid));
        for uid in self.hidden(silent).await? {
            let (id, flags) = (id_of(state.validity, uid), Vec::new());
            found.insert(uid, Item { id, flags, internal_date: None, octets: 0 });
        }
        Ok(found.into_values().collect())
    }

    /// Those of messages that a FETCH said nothing of which are there all the same: a server may leave out what it cannot describe.
    pub(super) async fn hidden(
        &mut self,
        silent: impl Iterator<Item = Uid>,
    ) -> Result<BTreeSet<Uid>, SourceError> {
        let mut hidden = BTreeSet::new();
        for set in UidSet::of(silent).in_pieces(SET_OCTETS_MAX) {
            let found = self.searched(&set.to_string()).await?;
            hidden.extend(found.into_iter().flatten().filter(|uid| set.contains(*uid)));
        }
        Ok(hidden)
    }

    /// Those of the UIDs that a search finds in the open folder; `None` when the server does not search.
    pub(super) async fn searched(&mut self, uids: &str) -> Result<Option<BTreeSet<Uid>>, SourceError> {
        let mut found = BTreeSet::new();
        let search = Command::new(&format!("UID SEARCH UID {uids}"));
        let (condition, _) = self
            .perform(search, "SEARCH", |response| {
                if let Response::Search(uids) = response {
                    found.extend(uids);
                }
                Ok(())
            })
            .await?;
        Ok((condition == Condition::Ok).then_some(found))
    }

    /// Those of the set that the open folder has.
    pub(super) async fn existing(&mut self, set: &UidSet) -> Result<BTreeSet<Uid>, SourceError> {
        let mut found = BTreeSet::new();
        let look = Command::new(&format!("UID FETCH {set} (UID)"));
        let (condition, text) = self
            .perform(look, "FETCH", |response| {
                if let Response::Fetch(fetch) = response {
                    found.extend(fetch.uid.filter(|uid| set.contains(*uid)));
                }
                Ok(())
            })
            .await?;
        if condition == Condition::Ok { Ok(found) } else { Err(self.refused("FETCH", text)) }
    }
}
