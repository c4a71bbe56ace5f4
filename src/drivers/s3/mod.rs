//! Files in a bucket of any engine that speaks S3.
//!
//! A complete file is an object at the key of its path: reading, `stat` and signing it take one request. A file that grows
//! by appends and isn't complete yet has no object. It has a small *head* at `~uncommitted/<path>/~head` that says what it
//! is made of: the finished parts of a multipart upload, then segments (`~segment/<file>/<name>`) and a few bytes of its
//! own. So each byte is sent about twice at most, however small the appends are, and one conditional PUT of the head makes
//! an append count. A writer that lost the head to another one can't take an acknowledged byte away.
//!
//! # The parts
//! `config` and `params` say where the bucket is. `client` knows the requests, with `xml`; `transport` signs, sends and
//! repeats them, `failure` says what became of them. `keys`, `head` and `cache` are the state of uncommitted files; `heads`
//! wins and drops it. `begin` looks what is there and `write` takes a stream in, with `source`, `parts` and `plan`;
//! `complete` makes the object. The others are named for what they do.

mod answer;
mod begin;
mod cache;
mod client;
mod complete;
mod config;
mod connect;
mod copy;
mod delete;
mod failure;
mod head;
mod heads;
mod keys;
mod list;
mod listing;
mod params;
mod parts;
mod plan;
mod probe;
mod put;
mod read;
mod sign;
mod source;
mod store;
mod sweep;
mod transport;
mod write;
mod xml;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use url::Url;

pub use self::config::{InvalidS3Config, S3Config, S3Credentials, S3Encryption};
use self::keys::Keys;
use self::store::Store;
use crate::driver::{ByteStream, Precondition, ReadRange, StorageDriver, UrlOptions, WalkOptions, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Capabilities, FileInfo, Version};
use crate::path::StoragePath;

const NAME: &str = "s3";

/// A [`StorageDriver`] over a bucket, or a folder of one. A clone shares all with the first.
///
/// A file that is written in one call, or completed, is an object at the key of its path, as other tools write and read
/// them. Until it is complete, it is kept below `~uncommitted` and `~segment`, where no path leads.
///
/// # What is promised, and where
/// [`open`](Self::open) tries the engine. Where conditional writes are honoured (AWS, MinIO, R2, versitygw), two writers on
/// one path, also on two machines, never both succeed ([`Capabilities::exclusive_writers`]). Where they are ignored
/// (Garage), there must be one writer to a path at a time, of which deleting and sweeping are two; and appends begin by reading
/// what is there.
///
/// Nothing but one store should live below its root in the bucket: [`sweep`](StorageDriver::sweep) aborts all multipart uploads
/// there that are idle, whoever began them.
///
/// - [`put_content`](StorageDriver::put_content) onto an uncommitted file: the new object wins. The other writer learns it
///   by a `Conflict`, at the latest when it completes; what it acknowledged since then is hidden.
/// - A PutObject that got no answer may be done within a request's time-out, and `put_content` sends it again: it can bring a
///   path back that was deleted meanwhile, or take away what was appended to its own bytes before it returned. Paths with
///   random ids, which are never used again, don't meet this.
/// - [`move_to`](StorageDriver::move_to), and [`concat`](StorageDriver::concat) of one file, keep the content type and what
///   else the writer of an object said of it, up to [`S3Config::copy_threshold`]. A larger file is put together anew, without.
/// - A version is the object's ETag with an id of the write that made it. What other tools write has no such id: the same
///   bytes of theirs are the same version.
/// - [`sweep`](StorageDriver::sweep) must be told a time that is longer than any request with its tries can take: a day is
///   plenty, an hour is where no part or copy is over 256 MiB.
/// - Where DELETE ignores `If-Match` (MinIO), the head of a file that was uncommitted stays when the file ends, some hundred
///   bytes marked as dead, and a later sweep removes it. A file that is created at the same path in the moment of that one
///   request, after so long a time, can be lost; and `move_to` can take away what was put to its source in the moment of its
///   DELETE. Paths with random ids, which are never used again, don't meet this.
/// - Rules of the bucket that abort multipart uploads end uncommitted files. Cloudflare R2 does so after 7 days unless told
///   otherwise.
/// - An uncommitted file can be cut back within its tail and at the border of a part; inside a part that is
///   `UnsupportedMethod`.
///
/// # Memory
/// All writes of a driver share [`S3Config::memory_budget`]; each has 256 KiB beside it, and
/// [`S3Config::head_cache`] keeps heads and tails between appends. Nothing goes to temporary files. The largest part that
/// fits bounds the largest file.
///
/// A stream that stalls gives its share of the budget back to others that wait, if what it has can be recorded. With
/// [`Completion::EndOfStream`](crate::Completion::EndOfStream), unless an uncommitted file is there, and with
/// [`OnFailure::Discard`](crate::OnFailure::Discard) it can't: the share is held as long as the stream stalls, so whoever
/// hands such streams in should end them after a while.
#[derive(Clone)]
pub struct S3Driver {
    store: Arc<Store>,
}

