//! What a worker takes from itself before it looks at anything.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, nice, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// Memory, with the program itself.
const ADDRESS_BYTES: u64 = 768 * 1024 * 1024;
/// Processor time of a worker's whole life, in seconds; whoever started it starts another.
const PROCESSOR_SECONDS: u64 = 120;

/// No new files, sockets, processes or privileges; bounded memory and processor time; last in line for the processor. A file that is
/// open stays so.
pub(super) fn confine() -> io::Result<()> {
    set_no_new_privs(true)?;
    // Nothing of a document in a core file, and nobody else looks in.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Only politeness.
    let _ = nice(10);
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, 0),
        (Resource::Cpu, PROCESSOR_SECONDS),
        (Resource::As, ADDRESS_BYTES),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}
