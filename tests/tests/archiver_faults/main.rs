//! The archiver's faults and its jobs, seen from outside with the real program.
//!
//! | file | what |
//! |---|---|
//! | `stage` | a gateway full of mail, and an archiver that pulls it |
//! | `kill` | SIGKILL amid a run; two daemons on one archive |
//! | `damage` | bits turned over in catalogs, indexes and results |
//! | `small_disk` | a file system that fills up (needs root) |
//! | `jobs` | jobs that run by themselves, and what the command line says of them |
//! | `mail` | failures told through a Postfix (needs root, postfix, dovecot) |

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod damage;
mod jobs;
mod kill;
mod mail;
mod small_disk;
mod stage;
