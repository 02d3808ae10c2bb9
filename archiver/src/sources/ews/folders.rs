//! From rows to a tree: names from the root, roles, parents before children. What makes no sense loses its place, never
//! itself.

use std::collections::HashMap;

use super::EwsAccount;
use super::settings::{Access, Part};
use super::soap::{Answer, Change, FolderRow, Place, Request};
use crate::sources::SourceError;
use crate::sources::account::{Folder, FolderId, Owner, Role};

/// Folders within each other.
const DEPTH_MAX: usize = 200;
/// Answers of one list of folders.
const ROUNDS_MAX: usize = 1000;
/// Folders whose children are asked for at once.
const PARENTS_MAX: usize = 50;

const ROLES: [(&str, Role); 5] = [
    ("inbox", Role::Inbox),
    ("drafts", Role::Drafts),
    ("sentitems", Role::Sent),
    ("deleteditems", Role::Trash),
    ("junkemail", Role::Junk),
];

/// Classes of folders that hold no mail.
const NO_MAIL: [&str; 6] =
    ["IPF.Appointment", "IPF.Contact", "IPF.Task", "IPF.StickyNote", "IPF.Journal", "IPF.Configuration"];

impl Part {
    /// What stands before the id of its folders.
    fn mark(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Archive => "archive",
            Self::PublicFolders => "public",
        }
    }

    /// What stands before the names of its folders.
    fn root_name(self) -> Option<&'static str> {
        match self {
            Self::Mailbox => None,
            Self::Archive => Some("Online archive"),
            Self::PublicFolders => Some("Public folders"),
        }
    }

    pub(super) fn root(self) -> &'static str {
        match self {
            Self::Mailbox => "msgfolderroot",
            Self::Archive => "archivemsgfolderroot",
            Self::PublicFolders => "publicfoldersroot",
        }
    }
}

/// What names a folder across runs: its part and its id there.
pub(super) fn id_of(part: Part, id: &str) -> FolderId {
    FolderId(format!("{}/{id}", part.mark()))
}

/// The part and the id that a name is made of.
pub(super) fn part_of(folder: &FolderId) -> Option<(Part, &str)> {
    let (mark, id) = folder.0.split_once('/')?;
    let parts = [Part::Mailbox, Part::Archive, Part::PublicFolders];
    parts.into_iter().find(|part| part.mark() == mark).map(|part| (part, id))
}

impl EwsAccount {
    /// A folder that has the same name in every mailbox.
    pub(super) fn distinguished(&self, name: &'static str) -> Place {
        // Public folders are nobody's, and impersonation has made the mailbox the own one. In any other case it is named: an
        // account that is taken for the mailbox's own and is not must not have its own mail archived as that of another.
        let named = self.settings.access != Access::Impersonate && name != Part::PublicFolders.root();
        let mailbox = named.then(|| self.mailbox.clone());
        Place::Distinguished(name, mailbox)
    }

