//! Profiles of Exchange mailboxes run into an instance: as an operator writes them, as they are stored, as a run goes.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_archiver::archive::{Instance, KeepKey, Opener, Placement};
use postern_archiver::intake::index_fields;
use postern_archiver::profiles::Profile;
use postern_archiver::profiles::job::{self, RunError, RunResult};
use postern_archiver::profiles::probe::{Probed, probe};
use postern_archiver::profiles::state::State;
use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::control::Context;
use postern_shared::disk::{Disk, RealDisk};
use postern_tests::ews::store::{Happened, Refusal};
use postern_tests::ews::{Exchange, Fault, PASSWORD, USER, Wants};
use postern_tests::messages;
use postern_tests::program::{Kind, Program};
use serde_json::{Value, json};

use crate::{ANNA, awkward, sorted};

const DAY: Duration = Duration::from_secs(24 * 3600);
const BEN: &str = "ben@example.com";

/// An instance of its own, and a clock that stands still.
struct Archive {
    _dir: tempfile::TempDir,
    instance: Arc<Instance>,
    clock: Arc<ManualClock>,
}

impl Archive {
    fn new(users: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // Long behind the dates of all messages.
        let clock = Arc::new(ManualClock::at(UnixMillis(1_900_000_000_000)));
        let (disk, time): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), clock.clone());
        let at = dir.path().join("main");
        Instance::create(&disk, &time, &at, "main", &KeepKey::File(None))?;
        let instance = Instance::open(&disk, &time, &at, "main", &Opener::KeyFile(None), index_fields)?;
        for (user, email) in users {
            instance.add_user(user, &[(*email).to_owned()])?;
        }
        Ok(Self { _dir: dir, instance: Arc::new(instance), clock })
    }

    async fn run(&self, profile: &Profile) -> Result<RunResult, RunError> {
        let (context, _told, _cancel) = Context::new();
        let octets_max = 256 * 1024 * 1024;
        job::run_by(self.clock.clone(), &self.instance, profile, octets_max, &context).await.1
    }

    async fn probe(&self, profile: &Profile) -> Result<Vec<Probed>> {
        let (context, _told, _cancel) = Context::new();
        Ok(probe(&self.instance, profile, &context).await?)
    }

    fn state(&self, profile: &Profile) -> Result<State> {
        Ok(State::open(&RealDisk, &job::state_dir(&self.instance), &profile.name)?)
    }

    /// What a folder of an archive holds, sorted.
    fn contents(&self, archive: &str, folder: &str) -> Result<Vec<Vec<u8>>> {
        let folder = Placement { archive: archive.into(), folder: folder.into() };
        let held = self.instance.in_folder(&folder, 0, 100_000)?;
        let contents: Result<_> =
            held.iter().map(|message| Ok(self.instance.message(&message.id.to_string())?)).collect();
        Ok(sorted(contents?))
    }
}

