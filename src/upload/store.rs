//! The uploads of a driver: creating and looking.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;

use super::cache::{Cached, InfoCache};
use super::info::{InfoFile, millis, terminated};
use super::run::Orphans;
use super::{
    Locker, MemoryLocker, Metadata, Upload, UploadError, UploadErrorKind, UploadId, UploadInfo, UploadKind, UploadLock,
};
use crate::{
    ByteStream, Completion, Error, ErrorKind, Expected, FileInfo, Precondition, ReadRange, StorageDriver, StoragePath,
    WriteOptions, collect,
};

/// Resumable uploads over a driver. A clone costs a reference count.
///
/// What is acknowledged is as durable as the driver makes it. Each change of an upload runs to its end once it began, also
/// when the future that asked for it is dropped: a chunk then takes no more bytes, and keeps those it has.
///
/// Several processes can share uploads. No byte is lost or mixed where the driver has
/// [`exclusive_writers`](crate::Capabilities::exclusive_writers); give them a [`Locker`] that they share, so that a client
/// that comes back to another process need not wait for its broken request. What one process removed another may take
/// for an upload without data for some 5 seconds; [`cached_infos(0)`](UploadStoreBuilder::cached_infos) avoids even that.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// use holdall::upload::{ChunkOptions, NewUpload, UploadStore};
/// use holdall::{ByteStream, ReadRange, StorageDriver, collect};
///
/// # async fn example(driver: Arc<dyn StorageDriver>, first: ByteStream, rest: ByteStream) -> Result<(), Box<dyn std::error::Error>> {
/// let uploads = UploadStore::new(driver);
/// let upload = uploads.create(NewUpload { length: Some(11), ..NewUpload::default() }).await?;
/// let id = &upload.info.id;
/// // If this fails half way, `info` tells where to go on.
/// uploads.write_chunk(id, 0, first, ChunkOptions::default()).await.ok();
/// let upload = uploads.info(id).await?;
/// let upload = uploads.write_chunk(id, upload.offset, rest, ChunkOptions::default()).await?;
/// assert!(upload.is_finished());
/// let (_, _, stream) = uploads.reader(id, ReadRange::FULL).await?;
/// let content = collect(stream).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UploadStore(pub(super) Arc<Store>);

#[derive(Debug)]
pub(super) struct Store {
    pub(super) config: UploadStoreBuilder,
    pub(super) orphans: Orphans,
    cache: InfoCache,
}

/// Sets up an [`UploadStore`].
#[derive(Clone, Debug)]
pub struct UploadStoreBuilder {
    pub(super) driver: Arc<dyn StorageDriver>,
    pub(super) prefix: StoragePath,
    pub(super) locker: Arc<dyn Locker>,
    pub(super) max_size: Option<u64>,
    pub(super) expires_after: Option<Duration>,
    pub(super) lock_timeout: Duration,
    pub(super) cached_infos: usize,
}

impl UploadStoreBuilder {
    /// The directory that holds the uploads; the root by default. Nothing else should lie in it.
    pub fn prefix(self, prefix: StoragePath) -> Self {
        Self { prefix, ..self }
    }

    /// What locks uploads; a [`MemoryLocker`] by default.
    pub fn locker(self, locker: Arc<dyn Locker>) -> Self {
        Self { locker, ..self }
    }

    /// The largest upload, in bytes; no limit by default.
    pub fn max_size(self, max_size: u64) -> Self {
        Self { max_size: Some(max_size), ..self }
    }

    /// How long after its last change an unfinished upload expires; never by default. It counts for uploads that are
    /// created from now on, and in whole milliseconds.
    pub fn expires_after(self, expires_after: Duration) -> Self {
        Self { expires_after: Some(expires_after), ..self }
    }

    /// How long a request waits for the one that holds the upload to let go; 10 seconds by default.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// How many infos are kept in memory; 4,096 by default, and 0 for none. Only those are kept that don't change any more
    /// (the length is known) and have at most 4 KiB.
    pub fn cached_infos(self, cached_infos: usize) -> Self {
        Self { cached_infos, ..self }
    }

