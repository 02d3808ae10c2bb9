//! `postern-archiver`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    match postern_archiver::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postern-archiver: {}", postern_shared::telemetry::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
