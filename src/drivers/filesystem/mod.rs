//! Files under a root directory on Linux.
//!
//! - `resolve`: from paths to open files, never out of the root and never through a symbolic link.
//! - `lock`: `flock`, between threads and processes.
//! - `durability`: what is synced when, and the mark on what is not synced yet.
//! - `temp`: files that are not at their place yet.
//! - `pace`: where blocking work runs.
//! - `writing`: how much of the files being written is durable.
//! - `target` and `write`: one file being written, and streams into it.
//! - `read`, `replace`, `remove`, `walk`, `version`: the other operations.
//! - `directory`, `copy`, `errors`: what these have in common.

mod builder;
mod copy;
mod directory;
mod durability;
mod errors;
mod lock;
mod pace;
mod read;
mod remove;
mod replace;
mod resolve;
mod target;
mod temp;
mod version;
mod walk;
mod write;
mod writing;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use self::builder::FilesystemBuilder;
pub use self::durability::Durability;
use self::durability::Known;
use self::errors::{At, NAME, plain};
use self::lock::Names;
use self::pace::{Pace, Work};
use self::replace::Intent;
use self::resolve::Root;
use self::temp::TempDir;
use self::writing::Writing;
use crate::driver::{ByteStream, Precondition, ReadRange, StorageDriver, WalkOptions, WriteOptions};
use crate::error::{ErrorKind, Result};
use crate::info::{Capabilities, FileInfo, Version};
use crate::path::StoragePath;

/// Files under a root directory on Linux; each path is a file of that name below the root.
///
/// Any number of instances, in any number of processes of one machine, can share a root. What they keep for themselves
/// lies in `/~tmp`; run [`sweep`](StorageDriver::sweep) now and then to remove what crashes left there. Other programs
/// may read the files, and put new ones in place by renaming. Names that no [`StoragePath`] can have don't show.
///
/// **Links.** Symbolic links below the root are never followed. One in the way of a path is
/// [`PermissionDenied`](ErrorKind::PermissionDenied); as the last component it is itself replaced by `put_content` or
/// `move_to`, and removed by `delete`. Links on the way to the root are followed once, when it is opened. What a
/// directory below the root is a mount point of belongs to it, but nothing can be moved across.
///
/// **Writers.** A file is locked (`flock`) while a stream is written into it. Who wants to write or move it meanwhile
/// waits for [`lock_timeout`](FilesystemBuilder::lock_timeout) at most. `put_content`, `delete` and a `move_to` onto it
/// don't wait: they give the name to another file, or to none, and the writer fails with
/// [`Conflict`](ErrorKind::Conflict).
///
/// **Durability.** See [`Durability`]. With the default, a file that may not be durable yet has the sticky bit in its mode.
///
/// **Memory.** A read holds one piece of at most 512 KiB; with more than 64 reads at once the pieces get shorter, down to
/// 64 KiB with 512, and no shorter with more. A write holds nothing of its own beside the pieces that it takes from its
/// stream: one, or while the disk is slow those that are ready, up to 512 KiB or 1024 of them. If it may have to be
/// discarded, it holds 256 KiB, and the rest in a temporary file. Nothing bounds what many such writes hold together.
///
/// **Versions** need extended attributes (`user.*`); where the file system has none,
/// [`Capabilities::conditional_put`] is false.
///
/// **Runtime.** All calls want a tokio runtime, of either flavor. Short work is done on the calling thread as long as the
/// disk is quick; syncs and long work go to the blocking pool.
///
/// # Example
/// ```
/// use bytes::Bytes;
/// use holdall::{FilesystemDriver, StorageDriver, StoragePath};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let root = tempfile::tempdir()?;
/// # let root = root.path().join("blobs");
/// let driver = FilesystemDriver::open(&root)?;
/// let path = StoragePath::parse("/a/b")?;
/// driver.put_content(&path, Bytes::from_static(b"hello")).await?;
/// assert_eq!(std::fs::read(root.join("a/b"))?, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FilesystemDriver {
    store: Arc<Store>,
}

/// What all calls of an instance share.
#[derive(Debug)]
struct Store {
    root: Root,
    temp: Arc<TempDir>,
    names: Names,
    known: Known,
    writing: Writing,
    pace: Pace,
    durability: Durability,
    lock_timeout: Duration,
    max_gap: u64,
    mode_holds_mark: bool,
    xattrs: bool,
    /// How many reads there are.
    reads: AtomicU64,
}