/// A profile of that server's; `source` stands in `[source]`, `more` beside it.
fn profile(exchange: &Exchange, source: &Value, more: &Value) -> Result<Profile> {
    let mut whole = json!({
        "name": "exchange",
        "source": {
            "type": "ews", "url": exchange.url(), "trust": exchange.fingerprint(), "auth": "basic",
            "username": USER, "password": PASSWORD, "access": "impersonate",
        },
    });
    for (key, value) in source.as_object().into_iter().flatten() {
        match (value, whole["source"].as_object_mut()) {
            (Value::Null, Some(into)) => drop(into.remove(key)),
            _ => whole["source"][key] = value.clone(),
        }
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    Ok(Profile::from_json(whole)?)
}

/// Messages in a folder there; what they are.
fn deliver(exchange: &Exchange, folder: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let messages: Vec<_> = numbers.into_iter().map(awkward).collect();
    messages.iter().for_each(|message| drop(exchange.store().deliver(folder, message)));
    sorted(messages)
}

/// Goal: by one account that may act for others, the mailbox of every user comes into the user's archive, octet for octet; one
/// that is nobody's stays apart; the next run finds nothing and fetches nothing.
#[tokio::test]
async fn every_mailbox_comes_once() -> Result<()> {
    let exchange = Exchange::start(Wants::Ntlm(true))?;
    let mut expected = Vec::new();
    for (index, user) in [ANNA, BEN, "nobody@example.com"].into_iter().enumerate() {
        if user != ANNA {
            exchange.store().mailbox(user);
        }
        let inbox = exchange.store().inbox(user);
        let sub = exchange.store().folder(&inbox, "a/b", "IPF.Note");
        let of = |from: usize| index * 100 + from..index * 100 + from + 20;
        expected.push((deliver(&exchange, &inbox, of(0)), deliver(&exchange, &sub, of(50))));
    }
    let archive = Archive::new(&[("anna", ANNA), ("ben", BEN)])?;
    let all = profile(&exchange, &json!({ "auth": "ntlm", "accounts": "users" }), &json!({}))?;
    let ran = archive.run(&all).await?;
    assert_eq!((ran.archived, ran.failed, ran.accounts.len()), (80, 0, 2), "{ran:?}");
    for (user, (inbox, sub)) in ["anna", "ben"].into_iter().zip(&expected) {
        assert_eq!(archive.contents(user, "Posteingang")?, *inbox);
        assert_eq!(archive.contents(user, "Posteingang/a\u{2215}b")?, *sub);
    }
    let asked = (exchange.asked("GetItem"), exchange.asked("SyncFolderItems"));
    let again = archive.run(&all).await?;
    assert_eq!((again.archived, again.duplicates), (0, 0), "{again:?}");
    assert_eq!((exchange.asked("GetItem"), exchange.asked("SyncFolderItems")), asked);

    let named = json!({ "auth": "ntlm", "mailboxes": [BEN, "nobody@example.com"] });
    let ran = archive.run(&profile(&exchange, &named, &json!({ "name": "named" }))?).await?;
    assert_eq!((ran.archived, ran.duplicates), (40, 40), "{ran:?}");
    assert_eq!(archive.contents("unassigned", "nobody@example.com/Posteingang")?, expected[2].0);
    exchange.judged()?;
    Ok(())
}

/// Goal: reports in a journal mailbox are unwrapped, and their envelopes say whose archives the message belongs to.
#[tokio::test]
async fn a_journal_mailbox_is_everybodys() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    exchange.store().mailbox(USER);
    let inbox = exchange.store().inbox(USER);
    let original = messages::plain(1, "boss@else.example", ANNA, "journaled", "text");
    let report = messages::journal_report(
        "boss@else.example",
        &["To: anna@example.com", "Bcc: ben@example.com"],
        "journaled",
        &original,
    );
    exchange.store().deliver(&inbox, &report);
    let archive = Archive::new(&[("anna", ANNA), ("ben", BEN), ("carol", "carol@example.com")])?;
    let more = json!({ "assign": { "mode": "envelope" }, "after": { "delete": true } });
    let journal = profile(&exchange, &json!({ "access": "own", "delete": "hard" }), &more)?;
    let ran = archive.run(&journal).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.errors.len()), (1, 1, 0), "{ran:?}");
    for (user, messages) in [("anna", 1), ("ben", 1), ("carol", 0)] {
        let folders = archive.instance.folders(Some(user))?;
        assert_eq!(
            folders.iter().map(|folder| folder.messages).sum::<u64>(),
            messages,
            "{user}: {folders:?}"
        );
    }
    let query = postern_archiver::archive::Query {
        text: "subject:journaled".into(),
        limit: 10,
        ..Default::default()
    };
    let hits = archive.instance.search(&query)?;
    let stored = archive.instance.message(&hits.first().context("not found")?.id.to_string())?;
    assert_eq!(stored, original);
    assert!(exchange.spoken().iter().any(|text| text.contains("DeleteType=\"HardDelete\"")));
    exchange.judged()?;
    Ok(())
}

