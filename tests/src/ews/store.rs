//! What an Exchange server holds: folders with items, and in which order things happened to them.

use std::collections::BTreeMap;

/// Where folders belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// A user's mailbox.
    Mailbox(String),
    /// The archive of a user's mailbox.
    Archive(String),
    /// All users'.
    Public,
}

/// A folder.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its id.
    pub id: String,
    /// The id of the folder it is in; that of a root is its own.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// What it is for.
    pub distinguished: Option<&'static str>,
    /// Where it belongs.
    pub home: Home,
    /// Its items, in the order of arrival.
    pub items: Vec<Stored>,
    /// What happened, from the beginning.
    pub log: Vec<(Happened, String)>,
    /// Counts everything that happened.
    pub changes: u64,
    /// How many items were deleted.
    pub deleted: u64,
    /// Sync states of before are not known any more.
    pub generation: u64,
    /// With which code and words the folders in it are not listed.
    pub closed: Option<(&'static str, &'static str)>,
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It arrived.
    Created,
    /// Something of it changed.
    Updated,
    /// It was read.
    Read,
    /// It went.
    Deleted,
}

/// How an item is refused, whenever it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// With this code and these words.
    Error(&'static str, &'static str),
    /// It comes without content.
    NoContent,
    /// Its content is no base64.
    Garbled,
    /// Whatever it is asked for with comes to this status of HTTP, without a word.
    Status(u16),
    /// The answer is bent.
    Bent,
    /// No answer comes.
    Silent,
    /// The connection ends before an answer begins.
    HangUp,
}

/// An item.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Its class.
    pub class: String,
    /// Its content.
    pub content: Vec<u8>,
    /// So many times `ABC` instead, which nobody holds.
    pub long: Option<u64>,
    /// When it arrived, as XML writes it.
    pub received: String,
    /// PidTagMessageFlags.
    pub message_flags: u32,
    /// PidTagFlagStatus.
    pub flag_status: u32,
    /// PidTagLastVerbExecuted.
    pub last_verb: u32,
    /// The user's words.
    pub categories: Vec<String>,
    /// How often it was changed.
    pub changed: u64,
    /// How it is refused.
    pub refusal: Option<Refusal>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Store {
    /// All folders by id.
    pub folders: BTreeMap<String, Folder>,
    ids: u64,
}

impl Stored {
    /// When it was changed last, as XML writes it.
    pub fn modified(&self) -> String {
        format!(
            "2026-02-01T{:02}:{:02}:{:02}Z",
            self.changed / 3600 % 24,
            self.changed / 60 % 60,
            self.changed % 60
        )
    }
}

