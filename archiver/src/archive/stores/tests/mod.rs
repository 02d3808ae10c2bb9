//! Stores on disks that fail, forget and fill up, and with octets that were altered.

mod bench;
mod catalogs;
mod closing;
mod damage;
mod folding;
mod maintenance;
mod parts;
mod power_cut;
mod replay;
mod several;