    pub(super) async fn list_folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        self.stamps.clear();
        self.unlisted.clear();
        let mut folders = Vec::new();
        for part in self.settings.parts.clone() {
            self.route(part);
            let rows = match part {
                Part::Mailbox => self.hierarchy(part).await?,
                Part::Archive if !self.has_archive().await? => continue,
                Part::Archive => self.hierarchy(part).await?,
                Part::PublicFolders => self.public_folders().await?,
            };
            let roles = if part == Part::Mailbox { self.roles.clone() } else { HashMap::new() };
            for row in &rows {
                let stamp = (row.stamp.clone(), row.total);
                self.stamps.insert(id_of(part, &row.id), stamp);
            }
            let owner = match (part, self.settings.access) {
                (Part::PublicFolders, _) => Owner::Shared,
                (_, Access::Delegate) => Owner::Other,
                _ => Owner::Own,
            };
            folders.extend(tree(part, &rows, &roles, owner, self.settings.everything));
            if folders.len() > self.service.limits.folders_max {
                return Err(self.too_many("folders", self.service.limits.folders_max));
            }
        }
        Ok(folders)
    }

    /// What is the inbox, and so on; this is also what shows whether the login and its rights are good.
    pub(super) async fn find_roles(&mut self) -> Result<(), SourceError> {
        let names = ROLES.map(|(name, _)| name);
        let places: Vec<Place> =
            std::iter::once("msgfolderroot").chain(names).map(|name| self.distinguished(name)).collect();
        let request = Request::GetFolder(&places);
        let replies = self.service.ask(&request).await?;
        if replies.len() != places.len() {
            return Err(self.service.nonsense(&request, "has more or fewer response messages than folders"));
        }
        if let Some(root) = replies.first().filter(|root| root.answer.is_error()) {
            return Err(self.service.refused(&request, &root.answer));
        }
        let found = replies.into_iter().skip(1).zip(ROLES);
        // A mailbox may lack any of them.
        let ids = found.filter_map(|(reply, (_, role))| {
            let (_, row) = reply.folders.into_iter().next()?;
            Some((row.id, role))
        });
        self.roles = ids.collect();
        Ok(())
    }

    async fn has_archive(&mut self) -> Result<bool, SourceError> {
        let places = [self.distinguished(Part::Archive.root())];
        let request = Request::GetFolder(&places);
        let replies = self.service.ask(&request).await?;
        match replies.first().map(|reply| &reply.answer).filter(|answer| answer.is_error()) {
            None => Ok(true),
            Some(answer)
                if matches!(
                    answer.code.as_str(),
                    "ErrorArchiveMailboxNotEnabled" | "ErrorFolderNotFound"
                ) =>
            {
                tracing::info!(mailbox = %self.mailbox, code = %answer.code, "the mailbox has no archive");
                Ok(false)
            }
            Some(answer) => Err(self.service.refused(&request, answer)),
        }
    }

    async fn hierarchy(&mut self, part: Part) -> Result<Vec<FolderRow>, SourceError> {
        let root = self.distinguished(part.root());
        let mut state: Option<String> = None;
        let mut order = Vec::new();
        let mut rows: HashMap<String, FolderRow> = HashMap::new();
        for _ in 0..ROUNDS_MAX {
            let request = Request::SyncFolderHierarchy(&root, state.as_deref());
            let reply = self.service.ask_one(&request).await?;
            for (change, row) in reply.folders {
                if change == Change::Delete {
                    rows.remove(&row.id);
                } else if !row.id.is_empty() && rows.insert(row.id.clone(), row.clone()).is_none() {
                    order.push(row.id);
                }
            }
            if rows.len() > self.service.limits.folders_max {
                return Err(self.too_many("folders", self.service.limits.folders_max));
            }
            if reply.answer.last != Some(false) {
                return Ok(order.iter().filter_map(|id| rows.remove(id)).collect());
            }
            if reply.answer.sync_state.is_none() || reply.answer.sync_state == state {
                return Err(self.service.nonsense(&request, "makes no progress"));
            }
            state = reply.answer.sync_state;
        }
        Err(self.too_many("answers with folders", ROUNDS_MAX))
    }

    /// Public folders are listed level by level: servers refuse to list them all at once.
    async fn public_folders(&mut self) -> Result<Vec<FolderRow>, SourceError> {
        let mut rows: Vec<FolderRow> = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        let mut parents = vec![(self.distinguished(Part::PublicFolders.root()), 0_u64)];
        let mut known = std::collections::HashSet::new();
        while !parents.is_empty() {
            // One offset for all of a request: those that have more are asked again one by one.
            let first = parents.first().map_or(0, |(_, offset)| *offset);
            let together = if first == 0 {
                parents.iter().take(PARENTS_MAX).take_while(|(_, offset)| *offset == 0).count()
            } else {
                1
            };
            let asked: Vec<Place> = parents.drain(..together).map(|(place, _)| place).collect();
            let request = Request::FindFolder(&asked, first, self.service.limits.find_items_max);
            let replies = self.service.ask(&request).await?;
            if replies.len() != asked.len() {
                return Err(self
                    .service
                    .nonsense(&request, "has more or fewer response messages than folders"));
            }
            for (reply, parent) in replies.into_iter().zip(&asked) {
                if reply.answer.is_error() {
                    // The root must be readable; a folder in it may be closed to this user, or gone since.
                    let Place::Id(id) = parent else {
                        return Err(self.service.refused(&request, &reply.answer));
                    };
                    let Answer { code, text, .. } = &reply.answer;
                    if !matches!(code.as_str(), "ErrorFolderNotFound" | "ErrorItemNotFound") {
                        let name = names.get(id).map_or("", String::as_str);
                        self.unlisted.push(format!(
                            "the folders in the public folder {name:?} cannot be listed: {code}: {text}"
                        ));
                    }
                    continue;
                }
                let count = reply.folders.len() as u64;
                for (_, row) in reply.folders {
                    if row.id.is_empty() || !known.insert(row.id.clone()) {
                        continue;
                    }
                    if row.children > 0 {
                        names.insert(row.id.clone(), row.name.clone());
                        parents.push((Place::Id(row.id.clone()), 0));
                    }
                    rows.push(row);
                }
                let next = reply.answer.next_offset.unwrap_or(first + count);
                if reply.answer.last == Some(false) && count > 0 && next > first {
                    parents.insert(0, (parent.clone(), next));
                }
            }
            if rows.len() > self.service.limits.folders_max {
                return Err(self.too_many("folders", self.service.limits.folders_max));
            }
        }
        Ok(rows)
    }
}