impl Store {
    fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        // Ids hold what base64 has, and are told apart by case.
        format!("AAMk{kind}+{:04}/=", self.ids)
    }

    /// A mailbox with the folders that every mailbox has.
    pub fn mailbox(&mut self, user: &str) {
        let home = Home::Mailbox(user.to_owned());
        let root = self.add(None, "", "", &home, Some("root"));
        let top = self.add(Some(&root), "Top of Information Store", "", &home, Some("msgfolderroot"));
        for (name, class, distinguished) in [
            ("Posteingang", "IPF.Note", "inbox"),
            ("Entwürfe", "IPF.Note", "drafts"),
            ("Gesendet", "IPF.Note", "sentitems"),
            ("Gelöscht", "IPF.Note", "deleteditems"),
            ("Spam", "IPF.Note", "junkemail"),
            ("Kalender", "IPF.Appointment", "calendar"),
        ] {
            self.add(Some(&top), name, class, &home, Some(distinguished));
        }
    }

    /// An archive for a mailbox.
    pub fn archive(&mut self, user: &str) -> String {
        let home = Home::Archive(user.to_owned());
        self.add(None, "Archive", "", &home, Some("archivemsgfolderroot"))
    }

    /// The root of public folders.
    pub fn public(&mut self) -> String {
        self.add(None, "All Public Folders", "", &Home::Public, Some("publicfoldersroot"))
    }

    /// A folder in another one; its id.
    pub fn folder(&mut self, parent: &str, name: &str, class: &str) -> String {
        let home = self.folders[parent].home.clone();
        self.add(Some(parent), name, class, &home, None)
    }

    fn add(
        &mut self,
        parent: Option<&str>,
        name: &str,
        class: &str,
        home: &Home,
        distinguished: Option<&'static str>,
    ) -> String {
        let id = self.id("Folder");
        let folder = Folder {
            id: id.clone(),
            parent: parent.map_or_else(|| id.clone(), str::to_owned),
            name: name.to_owned(),
            class: class.to_owned(),
            distinguished,
            home: home.clone(),
            items: Vec::new(),
            log: Vec::new(),
            changes: 0,
            deleted: 0,
            generation: 0,
            closed: None,
        };
        self.folders.insert(id.clone(), folder);
        id
    }

    /// A folder that every mailbox has.
    pub fn find(&self, user: &str, distinguished: &str) -> Option<&Folder> {
        self.folders.values().find(|folder| {
            let own = match &folder.home {
                Home::Mailbox(owner) | Home::Archive(owner) => owner.eq_ignore_ascii_case(user),
                Home::Public => true,
            };
            own && folder.distinguished == Some(distinguished)
        })
    }

    /// The id of a user's inbox.
    pub fn inbox(&self, user: &str) -> String {
        self.find(user, "inbox").expect("every mailbox has one").id.clone()
    }

    /// Folders directly in another one.
    pub fn children(&self, parent: &str) -> Vec<&Folder> {
        self.folders.values().filter(|folder| folder.parent == parent && folder.id != parent).collect()
    }

    /// Puts a message into a folder; its id.
    pub fn deliver(&mut self, folder: &str, content: &[u8]) -> String {
        let id = self.id("Item");
        let number = self.ids;
        let item = Stored {
            id: id.clone(),
            class: "IPM.Note".into(),
            content: content.to_vec(),
            long: None,
            received: format!("2026-01-{:02}T{:02}:04:05Z", 1 + number / 24 % 28, number % 24),
            message_flags: 0,
            flag_status: 0,
            last_verb: 0,
            categories: Vec::new(),
            changed: 0,
            refusal: None,
        };
        self.happened(folder, Happened::Created, &id);
        self.at(folder).items.push(item);
        id
    }

    /// Changes an item.
    pub fn change(&mut self, folder: &str, id: &str, what: Happened, change: impl FnOnce(&mut Stored)) {
        let item = self.at(folder).items.iter_mut().find(|item| item.id == id);
        let item = item.expect("it is there");
        // Reading is no change.
        item.changed += u64::from(what == Happened::Updated);
        change(item);
        self.happened(folder, what, id);
    }

    /// Deletes an item; whether it was there.
    pub fn delete(&mut self, id: &str) -> bool {
        let holder = self.folders.values().find(|folder| folder.items.iter().any(|item| item.id == id));
        let Some(folder) = holder.map(|folder| folder.id.clone()) else { return false };
        let at = self.at(&folder);
        at.items.retain(|item| item.id != id);
        at.deleted += 1;
        self.happened(&folder, Happened::Deleted, id);
        true
    }

    /// Lets folders in that one not be listed, or lets them.
    pub fn close(&mut self, folder: &str, closed: Option<(&'static str, &'static str)>) {
        self.at(folder).closed = closed;
    }

    /// Forgets how far clients have read.
    pub fn forget(&mut self, folder: &str) {
        self.at(folder).generation += 1;
    }

    /// An item, wherever it is.
    pub fn item(&self, id: &str) -> Option<&Stored> {
        self.folders.values().flat_map(|folder| &folder.items).find(|item| item.id == id)
    }

    fn at(&mut self, folder: &str) -> &mut Folder {
        self.folders.get_mut(folder).expect("there is such a folder")
    }

    fn happened(&mut self, folder: &str, what: Happened, id: &str) {
        let folder = self.at(folder);
        folder.changes += 1;
        folder.log.push((what, id.to_owned()));
    }
}
