//! Writing a group: keys, then objects, then leaves, each synced, then the catalog.

use std::collections::HashMap;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::crypto::{SecretBytes, random_secret};
use postern_shared::id::MessageId;

use super::draft::Draft;
use super::replay::message_leaf;
use super::store::{Store, Writing};
use crate::archive::ArchiveError;
use crate::archive::catalog::{Change, RecordPlace};
use crate::archive::message::Placement;
use crate::archive::store::record::{
    Addition, Arrival, Content, Filed, Message, Part, Segment, decode, encode,
};
use crate::archive::store::{Identity, Kind, Place, Sealed, StoreError, Stored, own_key};

/// One thing to be written.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) draft: Draft,
    pub(super) what: What,
    pub(super) filed_in: Vec<Placement>,
    pub(super) internal_date: UnixMillis,
    pub(super) flags: Vec<String>,
}

#[derive(Debug)]
pub(super) enum What {
    /// A message; its leaf and its places in folders are decided when it is written.
    New(Box<Message>),
    /// More of a message, whose key is there or is made by the same group.
    More(Box<Addition>),
}

/// Tells a folder's UIDVALIDITY and next UID, over all stores.
pub(super) type NextUid<'f> = &'f dyn Fn(&Placement) -> Result<(u32, u32), ArchiveError>;

/// A group being put together.
struct Group<'g> {
    store: &'g Store,
    next_uid: NextUid<'g>,
    folders: HashMap<Placement, (u32, u32)>,
    /// Parts of this group, and what they replace.
    parts: HashMap<Digest, Part>,
    slots: HashMap<MessageId, (u64, SecretBytes)>,
    objects: Vec<Sealed>,
    /// The change that an object, by its place among `objects`, makes.
    changes: Vec<Change>,
    leaves: Vec<Digest>,
    first_leaf: u64,
}

impl Store {
    /// Writes a group: all of it is durable when this returns, or nothing of it is there.
    pub(super) fn write_group(
        &self,
        writing: &mut Writing,
        items: Vec<Item>,
        next_uid: NextUid<'_>,
    ) -> Result<(), ArchiveError> {
        if items.is_empty() {
            return Ok(());
        }
        let first_leaf = writing.leaves.count();
        let mut group = Group {
            store: self,
            next_uid,
            folders: HashMap::new(),
            parts: HashMap::new(),
            slots: self.new_keys(&items)?,
            objects: Vec::new(),
            changes: Vec::new(),
            leaves: Vec::new(),
            first_leaf,
        };
        items.into_iter().try_for_each(|item| group.add(item))?;
        let Group { objects, changes, leaves, parts, .. } = group;
        let (stored, end, undo) = self.packs.append(&mut writing.tail, &objects)?;
        let entered = writing
            .leaves
            .write(first_leaf, &leaves)
            .map_err(ArchiveError::from)
            .and_then(|()| self.enter(&stored, &changes, end));
        if let Err(error) = entered {
            writing.leaves.forget_from(first_leaf);
            // Leaves without messages would be those of messages that were lost.
            match writing.leaves.cut(first_leaf) {
                Ok(()) => self.packs.undo(&mut writing.tail, &undo),
                Err(error) => {
                    tracing::error!(%error, "cannot take back what was not committed; the store takes nothing any more");
                    self.packs.poison(&mut writing.tail);
                }
            }
            return Err(error);
        }
        self.keep_recent(parts);
        Ok(())
    }

    fn enter(&self, stored: &[Stored], changes: &[Change], end: Place) -> Result<(), ArchiveError> {
        Ok(self.catalog().apply(stored, changes, end)?)
    }

    /// Keys for the messages of a group, on disk before anything needs them.
    fn new_keys(&self, items: &[Item]) -> Result<HashMap<MessageId, (u64, SecretBytes)>, ArchiveError> {
        let new: Vec<MessageId> = items
            .iter()
            .filter_map(|item| if let What::New(message) = &item.what { Some(message.message) } else { None })
            .collect();
        if new.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<SecretBytes> = new.iter().map(|_| random_secret()).collect();
        let first = self.keys.append(&keys)?;
        Ok(new.into_iter().zip((first..).zip(keys)).collect())
    }

    /// All additions to a message.
    pub(super) fn additions_of(&self, record: &RecordPlace) -> Result<Vec<Addition>, ArchiveError> {
        Ok(self.numbered_additions_of(record)?.into_iter().map(|(_, addition)| addition).collect())
    }

    /// The same with their objects.
    pub(super) fn numbered_additions_of(
        &self,
        record: &RecordPlace,
    ) -> Result<Vec<(u64, Addition)>, ArchiveError> {
        let catalog = self.catalog();
        let mut all = Vec::new();
        for object in catalog.additions(record.id)? {
            let Some(place) = catalog.object(object)? else { continue };
            let plain = self.record_bytes(object, record.slot, place)?;
            let (addition, _) = decode(&plain).map_err(|what| self.damaged(place, what))?;
            all.push((object, addition));
        }
        Ok(all)
    }
}