/// Goal: the archive of a mailbox and public folders are read because `parts` says so; a public folder that cannot be listed is
/// told, and what waits there to be tried again is not forgotten.
#[tokio::test]
async fn archives_and_public_folders_come() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let root = exchange.store().archive(ANNA);
    let old = exchange.store().folder(&root, "Alt", "IPF.Note");
    let archived = deliver(&exchange, &old, 0..3);
    let root = exchange.store().public();
    let top = exchange.store().folder(&root, "Alle", "IPF.Note");
    let below = exchange.store().folder(&top, "Rundschreiben", "IPF.Note");
    let public = deliver(&exchange, &below, 10..15);
    let bad = exchange.store().deliver(&below, b"bad");
    let refuse =
        |refusal| exchange.store().change(&below, &bad, Happened::Updated, |item| item.refusal = refusal);
    refuse(Some(Refusal::Error("ErrorMimeContentConversionFailed", "No.")));
    let archive = Archive::new(&[("anna", ANNA)])?;
    let parts = json!({ "mailbox": ANNA, "parts": ["archive", "public-folders"] });
    let profile = profile(&exchange, &parts, &json!({}))?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.failed, ran.retries), (8, 1, 1), "{ran:?}");
    assert_eq!(archive.contents("anna", "Online archive/Alt")?, archived);
    assert_eq!(archive.contents("anna", "Public folders/Alle/Rundschreiben")?, public);

    exchange.store().close(&top, Some(("ErrorInternalServerError", "An internal server error occurred.")));
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.folders_failed, ran.retries, ran.gone), (1, 1, 0), "{ran:?}");
    assert!(ran.errors[0].contains("the public folder \"Alle\" cannot be listed: ErrorInternalServerError"));
    exchange.store().close(&top, None);
    refuse(None);
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.retries), (1, 0), "{ran:?}");
    exchange.judged()?;
    Ok(())
}

/// Goal: a server that forgot how far was read, that is busy, that closes connections and that fails to hand over a message
/// costs nothing but time; the message is on the list with its words, and comes when it can.
#[tokio::test]
async fn faults_cost_no_message() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let inbox = exchange.store().inbox(ANNA);
    let mut messages = deliver(&exchange, &inbox, 0..40);
    let archive = Archive::new(&[("anna", ANNA)])?;
    let profile = profile(&exchange, &json!({ "mailbox": ANNA }), &json!({}))?;
    let busy = Fault::Soap("ErrorServerBusy", "The server cannot service this request right now.", Some(30));
    for request in ["GetFolder", "SyncFolderHierarchy", "SyncFolderItems", "GetItem"] {
        exchange.fail(request, busy.clone());
        exchange.fail(request, Fault::Cut(200));
    }
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.failed), (40, 0), "{ran:?}");

    exchange.store().forget(&inbox);
    messages.extend(deliver(&exchange, &inbox, 50..51));
    let lost = archive.run(&profile).await?;
    assert_eq!((lost.archived, lost.duplicates), (1, 40), "{lost:?}");
    assert!(
        lost.log.iter().any(|line| line.contains("the server forgot how far was read")),
        "{:?}",
        lost.log
    );

    let bad = exchange.store().deliver(&inbox, b"bad");
    let refuse =
        |refusal| exchange.store().change(&inbox, &bad, Happened::Updated, |item| item.refusal = refusal);
    refuse(Some(Refusal::Error("ErrorMimeContentConversionFailed", "The conversion failed.")));
    messages.extend(deliver(&exchange, &inbox, 60..61));
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.failed, ran.retries), (1, 1, 1), "{ran:?}");
    let listed = archive.state(&profile)?.retries(10)?.0;
    assert!(listed[0].why.contains("ErrorMimeContentConversionFailed: The conversion failed."), "{listed:?}");
    refuse(None);
    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.retries), (1, 0), "{ran:?}");
    messages.push(b"bad".to_vec());
    assert_eq!(archive.contents("anna", "Posteingang")?, sorted(messages));
    exchange.judged()?;
    Ok(())
}

