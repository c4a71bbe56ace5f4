//! Files in the memory of this process.

mod content;
mod files;
mod walk;

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use self::content::Content;
use self::files::{Begun, Files, State, Writing};
use self::walk::Walk;
use crate::driver::{ByteStream, OnFailure, Precondition, ReadRange, StorageDriver, WalkOptions, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Capabilities, FileInfo, Version};
use crate::path::StoragePath;

const NAME: &str = "memory";
/// A gap costs 40 bytes per 64 KiB.
const MAX_GAP: u64 = 1 << 30;

/// A driver that keeps its files in memory, for tests, caches and short-lived data. All is lost with the last clone.
///
/// Contents are chunks that reads share with the file and never block it: bytes written as pieces of 16 KiB or more are
/// kept as they came, and a reader gets the same memory. Smaller ones are copied together, so that none keeps a network
/// buffer alive. A reader sees the file as it was when it began.
///
/// Bytes show as they arrive ([`OnFailure::KeepPrefix`]) or once the stream ended ([`OnFailure::Discard`]). There are no
/// uncommitted files, and directories go with their last file. A gap may be 1 GiB long, and takes next to no memory.
///
/// A clone is another handle of the same files. No runtime is needed, except by a second writer of a path: it waits with
/// tokio's timer, unless [`lock_wait`](Self::lock_wait) is zero.
///
/// # Example
/// ```
/// use holdall::{StorageDriver, StoragePath, drivers::InMemoryDriver};
///
/// # futures::executor::block_on(async {
/// let driver = InMemoryDriver::new();
/// let path = StoragePath::parse("/greetings/en")?;
/// driver.put_content(&path, "hello".into()).await?;
/// assert_eq!(driver.get_content(&path).await?, "hello");
/// # Ok::<(), holdall::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct InMemoryDriver {
    files: Arc<Files>,
    lock_wait: Duration,
}

impl InMemoryDriver {
    /// An empty one.
    pub fn new() -> Self {
        Self { files: Arc::default(), lock_wait: Duration::from_millis(500) }
    }

    /// How long a second writer of a path waits for the first before it fails with
    /// [`Conflict`](ErrorKind::Conflict): 500 ms by default, zero for not at all. Holds for this handle and clones of it.
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Begins a write once nobody else writes the path. `None`: the path is missing, and the write creates it at its end.
    async fn begin(&self, path: &StoragePath, offset: u64, options: &WriteOptions) -> Result<Option<Writing>> {
        let conflict = || Error::new(ErrorKind::Conflict).with_detail("another writer holds it").with_temporary(true);
        let begin = async {
            loop {
                match self.files.begin(path, offset, options)? {
                    Begun::Writing(writing) => return Ok(Some(writing)),
                    Begun::Missing => return Ok(None),
                    Begun::Busy(_) if self.lock_wait.is_zero() => return Err(conflict()),
                    Begun::Busy(file) => file.released().await,
                }
            }
        };
        let mut begin = std::pin::pin!(begin);
        // No timer, and so no runtime, before there is something to wait for.
        match futures::poll!(&mut begin) {
            Poll::Ready(begun) => begun,
            Poll::Pending => tokio::time::timeout(self.lock_wait, begin).await.unwrap_or_else(|_| Err(conflict())),
        }
    }