impl Group<'_> {
    fn add(&mut self, item: Item) -> Result<(), ArchiveError> {
        let Item { draft, what, filed_in, internal_date, flags } = item;
        let replaced = self.take_parts(&draft.new_parts);
        for new in draft.new_parts {
            if self.parts.get(&new.hmac).is_some_and(|part| part.object == new.part.object) {
                self.objects.push(new.sealed);
            }
        }
        let filed = filed_in.into_iter().map(|placement| self.file(placement, internal_date, flags.clone()));
        let filed = filed.collect::<Result<Vec<_>, _>>()?;
        match what {
            What::New(mut message) => {
                message.leaf = self.first_leaf + self.leaves.len() as u64;
                message.arrival.filed_in = filed;
                replace(&mut message.content, &replaced);
                replace_in(&mut message.arrival, &replaced);
                self.leaves.push(message_leaf(&message));
                let (object, slot) = self.record(Kind::Message, message.message, &*message, &draft.own)?;
                let entered = self.store.entered_message(object, slot, &message);
                self.changes.push(Change::Archived(message, entered));
            }
            What::More(mut addition) => {
                addition.arrival.filed_in = filed;
                replace_in(&mut addition.arrival, &replaced);
                let (object, slot) = self.record(Kind::Addition, addition.message, &*addition, &draft.own)?;
                let entered = self.store.entered_arrival(object, slot, &addition.arrival);
                self.changes.push(Change::Added(addition, entered));
            }
        }
        Ok(())
    }

    /// Parts that an earlier message of the group, or one that was committed meanwhile, brought already.
    fn take_parts(&mut self, new_parts: &[super::draft::NewPart]) -> HashMap<u64, Part> {
        let mut replaced = HashMap::new();
        for new in new_parts {
            let known = self.parts.get(&new.hmac).cloned().or_else(|| self.store.recent(&new.hmac));
            match known {
                Some(part) => {
                    replaced.insert(new.part.object, part.clone());
                    self.parts.insert(new.hmac, part);
                }
                None => {
                    self.parts.insert(new.hmac, new.part.clone());
                }
            }
        }
        replaced
    }

    fn record(
        &mut self,
        kind: Kind,
        message: MessageId,
        json: &impl serde::Serialize,
        own: &[u8],
    ) -> Result<(u64, u64), ArchiveError> {
        let (slot, key) = self.key_of(message)?;
        let number = self.store.packs.next_number();
        let failed = || StoreError::io(&self.store.dir);
        let plain = encode(json, own).map_err(failed())?;
        let identity = Identity { kind, number, slot };
        self.objects.push(Sealed::seal(identity, &own_key(&key, number), &plain).map_err(failed())?);
        Ok((number, slot))
    }

    fn key_of(&self, message: MessageId) -> Result<(u64, SecretBytes), ArchiveError> {
        if let Some((slot, key)) = self.slots.get(&message) {
            return Ok((*slot, key.clone()));
        }
        let known = self.store.catalog().known(message)?;
        let slot = known.ok_or_else(|| ArchiveError::NoMessage(message.to_string()))?.slot;
        match self.store.keys.get(slot)? {
            Some(key) => Ok((slot, key)),
            None => Err(self.store.packs.no_key(Place::default(), format!("message {message}")).into()),
        }
    }

    fn file(
        &mut self,
        placement: Placement,
        internal_date: UnixMillis,
        flags: Vec<String>,
    ) -> Result<Filed, ArchiveError> {
        let (uid_validity, uid) = match self.folders.get(&placement) {
            Some(folder) => *folder,
            None => (self.next_uid)(&placement)?,
        };
        self.folders.insert(placement.clone(), (uid_validity, uid.saturating_add(1)));
        let Placement { archive, folder } = placement;
        Ok(Filed { archive, folder, uid_validity, uid, internal_date, flags })
    }
}

fn replace(content: &mut Content, replaced: &HashMap<u64, Part>) {
    for segment in &mut content.segments {
        if let Segment::Part(part) = segment
            && let Some(known) = replaced.get(&part.object)
        {
            *part = Part { encoding: part.encoding, ..known.clone() };
        }
    }
}

fn replace_in(arrival: &mut Arrival, replaced: &HashMap<u64, Part>) {
    use crate::archive::store::record::Evidence;
    match &mut arrival.evidence {
        Some(Evidence::Around { prefix, suffix, .. }) => {
            replace(prefix, replaced);
            replace(suffix, replaced);
        }
        Some(Evidence::Report(report)) => replace(report, replaced),
        None => {}
    }
}
