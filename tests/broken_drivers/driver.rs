//! The driver that has the faults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use holdall::conformance::Harness;
use holdall::drivers::InMemoryDriver;
use holdall::{
    ByteStream, Capabilities, Completion, Error, ErrorKind, Expected, FileInfo, OnFailure, Precondition, ReadRange,
    Result, StorageDriver, StoragePath, UrlOptions, Version, WalkOptions, WriteOptions, collect,
};

use super::Fault::{self, *};

/// An in-memory driver with one fault.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    fault: Fault,
    inner: InMemoryDriver,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    sizes: Mutex<HashMap<StoragePath, u64>>,
    temporary: Mutex<Vec<String>>,
    /// The last append: path and size before.
    appended: Mutex<Option<(StoragePath, u64)>>,
    uncommitted: Mutex<Vec<StoragePath>>,
    reads: AtomicU64,
}

#[async_trait]
impl Harness for Broken {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(self.clone())
    }

    async fn reopen(&self) -> Arc<dyn StorageDriver> {
        let appended = self.seen.appended.lock().unwrap().take();
        if let (LosesTheLastAppendInACrash, Some((path, size))) = (self.fault, appended) {
            self.inner.write_stream(&path, size, stream::empty().boxed(), WriteOptions::default()).await.unwrap();
        }
        let uncommitted = std::mem::take(&mut *self.seen.uncommitted.lock().unwrap());
        if self.fault == LosesUncommittedFilesInACrash {
            for path in uncommitted {
                drop(self.inner.delete(&path).await);
            }
        }
        self.open().await
    }

    async fn leftovers(&self) -> Vec<String> {
        let mut left = self.seen.temporary.lock().unwrap().clone();
        left.extend(self.inner.list(&StoragePath::root()).await.unwrap().iter().map(ToString::to_string));
        left
    }
}

fn root() -> StoragePath {
    StoragePath::root()
}

fn one(bytes: Bytes) -> ByteStream {
    stream::iter([Ok(bytes)]).boxed()
}

/// What sorts as S3's keys do.
fn key(info: &FileInfo) -> String {
    format!("{}{}", info.path, if info.is_dir { "/" } else { "" })
}

impl Broken {
    pub(super) fn with(fault: Fault) -> Self {
        Self { fault, inner: InMemoryDriver::new().lock_wait(Duration::from_millis(20)), seen: Arc::default() }
    }

    fn path(&self, path: &StoragePath) -> StoragePath {
        match self.fault {
            IgnoresCase => StoragePath::parse(&path.as_str().to_lowercase()).unwrap(),
            _ => path.clone(),
        }
    }

    fn error(&self, error: Error) -> Error {
        let plain = |kind| Error::new(kind).with_bytes_read(error.bytes_read());
        match (self.fault, error.path()) {
            (NamesNoPath, _) => plain(error.kind()),
            (NamesNoDriver, _) => plain(error.kind()),
            (SaysBackendForAll, Some(path)) => plain(ErrorKind::Backend).at("memory", path),
            _ => error,
        }
    }

    async fn size(&self, path: &StoragePath) -> Option<u64> {
        self.inner.stat(path).await.ok().filter(|info| !info.is_dir).map(|info| info.size)
    }

    async fn content(&self, path: &StoragePath) -> Bytes {
        self.inner.get_content(path).await.unwrap_or_default()
    }

