//! What each command asks of its caller.

use super::Scope;

/// What a command asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Seeing how things stand. Leaves no line in the audit log.
    See,
    /// Reading mail. [`super::Gate`] judges and records it.
    Mail,
    /// Looking after the archive without changing it, also in safe mode.
    Check,
    /// Changing an instance, or archiving into it; not in safe mode.
    Manage,
    /// Reading an audit log.
    Audit,
    /// What concerns more than one instance, or names directories of the machine.
    Admin,
}

impl Need {
    /// The scope that a token must have.
    pub fn scope(self) -> Scope {
        match self {
            Self::See => Scope::Read,
            Self::Mail => Scope::Mail,
            Self::Check | Self::Manage => Scope::Manage,
            Self::Audit => Scope::Audit,
            Self::Admin => Scope::Admin,
        }
    }

    /// That of a command by its name. What is not in the table only the operator may do, and it is recorded.
    pub fn of(command: &str) -> Self {
        COMMANDS.iter().find(|(name, _)| *name == command).map_or(Self::Admin, |(_, need)| *need)
    }
}

/// All commands, by the names under which they travel.
pub(super) const COMMANDS: &[(&str, Need)] = &[
    ("status", Need::See),
    ("instance-create", Need::Admin),
    ("instance-start", Need::Admin),
    ("instance-stop", Need::Admin),
    ("instance-delete", Need::Admin),
    ("instance-unlock", Need::Admin),
    ("instance-recover", Need::Admin),
    ("instance-new-recovery-key", Need::Admin),
    ("instance-list", Need::See),
    ("instance-show", Need::See),
    ("user-add", Need::Manage),
    ("user-list", Need::See),
    ("user-show", Need::See),
    ("user-edit", Need::Manage),
    ("user-delete", Need::Manage),
    ("profile-put", Need::Manage),
    ("profile-list", Need::See),
    ("profile-show", Need::See),
    ("profile-delete", Need::Manage),
    ("profile-run", Need::Manage),
    ("profile-enable", Need::Manage),
    ("profile-test", Need::Manage),
    ("profile-retries", Need::Manage),
    ("search", Need::Mail),
    ("message-get", Need::Mail),
    ("folder-list", Need::Mail),
    ("store-list", Need::See),
    ("store-create", Need::Manage),
    ("store-state", Need::Manage),
    ("store-attach", Need::Admin),
    ("store-detach", Need::Manage),
    ("store-roll-over", Need::Manage),
    ("verify", Need::Check),
    ("rebuild", Need::Manage),
    ("index-rebuild", Need::Manage),
    ("compact", Need::Manage),
    ("backup", Need::Admin),
    ("job-put", Need::Manage),
    ("job-list", Need::See),
    ("job-show", Need::See),
    ("job-run", Need::Manage),
    ("job-cancel", Need::Manage),
    ("job-enable", Need::Manage),
    ("job-delete", Need::Manage),
    ("result-list", Need::See),
    ("result-show", Need::See),
    ("notifications-test", Need::Admin),
    ("restore", Need::Admin),
    ("audit-list", Need::Audit),
    ("audit-verify", Need::Audit),
    ("token-create", Need::Admin),
    ("token-list", Need::Admin),
    ("token-revoke", Need::Admin),
];
