//! EWS: from a request to an answer. Elements in the order of the schema.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_archiver::sources::ews::soap::xml::escaped;

use super::store::{Folder, Happened, Refusal, Store, Stored};
use super::tree::Node;
use super::{Fault, Shared, USER};

/// An error of one response message or of all: code and words.
type Refused = (&'static str, &'static str);

const NO_FOLDER: Refused = ("ErrorFolderNotFound", "The specified folder could not be found in the store.");
const NO_MAILBOX: Refused =
    ("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.");
const NO_ITEM: Refused = ("ErrorItemNotFound", "The specified object was not found in the store.");

/// Around the number of groups of base64 that an answer has in this place.
pub(super) const LONG: &str = "\u{1}long\u{1}";

/// A request, and for whom it is.
struct Asked<'a> {
    name: String,
    body: &'a Node,
    user: String,
    /// Whether others' mailboxes are open to that user.
    has_access: bool,
    /// What a shape asks for.
    fields: Vec<String>,
    tags: Vec<String>,
    all: bool,
}

/// The name of a request.
pub(super) fn name(envelope: &Node) -> String {
    let body = envelope.child("Body").and_then(|body| body.children.first());
    body.map(|body| body.name.clone()).unwrap_or_default()
}

/// How a request for content is refused as a whole, because of an item in it.
pub(super) fn refusal(shared: &Shared, envelope: &Node) -> Option<Refusal> {
    envelope.find("IncludeMimeContent").filter(|wanted| wanted.text == "true")?;
    let ids = envelope.find("ItemIds")?.all("Id");
    let mut refused = ids.iter().filter_map(|id| shared.store.item(id)?.refusal);
    refused.find(|refusal| {
        matches!(refusal, Refusal::Status(_) | Refusal::Bent | Refusal::Silent | Refusal::HangUp)
    })
}

/// The content of the answer's `Body`, or a fault.
pub(super) fn answer(
    shared: &mut Shared,
    envelope: &Node,
    fault: Option<&Fault>,
) -> Result<Result<String, Refused>> {
    let body = envelope.child("Body").and_then(|body| body.children.first()).context("no request")?;
    let impersonated = envelope
        .find("ExchangeImpersonation")
        .and_then(|who| who.find("PrimarySmtpAddress").or_else(|| who.find("SmtpAddress")));
    if impersonated.is_some() && !shared.impersonates {
        let text = "The account does not have permission to impersonate the requested user.";
        return Ok(Err(("ErrorImpersonateUserDenied", text)));
    }
    // Who acts for nobody is who logged in, and may have no mailbox.
    let user = impersonated.map_or(USER, |who| who.text.trim()).to_owned();
    if impersonated.is_some() && shared.store.find(&user, "root").is_none() {
        return Ok(Err(NO_MAILBOX));
    }
    let shape = body.child("ItemShape").or_else(|| body.child("FolderShape"));
    let asked = Asked {
        name: body.name.clone(),
        body,
        user,
        has_access: shared.has_access,
        fields: shape.map(|shape| shape.all("FieldURI")).unwrap_or_default(),
        tags: shape.map(|shape| shape.all("PropertyTag")).unwrap_or_default(),
        all: shape.and_then(|shape| shape.child("BaseShape")).is_some_and(|base| base.text != "IdOnly"),
    };
    let store = &mut shared.store;
    let mut messages = match asked.name.as_str() {
        "GetFolder" => get_folder(store, &asked),
        "SyncFolderHierarchy" => sync_hierarchy(store, &asked),
        "FindFolder" => find_folder(store, &asked),
        "SyncFolderItems" => sync_items(store, &asked),
        "FindItem" => find_item(store, &asked),
        "GetItem" => get_item(store, &asked),
        "DeleteItem" => delete_item(store, &asked),
        _ => return Ok(Err(("ErrorInvalidRequest", "The request is invalid."))),
    };
    if let Some(Fault::BusyFrom(first)) = fault {
        messages.iter_mut().skip(*first).for_each(|message| {
            *message = Err((
                "ErrorServerBusy",
                "The server cannot service this request right now. Try again later.",
            ));
        });
    }
    let name = &asked.name;
    let mut text = format!("<m:{name}Response><m:ResponseMessages>");
    for message in messages {
        text += &match message {
            Ok(inner) => format!(
                "<m:{name}ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>{inner}\
                 </m:{name}ResponseMessage>"
            ),
            Err((code, words)) => {
                let back_off = if code == "ErrorServerBusy" {
                    "<m:MessageXml><t:Value Name=\"BackOffMilliseconds\">30</t:Value></m:MessageXml>"
                } else {
                    ""
                };
                let items = if name == "GetItem" { "<m:Items/>" } else { "" };
                format!(
                    "<m:{name}ResponseMessage ResponseClass=\"Error\"><m:MessageText>{}</m:MessageText>\
                     <m:ResponseCode>{code}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>{back_off}\
                     {items}</m:{name}ResponseMessage>",
                    escaped(words)
                )
            }
        };
    }
    Ok(Ok(text + &format!("</m:ResponseMessages></m:{name}Response>")))
}

