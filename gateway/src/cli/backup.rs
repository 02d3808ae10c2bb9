//! `backup` and `restore`: done here, whether or not a daemon runs; Ctrl-C ends them in an orderly way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::shutdown::{Shutdown, switch};
use postern_shared::telemetry::ProgressView;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::backup::{self, BackupError, Contents, Plan, Work};
use crate::settings::{DEFAULT_FILE, Settings};

/// Works with a view of how far it is, until a signal.
fn working<T>(
    work: impl FnOnce(&Arc<dyn Disk>, &Arc<dyn Clock>, &mut Work<'_>) -> Result<T, BackupError>,
) -> Result<T> {
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let stop = on_signal(&runtime)?;
    let mut view = ProgressView::new(Arc::clone(&clock));
    let done = work(&disk, &clock, &mut Work::new(&stop, &mut |progress| view.show(progress)));
    drop(view);
    Ok(done?)
}

/// Told by the first signal; a second one ends the process at once, which leaves what the next run clears away.
fn on_signal(runtime: &tokio::runtime::Runtime) -> Result<Shutdown> {
    let _inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let (switch, stop) = switch();
    runtime.spawn(async move {
        for turn in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if turn > 0 {
                std::process::exit(1);
            }
            switch.turn();
        }
    });
    Ok(stop)
}

pub(super) fn run(settings: &Settings, config: Option<&Path>, place: &Path, json: bool) -> Result<()> {
    let configuration: Option<PathBuf> = match config {
        Some(file) => Some(file.into()),
        None => RealDisk.exists(Path::new(DEFAULT_FILE))?.then(|| DEFAULT_FILE.into()),
    };
    let made = working(|disk, clock, work| {
        let plan = Plan {
            disk: Arc::clone(disk),
            clock: Arc::clone(clock),
            data_dir: &settings.data_dir,
            email_domain: &settings.email_domain,
            configuration: configuration.as_deref(),
            to: place,
        };
        backup::make(&plan, work)
    })?;
    for path in &made.left_out {
        eprintln!("note: {} is neither file nor directory, and is not in the backup", path.display());
    }
    let Contents { mailboxes, messages, damage } = &made.contents;
    if json {
        let shown = json!({
            "place": place, "files": made.files, "bytes": made.bytes, "copied_bytes": made.copied_bytes,
            "mailboxes": mailboxes, "messages": messages, "damage": damage, "left_out": made.left_out,
            "kept": made.kept,
        });
        println!("{shown}");
    } else {
        println!(
            "{} holds {} files, {} MiB ({} MiB copied now): {messages} messages wait in {mailboxes} mailboxes",
            place.display(),
            made.files,
            made.bytes.div_ceil(1 << 20),
            made.copied_bytes.div_ceil(1 << 20)
        );
    }
    if damage.is_empty() {
        return Ok(());
    }
    let kept =
        made.kept.map(|path| format!(" The last backup without damage is kept in {}.", path.display()));
    bail!(
        "the backup is made, but what it was made from is damaged: {}.{} Run postern-gateway doctor",
        damage.join("; "),
        kept.unwrap_or_default()
    )
}

pub(super) fn verify(place: &Path, json: bool) -> Result<()> {
    let checked = working(|disk, clock, work| backup::check(disk, clock, place, work))?;
    let Contents { mailboxes, messages, damage } = &checked.contents;
    if json {
        let shown = json!({
            "ok": true, "place": place, "begun": checked.begun.rfc3339(), "files": checked.files, "bytes": checked.bytes,
            "mailboxes": mailboxes, "messages": messages, "damage": damage,
        });
        println!("{shown}");
    } else {
        println!(
            "{} is as it was made on {}: {} files, {} MiB; {messages} messages wait in {mailboxes} mailboxes",
            place.display(),
            checked.begun,
            checked.files,
            checked.bytes.div_ceil(1 << 20)
        );
    }
    tell_damage(damage);
    Ok(())
}

fn tell_damage(damage: &[String]) {
    for place in damage {
        eprintln!("note: damaged already when the backup was made: {place}");
    }
}

pub(super) fn restore(settings: &Settings, place: &Path, json: bool) -> Result<()> {
    let data_dir = &settings.data_dir;
    let restored = working(|disk, clock, work| backup::restore((disk, clock), place, data_dir, work))?;
    let Contents { mailboxes, messages, damage } = &restored.contents;
    let mut next = next(data_dir, &restored.begun.rfc3339());
    if restored.email_domain != settings.email_domain {
        // Mail for an address of another domain is refused for good.
        let advice = format!(
            "Set email_domain = {:?} in the configuration before the daemon starts: that is the domain of these mailboxes, \
             and under {:?} all mail for their addresses would be refused and go back to its senders.",
            restored.email_domain, settings.email_domain
        );
        next.insert(0, advice);
    }
    if json {
        let shown = json!({
            "data_dir": data_dir, "email_domain": restored.email_domain, "begun": restored.begun.rfc3339(), "files": restored.files, "bytes": restored.bytes,
            "mailboxes": mailboxes, "messages": messages, "damage": damage, "next": next,
        });
        println!("{shown}");
    } else {
        println!(
            "{} is restored: {} files, {} MiB; {messages} messages wait in {mailboxes} mailboxes",
            data_dir.display(),
            restored.files,
            restored.bytes.div_ceil(1 << 20)
        );
        eprintln!("\nNow:");
        next.iter().for_each(|line| eprintln!("  - {line}"));
    }
    tell_damage(damage);
    Ok(())
}

fn next(data_dir: &Path, begun: &str) -> Vec<String> {
    let dir = data_dir.display();
    vec![
        format!(
            "Make sure that {dir} belongs to the user that the daemon runs as (root restores for whoever owns the \
             directory): chown -R USER: {dir}"
        ),
        "Compare the configuration with the one in the backup's directory configuration/.".into(),
        "Run postern-gateway doctor, then start the daemon: systemctl start postern-gateway".into(),
        format!(
            "What came after {begun} is not in it: where senders keep copies or journal again, have them send it again. \
             What archivers pulled since then they will pull again, and fold."
        ),
    ]
}