impl S3Driver {
    /// Opens a bucket: checks the configuration, and tries with some ten small requests what the engine can do.
    ///
    /// # Errors
    /// [`UnsupportedMethod`](ErrorKind::UnsupportedMethod) with [`InvalidS3Config`] as the source;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied), [`Timeout`](ErrorKind::Timeout) and what else the engine answers.
    /// A bucket that may only be read is no error: nothing can be written then. Where objects may be put, they must also be
    /// listed, read and deleted, and uploads of parts made and aborted.
    pub async fn open(config: S3Config) -> Result<Self> {
        let at = |error: Error| error.at(NAME, &StoragePath::root());
        let client = client::Client::new(&config).map_err(Error::from).map_err(at)?;
        let found = probe::probe(&client, &Keys::new(&config.root), config.max_retries).await.map_err(at)?;
        tracing::debug!(?found, "tried the engine");
        Ok(Self { store: Arc::new(Store::new(client, config, found)) })
    }
}

impl fmt::Debug for S3Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Driver").field("config", &self.store.config).field("found", &self.store.found).finish()
    }
}

/// The same error, of this driver and at this path, unless it names another one.
fn at(path: &StoragePath) -> impl Fn(Error) -> Error + '_ {
    move |error| error.at(NAME, path)
}

/// A path that has to be a file's.
fn file(path: &StoragePath) -> Result<()> {
    if path.is_root() { Err(Error::new(ErrorKind::IsADirectory).at(NAME, path)) } else { Ok(()) }
}

#[async_trait]
impl StorageDriver for S3Driver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let (config, found) = (&self.store.config, &self.store.found);
        // The tail that was kept since the last append comes beside the budget.
        let cached_tail = if found.conditional_put { config.head_cache.min(config.max_part_size()) } else { 0 };
        Capabilities {
            url_for: true,
            conditional_put: found.conditional_put,
            exclusive_writers: found.conditional_put,
            server_side_concat: found.copies && !config.equal_parts,
            uncommitted: true,
            max_gap: config.max_gap,
            max_stream_memory: config.memory_budget.saturating_add(cached_tail).saturating_add(write::FREE),
            ..Capabilities::minimal()
        }
    }

    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let (info, stream) = self.store.read(path, range).await.map_err(at(path))?;
        let path = path.clone();
        Ok((info, stream.map_err(move |error| error.at(NAME, &path)).boxed()))
    }

    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        file(path)?;
        self.store.put_content(path, content).await.map_err(at(path))
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        file(path)?;
        self.store.write(path, offset, stream, options).await.map_err(at(path))
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        self.store.stat(path).await.map_err(at(path))
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        self.store.list(path).await.map_err(at(path))
    }

    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        let at_path = path.clone();
        self.store.walk(path, options).map_err(move |error| error.at(NAME, &at_path)).boxed()
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        file(to)?;
        self.store.move_to(from, to).await.map_err(at(from))
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        self.store.delete(path).await.map_err(at(path))
    }

    async fn url_for(&self, path: &StoragePath, options: UrlOptions) -> Result<Url> {
        self.store.url_for(path, options).await.map_err(at(path))
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        file(to)?;
        self.store.concat(sources, to).await.map_err(at(to))
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        file(path)?;
        self.store.commit(path).await.map_err(at(path))
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        self.conditional(path)?;
        self.store.get_versioned(path).await.map_err(at(path))
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        self.conditional(path)?;
        file(path)?;
        self.store.put_content_if(path, content, condition).await.map_err(at(path))
    }

    async fn sweep(&self, older_than: Duration) -> Result<u64> {
        self.store.sweep(older_than).await.map_err(at(&StoragePath::root()))
    }
}

impl S3Driver {
    fn conditional(&self, path: &StoragePath) -> Result<()> {
        if self.store.found.conditional_put {
            return Ok(());
        }
        let detail = "this engine does not honour conditional writes";
        Err(Error::new(ErrorKind::UnsupportedMethod).with_detail(detail).at(NAME, path))
    }
}
