//! What the disk does without any mail program: the limit that intake can be held against.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::load::{in_threads, sum};
use super::rate;

/// A buffer to write and where to say that it is on disk.
struct Job<'a> {
    content: &'a [u8],
    done: SyncSender<()>,
}

/// Threads hand buffers to one thread, which writes all that wait and then syncs once; buffers per second.
pub fn group_commit(dir: &Path, threads: usize, bytes: usize, time: Duration) -> Result<f64> {
    let path = dir.join("group-commit");
    let file = create(&path)?;
    let content = vec![b'x'; bytes];
    let (jobs, waiting) = channel();
    let rate = std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_groups(file, &waiting));
        let sessions = in_threads(threads, |_| hand_over(&jobs.clone(), &content, time));
        drop(jobs);
        writer.join().ok().context("the writer panicked")??;
        sum(&sessions?)
    });
    std::fs::remove_file(&path)?;
    rate
}

fn write_groups(mut file: File, waiting: &Receiver<Job<'_>>) -> Result<()> {
    let mut group = Vec::new();
    while let Ok(job) = waiting.recv() {
        group.push(job);
        group.extend(waiting.try_iter());
        for job in &group {
            file.write_all(job.content)?;
        }
        file.sync_data()?;
        for job in group.drain(..) {
            // Whoever does not wait any more needs no answer.
            let _ = job.done.send(());
        }
    }
    Ok(())
}

fn hand_over<'a>(jobs: &Sender<Job<'a>>, content: &'a [u8], time: Duration) -> Result<(usize, Duration)> {
    let (done, wait) = sync_channel(1);
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        jobs.send(Job { content, done: done.clone() }).ok().context("the writer is gone")?;
        wait.recv()?;
        count += 1;
    }
    Ok((count, start.elapsed()))
}

/// How often per second one thread can append 4 KiB to a file and sync it.
pub fn sync_rate(dir: &Path) -> Result<f64> {
    let path = dir.join("sync-rate");
    let mut file = create(&path)?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_millis(250) {
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    let taken = start.elapsed();
    std::fs::remove_file(&path)?;
    Ok(rate(count, taken))
}

fn create(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().create(true).write(true).truncate(true).open(path)?)
}
