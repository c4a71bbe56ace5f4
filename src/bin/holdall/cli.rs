//! What the command line says.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::logs::parse_filter;
use crate::units::{parse_duration, parse_size};

/// Blobs under paths, in any backend, and uploads that survive a cut connection.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accept resumable uploads over HTTP (tus 1.0.0), into a store.
    Serve(Serve),
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where uploads are kept: `file:DIRECTORY`, relative or absolute; `s3://BUCKET/FOLDER?endpoint=URL&region=REGION`, with
    /// credentials from the environment (`AWS_ACCESS_KEY_ID` and so on); or `memory:`, which is gone with the process.
    #[arg(value_name = "STORE", env = "HOLDALL_STORE", default_value = "file:holdall-data")]
    pub(crate) store: String,

    /// Address and port to listen on; with port 0 the system picks one, which is printed.
    #[arg(long, value_name = "HOST:PORT", env = "HOLDALL_LISTEN", default_value = "127.0.0.1:1080")]
    pub(crate) listen: String,

    /// The path below which uploads have their URLs.
    #[arg(long, value_name = "PATH", env = "HOLDALL_BASE_PATH", default_value = "/files/", value_parser = base_path)]
    pub(crate) base_path: String,

    /// The most bytes that one upload may have, as `5GiB`, `500MB` or a plain number; without it there is no limit.
    #[arg(long, value_name = "SIZE", env = "HOLDALL_MAX_SIZE", value_parser = parse_size)]
    pub(crate) max_size: Option<u64>,

    /// When bytes on a file system survive a power cut; only for `file:` stores.
    #[arg(long, value_name = "WHEN", env = "HOLDALL_DURABILITY", value_enum, hide_possible_values = false)]
    pub(crate) durability: Option<DurabilityFlag>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityFlag {
    /// Every acknowledged byte does. The default.
    EveryWrite,
    /// Finished uploads do; an unfinished one may have to be sent again.
    OnComplete,
    /// Nothing is sure to.
    None,
}

impl DurabilityFlag {
    /// As the store's URL has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::EveryWrite => "every-write",
            Self::OnComplete => "on-complete",
            Self::None => "none",
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// How long a client may take to send the head of a request; an unused connection is kept as long.
    #[arg(long, value_name = "TIME", env = "HOLDALL_HEADER_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub(crate) header_timeout: Duration,

    /// How long a client may leave a body without a byte, sending or receiving; of an upload, what arrived is kept.
    #[arg(long, value_name = "TIME", env = "HOLDALL_IDLE_TIMEOUT", default_value = "60s", value_parser = parse_duration)]
    pub(crate) idle_timeout: Duration,

    /// How long running requests may go on after SIGINT or SIGTERM, before they are cut and what arrived is kept. A second
    /// signal ends the program at once.
    #[arg(long, value_name = "TIME", env = "HOLDALL_GRACE", default_value = "5s", value_parser = parse_duration)]
    pub(crate) grace: Duration,

    /// What crashes left in the store is removed, once a day, when it is this old (an hour at least). In S3 that includes
    /// unfinished uploads which nobody has gone on with for so long; in files, unfinished uploads stay.
    #[arg(long, value_name = "TIME", env = "HOLDALL_SWEEP_AGE", default_value = "90d", value_parser = sweep_age)]
    pub(crate) sweep_age: Duration,

    /// Connections beyond this many wait until one ends.
    #[arg(long, value_name = "COUNT", env = "HOLDALL_MAX_CONNECTIONS", default_value = "8192")]
    pub(crate) max_connections: NonZeroUsize,

    /// Threads that serve requests, beside those that wait for disks; by default as many as there are processors.
    #[arg(long, value_name = "COUNT", env = "HOLDALL_THREADS")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Logs (on stderr)")]
pub(crate) struct LogArgs {
    /// What is logged: error, warn, info, debug, trace or off, also by module as in `info,holdall::upload=debug`.
    #[arg(long = "log", value_name = "LEVEL", env = "HOLDALL_LOG", default_value = "info", value_parser = parse_filter)]
    pub(crate) filter: String,

    /// How a line of the log is written.
    #[arg(long = "log-format", value_name = "FORMAT", env = "HOLDALL_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) format: LogFormat,

    /// Log a line for each request, at level info.
    #[arg(long, env = "HOLDALL_ACCESS_LOG", value_parser = BoolishValueParser::new())]
    pub(crate) access_log: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// An object per line, for machines.
    Json,
}

/// Longer than any request to a store can take.
fn sweep_age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text)?;
    if age < Duration::from_secs(3600) {
        Err("less than an hour, and what still runs is in danger".into())
    } else {
        Ok(age)
    }
}

/// A path that begins and ends with `/`.
fn base_path(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err("it may have letters, digits, and - . _ ~ / only".into());
    }
    let segments: Vec<_> = text.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err("clients resolve . and .. in a path, so it would never be reached".into());
    }
    Ok(if segments.is_empty() { "/".into() } else { format!("/{}/", segments.join("/")) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn base_paths_begin_and_end_with_a_slash() {
        for (text, path) in [("/files/", "/files/"), ("files", "/files/"), ("a//b", "/a/b/"), ("/", "/"), ("", "/")] {
            assert_eq!(base_path(text).as_deref(), Ok(path), "{text}");
        }
        for text in ["/a b/", "/../", "/a/./b", "/%20/", "/a?b", "/é/"] {
            assert!(base_path(text).is_err(), "{text}");
        }
    }
}
