//! Faults survived, seen from outside with the real program: killed under load, copied under load, a disk that is full,
//! read-only or damaged.
//!
//! | file | what |
//! |---|---|
//! | `load` | several senders and archivers at once, driven by a seed |
//! | `ledger` | what they were promised, and what is in doubt |
//! | `kill` | SIGKILL at random moments |
//! | `copy` | `cp -a` of the data directory meanwhile |
//! | `backup` | `postern-gateway backup` meanwhile, killed, cancelled, without room; and what is restored from it |
//! | `small_disk` | a file system that fills up, another one that can no longer be written (both need root) |
//! | `damage` | segments and large files cut short or altered, stopped and running |
//!
//! `POSTERN_SOAK_SEED=7` gives other moments and messages, `POSTERN_SOAK_ROUNDS=100` a hundred times as many rounds of
//! `kill`; `make soak` does both. `docs/reliability.md` says which promise each test proves.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod backup;
mod copy;
mod damage;
mod kill;
mod ledger;
mod load;
mod small_disk;
