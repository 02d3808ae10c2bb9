//! SIGKILL at random moments under load, and a restart on the same data.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use postern_tests::program::{Kind, Program};

use crate::load::{Doors, LIMITS, Load, Random, number};

const ROUNDS: u64 = 15;

/// Goal: whatever moment the program is killed at, every message that got 250 and was not deleted by an acknowledged QUIT
/// is there byte for byte once for each acceptance; what was refused, abandoned or deleted is not; what was under way is
/// there once and whole, or not at all.
/// Method: senders that wait for each answer and such that do not, in clear and under TLS, for one mailbox and for both;
/// archivers that pull, delete and vanish; SIGKILL by the seed; after each restart everything is read and compared.
#[test]
fn killed_at_any_moment_it_keeps_every_promise() -> Result<()> {
    let seed = number("POSTERN_SOAK_SEED", 1);
    let rounds = ROUNDS * number("POSTERN_SOAK_ROUNDS", 1);
    let repeat = |round: u64| {
        format!(
            "round {round} of {rounds}; for the same messages and moments: POSTERN_SOAK_SEED={seed} \
             POSTERN_SOAK_ROUNDS={} cargo nextest run -p postern-tests --test faults killed_at_any_moment",
            rounds / ROUNDS
        )
    };
    let mut gateway = Program::started(Kind::Gateway, LIMITS)?;
    let load = Load::new(&gateway, seed)?;
    let mut random = Random(seed);
    let mut accepted = 0;
    for round in 0..rounds {
        accepted += work_and_die(&mut gateway, &load, round, &mut random).with_context(|| repeat(round))?;
        gateway.start().with_context(|| repeat(round))?;
        load.check(&gateway, &mut random).with_context(|| repeat(round))?;
    }
    // What a crash left is read otherwise once segments have followed it.
    gateway.stop()?;
    gateway.start()?;
    let held = load.check(&gateway, &mut random).with_context(|| repeat(rounds))?;
    println!("{rounds} rounds: at least {accepted} messages were acknowledged, {held} waited at the end");
    assert!(accepted as u64 > rounds, "it was killed under load");
    Ok(())
}

/// A life of the gateway; how many messages it acknowledged until its death was decided.
fn work_and_die(gateway: &mut Program, load: &Load, round: u64, random: &mut Random) -> Result<usize> {
    let (sender, accepted) = mpsc::channel();
    let doors = Doors::of(gateway, sender)?;
    std::thread::scope(|scope| {
        let workers = load.start(scope, &doors, round);
        let wanted = random.below(60);
        // Fewer when a worker failed and the others wait for nothing.
        let counted =
            (0..wanted).take_while(|_| accepted.recv_timeout(Duration::from_secs(60)).is_ok()).count();
        // Not to wait for something, but to be at no particular place.
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        doors.killed.store(true, Ordering::SeqCst);
        gateway.kill()?;
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(counted)
    })
}