/// Goal: what was archived is deleted when its time has come; what was edited meanwhile is archived as it is then, and is
/// deleted after another term; drafts stay, and each state of them that is met is archived.
#[tokio::test]
async fn what_is_deleted_is_what_was_archived() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let (inbox, drafts) = {
        let store = exchange.store();
        (store.inbox(ANNA), store.find(ANNA, "drafts").context("no drafts")?.id.clone())
    };
    let ids: Vec<_> = (0..3).map(|number| exchange.store().deliver(&inbox, &awkward(number))).collect();
    let draft = exchange.store().deliver(&drafts, b"draft v1");
    exchange.store().change(&drafts, &draft, Happened::Updated, |item| item.message_flags = 8);
    let archive = Archive::new(&[("anna", ANNA)])?;
    let after = json!({ "after": { "delete": true, "days": 2 } });
    let profile = profile(&exchange, &json!({ "mailbox": ANNA }), &after)?;
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.pending_deletions), (4, 0, 4), "{ran:?}");
    exchange.store().change(&inbox, &ids[1], Happened::Updated, |item| item.content = b"edited".to_vec());
    exchange.store().change(&drafts, &draft, Happened::Updated, |item| item.content = b"draft v2".to_vec());
    archive.clock.advance(2 * DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.failed), (1, 2, 0), "{ran:?}");
    assert_eq!(exchange.store().folders[&inbox].items.len(), 1);
    assert_eq!(exchange.store().folders[&drafts].items.len(), 1);
    assert_eq!(archive.contents("anna", "Entwürfe")?, [b"draft v1".to_vec(), b"draft v2".to_vec()]);

    archive.clock.advance(DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.retries), (1, 0, 0), "{ran:?}");
    archive.clock.advance(2 * DAY);
    let ran = archive.run(&profile).await?;
    assert_eq!((ran.deleted_at_source, ran.pending_deletions, ran.errors.len()), (1, 0, 0), "{ran:?}");
    assert!(exchange.store().folders[&inbox].items.is_empty());
    assert_eq!(exchange.store().folders[&drafts].items.len(), 1, "a draft stays");
    let expected = [awkward(0), awkward(1), awkward(2), b"edited".to_vec()];
    assert_eq!(archive.contents("anna", "Posteingang")?, sorted(expected.to_vec()));
    exchange.judged()?;
    Ok(())
}

/// Goal: a login that is refused is tried once, not once for each mailbox: that would lock the account out.
#[tokio::test]
async fn a_wrong_password_is_tried_once() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let archive = Archive::new(&[("anna", ANNA), ("ben", BEN), ("carol", "carol@example.com")])?;
    let wrong = profile(&exchange, &json!({ "accounts": "users", "password": "wrong" }), &json!({}))?;
    let (context, _told, _cancel) = Context::new();
    let (result, ran) = job::run_by(archive.clock.clone(), &archive.instance, &wrong, 1000, &context).await;
    let error = ran.err().context("it is refused")?.to_string();
    assert!(error.contains("refuses the login of svc-archive@example.com"), "{error}");
    assert_eq!((exchange.connections(), result.accounts_failed), (1, 3), "{result:?}");
    assert!(result.errors.iter().any(|error| error.contains("2 more mailboxes are not tried")), "{result:?}");
    assert_eq!((archive.probe(&wrong).await?.len(), exchange.connections()), (1, 2));
    Ok(())
}

