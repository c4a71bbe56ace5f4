//! Bytes, and the length they add up to.

use std::sync::Arc;
use std::time::SystemTime;

use futures::StreamExt;

use super::chunk::{Chunk, stream_error};
use super::run::RunToEnd;
use super::store::{Store, alive, not_finished};
use super::{
    NewUpload, Upload, UploadError, UploadErrorKind, UploadId, UploadInfo, UploadKind, UploadLock, UploadStore,
};
use crate::{ByteStream, Completion, Error, ErrorKind, Expected, OnFailure, WriteOptions};

/// How to write a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkOptions {
    /// Declares the length of an upload that was created without one, in bytes, before the chunk is written.
    pub length: Option<u64>,
    /// How many bytes the stream brings at least, where that is known, else 0. A chunk that can't fit is refused before any
    /// of it is read.
    pub announced: u64,
    /// What stays of a chunk whose stream fails.
    pub on_failure: OnFailure,
}

impl UploadStore {
    /// Creates an upload and writes its first chunk.
    ///
    /// # Errors
    /// As [`create`](Self::create), and then as [`write_chunk`](Self::write_chunk): if the upload was created before the
    /// failure, [`UploadError::created`] tells which it is.
    pub async fn create_with(
        &self,
        mut new: NewUpload,
        stream: ByteStream,
        options: ChunkOptions,
    ) -> Result<Upload, UploadError> {
        match (new.length, options.length) {
            (Some(length), Some(declared)) if length != declared => return Err(length_mismatch(length, declared)),
            (length, declared) => new.length = length.or(declared),
        }
        self.0.check_room(new.length, 0, options.announced)?;
        let info = self.0.create(new, None).await?;
        let (store, created) = (self.0.clone(), info.clone());
        let written = async {
            let lock = self.0.lock(&info.id).await?;
            RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
                store.write(&lock, created, 0, Expected::Absent, stream, options.on_failure).await
            })
            .await
        };
        written.await.map_err(|error| error.of(&info.id).after_creating(&info))
    }

    /// Writes a chunk that begins at `offset`, where the data end, and gives the upload as it stands then. An upload of
    /// known length is finished by its last byte; an empty chunk at its end changes nothing.
    ///
    /// A request for the same upload stops one that is running. If the stream fails, or the writing is stopped, or the
    /// future is dropped, what arrived stays, unless [`OnFailure::Discard`] is set; [`info`](Self::info) tells the offset to go on
    /// from.
    ///
    /// # Errors
    /// - [`InvalidOffset`](UploadErrorKind::InvalidOffset): the data end elsewhere, as [`UploadError::offset`] says.
    /// - [`SizeExceeded`](UploadErrorKind::SizeExceeded): more bytes than the length, or than
    ///   [`max_size`](Self::max_size) while that is unknown. Those up to the limit are kept.
    /// - [`Stopped`](UploadErrorKind::Stopped), [`Stream`](UploadErrorKind::Stream): it was cut short.
    /// - [`Locked`](UploadErrorKind::Locked): another request did not let go in time, or another process writes.
    /// - [`LengthMismatch`](UploadErrorKind::LengthMismatch), as [`declare_length`](Self::declare_length).
    /// - [`AlreadyFinished`](UploadErrorKind::AlreadyFinished): it was made of others.
    /// - [`NotFound`](UploadErrorKind::NotFound), [`Expired`](UploadErrorKind::Expired),
    ///   [`InvalidInfo`](UploadErrorKind::InvalidInfo), those of the backend.
    pub async fn write_chunk(
        &self,
        id: &UploadId,
        offset: u64,
        stream: ByteStream,
        options: ChunkOptions,
    ) -> Result<Upload, UploadError> {
        let lock = self.0.lock(id).await?;
        let known = self.0.load(id).await?;
        // A write at the very start would bring an upload back that another process terminated.
        let info = if offset == 0 { self.0.confirm(known).await? } else { known.info };
        let store = self.0.clone();
        let writing = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let info = store.prepare(info, offset, options).await?;
            store.write(&lock, info, offset, Expected::Size(offset), stream, options.on_failure).await
        });
        writing.await.map_err(|error| error.of(id))
    }

    /// Declares the length of an upload that was created without one, in bytes, once and for all; again the same is no
    /// change. An upload that has that length already is finished by it.
    ///
    /// # Errors
    /// [`LengthMismatch`](UploadErrorKind::LengthMismatch) if another length was declared, or more bytes are there;
    /// [`SizeExceeded`](UploadErrorKind::SizeExceeded) over [`max_size`](Self::max_size);
    /// [`Locked`](UploadErrorKind::Locked), [`NotFound`](UploadErrorKind::NotFound), [`Expired`](UploadErrorKind::Expired),
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), those of the backend.
    pub async fn declare_length(&self, id: &UploadId, length: u64) -> Result<Upload, UploadError> {
        let (store, lock, upload) = self.locked(id).await?;
        let declaring = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let _held = lock;
            let newly = upload.info.length.is_none();
            let upload = store.declare(upload, length).await?;
            if newly && upload.is_finished() {
                store.settle(&upload.info).await?;
            }
            Ok(upload)
        });
        declaring.await.map_err(|error: UploadError| error.of(id))
    }

    /// Finishes an upload that holds all its bytes. One whose length nobody declared is taken to be whole as it is: that
    /// becomes its length. Finishing it again changes nothing.
    ///
    /// # Errors
    /// [`NotFinished`](UploadErrorKind::NotFinished) if bytes are missing; [`Locked`](UploadErrorKind::Locked),
    /// [`NotFound`](UploadErrorKind::NotFound), [`Expired`](UploadErrorKind::Expired),
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), those of the backend.
    pub async fn finish(&self, id: &UploadId) -> Result<Upload, UploadError> {
        let (store, lock, upload) = self.locked(id).await?;
        let finishing = RunToEnd::new(lock.signal().clone(), &self.0.orphans, async move {
            let _held = lock;
            let length = upload.info.length.unwrap_or(upload.offset);
            let upload = store.declare(upload, length).await?;
            if !upload.is_finished() {
                return Err(not_finished(&upload));
            }
            store.settle(&upload.info).await?;
            Ok(upload)
        });
        finishing.await.map_err(|error| error.of(id))
    }

    /// Locks an upload and looks at it.
    async fn locked(&self, id: &UploadId) -> Result<(Arc<Store>, UploadLock, Upload), UploadError> {
        let lock = self.0.lock(id).await?;
        let upload = alive(self.0.look(id).await?)?;
        Ok((self.0.clone(), lock, upload))
    }
}

