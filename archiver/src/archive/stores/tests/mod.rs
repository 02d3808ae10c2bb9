//! Stores on disks that fail, forget and fill up, and with octets that were altered.

mod bench;
mod damage;
mod maintenance;
mod parts;
mod power_cut;
mod several;
