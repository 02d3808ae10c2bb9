//! Stores on disks that fail, forget and fill up, and with octets that were altered.

mod backups;
mod bench;
mod compaction;
mod damage;
mod maintenance;
mod parts;
mod power_cut;
mod several;
mod worn;