/// Goal: `profile test` names the step that fails and what to do.
#[tokio::test]
async fn a_test_names_the_step_that_fails() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let archive = Archive::new(&[("anna", ANNA)])?;
    let closed = postern_tests::foreign::free_port()?;
    let discovered = || {
        let at = exchange.at("/autodiscover/autodiscover.xml");
        json!({ "mailbox": ANNA, "url": null, "autodiscover": at })
    };
    let tells = |url: &str| {
        let protocol = format!("<Protocol><Type>EXCH</Type><EwsUrl>{url}</EwsUrl></Protocol>");
        exchange.autodiscovers(Some(&protocol), None);
    };
    let with = |more: Value| {
        let mut source = json!({ "mailbox": ANNA });
        for (key, value) in more.as_object().into_iter().flatten() {
            source[key] = value.clone();
        }
        source
    };
    tells(&exchange.url());
    let ok = (None, "5 of 6 are wanted");
    for (source, before, step, (advice, words)) in [
        (with(json!({})), 5, "folders", ok),
        (discovered(), 6, "folders", ok),
        (
            with(json!({ "url": "https://nowhere.invalid/" })),
            0,
            "DNS",
            (Some("check url"), "nowhere.invalid"),
        ),
        (
            with(json!({ "url": format!("https://127.0.0.1:{closed}/") })),
            1,
            "TCP",
            (Some("firewalls"), "connect"),
        ),
        (
            with(json!({ "trust": format!("sha256:{}", "ab".repeat(32)) })),
            2,
            "TLS",
            (Some("fingerprint"), "not trusted"),
        ),
        (with(json!({ "password": "wrong" })), 3, "login", (Some("check username"), "refuses the login")),
        (with(json!({ "auth": "ntlm" })), 3, "login", (Some("set auth"), "offers Basic")),
        (with(json!({ "url": exchange.at("/owa") })), 3, "login", (Some("check url"), "no EWS at this url")),
        (
            with(json!({ "mailbox": "x@example.com" })),
            4,
            "impersonation",
            (Some("primary"), "ErrorNonExistentMailbox"),
        ),
    ] {
        let probed = archive.probe(&profile(&exchange, &source, &json!({}))?).await?;
        let last = probed[0].steps.last().context("no step")?;
        assert_eq!(
            (last.step.as_str(), last.ok, probed[0].steps.len()),
            (step, advice.is_none(), before + 1),
            "{probed:?}"
        );
        assert!(last.words.contains(words), "{probed:?}");
        let said = probed[0].advice.as_deref();
        assert!(advice.is_none_or(|advice| said.is_some_and(|said| said.contains(advice))), "{probed:?}");
    }
    tells("https://outlook.office365.com/EWS/Exchange.asmx");
    let probed = archive.probe(&profile(&exchange, &discovered(), &json!({}))?).await?;
    let [only] = &probed[0].steps[..] else { panic!("{probed:?}") };
    assert_eq!((only.step.as_str(), only.ok), ("Autodiscover", false));
    assert!(only.words.contains("blocks EWS since October 2026"), "{probed:?}");
    exchange.impersonates(false);
    let probed = archive.probe(&profile(&exchange, &json!({ "mailbox": ANNA }), &json!({}))?).await?;
    let last = probed[0].steps.last().context("no step")?;
    assert_eq!((last.step.as_str(), last.ok), ("impersonation", false));
    assert!(last.words.contains("New-ManagementRoleAssignment"), "{probed:?}");
    Ok(())
}

/// Goal: a run without changes over 500 folders takes less than two seconds, and asks for the list of folders alone.
#[tokio::test]
async fn nothing_new_in_500_folders_is_found_soon() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let inbox = exchange.store().inbox(ANNA);
    for number in 0..500 {
        let folder = exchange.store().folder(&inbox, &format!("f{number}"), "IPF.Note");
        exchange.store().deliver(&folder, &awkward(number));
    }
    let archive = Archive::new(&[("anna", ANNA)])?;
    let profile = profile(&exchange, &json!({ "mailbox": ANNA }), &json!({}))?;
    assert_eq!(archive.run(&profile).await?.archived, 500);
    let asked = exchange.spoken().len();
    let start = Instant::now();
    let ran = archive.run(&profile).await?;
    let took = start.elapsed();
    println!("a run without changes over 505 folders took {took:?}");
    assert_eq!((ran.archived, ran.duplicates), (0, 0));
    assert!(exchange.spoken().len() - asked <= 2 * 4, "{} requests", exchange.spoken().len() - asked);
    assert!(took < Duration::from_secs(2), "{took:?}");
    Ok(())
}

