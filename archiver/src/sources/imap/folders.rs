//! From LIST to folders: names in UTF-8, roles, whose they are. Values only.

use postern_shared::proto::imap::{ListEntry, Namespace, Response, utf7};

use crate::sources::account::{Folder, FolderId, Owner, Role};

/// Before the octets, in hexadecimal digits, of a name that is no good UTF-8 or UTF-7.
const RAW: &str = "%raw:";

/// The folder's name across runs, the same whether the server writes UTF-7 or UTF-8. A name from which the server's own
/// cannot be made again stands in hexadecimal digits.
pub(super) fn id_of(wire: &[u8], utf8: bool) -> FolderId {
    let name = std::str::from_utf8(wire).ok().map(str::to_owned);
    let name = if utf8 { name } else { name.and_then(|name| utf7::decode(&name)) };
    let name = name.filter(|name| utf8 || utf7::encode(name).as_bytes() == wire);
    FolderId(match name {
        // INBOX in any case is one folder (RFC 3501 §5.1).
        Some(name) if name.eq_ignore_ascii_case("INBOX") => "INBOX".to_owned(),
        Some(name) => name.replace('%', "%25"),
        None => format!("{RAW}{}", hex::encode(wire)),
    })
}

/// The name as the server writes it.
pub(super) fn wire_of(id: &FolderId, utf8: bool) -> Vec<u8> {
    if let Some(octets) = id.0.strip_prefix(RAW).and_then(|digits| hex::decode(digits).ok()) {
        return octets;
    }
    let name = id.0.replace("%25", "%");
    if utf8 { name.into_bytes() } else { utf7::encode(&name).into_bytes() }
}

/// What LIST told of a folder; `namespaces` is the answer to NAMESPACE.
pub(super) fn folder_of(entry: &ListEntry, utf8: bool, namespaces: Option<&Response>) -> Folder {
    let name = String::from_utf8_lossy(&entry.name);
    let name =
        if utf8 { name.into_owned() } else { utf7::decode(&name).unwrap_or_else(|| name.into_owned()) };
    let path = match entry.delimiter {
        Some(delimiter) => name.split(delimiter).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        None => vec![name],
    };
    let id = id_of(&entry.name, utf8);
    let role = if id.0 == "INBOX" { Some(Role::Inbox) } else { role_of(entry) };
    let holds_messages = !entry.is("\\NoSelect") && !entry.is("\\NonExistent");
    Folder { id, path, role, owner: owner_of(&entry.name, namespaces), holds_messages, messages: None }
}

fn role_of(entry: &ListEntry) -> Option<Role> {
    // The second names are XLIST's.
    let roles = [
        ("\\All", Role::All),
        ("\\AllMail", Role::All),
        ("\\Archive", Role::Archive),
        ("\\Drafts", Role::Drafts),
        ("\\Flagged", Role::Flagged),
        ("\\Starred", Role::Flagged),
        ("\\Important", Role::Important),
        ("\\Junk", Role::Junk),
        ("\\Spam", Role::Junk),
        ("\\Sent", Role::Sent),
        ("\\Trash", Role::Trash),
    ];
    roles.into_iter().find(|(attribute, _)| entry.is(attribute)).map(|(_, role)| role)
}

/// By the longest prefix that fits.
fn owner_of(name: &[u8], namespaces: Option<&Response>) -> Owner {
    let Some(Response::Namespace { own, other, shared }) = namespaces else { return Owner::Own };
    let fits = |namespace: &Namespace| {
        // "Other Users/" is the root of them too, which is listed without the delimiter.
        let prefix = &namespace.prefix;
        name.starts_with(prefix) || (name.len() + 1 == prefix.len() && prefix.starts_with(name))
    };
    let longest = |list: &[Namespace]| {
        list.iter().filter(|namespace| fits(namespace)).map(|namespace| namespace.prefix.len()).max()
    };
    let own = (longest(own), Owner::Own);
    // `max` takes the last of equals: one's own.
    let best = [(longest(shared), Owner::Shared), (longest(other), Owner::Other), own];
    best.into_iter().max_by_key(|(len, _)| *len).map_or(Owner::Own, |(_, owner)| owner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(attributes: &[&str], name: &str) -> ListEntry {
        let attributes = attributes.iter().map(|&name| name.to_owned()).collect();
        ListEntry { attributes, delimiter: Some('/'), name: name.into() }
    }

    #[test]
    fn names_are_the_same_in_utf_7_and_utf_8() {
        let folder = folder_of(&entry(&["\\Drafts"], "Mail/Entw&APw-rfe"), false, None);
        assert_eq!((folder.path, folder.role), (vec!["Mail".into(), "Entwürfe".into()], Some(Role::Drafts)));
        assert_eq!(folder.id, folder_of(&entry(&[], "Mail/Entwürfe"), true, None).id);
        assert_eq!(wire_of(&folder.id, false), b"Mail/Entw&APw-rfe");
        assert_eq!(wire_of(&folder.id, true), "Mail/Entwürfe".as_bytes());
        assert_eq!(id_of(b"inbox", false).0, "INBOX");
        let container = folder_of(&entry(&["\\Noselect"], "x"), false, None);
        assert!(!container.holds_messages && container.role.is_none());
        assert_eq!(folder_of(&entry(&["\\Sent"], "INBOX"), false, None).role, Some(Role::Inbox));
    }

    #[test]
    fn folders_belong_to_the_longest_namespace() {
        let space = |prefix: &str| vec![Namespace { prefix: prefix.into(), delimiter: Some('/') }];
        let spaces =
            Response::Namespace { own: space(""), other: space("Other Users/"), shared: space("Public/") };
        for (name, owner) in [
            ("INBOX", Owner::Own),
            ("Other Users/bob", Owner::Other),
            ("Other Users", Owner::Other),
            ("Public/x", Owner::Shared),
            ("Publican", Owner::Own),
        ] {
            assert_eq!(folder_of(&entry(&[], name), false, Some(&spaces)).owner, owner, "{name}");
        }
        let same = Response::Namespace { own: space("user/"), other: Vec::new(), shared: space("") };
        assert_eq!(folder_of(&entry(&[], "user/x"), false, Some(&same)).owner, Owner::Own);
        assert_eq!(folder_of(&entry(&[], "x"), false, Some(&same)).owner, Owner::Shared);
    }

    proptest! {
        /// Goal: whatever a server calls its folders, they are asked for by the very same name, and no two are one.
        #[test]
        fn every_name_can_be_asked_for_again(
            name in prop_oneof!["[%&a-z-]{1,12}".prop_map(String::into_bytes), "\\PC{1,8}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 1..12)],
            utf8: bool,
        ) {
            let is_inbox = name.eq_ignore_ascii_case(b"INBOX");
            prop_assert!(is_inbox || wire_of(&id_of(&name, utf8), utf8) == name);
        }
    }
}
