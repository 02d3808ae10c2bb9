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
    confine_to(PROCESSOR_SECONDS)
}

fn confine_to(processor_seconds: u64) -> io::Result<()> {
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
        (Resource::Cpu, processor_seconds),
        (Resource::As, ADDRESS_BYTES),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{Command, ExitStatus, Stdio};

    use postern_shared::disk::{Disk as _, RealDisk};

    use super::*;

    /// Which part of the test below a process of its own plays.
    const PART: &str = "POSTERN_TEST_CONFINED";

    /// The test below in a process of its own, which takes its rights from itself.
    fn in_a_process(part: &str) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["documents::limits::tests::bounds_bind", "--exact", "--nocapture"]).env(PART, part);
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap()
    }

    /// Goal: what a worker takes from itself is really gone: files, sockets, memory, processor time.
    #[test]
    fn bounds_bind() {
        match std::env::var(PART).as_deref() {
            Ok("nothing") => nothing_is_to_be_had(),
            Ok("processor") => processor_time_ends(),
            _ => {
                assert!(in_a_process("nothing").success());
                let burned = in_a_process("processor");
                // The hard limit is the soft one, so it is either signal.
                assert!(matches!(burned.signal(), Some(9 | 24)), "{burned:?}");
            }
        }
    }

    fn nothing_is_to_be_had() {
        assert!(RealDisk.open_read(Path::new("/proc/self/status")).is_ok());
        let mut memory: Vec<u8> = Vec::new();
        assert!(memory.try_reserve_exact(1 << 30).is_ok());
        drop(memory);
        confine().unwrap();
        assert!(RealDisk.open_read(Path::new("/proc/self/status")).is_err(), "a file");
        assert!(RealDisk.create(Path::new("/tmp/postern-confined")).is_err(), "a new file");
        assert!(UnixStream::pair().is_err(), "a socket");
        assert!(UdpSocket::bind("127.0.0.1:0").is_err(), "the network");
        let mut memory: Vec<u8> = Vec::new();
        assert!(memory.try_reserve_exact(1 << 30).is_err(), "memory");
        assert!(Command::new("/bin/true").stdout(Stdio::null()).status().is_err(), "a process");
        let raised = confine_to(PROCESSOR_SECONDS + 1);
        assert!(raised.is_err() || rustix::process::geteuid().is_root(), "no way back");
    }

    fn processor_time_ends() {
        confine_to(1).unwrap();
        let mut number = 1_u64;
        loop {
            number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
        }
    }
}
