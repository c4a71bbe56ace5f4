//! The command line of holdall.

mod answer;
mod body;
mod cli;
mod listen;
mod logs;
mod serve;
mod shutdown;
mod stream;
mod units;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Exits with 0 after a stop that was asked for, 1 if something failed, 2 if the command line makes no sense.
fn main() -> ExitCode {
    let Command::Serve(args) = Cli::parse().command;
    logs::init(&args.logs);
    // Connections have threads of their own; here they are accepted, and signals awaited.
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(serve::run(args));
            // What still waits for a disk that doesn't answer is not waited for.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("cannot start: {error}")),
    };
    ended.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "holdall: {error}");
    ExitCode::FAILURE
}