    /// All pieces of a stream, and how it failed if it did.
    async fn drain(&self, mut stream: ByteStream) -> (Vec<Bytes>, Option<Error>) {
        let mut pieces = Vec::new();
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => pieces.push(piece),
                Err(error) => return (pieces, Some(error)),
            }
        }
        (pieces, None)
    }

    /// Ways to write that go wrong; `None` where the fault is another.
    async fn write_wrongly(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: &mut Option<ByteStream>,
        mut options: WriteOptions,
    ) -> Option<Result<u64>> {
        let size = self.size(path).await;
        let mut take = || stream.take().unwrap();
        let inner = &self.inner;
        match self.fault {
            TruncatesLate | KeepsTheOldTail if size.is_some_and(|size| offset < size) => {
                let old = self.content(path).await;
                let written = inner.write_stream(path, offset, take(), options).await;
                if written.is_err() || self.fault == KeepsTheOldTail {
                    let end = self.size(path).await.unwrap();
                    if let Some(tail) = old.get(end as usize..) {
                        let tail = one(Bytes::copy_from_slice(tail));
                        inner.write_stream(path, end, tail, WriteOptions::default()).await.unwrap();
                    }
                }
                Some(written)
            }
            AppendsAlways => Some(inner.write_stream(path, size.unwrap_or(0), take(), options).await),
            FillsTheGapWithOnes if offset > size.unwrap_or(0) => {
                let ones = one(vec![1; (offset - size.unwrap_or(0)) as usize].into()).chain(take()).boxed();
                let written = inner.write_stream(path, size.unwrap_or(0), ones, options).await;
                Some(written.map(|written| written - (offset - size.unwrap_or(0))))
            }
            LeavesOutTheGap if size.is_none() => Some(inner.write_stream(path, 0, take(), options).await),
            AllowsAnyGap if offset > 1 << 30 => {
                Some(inner.write_stream(path, size.unwrap_or(0), take(), options).await)
            }
            CreatesNothingForAnEmptyStream if size.is_none() => {
                let (pieces, failure) = self.drain(take()).await;
                if pieces.iter().all(Bytes::is_empty) && failure.is_none() {
                    return Some(Ok(0));
                }
                *stream = Some(stream::iter(pieces.into_iter().map(Ok).chain(failure.map(Err))).boxed());
                None
            }
            ReturnsTheSize => {
                Some(inner.write_stream(path, offset, take(), options).await.map(|written| offset + written))
            }
            SwapsPieces => {
                let pieces = take().ready_chunks(7).map(|mut few| {
                    few.sort_by_key(|piece| piece.as_ref().map_or(usize::MAX, Bytes::len));
                    stream::iter(few)
                });
                Some(inner.write_stream(path, offset, pieces.flatten().boxed(), options).await)
            }
            LosesTheLastByteOfLongStreams => {
                let written = inner.write_stream(path, offset, take(), options).await;
                if let (Ok(written @ 10_000_000..), Some(size)) = (&written, self.size(path).await) {
                    let at = size.min(*written) - 1;
                    inner.write_stream(path, at, stream::empty().boxed(), WriteOptions::default()).await.unwrap();
                }
                Some(written)
            }
            LosesBytesOnFailure => {
                let written = inner.write_stream(path, offset, take(), options).await;
                if written.is_err() {
                    let back = stream::empty().boxed();
                    inner.write_stream(path, size.unwrap_or(0), back, WriteOptions::default()).await.unwrap();
                }
                Some(written)
            }
            SwallowsTheFailure => match inner.write_stream(path, offset, take(), options).await {
                Err(error) if error.kind() == ErrorKind::Stream => Some(Ok(error.bytes_read())),
                other => Some(other),
            },
            SaysTheSizeAsBytesRead => {
                let wrong = |error: Error| {
                    let read = error.bytes_read();
                    error.with_bytes_read(read + offset)
                };
                Some(inner.write_stream(path, offset, take(), options).await.map_err(wrong))
            }
            CallsAFailedStreamABackendFailure | HidesTheCause => {
                let wrong = |error: Error| {
                    let kind = match (error.kind(), self.fault) {
                        (ErrorKind::Stream, CallsAFailedStreamABackendFailure) => ErrorKind::Backend,
                        (kind, _) => kind,
                    };
                    Error::new(kind).with_bytes_read(error.bytes_read()).at("memory", path)
                };
                Some(inner.write_stream(path, offset, take(), options).await.map_err(wrong))
            }
            DiscardKeepsThePrefix => {
                options.on_failure = OnFailure::KeepPrefix;
                Some(inner.write_stream(path, offset, take(), options).await)
            }
            DiscardCutsFirst if options.on_failure == OnFailure::Discard && size.is_some_and(|size| offset < size) => {
                inner.write_stream(path, offset, stream::empty().boxed(), WriteOptions::default()).await.unwrap();
                None
            }
            DiscardCreates if options.on_failure == OnFailure::Discard && size.is_none() => {
                inner.put_content(path, Bytes::new()).await.unwrap();
                None
            }
            IgnoresExpectedAbsent if options.expected == Expected::Absent => {
                Some(inner.write_stream(path, offset, take(), options.expecting(Expected::Any)).await)
            }
            IgnoresExpectedSize => {
                Some(inner.write_stream(path, offset, take(), options.expecting(Expected::Any)).await)
            }
            TakesAMissingFileForAnySize if size.is_none() => {
                Some(inner.write_stream(path, offset, take(), options.expecting(Expected::Any)).await)
            }
            ChecksTheSizeBeforeTheLock if matches!(options.expected, Expected::Size(n) if n == size.unwrap_or(0)) => {
                tokio::task::yield_now().await;
                Some(inner.write_stream(path, offset, take(), options.expecting(Expected::Any)).await)
            }
            ReadsTheStreamBeforeItChecks => {
                let (pieces, failure) = self.drain(take()).await;
                *stream = Some(stream::iter(pieces.into_iter().map(Ok).chain(failure.map(Err))).boxed());
                None
            }
            KeepsOneByteTooMany => {
                if let Completion::AtSize(end) = options.completion {
                    options.completion = Completion::AtSize(end + 1);
                    let written = inner.write_stream(path, offset, take(), options).await;
                    return Some(match (written, self.size(path).await) {
                        (Ok(written), Some(size)) if size > end => {
                            Err(Error::new(ErrorKind::SizeExceeded).with_bytes_read(written).at("memory", path))
                        }
                        (written, _) => written,
                    });
                }
                None
            }
            KeepsNothingOfTooMany => {
                let written = inner.write_stream(path, offset, take(), options).await;
                if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::SizeExceeded) {
                    let back = stream::empty().boxed();
                    inner.write_stream(path, offset, back, WriteOptions::default()).await.unwrap();
                }
                Some(written)
            }
            WritersMix => {
                let mut stream = take();
                let mut read = 0;
                let mut at = offset;
                let failure = loop {
                    let piece = match stream.next().await {
                        Some(Ok(piece)) => piece,
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    };
                    read += piece.len() as u64;
                    inner.write_stream(path, at, one(piece), WriteOptions::default()).await.unwrap();
                    tokio::task::yield_now().await;
                    at = self.size(path).await.unwrap();
                };
                Some(failure.map_or(Ok(read), Err))
            }
            WritesWhatWasDeleted | AppendsToWhatWasPut => {
                let (pieces, failure) = self.drain(take()).await;
                let pieces = stream::iter(pieces.into_iter().map(Ok).chain(failure.map(Err))).boxed();
                let offset =
                    if self.fault == AppendsToWhatWasPut { self.size(path).await.unwrap_or(0) } else { offset };
                Some(inner.write_stream(path, offset, pieces, WriteOptions::default()).await)
            }
            _ => None,
        }
    }
}

