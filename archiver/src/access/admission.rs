//! In front of every command: whether its caller may, and the line in the audit log before it is done.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::gate::not_allowed;
use super::{Caller, Denied, Need, Scope};
use crate::app::Core;
use crate::archive::{ArchiveError, Audit, Instance, Privilege};
use crate::command::{Command, Tested, Then};

/// What is asked, as far as admission looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The command's name, as it travels.
    pub(crate) name: String,
    /// The instance it is about.
    pub(crate) instance: Option<String>,
    /// What it says, without secrets.
    pub(crate) particulars: Value,
    need: Need,
    /// The directory of this machine that a profile or a job names.
    directory: Option<PathBuf>,
    /// Whether a profile names a file of this machine.
    names_files: bool,
    /// What a token that is asked for may do.
    scopes: Vec<Scope>,
}

impl Asked {
    /// Of a command. Secrets are objects when they travel ([`crate::command::Secret`]), and no object is recorded but profiles and
    /// jobs, as they are shown, and what is discarded.
    pub(crate) fn of(command: &Command) -> Self {
        let (name, said) = match serde_json::to_value(command) {
            Ok(Value::String(name)) => (name, Map::new()),
            Ok(Value::Object(all)) => match all.into_iter().next() {
                Some((name, Value::Object(said))) => (name, said),
                Some((name, _)) => (name, Map::new()),
                None => (String::new(), Map::new()),
            },
            _ => (String::new(), Map::new()),
        };
        let about = if name.starts_with("instance-") || name == "restore" { "id" } else { "instance" };
        let instance = said.get(about).and_then(Value::as_str).map(str::to_owned);
        let mut particulars = Map::new();
        for (key, value) in said {
            if key == "instance" {
                continue;
            }
            if let Some(value) = recorded(value).filter(|value| !value.is_null()) {
                particulars.insert(key, value);
            }
        }
        let (mut need, mut scopes) = (Need::of(&name), Vec::new());
        let (mut directory, mut names_files) = (None, false);
        match command {
            Command::ProfilePut { profile, .. } => {
                particulars.insert("profile".into(), profile.shown().clone());
                (directory, names_files) = (profile.directory(), profile.names_authorities());
            }
            Command::ProfileTest { profile, .. } => {
                let shown = match &**profile {
                    Tested::Stored { name } => json!(name),
                    Tested::File { profile, .. } => {
                        (directory, names_files) = (profile.directory(), profile.names_authorities());
                        profile.shown().clone()
                    }
                };
                particulars.insert("profile".into(), shown);
            }
            Command::ProfileRetries { then, .. } => match then {
                Then::Nothing => need = Need::See,
                Then::Now => {}
                // Mail is left behind by that.
                Then::Discard(None) => drop(particulars.insert("then".into(), "discard all".into())),
                Then::Discard(Some(which)) => {
                    particulars.insert("then".into(), "discard".into());
                    particulars.insert("which".into(), json!(which));
                }
            },
            Command::JobPut { job, .. } => {
                particulars.insert("job".into(), json!(job));
                directory = job.directory();
            }
            Command::TokenCreate { scopes: wanted, .. } => scopes.clone_from(wanted),
            _ => {}
        }
        Self { name, instance, particulars: Value::Object(particulars), need, directory, names_files, scopes }
    }

    /// Whether it does more than look.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self.need, Need::See | Need::Mail)
    }

    /// Whether it is about an instance that may not be open, or about all of them.
    fn is_about_the_archiver(&self) -> bool {
        self.instance.is_none() || self.name.starts_with("instance-") || self.name == "restore"
    }
}

/// What may stand in the log, which cuts what is long.
fn recorded(value: Value) -> Option<Value> {
    match value {
        Value::Object(_) => None,
        Value::Array(all) => Some(all.into_iter().filter_map(recorded).collect()),
        other => Some(other),
    }
}

/// Lets a command pass, recorded, or tells why not, recorded too. Blocks for the disk.
pub(crate) fn admit(core: &Core, caller: &Caller, asked: &Asked) -> Result<(), Denied> {
    let need = asked.need;
    if let Some(instance) = &asked.instance
        && let Err(unknown) = caller.check_own(instance)
    {
        // Not in that instance's log: strangers fill none.
        let why = "the token is for another instance";
        core.audit()?.record_by(&caller.by(), &asked.name, &asked.particulars, Some(why))?;
        return Err(unknown.into());
    }
    if let Some(own) = caller.instance()
        && let Err(unknown) = core.instance_info(own).and_then(|info| caller.check_not_older(&info))
    {
        let why = "the token is for an instance that is gone";
        core.audit()?.record_by(&caller.by(), &asked.name, &asked.particulars, Some(why))?;
        return Err(unknown.into());
    }
    let verdict = judge(core, caller, asked);
    if matches!(need, Need::See | Need::Mail) && verdict.is_ok() {
        // Seeing leaves no line, and reading mail its own, at the gate.
        return verdict;
    }
    let refused = match &verdict {
        Ok(()) => None,
        Err(Denied::NotAllowed(why)) => Some(why.clone()),
        Err(Denied::Archive(error)) => Some(error.to_string()),
    };
    log(core, asked)?.record_by(&caller.by(), &asked.name, &asked.particulars, refused.as_deref())?;
    verdict
}

