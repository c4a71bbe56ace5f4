//! What environment variables change, read in this one place.

use std::time::Duration;

const MIB: u64 = 1 << 20;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")),
        Err(_) => default,
    }
}

/// Size in bytes of the large stream: `HOLDALL_TEST_LARGE_MIB`, 64 MiB by default.
pub(super) fn large() -> u64 {
    number("HOLDALL_TEST_LARGE_MIB", 64) * MIB
}

/// Size in bytes of the file that is read by many at once: `HOLDALL_TEST_READERS_MIB`, 16 MiB by default.
pub(super) fn readers() -> u64 {
    number("HOLDALL_TEST_READERS_MIB", 16) * MIB
}

/// Size in bytes of each stream that is written beside others: `HOLDALL_TEST_STREAM_MIB`, 1 MiB by default.
pub(super) fn stream() -> u64 {
    number("HOLDALL_TEST_STREAM_MIB", 1) * MIB
}

/// How many files a long listing has: `HOLDALL_TEST_CHILDREN`, 1,100 by default.
pub(super) fn children() -> u64 {
    number("HOLDALL_TEST_CHILDREN", 1100)
}

/// How long a case may take before it counts as hanging: `HOLDALL_TEST_TIMEOUT_SECS`, 300 s by default.
pub(super) fn timeout() -> Duration {
    Duration::from_secs(number("HOLDALL_TEST_TIMEOUT_SECS", 300))
}