    /// The store.
    pub fn build(self) -> UploadStore {
        let cache = InfoCache::new(self.cached_infos);
        UploadStore(Arc::new(Store { config: self, orphans: Orphans::default(), cache }))
    }
}

/// An upload to create.
#[derive(Clone, Debug, Default)]
pub struct NewUpload {
    /// How many bytes it will have; `None` if that is declared later.
    pub length: Option<u64>,
    /// What the client says of it.
    pub metadata: Metadata,
    /// Whether it may become a part of another upload.
    pub partial: bool,
    /// Its name; a random one if unset. Two callers that choose the same at the same moment are kept apart only by a driver
    /// with [`conditional_put`](crate::Capabilities::conditional_put).
    pub id: Option<UploadId>,
    /// Where its data will be; `<prefix>/<id>` if unset. Nothing may be there.
    pub path: Option<StoragePath>,
}

impl UploadStore {
    /// Uploads over this driver, with all defaults.
    pub fn new(driver: Arc<dyn StorageDriver>) -> Self {
        Self::builder(driver).build()
    }

    /// Sets up uploads over this driver.
    pub fn builder(driver: Arc<dyn StorageDriver>) -> UploadStoreBuilder {
        UploadStoreBuilder {
            driver,
            prefix: StoragePath::root(),
            locker: Arc::new(MemoryLocker::default()),
            max_size: None,
            expires_after: None,
            lock_timeout: Duration::from_secs(10),
            cached_infos: 4096,
        }
    }

    /// The driver that holds the data.
    pub fn driver(&self) -> &Arc<dyn StorageDriver> {
        &self.0.config.driver
    }

    /// The largest upload, in bytes, if there is a limit.
    pub fn max_size(&self) -> Option<u64> {
        self.0.config.max_size
    }

    /// Waits until all has come to its end that goes on though its request was dropped: for a process to await before it
    /// exits, once it takes no more requests.
    pub async fn idle(&self) {
        self.0.orphans.gone().await;
    }

    /// Creates an upload. One of length 0 is finished by it.
    ///
    /// # Errors
    /// [`SizeExceeded`](UploadErrorKind::SizeExceeded) over [`max_size`](Self::max_size);
    /// [`AlreadyExists`](UploadErrorKind::AlreadyExists) and [`InvalidId`](UploadErrorKind::InvalidId) for an id or a path of
    /// the caller's own; those of the backend. Nothing was created then.
    pub async fn create(&self, new: NewUpload) -> Result<Upload, UploadError> {
        let info = self.0.create(new, None).await?;
        if info.length == Some(0) {
            self.0.settle(&info).await.map_err(|error| error.of(&info.id).after_creating(&info))?;
        }
        Ok(Upload::new(info, 0, None))
    }

    /// An upload as it stands. It needs no lock.
    ///
    /// # Errors
    /// [`NotFound`](UploadErrorKind::NotFound), [`Expired`](UploadErrorKind::Expired),
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), those of the backend.
    pub async fn info(&self, id: &UploadId) -> Result<Upload, UploadError> {
        alive(self.0.look(id).await?)
    }

    /// Bytes of a finished upload, in one request to the backend, with what the backend knows of the file. It needs no
    /// lock.
    ///
    /// # Errors
    /// [`NotFinished`](UploadErrorKind::NotFinished), [`NotFound`](UploadErrorKind::NotFound),
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), those of the backend.
    pub async fn reader(&self, id: &UploadId, range: ReadRange) -> Result<(Upload, FileInfo, ByteStream), UploadError> {
        let store = &*self.0;
        let info = store.load(id).await?.info;
        let Some(length) = info.length else {
            return Err(UploadError::new(UploadErrorKind::NotFinished)
                .of(id)
                .with_detail("its length is not known yet"));
        };
        let read = match store.driver().read(&info.path, range).await {
            // A crash between the last byte and the end of the upload leaves it so.
            Err(error) if matches!(error.kind(), ErrorKind::NotCommitted | ErrorKind::PathNotFound) => {
                let upload = store.look(id).await?;
                if !upload.is_finished() {
                    return Err(not_finished(&upload));
                }
                store.settle(&info).await?;
                store.driver().read(&info.path, range).await
            }
            read => read,
        };
        let (file, stream) = read.map_err(|error| UploadError::from(error).of(id))?;
        let upload = sized(info, &file)?;
        if file.size < length { Err(not_finished(&upload)) } else { Ok((upload, file, stream)) }
    }
}

