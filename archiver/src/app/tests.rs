//! Instances: started, stopped, deleted, and closed against each other.

use std::path::Path;
use std::sync::{Arc, mpsc};

use postern_shared::data_dir::DataDirError;
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use postern_shared::shutdown::switch;
use secrecy::SecretString;

use super::*;
use crate::access::{Caller, Scope};
use crate::command::{Command, Commands};
use crate::jobs::gate::GatedDisk;
use crate::stage::{self, Stage, message};

fn said<R>(result: Result<R, ArchiveError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

/// The archiver opened anew.
fn again(stage: Stage) -> (Core, tempfile::TempDir) {
    let Stage { core, dir, .. } = stage;
    drop(core);
    (stage::core(Arc::new(RealDisk), dir.path(), "").0, dir)
}

#[test]
fn what_was_stopped_stays_so_until_it_is_started() {
    let stage = Stage::new();
    let stopping = stage.core.stopping("main").unwrap();
    stage.core.stop_instance("main").unwrap();
    assert!(stopping.is_requested(), "whoever works on it is told");
    assert!(said(stage.core.instance("main")).contains("instance start main"));
    stage.core.instance("other").unwrap();
    let (core, _dir) = again(stage);
    let (_running, stopped) = switch();
    core.open_all(&stopped);
    assert!(core.open_instance_of("main").is_none() && core.open_instance_of("other").is_some());
    assert!(matches!(core.instance("main"), Err(ArchiveError::Stopped(_))));
    let main = core.start_instance("main", false).unwrap();
    assert_eq!(main.stats().unwrap().messages, 3);
    assert!(!core.stopping("main").unwrap().is_requested());
}

/// Goal: stopping waits for who works on the instance, and a later one finds it closed.
#[test]
fn stopping_waits_for_who_has_it_open() {
    let stage = Stage::new();
    let held = stage.core.instance("main").unwrap();
    let mut stopping = stage.core.stopping("main").unwrap();
    let core = Arc::clone(&stage.core);
    let stop = std::thread::spawn(move || core.stop_instance("main"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(stopping.requested());
    // Who works on it may look for it again, and is told.
    assert!(matches!(stage.core.instance("main"), Err(ArchiveError::Stopped(_))));
    held.commit(vec![message(9, &["anna"])]).unwrap();
    drop(held);
    stop.join().unwrap().unwrap();
    assert_eq!(stage.core.start_instance("main", false).unwrap().stats().unwrap().messages, 4);
}

/// Goal: safe mode opens what is damaged, as it is: what a crash left is neither repaired nor cut off.
#[test]
fn safe_mode_writes_nothing_but_the_audit_log() {
    let stage = Stage::new();
    let dir = stage.core.instance_dir("main").unwrap();
    stage.core.stop_instance("main").unwrap();
    let torn = |name: &str| {
        let path = RealDisk.files(&dir.join("stores/0001").join(name)).unwrap().pop().unwrap();
        let file = RealDisk.open(&path).unwrap();
        file.write_all_at(&[b"torn by a crash"], file.len().unwrap()).unwrap();
        (path.clone(), file.len().unwrap())
    };
    let pack = torn("packs");
    let users = RealDisk.read(&dir.join("users.json"), 10_000).unwrap();
    let safe = stage.core.start_instance("main", true).unwrap();
    assert!(safe.is_safe());
    assert_eq!(safe.message(&stage.messages[0]).unwrap(), message(1, &["anna"]).content);
    assert!(said(safe.commit(vec![message(9, &["anna"])])).contains("safe mode"));
    assert!(said(safe.rebuild(None, &mut |_, _, _| false)).contains("safe mode"));
    assert!(said(safe.edit_user("anna", crate::archive::UserChange::default())).contains("safe mode"));
    safe.audit().record("looked", &serde_json::json!({})).unwrap();
    assert_eq!(RealDisk.open(&pack.0).unwrap().len().unwrap(), pack.1, "nothing was cut off");
    assert_eq!(RealDisk.read(&dir.join("users.json"), 10_000).unwrap(), users);
    drop(safe);
    let (core, _dir) = again(stage);
    assert!(core.instance("main").unwrap().is_safe(), "it stays so over a restart");
    assert!(!core.start_instance("main", false).unwrap().is_safe());
    core.instance("main").unwrap().commit(vec![message(9, &["anna"])]).unwrap();
}

/// Goal: a current store that does not open keeps an instance closed, and not its safe mode.
#[test]
fn safe_mode_shows_what_still_opens() {
    let stage = Stage::new();
    let dir = stage.core.instance_dir("main").unwrap();
    stage.core.instance("main").unwrap().create_store().unwrap();
    stage.core.stop_instance("main").unwrap();
    write_atomic(&RealDisk, &dir.join("stores/0002/store.json"), b"{}").unwrap();
    assert!(stage.core.start_instance("main", false).is_err());
    let safe = stage.core.start_instance("main", true).unwrap();
    assert_eq!(safe.message(&stage.messages[0]).unwrap(), message(1, &["anna"]).content);
    assert!(safe.stores().unwrap()[1].error.is_some());
}

/// Goal: deleting takes nothing away but the instance's place; its keys go along and no later instance finds them.
#[test]
fn what_is_deleted_lies_elsewhere_and_can_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let more = format!("keys_dir = {keys:?}\n");
    let core = stage::core(Arc::new(RealDisk), dir.path(), &more).0;
    core.create_instance("main", None).unwrap();
    core.instance("main").unwrap().commit(vec![message(1, &["anna"])]).unwrap();
    let (aside, _) = core.delete_instance("main").unwrap();
    assert!(aside.starts_with(dir.path().join("data/deleted")) && aside.join("instance.json").exists());
    assert!(matches!(core.instance("main"), Err(ArchiveError::NoInstance(_))));
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(keys.join(format!("{name}.master.key")).exists() && !keys.join("main.master.key").exists());
    core.create_instance("main", None).unwrap();
    assert_eq!(core.instance("main").unwrap().stats().unwrap().messages, 0);
    // Back under its name, in the place of the new one.
    core.delete_instance("main").unwrap_err();
    core.stop_instance("main").unwrap();
    let instances = dir.path().join("data/instances");
    RealDisk.rename(&instances.join("main"), &instances.join("new")).unwrap();
    RealDisk.rename(&aside, &instances.join("main")).unwrap();
    RealDisk.rename(&keys.join(format!("{name}.master.key")), &keys.join("main.master.key")).unwrap();
    assert_eq!(core.start_instance("main", false).unwrap().stats().unwrap().messages, 1);
}

/// Goal: no id, directory or key of one instance reaches another.
#[test]
fn ids_directories_and_keys_lead_to_no_other_instance() {
    let stage = Stage::new();
    let core = &stage.core;
    for id in
        ["../instances/other", "main/../other", "..", ".", "", "other/", "/etc", "OTHER", "a\0b", "main\n"]
    {
        assert!(matches!(core.instance(id), Err(ArchiveError::NoInstance(_))), "{id:?}");
        assert!(core.create_instance(id, None).is_err(), "{id:?}");
        assert!(core.delete_instance(id).is_err() && core.start_instance(id, true).is_err(), "{id:?}");
    }
    let instances = stage.dir.path().join("data/instances");
    // A directory that leads to another one's, and one that was copied.
    std::os::unix::fs::symlink(instances.join("other"), instances.join("link")).unwrap();
    assert!(said(core.instance("link")).contains("holds the instance \"other\""));
    // Another one's key.
    core.stop_instance("main").unwrap();
    let key = RealDisk.read(&instances.join("other/master.key"), 1000).unwrap();
    write_atomic(&RealDisk, &instances.join("main/master.key"), &key).unwrap();
    assert!(said(core.start_instance("main", false)).contains("another instance's"));
    // Another one's store, attached; and a backup into another one's directory.
    let other = core.instance("other").unwrap();
    assert!(other.attach_store(&instances.join("main/stores/0001")).is_err());
    let into = |path: &Path| core.check_outside(path, None).is_err();
    assert!(into(&instances.join("main/x")) && into(&instances.join("main/stores/../../other")));
    let link = stage.dir.path().join("elsewhere");
    std::os::unix::fs::symlink(&instances, &link).unwrap();
    assert!(into(&link.join("other/new/dir")), "through a link too");
    assert!(!into(&stage.dir.path().join("backup")));
}

/// Goal: one that does not open keeps no other from opening, and is told.
#[test]
fn one_that_fails_concerns_no_other() {
    let stage = Stage::new();
    let passphrase = SecretString::from("correct horse");
    stage.core.create_instance("closed", Some(passphrase.clone())).unwrap();
    let broken = stage.core.instance_dir("main").unwrap().join("stores.json");
    let (core, _dir) = again(stage);
    write_atomic(&RealDisk, &broken, b"nonsense").unwrap();
    let (_running, stopped) = switch();
    core.open_all(&stopped);
    assert!(core.open_instance_of("main").is_none() && core.open_instance_of("other").is_some());
    assert!(said(core.instance("main")).contains("stores.json"));
    assert!(matches!(core.instance("closed"), Err(ArchiveError::Locked { .. })));
    assert!(core.unlock("closed", SecretString::from("wrong horse")).is_err());
    core.unlock("closed", passphrase.clone()).unwrap();
    core.instance("closed").unwrap();
    // Who tries a passphrase is told whether it is the one, also when nothing is to be opened.
    assert!(core.unlock("closed", SecretString::from("wrong horse")).is_err());
    core.unlock("closed", passphrase).unwrap();
}

#[test]
fn two_archivers_on_one_directory_are_told_apart() {
    let stage = Stage::new();
    let settings = stage::settings(stage.dir.path(), "");
    let clock: Arc<dyn Clock> = Arc::clone(&stage.clock) as _;
    let error = Core::open(Arc::new(RealDisk), clock, settings, false).unwrap_err();
    assert!(matches!(error, DataDirError::InUse { .. }));
    assert!(error.to_string().contains("stop it first, or give this one its own data_dir"), "{error}");
}

/// An archiver whose instance `gated` stands still while it is being opened, until the disk lets it go on.
fn gated() -> (Arc<Core>, GatedDisk, tempfile::TempDir) {
    let stage = Stage::new();
    stage.core.create_instance("gated", None).unwrap();
    let Stage { core, dir, .. } = stage;
    drop(core);
    // Made anew when it is opened.
    RealDisk.remove(&dir.path().join("data/instances/gated/audit.log")).unwrap();
    let disk = GatedDisk::default();
    let core = Arc::new(stage::core(Arc::new(disk.clone()), dir.path(), "").0);
    (core, disk, dir)
}

/// Goal: one that takes long to open holds up neither who looks at all of them nor who works in another one.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_long_to_open_holds_up_no_other() {
    let (core, disk, _dir) = gated();
    let opened = std::thread::spawn({
        let core = Arc::clone(&core);
        move || core.instance("gated").map(drop)
    });
    disk.reached().await;
    let status = || async {
        let (context, _told, _cancel) = postern_shared::control::Context::new();
        let commands = Commands(Arc::clone(&core));
        let status =
            commands.handle_as(Arc::new(Caller::operator()), Command::Status, context).await.unwrap();
        let instances = status["instances"].as_array().unwrap();
        instances.iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(status().await, ["opening", "started", "started"]);
    assert_eq!(core.instance("other").unwrap().stats().unwrap().messages, 1);
    assert!(core.open_instance_of("gated").is_none() && core.open_instance_of("main").is_some());
    assert!(matches!(core.instance("gated"), Err(ArchiveError::Opening(_))), "who wants it is told");
    disk.open();
    opened.join().unwrap().unwrap();
    assert_eq!(status().await, ["started", "started", "started"]);
}

/// Goal: one that is stopped while it is being opened is closed when that is done, and who stops it waits for that no longer than
/// told.
#[test]
fn one_that_is_stopped_while_it_opens_does_not_stay_open() {
    let instance = Stage::new().core.instance("main").unwrap();
    let slot = Arc::new(Slot::new());
    let ((began, begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let opening = Arc::clone(&slot);
    let opened = std::thread::spawn(move || {
        let open = || {
            began.send(()).unwrap();
            wait.recv().unwrap();
            Ok(instance)
        };
        opening.open("main", open, |_| Err(ArchiveError::Stopped("main".into()))).map(drop)
    });
    begun.recv().unwrap();
    let impatient = slot.close("main", std::time::Duration::ZERO);
    assert!(matches!(impatient, Err(ArchiveError::Stopping(_))));
    let closing = Arc::clone(&slot);
    let closed = std::thread::spawn(move || {
        closing.close("main", std::time::Duration::from_secs(60)).map(|old| old.is_none())
    });
    go.send(()).unwrap();
    assert!(matches!(opened.join().unwrap(), Err(ArchiveError::Stopped(_))));
    assert!(closed.join().unwrap().unwrap(), "nothing stayed open");
}

/// Goal: whoever creates, starts, stops or deletes an instance is alone with that; what a crash left of one is none.
#[test]
fn an_instance_is_changed_by_one_at_a_time() {
    let stage = Stage::new();
    let one = stage.core.change("new").unwrap();
    assert!(matches!(stage.core.create_instance("new", None), Err(ArchiveError::Changing(_))));
    drop(one);
    stage.core.create_instance("new", None).unwrap();
    let one = stage.core.change("main").unwrap();
    for refused in [
        stage.core.stop_instance("main"),
        stage.core.start_instance("main", true).map(drop),
        stage.core.delete_instance("main").map(drop),
    ] {
        assert!(matches!(refused, Err(ArchiveError::Changing(_))), "{refused:?}");
    }
    drop(one);
    RealDisk.create_dir_all(&stage.core.instances_dir().join("half/results")).unwrap();
    assert_eq!(stage.core.instance_ids().unwrap(), ["main", "new", "other"]);
    // Closed is closed: the next one to open it finds nobody there.
    for safe in [true, false, true, false] {
        stage.core.start_instance("main", safe).unwrap();
    }
}

/// Goal: an instance that exists has a recovery key that somebody has seen.
#[test]
fn a_recovery_key_is_answered_whatever_fails_behind_it() {
    let stage = Stage::new();
    let dir = stage.core.instance_dir("new").unwrap();
    RealDisk.create_dir_all(&dir).unwrap();
    let lock = RealDisk.lock(&dir.join("lock"), "another process").unwrap();
    let created = stage.core.create_instance("new", None).unwrap();
    assert!(matches!(created.opened, Err(ArchiveError::InstanceInUse(_))));
    drop(lock);
    RealDisk.remove(&dir.join("master.key")).unwrap();
    Instance::recover(&RealDisk, &dir, None, &created.recovery_key, None).unwrap();
    let renewed = stage.core.instance("new").unwrap().renew_recovery_key().unwrap();
    assert!(Instance::recover(&RealDisk, &dir, None, &created.recovery_key, None).is_err());
    Instance::recover(&RealDisk, &dir, None, &renewed, None).unwrap();
}

/// Goal: a token of an instance opens no other one that comes under its id, also when ending it was forgotten.
#[tokio::test]
async fn tokens_end_with_their_instance() {
    let stage = Stage::new();
    let all = [Scope::Read, Scope::Mail, Scope::Manage, Scope::Audit];
    let old = stage.caller(&all, Some("main"), None);
    stage.ask(&old, stage::search("main", None, "*")).await.unwrap();
    // What a crash in the middle of a deletion left when tokens were ended last.
    stage.core.stop_instance("main").unwrap();
    let instances = stage.core.instances_dir();
    RealDisk.rename(&instances.join("main"), &stage.dir.path().join("data/aside")).unwrap();
    stage.clock.advance(std::time::Duration::from_secs(1));
    stage.core.create_instance("main", None).unwrap();
    for command in [
        stage::search("main", None, "*"),
        serde_json::json!("instance-list"),
        serde_json::json!({ "instance-show": { "id": "main" } }),
        serde_json::json!({ "user-list": { "instance": "main" } }),
    ] {
        let asked = stage.ask(&old, command.clone()).await;
        assert!(asked.is_err_and(|error| error.to_string().contains("no instance")), "{command}");
    }
    let new = stage.caller(&all, Some("main"), None);
    stage.ask(&new, stage::search("main", None, "*")).await.unwrap();
    assert_eq!(stage.core.delete_instance("main").unwrap().1, 2);
}

/// Goal: a damaged instance is backed up before anybody repairs it, and nothing else is written.
#[test]
fn safe_mode_backs_up() {
    let stage = Stage::new();
    let safe = stage.core.start_instance("main", true).unwrap();
    let to = stage.dir.path().join("backup");
    let (files, _) = safe.backup(&to, &mut |_, _, _| false).unwrap().unwrap();
    assert!(files > 3 && to.join("backup.json").exists());
    let within = stage.core.instance_dir("main").unwrap().join("packs.new");
    assert!(safe.disk().create(&within).is_err() && safe.disk().create(&to.join("x")).is_err());
}