type Messages = Vec<Result<String, Refused>>;

impl Asked<'_> {
    fn wants(&self, field: &str) -> bool {
        self.all || self.fields.iter().any(|asked| asked == field)
    }

    fn properties(&self, known: &[(u32, &str, String)]) -> String {
        let mut text = String::new();
        for (tag, kind, value) in known {
            let asked = self.tags.iter().any(|asked| {
                asked.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok()) == Some(*tag)
            });
            if asked {
                // As Exchange writes it: no leading zeros, small letters.
                let _ = write!(
                    text,
                    "<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0x{tag:x}\" PropertyType=\"{kind}\"/>\
                     <t:Value>{value}</t:Value></t:ExtendedProperty>"
                );
            }
        }
        text
    }

    /// The folders that a request names.
    fn places<'s>(&self, store: &'s Store, within: &str) -> Vec<Result<&'s Folder, Refused>> {
        let named = self.body.child(within).map(|within| within.children.as_slice()).unwrap_or_default();
        named
            .iter()
            .map(|place| {
                let id = place.attribute("Id").unwrap_or_default();
                let user = place.find("EmailAddress").map_or(self.user.as_str(), |other| other.text.as_str());
                match place.name.as_str() {
                    "FolderId" => store.folders.get(id).ok_or(NO_FOLDER),
                    _ if user != self.user && !self.has_access => Err(NO_FOLDER),
                    _ if id != "publicfoldersroot" && store.find(user, "root").is_none() => Err(NO_MAILBOX),
                    _ if id == "archivemsgfolderroot" => store.find(user, id).ok_or((
                        "ErrorArchiveMailboxNotEnabled",
                        "The archive mailbox is not enabled for this user.",
                    )),
                    _ => store.find(user, id).ok_or(NO_FOLDER),
                }
            })
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        self.body.child("ItemIds").map(|ids| ids.all("Id")).unwrap_or_default()
    }
}

fn get_folder(store: &Store, asked: &Asked<'_>) -> Messages {
    let places = asked.places(store, "FolderIds").into_iter();
    places
        .map(|place| {
            place.map(|folder| format!("<m:Folders>{}</m:Folders>", folder_xml(store, asked, folder)))
        })
        .collect()
}

/// All folders beneath one, children before grandchildren or not: servers promise no order.
fn beneath<'s>(store: &'s Store, root: &str) -> Vec<&'s Folder> {
    let mut found = Vec::new();
    for child in store.children(root) {
        found.extend(beneath(store, &child.id));
        found.push(child);
    }
    found
}

fn sync_hierarchy(store: &Store, asked: &Asked<'_>) -> Messages {
    let root = asked.places(store, "SyncFolderId").into_iter().next();
    let root = match root.unwrap_or_else(|| store.find(&asked.user, "msgfolderroot").ok_or(NO_FOLDER)) {
        Ok(root) => root,
        Err(refused) => return vec![Err(refused)],
    };
    let all = beneath(store, &root.id);
    // Folders of one answer.
    let most = all.len().div_ceil(3).max(4);
    let from: usize =
        asked.body.child("SyncState").and_then(|state| state.text.parse().ok()).unwrap_or_default();
    let page: String = all
        .iter()
        .skip(from)
        .take(most)
        .map(|folder| format!("<t:Create>{}</t:Create>", folder_xml(store, asked, folder)))
        .collect();
    let last = from + most >= all.len();
    let state = (from + most).min(all.len());
    vec![Ok(format!(
        "<m:SyncState>{state}</m:SyncState><m:IncludesLastFolderInRange>{last}</m:IncludesLastFolderInRange>\
         <m:Changes>{page}</m:Changes>"
    ))]
}

fn find_folder(store: &Store, asked: &Asked<'_>) -> Messages {
    let deep = asked.body.attribute("Traversal") == Some("Deep");
    let view = asked.body.find("IndexedPageFolderView");
    let offset = view.and_then(|view| view.number("Offset")).unwrap_or_default();
    let max = view.and_then(|view| view.number("MaxEntriesReturned")).unwrap_or(usize::MAX);
    let places = asked.places(store, "ParentFolderIds").into_iter();
    places
        .map(|place| {
            let parent = place?;
            if let Some(closed) = parent.closed {
                return Err(closed);
            }
            let all = if deep { beneath(store, &parent.id) } else { store.children(&parent.id) };
            let page: String =
                all.iter().skip(offset).take(max).map(|folder| folder_xml(store, asked, folder)).collect();
            let next = offset.saturating_add(max).min(all.len());
            Ok(format!(
                "<m:RootFolder IndexedPagingOffset=\"{next}\" TotalItemsInView=\"{}\" IncludesLastItemInRange=\"{}\">\
                 <t:Folders>{page}</t:Folders></m:RootFolder>",
                all.len(),
                next == all.len()
            ))
        })
        .collect()
}