impl Store {
    /// Infos over this size are not cached.
    const MAX_CACHED_LEN: usize = 4096;

    /// For so long an upload without data is believed to be there because it was.
    const TRUSTED_FOR: Duration = Duration::from_secs(5);

    pub(super) fn driver(&self) -> &dyn StorageDriver {
        &*self.config.driver
    }

    /// Where the data of an upload are, unless its info names another path.
    pub(super) fn data_path(&self, id: &UploadId) -> Result<StoragePath, UploadError> {
        self.config.prefix.join(id.as_str()).map_err(|error| UploadError::from(Error::from(error)).of(id))
    }

    pub(super) fn info_path(&self, id: &UploadId) -> Result<StoragePath, UploadError> {
        self.config.prefix.join(&format!("{id}.info")).map_err(|error| UploadError::from(Error::from(error)).of(id))
    }

    pub(super) async fn lock(&self, id: &UploadId) -> Result<UploadLock, UploadError> {
        self.config.locker.lock(id, self.config.lock_timeout).await
    }

    /// Writes the info of a new upload: of all its files the first to come, so that none is ever without it.
    pub(super) async fn create(
        &self,
        new: NewUpload,
        parts: Option<Box<[UploadId]>>,
    ) -> Result<Arc<UploadInfo>, UploadError> {
        self.check_size(new.length)?;
        let chosen = new.id.is_some() || new.path.is_some();
        let id = new.id.map_or_else(UploadId::random, Ok)?;
        let beside = self.data_path(&id)?;
        let info = UploadInfo {
            length: new.length,
            metadata: new.metadata,
            kind: match parts {
                Some(parts) => UploadKind::Final(parts),
                None if new.partial => UploadKind::Partial,
                None => UploadKind::Regular,
            },
            created: whole_millis(SystemTime::now()),
            expires_after: self.config.expires_after.map(|after| Duration::from_millis(millis(after))),
            path: new.path.unwrap_or_else(|| beside.clone()),
            id,
        };
        let (path, file) = (self.info_path(&info.id)?, InfoFile { info, terminated: false });
        let json = file.to_json(&beside)?;
        let size = json.len();
        let id = &file.info.id;
        let put = if chosen {
            self.check_free(&file.info).await?;
            self.put_if_absent(&path, json.into()).await
        } else {
            self.driver().put_content(&path, json.into()).await
        };
        put.map_err(|error| UploadError::from(error).of(id))?;
        Ok(self.remember(file.info, size).info)
    }

    pub(super) fn check_size(&self, length: Option<u64>) -> Result<(), UploadError> {
        match (length, self.config.max_size) {
            (Some(length), Some(max)) if length > max => Err(UploadError::new(UploadErrorKind::SizeExceeded)
                .with_detail(format!("{length} bytes, where at most {max} are taken"))),
            _ => Ok(()),
        }
    }

