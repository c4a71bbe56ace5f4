//! The command line of holdall.

mod body;
mod cli;
mod listen;
mod logs;
mod serve;
mod shutdown;
mod stream;
mod units;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Exits with 0 after a stop that was asked for, 1 if something failed, 2 if the command line makes no sense.
fn main() -> ExitCode {
    let Command::Serve(args) = Cli::parse().command;
    logs::init(&args.logs);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.limits.threads {
        runtime.worker_threads(threads.get());
    }
    let ended = match runtime.enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(serve::run(args));
            // What still waits for a disk that doesn't answer is not waited for.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("cannot start threads: {error}")),
    };
    ended.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "holdall: {error}");
    ExitCode::FAILURE
}
