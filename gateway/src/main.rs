//! `postern-gateway`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    match postern_gateway::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-gateway: {}", postern_shared::telemetry::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