    /// Refuses a path that is another's, or where infos are.
    async fn check_free(&self, info: &UploadInfo) -> Result<(), UploadError> {
        let path = &info.path;
        let of_infos = path.parent().as_ref() == Some(&self.config.prefix) && path.as_str().ends_with(".info");
        if path.is_root() || of_infos {
            let detail = format!("its data can't be at {path}");
            return Err(UploadError::new(UploadErrorKind::InvalidId).of(&info.id).with_detail(detail));
        }
        match self.driver().stat(path).await {
            Err(error) if error.kind() == ErrorKind::PathNotFound => Ok(()),
            Err(error) => Err(UploadError::from(error).of(&info.id)),
            Ok(_) => {
                let detail = format!("{path} is taken");
                Err(UploadError::new(UploadErrorKind::AlreadyExists).of(&info.id).with_detail(detail))
            }
        }
    }

    async fn put_if_absent(&self, path: &StoragePath, content: Bytes) -> Result<(), Error> {
        let driver = self.driver();
        if driver.capabilities().conditional_put {
            return driver.put_content_if(path, content, Precondition::Absent).await.map(drop);
        }
        match driver.stat(path).await {
            Err(error) if error.kind() == ErrorKind::PathNotFound => driver.put_content(path, content).await,
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(ErrorKind::AlreadyExists).at(driver.name(), path)),
        }
    }

    /// The info of an upload, from memory if it is there.
    pub(super) async fn load(&self, id: &UploadId) -> Result<Cached, UploadError> {
        match self.cache.get(id) {
            Some(cached) => Ok(cached),
            None => self.fetch(id).await,
        }
    }

    /// The info of an upload as it is in the backend.
    pub(super) async fn fetch(&self, id: &UploadId) -> Result<Cached, UploadError> {
        let ended = self.cache.ended();
        let gone = match self.read_info(id).await {
            Ok((InfoFile { info, terminated: false }, size)) => {
                return Ok(self.keep(info, size, |cached| self.cache.insert_unless_ended(cached, ended)));
            }
            Ok(_) => terminated(id),
            Err(error) => error,
        };
        self.cache.remove(id);
        Err(gone)
    }

    /// Believes a recent look, and looks again otherwise.
    pub(super) async fn confirm(&self, known: Cached) -> Result<Arc<UploadInfo>, UploadError> {
        if known.seen.elapsed() < Self::TRUSTED_FOR {
            return Ok(known.info);
        }
        Ok(self.fetch(&known.info.id).await?.info)
    }

    /// The info file of an upload, and its size in bytes.
    pub(super) async fn read_info(&self, id: &UploadId) -> Result<(InfoFile, usize), UploadError> {
        let path = self.info_path(id)?;
        let invalid = |detail: String| Err(UploadError::new(UploadErrorKind::InvalidInfo).of(id).with_detail(detail));
        let of_driver = |error| UploadError::from(error).of(id);
        let (file, stream) = match self.driver().read(&path, ReadRange::FULL).await {
            Err(error) if error.kind() == ErrorKind::IsADirectory => return invalid("it is a directory".into()),
            read => read.map_err(of_driver)?,
        };
        if file.size > InfoFile::MAX_LEN as u64 {
            return invalid(format!("it has {} bytes, more than {}", file.size, InfoFile::MAX_LEN));
        }
        let json = collect(stream).await.map_err(of_driver)?;
        Ok((InfoFile::from_json(&json, id, self.data_path(id)?)?, json.len()))
    }

    /// Keeps an info that was just written to the backend, if it won't change any more.
    fn remember(&self, info: UploadInfo, size: usize) -> Cached {
        self.keep(info, size, |cached| self.cache.insert(cached))
    }

    fn keep(&self, info: UploadInfo, size: usize, insert: impl FnOnce(Cached)) -> Cached {
        let cached = Cached { info: Arc::new(info), seen: Instant::now() };
        if cached.info.length.is_some() && size <= Self::MAX_CACHED_LEN {
            insert(cached.clone());
        }
        cached
    }

    /// Drops the info of an upload that ends here from memory.
    pub(super) fn forget(&self, id: &UploadId) {
        self.cache.end(id);
    }

    /// Replaces the info of an upload, unless somebody else did so since `old` was read.
    pub(super) async fn replace(&self, old: &UploadInfo, new: UploadInfo) -> Result<Arc<UploadInfo>, UploadError> {
        let (driver, path, beside) = (self.driver(), self.info_path(&new.id)?, self.data_path(&new.id)?);
        let file = InfoFile { info: new, terminated: false };
        let json = file.to_json(&beside)?;
        let size = json.len();
        let put = if driver.capabilities().conditional_put {
            let (there, version) =
                driver.get_versioned(&path).await.map_err(|error| UploadError::from(error).of(&old.id))?;
            let there = InfoFile::from_json(&there, &old.id, beside)?;
            if there.terminated || there.info != *old {
                return Err(UploadError::new(UploadErrorKind::Locked)
                    .of(&old.id)
                    .with_detail("its info changed meanwhile"));
            }
            driver.put_content_if(&path, json.into(), Precondition::Version(version)).await.map(drop)
        } else {
            driver.put_content(&path, json.into()).await
        };
        put.map_err(|error| UploadError::from(error).of(&old.id))?;
        Ok(self.remember(file.info, size).info)
    }

    /// An upload as it stands, expired or not.
    pub(super) async fn look(&self, id: &UploadId) -> Result<Upload, UploadError> {
        let known = self.load(id).await?;
        let upload = self.measure(known.info.clone()).await?;
        if upload.offset == 0 {
            // Its data come with the first byte, so only the info tells an upload that begins from one that is gone.
            self.confirm(known).await?;
        }
        Ok(upload)
    }

    /// An upload with the data that are there.
    pub(super) async fn measure(&self, info: Arc<UploadInfo>) -> Result<Upload, UploadError> {
        match self.driver().stat(&info.path).await {
            Ok(file) => sized(info, &file),
            Err(error) if error.kind() == ErrorKind::PathNotFound => Ok(Upload::new(info, 0, None)),
            Err(error) => Err(UploadError::from(error).of(&info.id)),
        }
    }

    /// Ends an upload that holds all its bytes, if that was not done yet.
    pub(super) async fn settle(&self, info: &UploadInfo) -> Result<(), UploadError> {
        let settled = if info.length == Some(0) {
            // It may have no file yet.
            let options = WriteOptions { completion: Completion::AtSize(0), ..WriteOptions::default() };
            let empty = futures::stream::empty().boxed();
            match self.driver().write_stream(&info.path, 0, empty, options.expecting(Expected::Size(0))).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                written => written.map(drop),
            }
        } else {
            self.driver().commit(&info.path).await
        };
        settled.map_err(|error| UploadError::from(error).of(&info.id))
    }
}

