//! Properties of the store that are asked for by their tags (MS-OXPROPS), because every version of Exchange has them for
//! every kind of item.

use serde::{Deserialize, Serialize};

/// PidTagMessageFlags: 1 is read, 8 is not sent yet (MS-OXCMSG §2.2.1.6).
pub(super) const MESSAGE_FLAGS: u32 = 0x0E07;
/// PidTagFlagStatus: 1 is done, 2 is marked (MS-OXOFLAG §2.2.1.1).
pub(super) const FLAG_STATUS: u32 = 0x1090;
/// PidTagLastVerbExecuted: 102 is answered, 103 answered to all, 104 forwarded (MS-OXOMSG §2.2.1.10).
pub(super) const LAST_VERB: u32 = 0x1081;
/// PidTagLocalCommitTimeMax: when something in the folder changed last (MS-OXCFOLD §2.2.2.2.1.14).
pub(super) const COMMIT_TIME_MAX: u32 = 0x670A;
/// PidTagDeletedCountTotal: how many messages were ever deleted from it (MS-OXCFOLD §2.2.2.2.1.15).
pub(super) const DELETED_COUNT_TOTAL: u32 = 0x670B;

/// What properties say of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// It was read.
    pub read: bool,
    /// It is a draft.
    pub draft: bool,
    /// It is marked.
    pub flagged: bool,
    /// It was answered.
    pub answered: bool,
    /// It was forwarded.
    pub forwarded: bool,
}

impl Flags {
    pub(super) fn set(&mut self, tag: u32, text: &str) {
        let Ok(value) = text.parse::<u32>() else { return };
        match tag {
            MESSAGE_FLAGS => (self.read, self.draft) = (value & 1 == 1, value & 8 == 8),
            FLAG_STATUS => self.flagged = value == 2,
            LAST_VERB => (self.answered, self.forwarded) = (matches!(value, 102 | 103), value == 104),
            _ => {}
        }
    }
}

/// By what a folder shows that something in it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// When something changed last, as the server writes it.
    pub commit: String,
    /// How many items were ever deleted.
    pub deleted: u64,
}

impl Stamp {
    pub(super) fn set(&mut self, tag: u32, text: &str) {
        match tag {
            COMMIT_TIME_MAX => self.commit = text.chars().take(64).collect(),
            DELETED_COUNT_TOTAL => self.deleted = text.parse().unwrap_or_default(),
            _ => {}
        }
    }
}