/// The rows in their places.
fn tree(
    part: Part,
    rows: &[FolderRow],
    roles: &HashMap<String, Role>,
    owner: Owner,
    everything: bool,
) -> Vec<Folder> {
    let by_id: HashMap<&str, &FolderRow> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let path = |row: &FolderRow| {
        let mut names = vec![row.name.clone()];
        let mut at = row;
        while let Some(parent) = by_id.get(at.parent.as_str())
            && names.len() < DEPTH_MAX
        {
            names.push(parent.name.clone());
            at = parent;
        }
        names.extend(part.root_name().map(str::to_owned));
        names.reverse();
        names
    };
    let mut folders: Vec<Folder> = rows
        .iter()
        // What they find is in other folders.
        .filter(|row| !row.search)
        .map(|row| {
            let no_mail = NO_MAIL.iter().any(|class| {
                let begins =
                    row.class.get(..class.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(class));
                begins && matches!(row.class.as_bytes().get(class.len()), None | Some(b'.'))
            });
            Folder {
                id: id_of(part, &row.id),
                path: path(row),
                role: roles.get(&row.id).copied(),
                owner,
                holds_messages: everything || !no_mail,
                messages: row.total,
            }
        })
        .collect();
    folders.sort_by(|a, b| a.path.cmp(&b.path));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, parent: &str, name: &str, class: &str) -> FolderRow {
        let text = str::to_owned;
        FolderRow {
            id: text(id),
            parent: text(parent),
            name: text(name),
            class: text(class),
            ..FolderRow::default()
        }
    }

    #[test]
    fn rows_become_a_tree_whatever_their_order() {
        let rows = [
            row("c", "b", "2024", "IPF.Note"),
            row("b", "a", "Projects", ""),
            row("a", "root", "Inbox", "IPF.Note"),
            row("d", "root", "Calendar", "IPF.Appointment"),
            row("e", "root", "Kontakte", "IPF.Contact.MOC.QuickContacts"),
            row("f", "root", "Odd", "IPF.Contacts"),
            FolderRow { search: true, ..row("s", "root", "Unread", "IPF.Note") },
        ];
        let roles = HashMap::from([("a".to_owned(), Role::Inbox)]);
        let folders = tree(Part::Mailbox, &rows, &roles, Owner::Own, false);
        let told: Vec<_> =
            folders.iter().map(|f| format!("{} {} {}", f.id, f.path.join("/"), f.holds_messages)).collect();
        assert_eq!(
            told,
            [
                "mailbox/d Calendar false",
                "mailbox/a Inbox true",
                "mailbox/b Inbox/Projects true",
                "mailbox/c Inbox/Projects/2024 true",
                "mailbox/e Kontakte false",
                "mailbox/f Odd true",
            ]
        );
        assert_eq!(folders[1].role, Some(Role::Inbox));
        let archived = tree(Part::Archive, &rows[..1], &roles, Owner::Own, false);
        assert_eq!(archived[0].path, ["Online archive", "2024"]);
        assert_eq!(part_of(&archived[0].id), Some((Part::Archive, "c")));
        assert!(tree(Part::Mailbox, &rows, &roles, Owner::Own, true).iter().all(|f| f.holds_messages));
    }

    #[test]
    fn circles_end() {
        let rows = [row("a", "b", "A", ""), row("b", "a", "B", ""), row("x", "x", "X", "")];
        let folders = tree(Part::Mailbox, &rows, &HashMap::new(), Owner::Own, false);
        assert_eq!(folders.len(), 3);
        assert!(folders.iter().all(|folder| folder.path.len() <= DEPTH_MAX + 1));
    }
}