/// An upload with this file of data.
fn sized(info: Arc<UploadInfo>, file: &FileInfo) -> Result<Upload, UploadError> {
    let invalid = |detail: String| Err(UploadError::new(UploadErrorKind::InvalidInfo).of(&info.id).with_detail(detail));
    match info.length {
        _ if file.is_dir => invalid(format!("its data are to be at {}, which is a directory", file.path)),
        Some(length) if file.size > length => invalid(format!("it is of {length} bytes, and {} are there", file.size)),
        _ => Ok(Upload::new(info, file.size, file.modified)),
    }
}

/// Refuses an upload that expired.
pub(super) fn alive(upload: Upload) -> Result<Upload, UploadError> {
    if upload.expires.is_some_and(|expires| expires <= SystemTime::now()) {
        return Err(UploadError::new(UploadErrorKind::Expired).of(&upload.info.id));
    }
    Ok(upload)
}

#[cold]
pub(super) fn not_finished(upload: &Upload) -> UploadError {
    let error = UploadError::new(UploadErrorKind::NotFinished).of(&upload.info.id).with_offset(upload.offset);
    match upload.info.length {
        Some(length) => error.with_detail(format!("{} of {length} bytes are there", upload.offset)),
        None => error.with_detail("its length is not known yet"),
    }
}

/// A time without what an info does not keep of it.
fn whole_millis(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis(since))
}
