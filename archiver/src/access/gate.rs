//! The gate: whoever reads archived mail comes through here.
//!
//! Each way through judges, writes a line to the audit log, syncs it, and only then hands data out.

#![expect(clippy::disallowed_methods, reason = "this is the gate")]

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Caller, Scope};
use crate::app::Core;
use crate::archive::{
    ArchiveError, Folder, Hit, HitPage, InFolder, Instance, Placement, Privilege, Query, User, Watch,
};

/// Why nothing was handed out or done.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The caller may not.
    #[error("{0}")]
    NotAllowed(String),
    /// It is not there, or could not be recorded or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

pub(super) fn not_allowed(why: &str) -> Denied {
    Denied::NotAllowed(why.to_owned())
}

/// What may be read.
#[derive(Debug)]
enum Rights {
    Everything,
    /// What a user may.
    Of(User),
    Nothing(&'static str),
}

/// Somebody in front of an instance's mail.
#[derive(Debug)]
pub struct Gate<'c> {
    instance: Arc<Instance>,
    caller: &'c Caller,
    rights: Rights,
}

impl<'c> Gate<'c> {
    /// In front of the mail of an instance. Opens the instance.
    pub fn new(core: &Core, caller: &'c Caller, instance: &str) -> Result<Self, Denied> {
        caller.check_own(instance)?;
        let instance = core.instance(instance)?;
        caller.check_not_older(instance.info())?;
        let rights = match caller.user() {
            _ if !caller.has(Scope::Mail) => Rights::Nothing("the token has no scope mail"),
            None => Rights::Everything,
            Some(user) => match instance.user(user) {
                Ok(user) => Rights::Of(user),
                Err(_) => Rights::Nothing("the token's user is no longer there"),
            },
        };
        Ok(Self { instance, caller, rights })
    }

    /// Finds messages, until nobody waits for them any more.
    pub fn search(
        &self,
        query: Query,
        watch: Watch<'_>,
        ended: &(dyn Fn() -> bool + Sync),
    ) -> Result<HitPage, Denied> {
        let particulars = json!({ "user": query.archive, "query": query.text });
        let query = match &self.rights {
            // Without an archive named, a user means their own.
            Rights::Of(user) => {
                Query { archive: Some(query.archive.unwrap_or_else(|| user.id.clone())), ..query }
            }
            _ => query,
        };
        let archive = query.archive.as_deref().unwrap_or_default();
        let may = self.may(Some(Privilege::Search), |archives| archives.contains(archive));
        if may.is_err() {
            self.pass("search", &particulars, may)?;
        }
        // The line is synced while the search goes on; what is found is handed out behind it.
        let (passed, found) = std::thread::scope(|scope| {
            let passing = scope.spawn(|| self.pass("search", &particulars, Ok(())));
            let found = self.instance.find_watched(&query, watch, ended);
            (passing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), found)
        });
        passed?;
        let mut page = found?;
        if let Some(seen) = self.archives() {
            page.hits.iter_mut().for_each(|hit| without_others(hit, &seen));
        }
        Ok(page)
    }

    /// Hands a message on, byte for byte, stretch by stretch; what was handed on counts only when this returns `Ok`.
    pub fn message(&self, id: &str, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Denied> {
        self.pass_to("message-get", id, false)?;
        Ok(self.instance.copy_message(id, take)?)
    }

    /// The journal report that a message came in, byte for byte. It names all who got the message.
    pub fn report(&self, id: &str) -> Result<Vec<u8>, Denied> {
        self.pass_to("message-get", id, true)?;
        Ok(self.instance.report(id)?)
    }

    /// The folders of an archive, or of all that may be seen.
    pub fn folders(&self, archive: Option<&str>) -> Result<Vec<Folder>, Denied> {
        let may = self.may(None, |archives| archive.is_none_or(|archive| archives.contains(archive)));
        self.pass("folder-list", &json!({ "user": archive }), may)?;
        let mut folders = self.instance.folders(archive)?;
        if let Some(seen) = self.archives() {
            folders.retain(|folder| seen.contains(&folder.archive));
        }
        Ok(folders)
    }

    /// The messages of a folder with UIDs above `after`, at most `limit`, by UID.
    pub fn in_folder(&self, folder: &Placement, after: u32, limit: usize) -> Result<Vec<InFolder>, Denied> {
        let particulars = json!({ "user": folder.archive, "folder": folder.folder, "after": after });
        let may = self.may(None, |archives| archives.contains(&folder.archive));
        self.pass("folder-read", &particulars, may)?;
        Ok(self.instance.in_folder(folder, after, limit)?)
    }

    /// The archives that may be seen; `None` for all.
    fn archives(&self) -> Option<BTreeSet<String>> {
        match &self.rights {
            Rights::Everything => None,
            Rights::Of(user) => Some(user.archives()),
            Rights::Nothing(_) => Some(BTreeSet::new()),
        }
    }

    /// Whether that may be done by who has the privilege, with the archives that may be seen.
    fn may(
        &self,
        privilege: Option<Privilege>,
        sees: impl FnOnce(&BTreeSet<String>) -> bool,
    ) -> Result<(), Denied> {
        match &self.rights {
            Rights::Everything => Ok(()),
            Rights::Nothing(why) => Err(not_allowed(why)),
            Rights::Of(user) if !privilege.is_none_or(|privilege| user.may(privilege)) => {
                Err(not_allowed("the user may not do that"))
            }
            Rights::Of(user) if sees(&user.archives()) => Ok(()),
            Rights::Of(_) => Err(not_allowed("the user may not read that archive")),
        }
    }

    /// Lets through to a message. One that may not be read is one that is not there, to whoever asks; not to the audit log. When it
    /// cannot be told whose it is, it is handed to those only who may read everything.
    fn pass_to(&self, what: &str, id: &str, report: bool) -> Result<(), Denied> {
        let shown: String = id.chars().take(64).collect();
        let particulars = json!({ "id": shown, "report": report });
        let mut is_there = true;
        let may = match self.instance.archives_of(id) {
            Ok(archives) => {
                self.may(report.then_some(Privilege::Auditor), |seen| !seen.is_disjoint(&archives))
            }
            // Asking for what is not there is recorded as well.
            Err(ArchiveError::NoMessage(_)) => {
                is_there = false;
                self.may(None, |_| true)
            }
            Err(_) if matches!(self.rights, Rights::Everything) => Ok(()),
            Err(error) => self.may(None, |_| true).and(Err(error.into())),
        };
        match self.pass(what, &particulars, may) {
            Err(Denied::NotAllowed(_)) if matches!(self.rights, Rights::Of(_)) => {
                Err(ArchiveError::NoMessage(shown).into())
            }
            // It may have come meanwhile, and nobody judged it but for those who may read everything.
            Ok(()) if !is_there && !matches!(self.rights, Rights::Everything) => {
                Err(ArchiveError::NoMessage(shown).into())
            }
            passed => passed,
        }
    }

    /// Writes the line: that it is handed out, or why not.
    fn pass(&self, what: &str, particulars: &Value, may: Result<(), Denied>) -> Result<(), Denied> {
        let refused = may.as_ref().err().map(ToString::to_string);
        self.instance.audit().record_by(&self.caller.by(), what, particulars, refused.as_deref())?;
        may
    }
}

/// Takes the names of archives away that may not be seen.
fn without_others(hit: &mut Hit, seen: &BTreeSet<String>) {
    hit.folders.retain(|folder| folder.split('/').next().is_some_and(|archive| seen.contains(archive)));
    hit.folder = hit.folders.first().cloned().unwrap_or_default();
}