impl Store {
    /// Sees whether a chunk may be written at `offset`, and declares the length that came with it. Only a chunk that is out of
    /// the ordinary takes a look at the data.
    async fn prepare(
        &self,
        info: Arc<UploadInfo>,
        offset: u64,
        options: ChunkOptions,
    ) -> Result<Arc<UploadInfo>, UploadError> {
        if matches!(info.kind, UploadKind::Final(_)) {
            return Err(UploadError::new(UploadErrorKind::AlreadyFinished).with_detail("it was made of others"));
        }
        let declares = options.length.is_some() && options.length != info.length;
        let fits = self.check_room(options.length.or(info.length), offset, options.announced);
        // An upload younger than that can't be expired.
        let old = info.expires(None).is_some_and(|expires| expires <= SystemTime::now());
        if fits.is_ok() && !declares && !old {
            return Ok(info);
        }
        let upload = alive(self.look(&info.id).await?)?;
        if upload.offset != offset {
            return Err(invalid_offset(offset, upload.offset));
        }
        fits?;
        match options.length {
            Some(length) => Ok(self.declare(upload, length).await?.info),
            None => Ok(upload.info),
        }
    }

    /// Refuses a chunk of at least so many bytes that has no room in an upload of this length.
    fn check_room(&self, length: Option<u64>, offset: u64, announced: u64) -> Result<(), UploadError> {
        let Some(end) = length.or(self.config.max_size) else {
            return Ok(());
        };
        let room = end.saturating_sub(offset);
        if announced <= room {
            return Ok(());
        }
        let detail = format!("the chunk has {announced} bytes, and there is room for {room}");
        Err(UploadError::new(UploadErrorKind::SizeExceeded).with_offset(offset).with_detail(detail))
    }

