//! The worker's side: `postern-archiver extract-worker`.

use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use super::frames;
use super::limits::confine;
use super::text::{Text, read};

/// How long a worker waits for a question before it ends, with all memory that reading took.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Answers questions on standard input, which is a socket, until it is closed or nobody asks any more. Standard output is not used: libraries may write
/// there.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    // What a document makes a library say concerns nobody.
    std::panic::set_hook(Box::new(|_| ()));
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_read_timeout(Some(IDLE_MAX))?;
    let other = socket.try_clone()?;
    confine()?;
    answer_all(BufReader::new(socket), BufWriter::new(other))
}

pub(super) fn answer_all(mut from: impl io::Read, mut to: impl Write) -> io::Result<()> {
    while let Some((name, octets)) = frames::question(&mut from)? {
        let mut text = Text::default();
        let ended = catch_unwind(AssertUnwindSafe(|| read(&name, &octets, &mut text)));
        if ended.is_err() {
            text.miss("it is broken, or written in a way that its reader does not know");
        }
        drop(octets);
        let (text, why) = text.finish();
        frames::answer(&mut to, &text, &why)?;
    }
    Ok(())
}
