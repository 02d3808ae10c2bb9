//! The names that may stand before a colon.

/// A field of the index that has words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive::index) enum Field {
    From,
    To,
    Cc,
    /// Who received it without being named in it, as its envelope tells.
    Bcc,
    Subject,
    Body,
    /// Names of attached files.
    Filename,
    /// Text of attached files.
    Attachment,
    Folder,
}

impl Field {
    pub(in crate::archive::index) const ALL: [Self; 9] = [
        Self::From,
        Self::To,
        Self::Cc,
        Self::Bcc,
        Self::Subject,
        Self::Body,
        Self::Filename,
        Self::Attachment,
        Self::Folder,
    ];
    /// Where words without a field are looked for.
    pub(in crate::archive::index) const ANYWHERE: [Self; 8] = [
        Self::From,
        Self::To,
        Self::Cc,
        Self::Bcc,
        Self::Subject,
        Self::Body,
        Self::Filename,
        Self::Attachment,
    ];

    /// Its name in the index and in what is told of a hit.
    pub(in crate::archive::index) fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Filename => "filename",
            Self::Attachment => "attachment",
            Self::Folder => "folder",
        }
    }
}

/// What may stand before a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Text(&'static str, &'static [Field]),
    Has,
    After,
    Before,
    On,
    Size,
    Larger,
    Smaller,
    Id,
    Archive,
}

const KEYS: [(&str, Key); 21] = [
    ("from", Key::Text("from", &[Field::From])),
    ("to", Key::Text("to", &[Field::To])),
    ("cc", Key::Text("cc", &[Field::Cc])),
    ("bcc", Key::Text("bcc", &[Field::Bcc])),
    ("recipient", Key::Text("recipient", &[Field::To, Field::Cc, Field::Bcc])),
    ("with", Key::Text("with", &[Field::From, Field::To, Field::Cc, Field::Bcc])),
    ("subject", Key::Text("subject", &[Field::Subject])),
    ("body", Key::Text("body", &[Field::Body])),
    ("filename", Key::Text("filename", &[Field::Filename])),
    ("attachment", Key::Text("attachment", &[Field::Filename, Field::Attachment])),
    ("folder", Key::Text("folder", &[Field::Folder])),
    ("has", Key::Has),
    ("after", Key::After),
    ("before", Key::Before),
    ("on", Key::On),
    ("date", Key::On),
    ("size", Key::Size),
    ("larger", Key::Larger),
    ("smaller", Key::Smaller),
    ("id", Key::Id),
    ("archive", Key::Archive),
];

impl Key {
    pub(super) fn named(name: &str) -> Option<Self> {
        KEYS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key)
    }

    pub(super) fn names() -> String {
        KEYS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn name(self) -> &'static str {
        KEYS.iter().find(|(_, key)| *key == self).map_or("", |(name, _)| name)
    }

    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Text("subject" | "body", _) => "subject:budget, subject:\"annual report\"",
            Self::Text("filename" | "attachment", _) => "filename:pdf, attachment:budget",
            Self::Text("folder", _) => "folder:incoming",
            Self::Text(..) => "from:anna, from:anna@example.com",
            Self::Has => "has:attachment",
            Self::After | Self::Before | Self::On => "after:2026-01-31, on:2026-01, before:2026, after:30d",
            Self::Size | Self::Larger | Self::Smaller => "size:>5mb, larger:5mb, smaller:100kb",
            Self::Id => "id:01JZ…, id:<message-id@example.com>",
            Self::Archive => "archive:anna",
        }
    }
}

/// The field that was probably meant.
pub(in crate::archive::index) fn nearest(name: &str) -> Option<&'static str> {
    let distances = KEYS.iter().map(|(known, _)| (distance(name, known), *known));
    distances
        .min()
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .map(|(_, known)| known)
}

/// Letters that must be added, left out, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let mut best = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[one.len()][other.len()]
}
