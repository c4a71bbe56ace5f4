//! The S3 driver, on the server in memory and on any engine that `HOLDALL_TEST_S3` names.

mod answers;
mod conformance;
mod copies;
mod counts;
#[cfg(target_os = "linux")]
mod credentials;
mod directories;
mod explore;
mod faults;
mod limits;
mod long_lived;
mod memory;
mod operations;
mod parameters;
mod permissions;
mod probe;
mod puts;
mod reads;
mod urls;

use std::sync::Arc;

use futures::StreamExt;
use holdall::drivers::{S3Config, S3Credentials, S3Driver};
use holdall::{ByteStream, StoragePath};

use crate::support::s3::{Config, S3Server};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A configuration that reaches a server in memory without sockets.
fn config(server: &S3Server) -> S3Config {
    S3Config::new("bucket")
        .endpoint("http://s3.test")
        .region("us-east-1")
        .credentials(S3Credentials::keys("test-key", "test-secret", None))
        .http_connector(Arc::new(server.connector("driver")))
}

/// The same, with all sizes scaled down to parts of 64 KiB.
fn small(server: &S3Server) -> S3Config {
    config(server)
        .min_part_size(64 * KIB)
        .part_size(64 * KIB)
        .inline_limit(4 * KIB)
        .memory_budget(MIB)
        .copy_part_size(256 * KIB)
        .max_gap(64 * MIB)
}

fn scaled(config: Config) -> S3Server {
    S3Server::new(config.scaled(64 * KIB))
}

async fn open(config: S3Config) -> S3Driver {
    S3Driver::open(config).await.unwrap()
}

fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

/// Bytes that show where they come from.
fn data(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8 ^ (n >> 8) as u8 ^ (n >> 16) as u8).collect()
}

/// A stream in pieces of 16 KiB.
fn stream(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(16 << 10).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}
