//! Tests only: an archiver with two instances and mail in them.
//!
//! `main` has anna (message 1), bob (2), and one message of both (3); `other` has eve (4).

use std::path::Path;
use std::sync::Arc;

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::access::{Caller, NewToken, Scope, ShownToken};
use crate::app::Core;
use crate::archive::{Evidence, NewMessage, Outcome, Placement, Source};
use crate::command::{Command, CommandError, Commands};
use crate::settings::Settings;

pub(crate) struct Stage {
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Arc<ManualClock>,
    /// Ids of the messages 1 to 4.
    pub(crate) messages: Vec<String>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn settings(dir: &Path, more: &str) -> Settings {
    let file = dir.join("archiver.toml");
    let text = format!("data_dir = {:?}\nhost_name = 'localhost'\n{more}", dir.join("data"));
    write_atomic(&RealDisk, &file, text.as_bytes()).unwrap();
    Settings::load(&RealDisk, Some(&file), []).unwrap()
}

pub(crate) fn core(disk: Arc<dyn Disk>, dir: &Path, more: &str) -> (Core, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
    let core = Core::open(disk, Arc::clone(&clock) as Arc<dyn Clock>, settings(dir, more), false).unwrap();
    (core, clock)
}

pub(crate) fn message(n: usize, archives: &[&str]) -> NewMessage {
    let content = format!(
        "From: Anna <anna@example.com>\r\nTo: {}\r\nSubject: Report {n}\r\nMessage-ID: <{n}@x>\r\n\
         Date: Mon, 05 Jan 2026 10:00:00 +0000\r\n\r\nnumber {n}\r\n",
        archives.join(", ")
    );
    let index = crate::intake::index_fields(content.as_bytes(), None);
    let place = |archive: &&str| Placement { archive: (*archive).into(), folder: "INBOX".into() };
    NewMessage {
        content: content.into_bytes(),
        fold_key: None,
        evidence: Some(Evidence::Raw { report: format!("report of {n}").into_bytes() }),
        mail_from: Some("anna@example.com".into()),
        participants: Vec::new(),
        filed_in: archives.iter().map(place).collect(),
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        source: Source { profile: "p".into(), uidl: n.to_string(), received: None, trace: None },
        sha256: None,
        untrusted_fields: Vec::new(),
        index,
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (core, clock) = core(Arc::new(RealDisk), dir.path(), "");
        for (id, users) in [("main", &["anna", "bob"][..]), ("other", &["eve"])] {
            core.create_instance(id, None).unwrap();
            let instance = core.instance(id).unwrap();
            for user in users {
                instance.add_user(user, &[format!("{user}@example.com")]).unwrap();
            }
        }
        let mine = vec![message(1, &["anna"]), message(2, &["bob"]), message(3, &["anna", "bob"])];
        let mut outcomes = core.instance("main").unwrap().commit(mine).unwrap();
        outcomes.extend(core.instance("other").unwrap().commit(vec![message(4, &["eve"])]).unwrap());
        let messages = outcomes.iter().map(|outcome: &Outcome| outcome.id().to_string()).collect();
        Self { core: Arc::new(core), clock, messages, dir }
    }

    /// A new token, and its text.
    pub(crate) fn token(
        &self,
        scopes: &[Scope],
        instance: Option<&str>,
        user: Option<&str>,
    ) -> (ShownToken, String) {
        let new = NewToken {
            name: "t".into(),
            scopes: scopes.to_vec(),
            instance: instance.map(str::to_owned),
            instance_created: instance.map(|id| self.core.instance_info(id).unwrap().created),
            user: user.map(str::to_owned),
            ..NewToken::default()
        };
        let (shown, text) = self.core.tokens.create(new).unwrap();
        (shown, text.expose_secret().to_owned())
    }

    /// Somebody with a new token.
    pub(crate) fn caller(&self, scopes: &[Scope], instance: Option<&str>, user: Option<&str>) -> Arc<Caller> {
        Arc::new(Caller::token(self.token(scopes, instance, user).0, "192.0.2.1".into()))
    }

    /// Gives a command as JSON, as it travels.
    pub(crate) async fn ask(&self, caller: &Arc<Caller>, command: Value) -> Result<Value, CommandError> {
        let command: Command = serde_json::from_value(command).unwrap();
        let (context, _told, _cancel) = postern_shared::control::Context::new();
        Commands(Arc::clone(&self.core)).handle_as(Arc::clone(caller), command, context).await
    }

    /// The newest lines of an instance's audit log, or of the archiver's, newest first.
    pub(crate) fn audited(&self, instance: Option<&str>) -> Vec<Value> {
        match instance {
            Some(id) => self.core.instance(id).unwrap().audit().lines(None, 1000).unwrap(),
            None => self.core.audit().unwrap().lines(None, 1000).unwrap(),
        }
    }
}

/// A search, as it travels.
pub(crate) fn search(instance: &str, user: Option<&str>, query: &str) -> Value {
    json!({ "search": { "instance": instance, "user": user, "query": query, "limit": 10, "offset": 0 } })
}

/// A message asked for, as it travels.
pub(crate) fn get(instance: &str, id: &str, report: bool) -> Value {
    json!({ "message-get": { "instance": instance, "id": id, "report": report } })
}