    /// Writes a chunk into a locked upload.
    async fn write(
        &self,
        lock: &UploadLock,
        info: Arc<UploadInfo>,
        offset: u64,
        expected: Expected,
        stream: ByteStream,
        on_failure: OnFailure,
    ) -> Result<Upload, UploadError> {
        let (completion, room) = match (info.length, self.config.max_size) {
            (Some(length), _) => (Completion::AtSize(length), u64::MAX),
            (None, None) => (Completion::OnCommit, u64::MAX),
            (None, Some(max)) => (Completion::OnCommit, max.saturating_sub(offset)),
        };
        let chunk = Chunk::new(stream, lock.signal().clone(), room);
        if info.length == Some(offset) && expected == Expected::Size(offset) {
            return self.write_nothing(&info.id, offset, chunk).await;
        }
        let options = WriteOptions { expected, on_failure, completion };
        match self.driver().write_stream(&info.path, offset, chunk.boxed(), options).await {
            Ok(0) if info.expires_after.is_some() && info.length != Some(offset) => self.look(&info.id).await,
            Ok(bytes) => Ok(Upload::new(info, offset + bytes, Some(SystemTime::now()))),
            Err(error) => Err(self.explain(&info, offset, expected, error).await),
        }
    }

    /// The chunk at the end of an upload that has its length: it has no bytes, and ends the upload if a crash came before.
    async fn write_nothing(&self, id: &UploadId, offset: u64, mut chunk: Chunk) -> Result<Upload, UploadError> {
        let upload = self.look(id).await?;
        if upload.offset != offset {
            return Err(invalid_offset(offset, upload.offset));
        }
        while let Some(piece) = chunk.next().await {
            if !piece.map_err(stream_error)?.is_empty() {
                let error = UploadError::new(UploadErrorKind::SizeExceeded).with_offset(offset);
                return Err(error.with_detail(format!("all its {offset} bytes are there already")));
            }
        }
        self.settle(&upload.info).await?;
        Ok(upload)
    }

    /// What the failure of a write means for the upload.
    async fn explain(&self, info: &UploadInfo, offset: u64, expected: Expected, error: Error) -> UploadError {
        match error.kind() {
            ErrorKind::Stream => stream_error(error),
            // No data, where some should be: another process may have terminated it.
            ErrorKind::InvalidOffset if error.size() == Some(0) => match self.fetch(&info.id).await {
                Err(gone) if gone.kind() == UploadErrorKind::NotFound => gone,
                _ => error.into(),
            },
            // The file is complete already, for a driver that tells: by another process, or with a length that is not ours.
            ErrorKind::AlreadyExists if expected != Expected::Absent => match self.look(&info.id).await {
                Err(error) => error,
                Ok(upload) if upload.offset != offset => invalid_offset(offset, upload.offset),
                Ok(_) => UploadError::of_driver(UploadErrorKind::AlreadyFinished, error),
            },
            _ => error.into(),
        }
    }

    /// Writes the length into the info of an upload, if it is not there.
    async fn declare(&self, upload: Upload, length: u64) -> Result<Upload, UploadError> {
        let Upload { info, offset, .. } = &upload;
        match info.length {
            Some(known) if known == length => return Ok(upload),
            Some(known) => return Err(length_mismatch(known, length).with_offset(*offset)),
            None if length < *offset => {
                let detail = format!("{length} bytes were declared, and {offset} are there");
                return Err(UploadError::new(UploadErrorKind::LengthMismatch).with_offset(*offset).with_detail(detail));
            }
            None => self.check_size(Some(length))?,
        }
        let declared = UploadInfo { length: Some(length), ..UploadInfo::clone(info) };
        let info = self.replace(info, declared).await?;
        let expires = upload.expires.filter(|_| length != upload.offset);
        Ok(Upload { info, expires, ..upload })
    }
}

#[cold]
fn invalid_offset(offset: u64, current: u64) -> UploadError {
    let detail = format!("the chunk begins at {offset}, and the data end at {current}");
    UploadError::new(UploadErrorKind::InvalidOffset).with_offset(current).with_detail(detail)
}

#[cold]
fn length_mismatch(known: u64, declared: u64) -> UploadError {
    let detail = format!("{known} bytes were declared before, and {declared} now");
    UploadError::new(UploadErrorKind::LengthMismatch).with_detail(detail)
}