fn folder_xml(store: &Store, asked: &Asked<'_>, folder: &Folder) -> String {
    let element = if folder.class.starts_with("IPF.Appointment") { "CalendarFolder" } else { "Folder" };
    let mut text = format!("<t:{element}><t:FolderId Id=\"{}\" ChangeKey=\"AQAAAA==\"/>", folder.id);
    if asked.wants("folder:ParentFolderId") {
        let _ = write!(text, "<t:ParentFolderId Id=\"{}\" ChangeKey=\"AQAAAA==\"/>", folder.parent);
    }
    if asked.wants("folder:FolderClass") && !folder.class.is_empty() {
        let _ = write!(text, "<t:FolderClass>{}</t:FolderClass>", folder.class);
    }
    if asked.wants("folder:DisplayName") {
        let _ = write!(text, "<t:DisplayName>{}</t:DisplayName>", escaped(&folder.name));
    }
    if asked.wants("folder:TotalCount") {
        let _ = write!(text, "<t:TotalCount>{}</t:TotalCount>", folder.items.len());
    }
    if asked.wants("folder:ChildFolderCount") {
        let _ = write!(text, "<t:ChildFolderCount>{}</t:ChildFolderCount>", store.children(&folder.id).len());
    }
    let commit = format!(
        "2026-01-01T{:02}:{:02}:{:02}Z",
        folder.changes / 3600 % 24,
        folder.changes / 60 % 60,
        folder.changes % 60
    );
    text +=
        &asked.properties(&[(0x670A, "SystemTime", commit), (0x670B, "Integer", folder.deleted.to_string())]);
    text + &format!("</t:{element}>")
}

fn sync_items(store: &Store, asked: &Asked<'_>) -> Messages {
    const INVALID: Refused =
        ("ErrorInvalidSyncStateData", "Synchronization state data is corrupt or otherwise invalid.");
    let folder = match asked.places(store, "SyncFolderId").into_iter().next().unwrap_or(Err(NO_FOLDER)) {
        Ok(folder) => folder,
        Err(refused) => return vec![Err(refused)],
    };
    let state =
        asked.body.child("SyncState").map(|state| state.text.as_str()).filter(|state| !state.is_empty());
    let from = match state {
        None => 0,
        Some(state) => {
            let decoded = STANDARD.decode(state).ok().and_then(|octets| String::from_utf8(octets).ok());
            let prefix = format!("{} {} ", folder.id, folder.generation);
            match decoded.and_then(|text| text.strip_prefix(&prefix)?.parse::<usize>().ok()) {
                Some(from) => from,
                None => return vec![Err(INVALID)],
            }
        }
    };
    let max =
        asked.body.child("MaxChangesReturned").and_then(|max| max.text.parse().ok()).unwrap_or(512_usize);
    let (mut page, mut at, mut count) = (String::new(), from, 0);
    while let Some((what, id)) = folder.log.get(at).filter(|_| count < max) {
        at += 1;
        let item = folder.items.iter().find(|item| item.id == *id);
        let change = match (what, item) {
            (Happened::Created, Some(item)) => {
                format!("<t:Create>{}</t:Create>", item_xml(asked, item, false))
            }
            (Happened::Updated, Some(item)) => {
                format!("<t:Update>{}</t:Update>", item_xml(asked, item, false))
            }
            (Happened::Read, Some(item)) => format!(
                "<t:ReadFlagChange>{}<t:IsRead>{}</t:IsRead></t:ReadFlagChange>",
                item_id(item),
                item.message_flags & 1 == 1
            ),
            (Happened::Deleted, _) => {
                format!("<t:Delete><t:ItemId Id=\"{id}\" ChangeKey=\"CQAAAA==\"/></t:Delete>")
            }
            // It is gone by now, which is told later.
            (_, None) => continue,
        };
        page += &change;
        count += 1;
    }
    let state = STANDARD.encode(format!("{} {} {at}", folder.id, folder.generation));
    let last = at == folder.log.len();
    vec![Ok(format!(
        "<m:SyncState>{state}</m:SyncState><m:IncludesLastItemInRange>{last}</m:IncludesLastItemInRange>\
         <m:Changes>{page}</m:Changes>"
    ))]
}

