//! Requests, as SOAP bodies. Elements in the order of the schema, for Exchange takes no other.

use std::fmt::Write as _;

use super::tags::{COMMIT_TIME_MAX, DELETED_COUNT_TOTAL, FLAG_STATUS, LAST_VERB, MESSAGE_FLAGS};
use super::xml::escaped;

const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// A folder in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By its id.
    Id(String),
    /// By what it is for, in the own mailbox or in another one.
    Distinguished(&'static str, Option<String>),
}

/// What happens to what is deleted (MS-OXWSCDATA `DisposalType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// It can be recovered for as long as the server keeps deleted items.
    Soft,
    /// It is gone.
    Hard,
    /// It is moved to the folder for deleted items.
    MoveToDeletedItems,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// The ids of these folders.
    GetFolder(&'a [Place]),
    /// The folders under one, behind a state.
    SyncFolderHierarchy(&'a Place, Option<&'a str>),
    /// The folders in these, and no deeper, from an offset on.
    FindFolder(&'a [Place], u64, usize),
    /// What changed in a folder behind a state, so many changes at most.
    SyncFolderItems(&'a Place, Option<&'a str>, usize),
    /// The items of a folder from an offset on, so many at most.
    FindItem(&'a Place, u64, usize),
    /// These items' content and flags; or their flags alone.
    GetItem(&'a [&'a str], bool),
    /// Deletes these items.
    DeleteItem(&'a [&'a str], Disposal),
}

/// What stands in the header of every request.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// For whom one acts.
    pub impersonated: Option<String>,
    /// The server knows what came with Exchange 2013.
    pub modern: bool,
}

impl Request<'_> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetFolder(_) => "GetFolder",
            Self::SyncFolderHierarchy(..) => "SyncFolderHierarchy",
            Self::FindFolder(..) => "FindFolder",
            Self::SyncFolderItems(..) => "SyncFolderItems",
            Self::FindItem(..) => "FindItem",
            Self::GetItem(..) => "GetItem",
            Self::DeleteItem(..) => "DeleteItem",
        }
    }

    /// The whole envelope.
    pub fn envelope(&self, caller: &Caller) -> String {
        let version = if caller.modern { "Exchange2013" } else { "Exchange2010_SP2" };
        let impersonation = caller.impersonated.as_deref().map(|address| {
            format!(
                "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress>\
                 </t:ConnectingSID></t:ExchangeImpersonation>",
                escaped(address)
            )
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<soap:Envelope xmlns:soap=\"{SOAP}\" xmlns:t=\"{TYPES}\" \
             xmlns:m=\"{MESSAGES}\"><soap:Header><t:RequestServerVersion Version=\"{version}\"/>{}</soap:Header>\
             <soap:Body>{}</soap:Body></soap:Envelope>",
            impersonation.unwrap_or_default(),
            self.body(caller.modern)
        )
    }

    fn body(&self, modern: bool) -> String {
        let name = self.name();
        match self {
            Self::GetFolder(places) => format!(
                "<m:{name}><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>\
                 <m:FolderIds>{}</m:FolderIds></m:{name}>",
                all(places)
            ),
            Self::SyncFolderHierarchy(root, state) => format!(
                "<m:{name}>{}<m:SyncFolderId>{}</m:SyncFolderId>{}</m:{name}>",
                folder_shape(),
                place(root),
                sync_state(*state)
            ),
            Self::FindFolder(parents, offset, max) => format!(
                "<m:{name} Traversal=\"Shallow\">{}<m:IndexedPageFolderView MaxEntriesReturned=\"{max}\" \
                 Offset=\"{offset}\" BasePoint=\"Beginning\"/><m:ParentFolderIds>{}</m:ParentFolderIds></m:{name}>",
                folder_shape(),
                all(parents)
            ),
            Self::SyncFolderItems(folder, state, max) => format!(
                "<m:{name}>{}<m:SyncFolderId>{}</m:SyncFolderId>{}<m:MaxChangesReturned>{max}</m:MaxChangesReturned>\
                 </m:{name}>",
                item_shape(false),
                place(folder),
                sync_state(*state)
            ),
            Self::FindItem(folder, offset, max) => format!(
                "<m:{name} Traversal=\"Shallow\">{}<m:IndexedPageItemView MaxEntriesReturned=\"{max}\" \
                 Offset=\"{offset}\" BasePoint=\"Beginning\"/><m:SortOrder><t:FieldOrder Order=\"Ascending\">\
                 <t:FieldURI FieldURI=\"item:DateTimeReceived\"/></t:FieldOrder></m:SortOrder>\
                 <m:ParentFolderIds>{}</m:ParentFolderIds></m:{name}>",
                item_shape(false),
                place(folder)
            ),
            Self::GetItem(ids, content) => format!(
                "<m:{name}>{}<m:ItemIds>{}</m:ItemIds></m:{name}>",
                item_shape(*content),
                item_ids(ids)
            ),
            Self::DeleteItem(ids, disposal) => {
                let disposal = match disposal {
                    Disposal::Soft => "SoftDelete",
                    Disposal::Hard => "HardDelete",
                    Disposal::MoveToDeletedItems => "MoveToDeletedItems",
                };
                // What was never read and asked for a receipt would tell its sender that it was deleted.
                let quiet = if modern { " SuppressReadReceipts=\"true\"" } else { "" };
                format!(
                    "<m:{name} DeleteType=\"{disposal}\" SendMeetingCancellations=\"SendToNone\" \
                     AffectedTaskOccurrences=\"AllOccurrences\"{quiet}><m:ItemIds>{}</m:ItemIds></m:{name}>",
                    item_ids(ids)
                )
            }
        }
    }
}