#[async_trait]
impl StorageDriver for Broken {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = self.inner.capabilities();
        can.url_for = self.fault == PromisesUrls;
        can
    }

    async fn read(&self, path: &StoragePath, mut range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let path = &self.path(path);
        let size = self.size(path).await.unwrap_or(0);
        range = match (self.fault, range) {
            (FailsPastTheEnd, ReadRange::Bounded(start, _)) if start > size => {
                return Err(Error::new(ErrorKind::InvalidOffset).at("memory", path));
            }
            (IgnoresTheEndOfARange, ReadRange::Bounded(start, _)) => ReadRange::from(start..),
            (SuffixFromTheStart, ReadRange::Suffix(length)) => ReadRange::from(0..length),
            _ => range,
        };
        let read = self.inner.read(path, range).await;
        self.seen.reads.fetch_add(1, SeqCst);
        match (self.fault, read) {
            (SaysTheSizeOfTheRange, Ok((mut info, stream))) => {
                let within = range.within(info.size);
                info.size = within.end - within.start;
                Ok((info, stream))
            }
            (ReadsPieceByPiece, Ok((info, _))) => {
                let (driver, path, within) = (self.inner.clone(), path.clone(), range.within(info.size));
                let pieces = stream::iter(within.step_by(50_000)).then(move |at| {
                    let (driver, path) = (driver.clone(), path.clone());
                    async move { collect(driver.read(&path, ReadRange::from(at..at + 50_000)).await?.1).await }
                });
                Ok((info, pieces.boxed()))
            }
            (ReadsADirectoryAsEmpty, Err(error)) if error.kind() == ErrorKind::IsADirectory => {
                Ok((FileInfo::directory(path.clone(), None), stream::empty().boxed()))
            }
            (_, read) => read.map_err(|error| self.error(error)),
        }
    }

    async fn put_content(&self, path: &StoragePath, mut content: Bytes) -> Result<()> {
        let path = &self.path(path);
        match self.fault {
            PutIsNotAtomic => {
                let (first, second) = (content.slice(..content.len() / 2), content.slice(content.len() / 2..));
                self.inner.put_content(path, first).await?;
                // Until somebody reads; those who put before anybody did don't wait.
                let reads = self.seen.reads.load(SeqCst);
                while reads > 0 && self.seen.reads.load(SeqCst) == reads {
                    tokio::task::yield_now().await;
                }
                let at = (content.len() / 2) as u64;
                return self.inner.write_stream(path, at, one(second), WriteOptions::default()).await.map(drop);
            }
            PutKeepsTheOldTail => {
                let old = self.content(path).await;
                if let Some(tail) = old.get(content.len()..) {
                    content = [&content[..], tail].concat().into();
                }
            }
            PutMakesText => content = String::from_utf8_lossy(&content).into_owned().into(),
            ReplacesAFileByADirectory => {
                let parent = path.parent().filter(|parent| !parent.is_root());
                if let Some(parent) = parent.filter(|parent| self.size(parent).now_or_never().flatten().is_some()) {
                    self.inner.delete(&parent).await?;
                }
            }
            LeavesATemporaryFile => self.seen.temporary.lock().unwrap().push("~tmp/1".into()),
            _ => {}
        }
        self.inner.put_content(path, content).await.map_err(|error| self.error(error))
    }

    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        let path = &self.path(path);
        if let Some(size) = self.size(path).await {
            *self.seen.appended.lock().unwrap() = Some((path.clone(), size));
        }
        if options.completion != Completion::EndOfStream {
            self.seen.uncommitted.lock().unwrap().push(path.clone());
        }
        let mut stream = Some(stream);
        if let Some(written) = self.write_wrongly(path, offset, &mut stream, options).await {
            return written.map_err(|error| error.at("memory", path));
        }
        let written = self.inner.write_stream(path, offset, stream.unwrap(), options).await;
        written.map_err(|error| self.error(error))
    }

    async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        let path = &self.path(path);
        match (self.fault, self.inner.stat(path).await) {
            (TakesWhatIsMissingForADirectory, Err(_)) => Ok(FileInfo::directory(path.clone(), None)),
            (StatIsStale, Ok(mut info)) if !info.is_dir => {
                info.size = *self.seen.sizes.lock().unwrap().entry(path.clone()).or_insert(info.size);
                Ok(info)
            }
            (TimeGoesBack, Ok(mut info)) => {
                let age = info.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
                info.modified = age.and_then(|age| SystemTime::UNIX_EPOCH.checked_sub(age));
                Ok(info)
            }
            (_, info) => info.map_err(|error| self.error(error)),
        }
    }

    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>> {
        match (self.fault, self.inner.list(path).await) {
            (ListsSiblings, Ok(mut children)) if !path.is_root() => {
                for sibling in self.inner.list(&path.parent().unwrap()).await? {
                    if sibling.as_str().starts_with(path.as_str()) && sibling != *path {
                        children.extend(self.inner.list(&sibling).await.unwrap_or_default());
                    }
                }
                children.sort();
                Ok(children)
            }
            (ListsOnePage, Ok(mut children)) => {
                children.truncate(1000);
                Ok(children)
            }
            (ListsInTheOrderOfKeys, Ok(children)) => {
                let mut keys = Vec::new();
                for child in children {
                    keys.push(key(&self.inner.stat(&child).await?));
                }
                keys.sort();
                Ok(keys.iter().map(|key| StoragePath::parse(key.trim_end_matches('/')).unwrap()).collect())
            }
            (ListsAFileAsEmpty, Err(error)) if error.kind() == ErrorKind::NotADirectory => Ok(Vec::new()),
            (_, children) => children.map_err(|error| self.error(error)),
        }
    }

    fn walk(&self, path: &StoragePath, mut options: WalkOptions) -> BoxStream<'static, Result<FileInfo>> {
        let all = |options| self.inner.walk(path, options).try_collect::<Vec<_>>().now_or_never().unwrap();
        let start = options.start_after.clone();
        let changed = match self.fault {
            WalksInTheOrderOfPaths => all(options).map(|mut entries| {
                entries.sort_by(|a, b| a.path.cmp(&b.path));
                entries
            }),
            WalksFilesOnly => all(options).map(|mut entries| {
                entries.retain(|entry| !entry.is_dir);
                entries
            }),
            WalksSiblings if !path.is_root() => {
                let entries = self.inner.walk(&root(), options).try_collect::<Vec<_>>().now_or_never().unwrap();
                let below = |entry: &FileInfo| entry.path.as_str().starts_with(path.as_str()) && entry.path != *path;
                entries.map(|entries| entries.into_iter().filter(below).collect())
            }
            SkipsNothing => {
                options.descend = None;
                all(options)
            }
            SkipsTheDirectoryItself => {
                let descend = options.descend.clone();
                let skipped = move |entry: &FileInfo| entry.is_dir && descend.as_ref().is_some_and(|d| !d(&entry.path));
                all(options).map(|entries| entries.into_iter().filter(|entry| !skipped(entry)).collect())
            }
            StartsAtInsteadOfAfter => all(options).map(|entries| start.into_iter().chain(entries).collect()),
            StartsAfterAllOfADirectory => all(options).map(|entries| {
                let inside = |entry: &FileInfo| start.as_ref().is_some_and(|start| entry.path.starts_with(&start.path));
                entries.into_iter().filter(|entry| !inside(entry)).collect()
            }),
            _ => {
                let this = self.clone();
                return self.inner.walk(path, options).map_err(move |error| this.error(error)).boxed();
            }
        };
        stream::iter(changed.unwrap_or_default().into_iter().map(Ok)).boxed()
    }

    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()> {
        match self.fault {
            MoveDropsTheTargetFirst if from != to => drop(self.inner.delete(to).await),
            MoveNamesTheTarget if self.size(from).await.is_none() => {
                return Err(Error::new(ErrorKind::PathNotFound).at("memory", to));
            }
            MoveLeavesTheSource => return self.inner.concat(std::slice::from_ref(from), to).await.map(drop),
            MoveOntoItselfDeletes if from == to => return self.inner.delete(from).await,
            MoveRefusesToOverwrite if self.size(to).await.is_some() => {
                return Err(Error::new(ErrorKind::AlreadyExists).at("memory", to));
            }
            _ => {}
        }
        self.inner.move_to(from, to).await.map_err(|error| self.error(error))
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        match self.fault {
            DeleteTakesSiblings if !path.is_root() => {
                for sibling in self.inner.list(&path.parent().unwrap()).await.unwrap_or_default() {
                    if sibling.as_str().starts_with(path.as_str()) && sibling != *path {
                        self.inner.delete(&sibling).await?;
                    }
                }
            }
            DeleteTakesOneLevel if self.size(path).await.is_none() => {
                for child in self.inner.list(path).await? {
                    if self.size(&child).await.is_some() {
                        self.inner.delete(&child).await?;
                    }
                }
                return Ok(());
            }
            DeletesWhatIsMissing => return self.inner.delete(path).await.or(Ok(())),
            DeletesTheRoot if path.is_root() => {
                for child in self.inner.list(path).await? {
                    self.inner.delete(&child).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.delete(&self.path(path)).await.map_err(|error| self.error(error))
    }

    async fn url_for(&self, path: &StoragePath, options: UrlOptions) -> Result<url::Url> {
        self.inner.url_for(path, options).await
    }

    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64> {
        let mut sources = sources.to_vec();
        match self.fault {
            ConcatDropsTheLast => drop(sources.pop()),
            ConcatStopsAtAnEmptySource => {
                let mut end = 0;
                while end < sources.len() && self.size(&sources[end]).await != Some(0) {
                    end += 1;
                }
                sources.truncate(end);
            }
            ConcatSortsItsSources => sources.sort(),
            ConcatReadsWhileItWrites => {
                self.inner.put_content(to, Bytes::new()).await?;
                let mut whole = BytesMut::new();
                for source in &sources {
                    whole.extend_from_slice(&self.inner.get_content(source).await?);
                    self.inner.put_content(to, whole.clone().freeze()).await?;
                }
                return Ok(whole.len() as u64);
            }
            _ => {}
        }
        self.inner.concat(&sources, to).await
    }

    async fn commit(&self, path: &StoragePath) -> Result<()> {
        match (self.fault, self.inner.commit(path).await) {
            (CommitsWhatIsMissing, _) => Ok(()),
            (CommitTouches, Ok(())) => self.inner.put_content(path, self.content(path).await).await,
            (_, done) => done.map_err(|error| self.error(error)),
        }
    }

    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        let (content, version) = self.inner.get_versioned(path).await.map_err(|error| self.error(error))?;
        match self.fault {
            VersionIsTheContent => Ok((content.clone(), Version::new(format!("{content:?}")))),
            _ => Ok((content, version)),
        }
    }

    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        match (self.fault, &condition) {
            (IgnoresTheVersion, Precondition::Version(_)) | (PutIfAbsentReplaces, Precondition::Absent) => {
                self.inner.put_content(path, content).await?;
                Ok(self.get_versioned(path).await?.1)
            }
            (VersionIsTheContent, Precondition::Version(version)) => {
                let (_, now) = self.get_versioned(path).await?;
                if now != *version {
                    return Err(Error::new(ErrorKind::Conflict).at("memory", path));
                }
                self.inner.put_content(path, content).await?;
                Ok(self.get_versioned(path).await?.1)
            }
            (ChecksTheVersionBeforeTheLock, _) => {
                let now = self.inner.get_versioned(path).await.ok().map(|(_, version)| version);
                let expected = match condition {
                    Precondition::Absent => None,
                    Precondition::Version(version) => Some(version),
                };
                if now != expected {
                    return Err(Error::new(ErrorKind::Conflict).at("memory", path));
                }
                tokio::task::yield_now().await;
                self.inner.put_content(path, content).await?;
                Ok(self.get_versioned(path).await?.1)
            }
            _ => self.inner.put_content_if(path, content, condition).await.map_err(|error| self.error(error)),
        }
    }
}
