//! Stores on disks that fail, forget and fill up, and with octets that were altered.

mod backups;
mod bench;
mod catalogs;
mod closing;
mod compaction;
mod damage;
mod folding;
mod maintenance;
mod parts;
mod power_cut;
mod reopened;
mod replay;
mod resumed;
mod rot;
mod several;
mod worn;