/// Goal: killed at three moments amid a run, the archive has every message once in the end, octet for octet; and neither the
/// stored profile nor what the command line shows of it holds the password.
#[test]
fn a_killed_run_goes_on_where_it_was() -> Result<()> {
    const MESSAGES: usize = 600;
    let exchange = Exchange::start(Wants::Basic)?;
    let inbox = exchange.store().inbox(ANNA);
    let sent: Vec<_> = (0..MESSAGES).map(|number| messages::sized(number, 20_000)).collect();
    sent.iter().for_each(|message| drop(exchange.store().deliver(&inbox, message)));
    let archiver = Program::new(Kind::Archiver, "")?;
    archiver.json(&["instance", "create", "main"])?;
    archiver.json(&["user", "add", "anna", "--email", ANNA, "--instance", "main"])?;
    let file = archiver.config_file().with_file_name("exchange.toml");
    std::fs::write(file.with_file_name("secret"), PASSWORD)?;
    std::fs::write(
        &file,
        format!(
            "name = \"exchange\"\n[source]\ntype = \"ews\"\nurl = \"{}\"\ntrust = \"{}\"\nauth = \"basic\"\n\
             username = \"{USER}\"\npassword_file = \"secret\"\naccess = \"impersonate\"\nmailbox = \"{ANNA}\"\n",
            exchange.url(),
            exchange.fingerprint()
        ),
    )?;
    let path = file.to_str().context("no text")?;
    let tested = archiver.json(&["profile", "test", "--file", path, "--instance", "main"])?;
    assert_eq!(tested["failed"], 0, "{tested}");
    archiver.json(&["profile", "put", "--file", path, "--instance", "main"])?;
    let stored = std::fs::read_to_string(archiver.data_dir().join("instances/main/profiles/exchange.json"))?;
    let shown = archiver.json(&["profile", "show", "exchange", "--instance", "main"])?.to_string();
    assert!(stored.contains("impersonate") && shown.contains("impersonate"));
    assert!(!stored.contains("s3cret") && !shown.contains("s3cret"));
    let packs = archiver.data_dir().join("instances/main/stores/0001/packs");
    let octets = || -> u64 {
        let files = std::fs::read_dir(&packs).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    for _ in 0..3 {
        let before = octets();
        let mut command = archiver.command(&["profile", "run", "exchange", "--instance", "main"])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let start = Instant::now();
        while octets() <= before && child.try_wait()?.is_none() {
            ensure!(start.elapsed() < Duration::from_secs(60), "nothing is archived");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()?;
    }
    let last = archiver.json(&["profile", "run", "exchange", "--instance", "main"])?;
    let messages = archiver.json(&["instance", "show", "main"])?["messages"].clone();
    assert_eq!((&messages, &last["failed"]), (&MESSAGES.into(), &0.into()), "{last}");
    let hits = archiver.json(&["search", "--instance", "main", "--limit", "1000", "*"])?;
    let hits = hits.as_array().or_else(|| hits["hits"].as_array()).context("no list of hits")?.clone();
    let ids: Vec<&str> = hits.iter().filter_map(|hit| hit["id"].as_str()).collect();
    assert_eq!(ids.len(), MESSAGES);
    for id in ids.iter().step_by(97) {
        let output = archiver.run(&["message", "get", id, "--instance", "main"])?;
        assert!(sent.contains(&output.stdout), "{id}");
    }
    Ok(())
}
