//! What names an item across runs: its id at the server, and when it was changed last. Values only.
//!
//! ```text
//! AAMkAGI…= 2026-01-02T03:04:05Z
//! ```
//!
//! At Exchange an item is edited under the id it has. What was archived is named with its time, so that another state of it has
//! another name: it is archived too, and is not deleted in place of the one that is.

use super::soap::ItemRow;
use crate::sources::ItemId;

/// Classes of what is not edited any more once it is delivered.
const DELIVERED: [&str; 3] = ["IPM.Note", "REPORT", "IPM.Schedule"];

/// The name of an item as it is now.
pub(super) fn name(row: &ItemRow) -> ItemId {
    ItemId(format!("{} {}", row.id, row.modified))
}

/// Its id at the server.
pub(super) fn id(item: &ItemId) -> &str {
    item.0.split_once(' ').map_or(item.0.as_str(), |(id, _)| id)
}

/// Whether it is as it was when it was named so; not when the server does not tell.
pub(super) fn is_as_named(row: &ItemRow, item: &ItemId) -> bool {
    !row.modified.is_empty() && name(row) == *item
}

/// Whether it is mail that has been sent or received, and no draft and nothing that people go on working on.
pub(super) fn is_delivered(row: &ItemRow) -> bool {
    let is = |class: &&str| {
        let begins = row.class.get(..class.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(class));
        begins && matches!(row.class.as_bytes().get(class.len()), None | Some(b'.'))
    };
    !row.flags.draft && DELIVERED.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_state_has_another_name() {
        let mut row =
            ItemRow { id: "AAMk+/=".into(), modified: "2026-01-02T03:04:05Z".into(), ..ItemRow::default() };
        let named = name(&row);
        assert_eq!((id(&named), named.0.as_str()), ("AAMk+/=", "AAMk+/= 2026-01-02T03:04:05Z"));
        assert!(is_as_named(&row, &named));
        row.modified = "2026-01-02T03:04:06Z".into();
        assert!(!is_as_named(&row, &named));
        row.modified.clear();
        assert!(!is_as_named(&row, &name(&row)), "nobody knows");
        assert_eq!(id(&ItemId("bare".into())), "bare");
    }

    #[test]
    fn what_is_edited_is_told_from_what_was_delivered() {
        let is = |class: &str, draft| {
            let mut row = ItemRow { class: class.into(), ..ItemRow::default() };
            row.flags.draft = draft;
            is_delivered(&row)
        };
        for class in ["IPM.Note", "ipm.note.SMIME", "REPORT.IPM.Note.NDR", "IPM.Schedule.Meeting.Request"] {
            assert!(is(class, false) && !is(class, true), "{class}");
        }
        for class in
            ["IPM.Appointment", "IPM.Contact", "IPM.Task", "IPM.StickyNote", "IPM.Post", "IPM.Notes", ""]
        {
            assert!(!is(class, false), "{class}");
        }
    }
}
