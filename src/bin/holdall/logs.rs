//! Where tracing events go: stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{LogArgs, LogFormat};

/// Checks what is to be logged: levels, and levels of modules, with commas between.
pub(crate) fn parse_filter(text: &str) -> Result<String, String> {
    // By itself a word that is no level would be the name of a module, and a typing error would silence the log.
    if let Some(word) = text.split(',').find(|word| !word.contains('=') && word.trim().parse::<LevelFilter>().is_err())
    {
        return Err(format!("{word:?} is no level; the levels are error, warn, info, debug, trace and off"));
    }
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Sends events to stderr from now on.
pub(crate) fn init(args: &LogArgs) {
    let filter = EnvFilter::builder().parse_lossy(&args.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal() && no_color_is_unset()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// <https://no-color.org>
fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