/// Where it is recorded: with the instance, or with the archiver when the instance is not open.
fn log(core: &Core, asked: &Asked) -> Result<Recorder, ArchiveError> {
    if asked.is_about_the_archiver() {
        return core.audit().map(Recorder::Archiver);
    }
    let instance = asked.instance.as_deref().unwrap_or_default();
    match core.open_instance_of(instance) {
        Some(instance) => Ok(Recorder::Instance(instance)),
        None => core.audit().map(Recorder::Archiver),
    }
}

enum Recorder {
    Archiver(Arc<Audit>),
    Instance(Arc<Instance>),
}

impl std::ops::Deref for Recorder {
    type Target = Audit;

    fn deref(&self) -> &Audit {
        match self {
            Self::Archiver(audit) => audit,
            Self::Instance(instance) => instance.audit(),
        }
    }
}

fn judge(core: &Core, caller: &Caller, asked: &Asked) -> Result<(), Denied> {
    let need = asked.need;
    if !caller.has(need.scope()) {
        return Err(not_allowed(&format!("the token has no scope {:?}", need.scope())));
    }
    if caller.instance().is_some() && asked.instance.is_none() && need != Need::See {
        return Err(not_allowed("this is about all instances, and the token is for one"));
    }
    if !asked.scopes.iter().all(|scope| caller.has(*scope)) {
        let why = "a token makes none that may do more than itself; use the command line";
        return Err(not_allowed(why));
    }
    if (asked.directory.is_some() || asked.names_files) && !caller.has(Scope::Admin) {
        let why = "this names a directory or a file of this machine, for which scope admin is needed";
        return Err(not_allowed(why));
    }
    check_there(core, asked)?;
    // Nobody reads or writes by that what belongs to other instances.
    asked.directory.iter().try_for_each(|path| core.check_outside(path, None))?;
    if let Some(user) = caller.user()
        && need != Need::Mail
    {
        let instance = core.instance(caller.instance().unwrap_or_default())?;
        let user = instance.user(user).map_err(|_| not_allowed("the token's user is no longer there"))?;
        let privilege = if need == Need::Audit { Privilege::Auditor } else { Privilege::Admin };
        if !user.may(privilege) {
            return Err(not_allowed("the user may not do that"));
        }
        check_rights_stay(&instance, &user.id, asked)?;
    }
    if need == Need::Manage
        && let Some(id) = &asked.instance
        && core.instance(id).is_ok_and(|instance| instance.is_safe())
    {
        return Err(ArchiveError::SafeMode(id.clone()).into());
    }
    Ok(())
}

/// Who manages as a user gives themselves nothing, and nobody a right to read others' mail, to audit, or to manage: else managing
/// would be reading.
fn check_rights_stay(instance: &Instance, own: &str, asked: &Asked) -> Result<(), Denied> {
    if !matches!(asked.name.as_str(), "user-add" | "user-edit" | "user-delete") {
        return Ok(());
    }
    let said = &asked.particulars;
    let id = said["id"].as_str().unwrap_or_default();
    if id == own {
        return Err(not_allowed(
            "nobody changes or deletes the user they come as; another administrator does",
        ));
    }
    let is_above = |privilege: &Value| ["auditor", "admin"].iter().any(|above| privilege == above);
    let gives = |privileges: &Value| privileges.as_array().into_iter().flatten().any(is_above);
    let has = asked.name != "user-add"
        && instance.user(id).is_ok_and(|user| user.may(Privilege::Auditor) || user.may(Privilege::Admin));
    let privileges = said.get("privileges");
    let deletes = asked.name == "user-delete";
    if said.get("reads").is_some()
        || privileges.is_some_and(gives)
        || has && (deletes || privileges.is_some())
    {
        let why = "reads, auditor and admin are given and taken on the command line, or with a token that stands for no user";
        return Err(not_allowed(why));
    }
    Ok(())
}

/// What is about an instance needs one, open unless it is about that.
fn check_there(core: &Core, asked: &Asked) -> Result<(), ArchiveError> {
    let Some(id) = &asked.instance else { return Ok(()) };
    match asked.name.as_str() {
        "instance-create" | "restore" => Ok(()),
        _ if asked.is_about_the_archiver() => core.check_there(id),
        _ => core.instance(id).map(drop),
    }
}
