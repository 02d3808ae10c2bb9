//! Every command, as it travels.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Secret, TransportKey};
use crate::access::Scope;
use crate::archive::{Order, Privilege, State};
use crate::jobs::Job;
use crate::profiles::StoredProfile;
use crate::profiles::state::Which;

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the command line's help says it")]
pub enum Command {
    Status,
    InstanceCreate {
        id: String,
        passphrase: Option<Secret>,
    },
    InstanceStart {
        id: String,
        safe: bool,
    },
    InstanceStop {
        id: String,
    },
    InstanceDelete {
        id: String,
    },
    InstanceUnlock {
        id: String,
        passphrase: Secret,
    },
    InstanceRecover {
        id: String,
        recovery_key: Secret,
        #[serde(default)]
        passphrase: Option<Secret>,
    },
    InstanceList,
    InstanceShow {
        id: String,
    },
    UserAdd {
        instance: String,
        id: String,
        emails: Vec<String>,
        privileges: Option<BTreeSet<Privilege>>,
        reads: Option<BTreeSet<String>>,
    },
    UserList {
        instance: String,
    },
    UserShow {
        instance: String,
        id: String,
    },
    UserEdit {
        instance: String,
        id: String,
        emails: Option<Vec<String>>,
        add_emails: Vec<String>,
        remove_emails: Vec<String>,
        privileges: Option<BTreeSet<Privilege>>,
        reads: Option<BTreeSet<String>>,
    },
    UserDelete {
        instance: String,
        id: String,
    },
    ProfilePut {
        instance: String,
        profile: Box<StoredProfile>,
        key: TransportKey,
    },
    ProfileList {
        instance: String,
    },
    ProfileShow {
        instance: String,
        name: String,
    },
    ProfileDelete {
        instance: String,
        name: String,
    },
    ProfileRun {
        instance: String,
        name: String,
    },
    ProfileEnable {
        instance: String,
        name: String,
        enabled: bool,
    },
    ProfileTest {
        instance: String,
        profile: Box<Tested>,
    },
    ProfileRetries {
        instance: String,
        name: String,
        then: Then,
    },
    Search {
        instance: String,
        user: Option<String>,
        query: String,
        limit: usize,
        offset: usize,
        #[serde(default)]
        order: Order,
        #[serde(default)]
        cursor: Option<String>,
    },
    MessageGet {
        instance: String,
        id: String,
        report: bool,
    },
    FolderList {
        instance: String,
        user: Option<String>,
    },
    StoreList {
        instance: String,
    },
    StoreCreate {
        instance: String,
    },
    StoreState {
        instance: String,
        store: String,
        state: State,
    },
    StoreAttach {
        instance: String,
        dir: PathBuf,
    },
    StoreDetach {
        instance: String,
        store: String,
    },
    StoreRollOver {
        instance: String,
        messages: Option<u64>,
        bytes: Option<u64>,
    },
    Verify {
        instance: String,
        store: Option<String>,
        afresh: bool,
    },
    Rebuild {
        instance: String,
        store: Option<String>,
    },
    IndexRebuild {
        instance: String,
        store: Option<String>,
        damaged: bool,
        afresh: bool,
    },
    Compact {
        instance: String,
        unused_percent: u64,
    },
    Backup {
        instance: String,
        to: PathBuf,
    },
    JobPut {
        instance: String,
        job: Box<Job>,
    },
    JobList {
        instance: String,
    },
    JobShow {
        instance: String,
        name: String,
    },
    JobRun {
        instance: String,
        name: String,
    },
    JobCancel {
        instance: String,
        name: String,
    },
    JobEnable {
        instance: String,
        name: String,
        enabled: bool,
    },
    JobDelete {
        instance: String,
        name: String,
    },
    ResultList {
        instance: String,
        job: Option<String>,
        limit: usize,
        before: Option<String>,
    },
    ResultShow {
        instance: String,
        id: String,
    },
    NotificationsTest,
    Restore {
        id: String,
        from: PathBuf,
        key_file: Option<PathBuf>,
        recovery_key: Option<Secret>,
        #[serde(default)]
        despite_damage: bool,
    },
    AuditList {
        instance: Option<String>,
        before: Option<u64>,
        limit: usize,
    },
    AuditVerify {
        instance: Option<String>,
    },
    TokenCreate {
        name: String,
        scopes: Vec<Scope>,
        bound_to: Option<String>,
        user: Option<String>,
        expires_in_days: Option<u32>,
    },
    TokenList,
    TokenRevoke {
        id: String,
    },
}

/// Which profile is tested: one that is stored, or one from a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tested {
    Stored { name: String },
    File { profile: Box<StoredProfile>, key: TransportKey },
}

/// What becomes of messages that are to be tried again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// They are shown.
    Nothing,
    /// All are tried in the next run, also those that were not to be tried any more.
    Now,
    /// This one is not tried any more; or none of them.
    Discard(Option<Which>),
}