fn sync_state(state: Option<&str>) -> String {
    state.map(|state| format!("<m:SyncState>{}</m:SyncState>", escaped(state))).unwrap_or_default()
}

fn place(place: &Place) -> String {
    match place {
        Place::Id(id) => format!("<t:FolderId Id=\"{}\"/>", escaped(id)),
        Place::Distinguished(name, None) => format!("<t:DistinguishedFolderId Id=\"{name}\"/>"),
        Place::Distinguished(name, Some(mailbox)) => format!(
            "<t:DistinguishedFolderId Id=\"{name}\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox>\
             </t:DistinguishedFolderId>",
            escaped(mailbox)
        ),
    }
}

fn all(places: &[Place]) -> String {
    places.iter().map(place).collect()
}

fn item_ids(ids: &[&str]) -> String {
    ids.iter().map(|id| format!("<t:ItemId Id=\"{}\"/>", escaped(id))).collect()
}

fn properties(text: &mut String, tags: &[(u32, &str)]) {
    for (tag, kind) in tags {
        // Writing to a text does not fail.
        let _ = write!(text, "<t:ExtendedFieldURI PropertyTag=\"0x{tag:04X}\" PropertyType=\"{kind}\"/>");
    }
}

fn folder_shape() -> String {
    let mut more = String::new();
    for field in ["ParentFolderId", "FolderClass", "DisplayName", "TotalCount", "ChildFolderCount"] {
        more += &format!("<t:FieldURI FieldURI=\"folder:{field}\"/>");
    }
    properties(&mut more, &[(COMMIT_TIME_MAX, "SystemTime"), (DELETED_COUNT_TOTAL, "Integer")]);
    format!(
        "<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>{more}</t:AdditionalProperties>\
         </m:FolderShape>"
    )
}

fn item_shape(content: bool) -> String {
    let mut more = String::new();
    for field in ["ItemClass", "DateTimeReceived", "Size", "Categories", "LastModifiedTime"] {
        more += &format!("<t:FieldURI FieldURI=\"item:{field}\"/>");
    }
    properties(&mut more, &[(MESSAGE_FLAGS, "Integer"), (FLAG_STATUS, "Integer"), (LAST_VERB, "Integer")]);
    let content = if content { "<t:IncludeMimeContent>true</t:IncludeMimeContent>" } else { "" };
    format!(
        "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>{content}<t:AdditionalProperties>{more}\
         </t:AdditionalProperties></m:ItemShape>"
    )
}