    /// Hands each piece of a stream to `keep`, adds up in `read` what was taken, and stops where there is no more room.
    async fn drain(
        mut stream: ByteStream,
        mut room: u64,
        read: &mut u64,
        mut keep: impl FnMut(Bytes) -> Result<()> + Send,
    ) -> Result<()> {
        while let Some(piece) = stream.next().await {
            let mut piece = piece.map_err(|error| match error.kind() {
                ErrorKind::Stream => error,
                _ => Error::stream(error),
            })?;
            let length = piece.len() as u64;
            *read += length;
            if length > room {
                keep(piece.split_to(room as usize))?;
                return Err(
                    Error::new(ErrorKind::SizeExceeded).with_detail("the stream is longer than the file may be")
                );
            }
            room -= length;
            if length > 0 {
                keep(piece)?;
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
        read: &mut u64,
    ) -> Result<()> {
        let writing = self.begin(path, offset, &options).await?;
        let room = options.room(offset);
        if let (Some(writing), OnFailure::KeepPrefix) = (&writing, options.on_failure) {
            writing.start_at(offset)?;
            Self::drain(stream, room, read, |piece| writing.push(piece)).await?;
            return writing.check();
        }
        let mut staged = Content::default();
        if writing.is_none() {
            staged.push_zeros(offset);
        }
        let keep = |piece| {
            staged.push(piece);
            Ok(())
        };
        Self::drain(stream, room, read, keep).await?;
        match writing {
            Some(writing) => writing.put(offset, staged.pieces(0..staged.len())),
            None => match self.files.put_absent(path, staged) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::new(ErrorKind::Conflict)
                    .with_detail("another writer created it meanwhile")
                    .with_source(error)),
                done => done.map(drop),
            },
        }
    }
}

impl Default for InMemoryDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryDriver")
            .field("files", &self.files.map().len())
            .field("lock_wait", &self.lock_wait)
            .finish()
    }
}

#[async_trait]
impl StorageDriver for InMemoryDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_put: true,
            exclusive_writers: true,
            file_directory_conflicts: true,
            server_side_concat: true,
            max_gap: MAX_GAP,
            max_stream_memory: 64 * 1024,
            ..Capabilities::minimal()
        }
    }

    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let look = |state: &mut State| {
            let size = state.content.len();
            (FileInfo::file(path.clone(), size, Some(state.modified)), state.content.pieces(range.within(size)))
        };
        let (info, pieces) = self.files.with(path, look).map_err(at(path))?;
        Ok((info, stream::iter(pieces.map(Ok)).boxed()))
    }

    async fn get_content(&self, path: &StoragePath) -> Result<Bytes> {
        let pieces = self.files.with(path, |state| state.content.pieces(0..state.content.len())).map_err(at(path))?;
        Ok(pieces.gather())
    }

    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()> {
        self.files.put(path, Content::whole(content)).map_err(at(path))
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        let mut read = 0;
        match self.write(path, offset, stream, options, &mut read).await {
            Ok(()) => Ok(read),
            Err(error) => Err(error.with_bytes_read(read).at(NAME, path)),
        }
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        let look = |state: &mut State| FileInfo::file(path.clone(), state.content.len(), Some(state.modified));
        match self.files.with(path, look) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(FileInfo::directory(path.clone(), None)),
            info => info.map_err(at(path)),
        }
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        walk::list(&self.files, path).map_err(at(path))
    }

    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        match Walk::new(self.files.clone(), path, options) {
            Ok(mut walk) => stream::iter(std::iter::from_fn(move || walk.next().transpose())).boxed(),
            Err(error) => stream::iter([Err(error.at(NAME, path))]).boxed(),
        }
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        self.files.rename(from, to).map_err(at(to))
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        if path.is_root() {
            return Err(Error::new(ErrorKind::InvalidPath).with_detail("the root can't be deleted").at(NAME, path));
        }
        self.files.remove(path).map_err(at(path))
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        let mut whole = Content::default();
        for source in sources {
            let look = |state: &mut State| state.content.pieces(0..state.content.len());
            whole.append(self.files.with(source, look).map_err(at(source))?);
        }
        let length = whole.len();
        self.files.put(to, whole).map_err(at(to))?;
        Ok(length)
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        self.files.with(path, |_| ()).map_err(at(path))
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        let look = |state: &mut State| (state.content.pieces(0..state.content.len()), state.version);
        let (pieces, version) = self.files.with(path, look).map_err(at(path))?;
        Ok((pieces.gather(), Version::new(version.to_string())))
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        let content = Content::whole(content);
        let version = match condition {
            Precondition::Absent => self.files.put_absent(path, content),
            Precondition::Version(version) => self.files.put_version(path, content, version.as_str()),
        };
        Ok(Version::new(version.map_err(at(path))?.to_string()))
    }
}

/// Names the path and the driver in an error.
fn at(path: &StoragePath) -> impl FnOnce(Error) -> Error {
    move |error| error.at(NAME, path)
}
