//! The whole gateway in one thread, with a seed in place of chance: a clock that is moved by hand, a network in memory, a
//! disk that forgets, real SMTP and POP3 sessions, real intake, spool and mailboxes, and a ledger of what was promised.
//!
//! | file | what |
//! |---|---|
//! | `world` | decides by the seed what happens next, and lets it happen |
//! | `node` | the gateway: opened, and opened again after each crash |
//! | `smtp_peer`, `pop3_peer` | a client with its script, and the server's side of its connection, which does what the session says |
//! | `proxy_peer` | the proxy's way into the spool: prepared, then decided on, or left |
//! | `ledger` | which message is where, and what a client must be told |
//!
//! It is repeatable because nothing runs by itself: sessions are pure, the spool writes when it is told to
//! ([`SegmentSpool::open_stepped`](crate::spool::SegmentSpool::open_stepped)), and what waits for it is a future that is
//! polled by hand, without a runtime. Keys and ids are random all the same; nothing depends on them.
//!
//! `POSTERN_SOAK_ROUNDS=n` runs n times as many seeds, `POSTERN_SOAK_SEED=s` others; `POSTERN_SIMULATION_SEED=s` only that
//! one.
//!
//! Not here: TLS, sockets, deadlines (`listen` and the drivers, tested from outside), passwords of real cost.

mod ledger;
mod node;
mod pop3_peer;
mod proxy_peer;
mod smtp_peer;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

const SEEDS: u64 = 12;
const STEPS: usize = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.end()
}

/// Goal: whatever happens in whatever order, everything acknowledged and not deleted is served byte for byte, once for
/// each acceptance, with a unique-id that stays and the size that was announced; nothing else is.
/// Method: random clients, operators, clocks and disks; after each step the spool is compared with what was promised.
#[test]
fn simulation() {
    let seeds = match number("POSTERN_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let seeds = SEEDS * number("POSTERN_SOAK_ROUNDS").unwrap_or(1);
            let first = number("POSTERN_SOAK_SEED").unwrap_or(0).wrapping_mul(seeds);
            first..first.saturating_add(seeds)
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!(
                "to repeat it: POSTERN_SIMULATION_SEED={seed} cargo nextest run -p postern-gateway simulation"
            );
            resume_unwind(panic);
        }
    }
}

/// Goal: a seed repeats everything, so that a failure can be looked into.
#[test]
fn the_same_seed_does_the_same() {
    let (first, second) = (run(4242), run(4242));
    for (n, (first, second)) in first.iter().zip(&second).enumerate() {
        assert_eq!(first, second, "event {n}");
    }
    assert_eq!(first.len(), second.len());
}

/// Goal: the simulation does what it is for, and does not just pass its time.
#[test]
fn much_happens_in_a_simulation() {
    let happened: Vec<String> = (0..4).flat_map(run).collect();
    for what in [
        "stored",
        "refused",
        "proxy: token",
        "confirmed",
        "dropped",
        "left undecided",
        "deleted",
        "retrieved",
        "in use",
        "power",
        "killed",
        "read-only",
        "full",
        "fault",
        "swept",
    ] {
        let times = happened.iter().filter(|event| event.contains(what)).count();
        assert!(times >= 3, "{what} happened {times} times");
    }
}