fn find_item(store: &Store, asked: &Asked<'_>) -> Messages {
    let view = asked.body.find("IndexedPageItemView");
    let offset = view.and_then(|view| view.number("Offset")).unwrap_or_default();
    let max = view.and_then(|view| view.number("MaxEntriesReturned")).unwrap_or(1000).min(1000);
    let places = asked.places(store, "ParentFolderIds").into_iter();
    places
        .map(|place| {
            let items = &place?.items;
            let page: String =
                items.iter().skip(offset).take(max).map(|item| item_xml(asked, item, false)).collect();
            let next = offset.saturating_add(max).min(items.len());
            Ok(format!(
                "<m:RootFolder IndexedPagingOffset=\"{next}\" TotalItemsInView=\"{}\" IncludesLastItemInRange=\"{}\">\
                 <t:Items>{page}</t:Items></m:RootFolder>",
                items.len(),
                next == items.len()
            ))
        })
        .collect()
}

fn get_item(store: &Store, asked: &Asked<'_>) -> Messages {
    let mime = asked.body.find("IncludeMimeContent").is_some_and(|wanted| wanted.text == "true")
        || asked.fields.iter().any(|field| field == "item:MimeContent");
    let one = |id: String| {
        let item = store.item(&id).ok_or(NO_ITEM)?;
        if let (true, Some(Refusal::Error(code, words))) = (mime, item.refusal) {
            return Err((code, words));
        }
        Ok(format!("<m:Items>{}</m:Items>", item_xml(asked, item, mime)))
    };
    asked.ids().into_iter().map(one).collect()
}

fn delete_item(store: &mut Store, asked: &Asked<'_>) -> Messages {
    let one = |id: String| match store.item(&id).and_then(|item| item.refusal) {
        Some(Refusal::Error(code, words)) => Err((code, words)),
        _ if store.delete(&id) => Ok(String::new()),
        _ => Err(NO_ITEM),
    };
    asked.ids().into_iter().map(one).collect()
}

fn item_id(item: &Stored) -> String {
    format!("<t:ItemId Id=\"{}\" ChangeKey=\"CQAAAA==\"/>", item.id)
}

fn item_xml(asked: &Asked<'_>, item: &Stored, mime: bool) -> String {
    let element = match item.class.as_str() {
        class if class.starts_with("IPM.Appointment") => "CalendarItem",
        class if class.starts_with("IPM.Post") => "PostItem",
        class if class.starts_with("IPM.Schedule.Meeting.Request") => "MeetingRequest",
        _ => "Message",
    };
    let mut text = format!("<t:{element}>");
    match item.refusal {
        _ if !mime => {}
        Some(Refusal::NoContent) => {}
        Some(Refusal::Garbled) => {
            text += "<t:MimeContent CharacterSet=\"UTF-8\">this is no base64</t:MimeContent>";
        }
        _ => {
            let content = match item.long {
                Some(times) => format!("{LONG}{times}{LONG}"),
                None => STANDARD.encode(&item.content),
            };
            let _ = write!(text, "<t:MimeContent CharacterSet=\"UTF-8\">{content}</t:MimeContent>");
        }
    }
    text += &item_id(item);
    if asked.wants("item:ItemClass") {
        let _ = write!(text, "<t:ItemClass>{}</t:ItemClass>", item.class);
    }
    if asked.wants("item:Subject") {
        let head = String::from_utf8_lossy(&item.content);
        let subject = head.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
        let _ = write!(text, "<t:Subject>{}</t:Subject>", escaped(subject));
    }
    if asked.wants("item:DateTimeReceived") {
        let _ = write!(text, "<t:DateTimeReceived>{}</t:DateTimeReceived>", item.received);
    }
    if asked.wants("item:Size") {
        let _ = write!(text, "<t:Size>{}</t:Size>", item.content.len() + 100);
    }
    if asked.wants("item:Categories") && !item.categories.is_empty() {
        let all: String =
            item.categories.iter().map(|word| format!("<t:String>{}</t:String>", escaped(word))).collect();
        let _ = write!(text, "<t:Categories>{all}</t:Categories>");
    }
    text += &asked.properties(&[
        (0x0E07, "Integer", item.message_flags.to_string()),
        (0x1090, "Integer", item.flag_status.to_string()),
        (0x1081, "Integer", item.last_verb.to_string()),
    ]);
    if asked.wants("item:LastModifiedTime") {
        let _ = write!(text, "<t:LastModifiedTime>{}</t:LastModifiedTime>", item.modified());
    }
    if asked.wants("message:IsRead") && element == "Message" {
        let _ = write!(text, "<t:IsRead>{}</t:IsRead>", item.message_flags & 1 == 1);
    }
    text + &format!("</t:{element}>")
}