impl FilesystemDriver {
    /// Opens a root directory with the defaults, and creates it where it is missing. Blocks for a moment.
    ///
    /// # Errors
    /// As [`FilesystemBuilder::open`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::builder(root).open()
    }

    /// Begins to open a root directory otherwise.
    pub fn builder(root: impl AsRef<Path>) -> FilesystemBuilder {
        FilesystemBuilder::new(root.as_ref())
    }

    /// Work that writes so many bytes, and ends with a sync if any work does.
    fn syncing(&self, bytes: usize) -> Work {
        if self.store.syncs() { Work::Slow } else { Work::writing(bytes) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: Work,
        path: &StoragePath,
        f: impl FnOnce(&Arc<Store>, &StoragePath) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, of) = (Arc::clone(&self.store), path.clone());
        self.store.pace.run(work, path, move || f(&store, &of)).await?
    }

    /// Repeats work until it finds the file unlocked, for as long as the lock timeout.
    async fn run_unlocked<T: Send + 'static>(
        &self,
        work: Work,
        path: &StoragePath,
        f: impl Fn(&Store, &StoragePath) -> Result<Option<T>> + Clone + Send + 'static,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut pause = write::FIRST_PAUSE;
        loop {
            let f = f.clone();
            if let Some(done) = self.run(work, path, move |store, path| f(store, path)).await? {
                return Ok(done);
            }
            self.store.wait(path, begun, &mut pause).await?;
        }
    }

    fn need_versions(&self, path: &StoragePath) -> Result<()> {
        if self.store.xattrs {
            return Ok(());
        }
        let detail = "versions need extended attributes, and the file system of the root has none";
        Err(plain(ErrorKind::UnsupportedMethod, path).with_detail(detail))
    }
}

#[async_trait]
impl StorageDriver for FilesystemDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_put: self.store.xattrs,
            exclusive_writers: true,
            file_directory_conflicts: true,
            server_side_concat: true,
            max_gap: self.store.max_gap,
            max_stream_memory: read::PIECE.max(write::STAGED as u64),
            ..Capabilities::minimal()
        }
    }

    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        self.store.read(path, range).await
    }

    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        let intent = Intent::default();
        let _held = intent.while_held();
        self.run(self.syncing(content.len()), path, move |store, path| store.put(path, &content, &intent)).await
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        self.store.write_stream(path, offset, stream, options).await
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        match self.run(Work::Quick, path, |store, path| store.stat(path)).await? {
            Some(info) => Ok(info),
            None => self.run(Work::Slow, path, |store, path| store.settle(path)).await,
        }
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        if let Some(few) = self.run(Work::Quick, path, |store, path| store.list(path, walk::FEW)).await? {
            return Ok(few);
        }
        let all = self.run(Work::Slow, path, |store, path| store.list(path, usize::MAX)).await?;
        Ok(all.unwrap_or_default())
    }

    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        self.store.walk(path, options)
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        let (to, intent) = (to.clone(), Intent::default());
        let _held = intent.while_held();
        self.run_unlocked(self.syncing(0), from, move |store, from| store.move_to(from, &to, &intent)).await
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        if self.run(self.syncing(0), path, |store, path| store.delete_file(path)).await? {
            return Ok(());
        }
        self.run(Work::Slow, path, |store, path| store.delete_directory(path)).await
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        let (sources, intent) = (sources.to_vec(), Intent::default());
        let _held = intent.while_held();
        self.run(Work::Slow, to, move |store, to| store.concat(&sources, to, &intent)).await
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        let info = match self.store.syncs() {
            true => self.run(Work::Slow, path, |store, path| store.settle(path)).await?,
            false => self.stat(path).await?,
        };
        if info.is_dir { Err(plain(ErrorKind::IsADirectory, path)) } else { Ok(()) }
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        self.need_versions(path)?;
        let (content, version) = self.run_unlocked(Work::Quick, path, Store::get_versioned).await?;
        Ok((content.into(), version))
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        self.need_versions(path)?;
        let intent = Intent::default();
        let _held = intent.while_held();
        let work = self.syncing(content.len());
        let put = move |store: &Store, path: &StoragePath| store.put_if(path, &content, &condition, &intent);
        self.run_unlocked(work, path, put).await
    }

    async fn sweep(&self, older_than: Duration) -> Result<u64> {
        let root = StoragePath::root();
        self.run(Work::Slow, &root, move |store, root| store.temp.sweep(older_than).at(root)).await
    }
}

#[cfg(test)]
mod tests;
