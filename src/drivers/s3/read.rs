//! Reading, and what is at a path.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpResponse};

use super::client::{Cond, Object};
use super::failure::Failure;
use super::head::State;
use super::store::{Store, conflict};
use super::transport::Backoff;
use crate::driver::{ByteStream, ReadRange, collect};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{FileInfo, Version};
use crate::path::StoragePath;

impl Store {
    /// See [`read`](crate::StorageDriver::read).
    pub(super) async fn read(self: &Arc<Self>, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let (object, stream) = self.open(path, range).await?;
        Ok((FileInfo::file(path.clone(), object.size, object.modified), stream))
    }

    async fn open(self: &Arc<Self>, path: &StoragePath, range: ReadRange) -> Result<(Object, ByteStream)> {
        if path.is_root() {
            return Err(Error::new(ErrorKind::PathNotFound));
        }
        let key = self.keys.object(path);
        let empty = matches!(range, ReadRange::Suffix(0)) || matches!(range, ReadRange::Bounded(a, Some(b)) if a >= b);
        for last in [false, true] {
            let found = if empty {
                self.client.head(&key).await?.map(|object| (object, None))
            } else {
                match self.client.get(&key, range, Cond::Any).await {
                    Ok((object, range, response)) => Some((object, Some((range, response)))),
                    // There is nothing in this range.
                    Err(failure) if failure.is_range() => self.client.head(&key).await?.map(|object| (object, None)),
                    Err(failure) if failure.is_not_found() => None,
                    Err(failure) => return Err(failure.into()),
                }
            };
            match found {
                Some((object, None)) => return Ok((object, stream::empty().boxed())),
                Some((object, Some((got, response)))) => {
                    let wanted = range.within(object.size);
                    return Ok((object.clone(), body(self, key, object, (wanted, got.start), response)));
                }
                None if last => break,
                None => {
                    if self.read_head(path).await?.is_some_and(|held| held.head.state != State::Dead) {
                        return Err(Error::new(ErrorKind::NotCommitted));
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::PathNotFound))
    }

    /// See [`stat`](crate::StorageDriver::stat). Never answered from the cache: sizes it tells are acknowledged.
    pub(super) async fn stat(&self, path: &StoragePath) -> Result<FileInfo> {
        if path.is_root() {
            return Ok(FileInfo::directory(path.clone(), None));
        }
        if let Some(object) = self.object(path).await? {
            return Ok(FileInfo::file(path.clone(), object.size, object.modified));
        }
        if let Some((held, modified)) =
            self.read_head_at(path).await?.filter(|(held, _)| held.head.state != State::Dead)
        {
            return Ok(FileInfo::file(path.clone(), held.head.size(), modified));
        }
        // It may have been completed in between.
        match futures::try_join!(self.object(path), self.is_directory(path))? {
            (Some(object), _) => Ok(FileInfo::file(path.clone(), object.size, object.modified)),
            (None, true) => Ok(FileInfo::directory(path.clone(), None)),
            (None, false) => Err(Error::new(ErrorKind::PathNotFound)),
        }
    }

    /// A range of an object (by key and ETag), asked for when its first byte is.
    pub(super) fn read_later(self: &Arc<Self>, from: (String, Box<str>), range: Range<u64>) -> ByteStream {
        let store = Arc::clone(self);
        stream::once(async move {
            let asked = ReadRange::Bounded(range.start, Some(range.end));
            let (object, got, response) =
                store.client.get(&from.0, asked, Cond::Is(&from.1)).await.map_err(replaced)?;
            let wanted = asked.within(object.size);
            Ok::<_, Error>(body(&store, from.0, object, (wanted, got.start), response))
        })
        .try_flatten()
        .boxed()
    }

    /// See [`get_versioned`](crate::StorageDriver::get_versioned).
    pub(super) async fn get_versioned(self: &Arc<Self>, path: &StoragePath) -> Result<(Bytes, Version)> {
        let (object, stream) = self.open(path, ReadRange::FULL).await?;
        Ok((collect(stream).await?, version(&object)))
    }
}

/// Equal contents have equal ETags; the id tells two writes of the same bytes apart.
pub(super) fn version(object: &Object) -> Version {
    match object.id {
        Some(id) => Version::new(format!("{}:{id}", object.etag)),
        None => Version::new(&*object.etag),
    }
}

/// The wanted bytes of an answer, which begins at or before them: an engine may answer with more than was asked for. If it
/// breaks off, the rest is asked for, of the same version.
pub(super) fn body(
    store: &Arc<Store>,
    key: String,
    object: Object,
    (range, at): (Range<u64>, u64),
    response: HttpResponse,
) -> ByteStream {
    let state = Body {
        pause: Backoff::new(store.config.max_retries),
        store: Arc::clone(store),
        key,
        etag: object.etag,
        range,
        at,
        stream: response.into_body().bytes_stream(),
    };
    stream::try_unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Ok(piece.map(|piece| (piece, state)))
    })
    .map_err(replaced)
    .boxed()
}

/// What was there a moment ago is gone, if that is what a condition says.
pub(super) fn replaced(failure: Failure) -> Error {
    if failure.is_precondition() || failure.is_not_found() {
        conflict("somebody else replaced the file meanwhile").with_source(failure)
    } else {
        failure.into()
    }
}

struct Body {
    store: Arc<Store>,
    key: String,
    etag: Box<str>,
    /// What is still to come.
    range: Range<u64>,
    /// Where the stream is.
    at: u64,
    stream: BoxStream<'static, Result<Bytes, HttpError>>,
    pause: Backoff,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while !self.range.is_empty() {
            if self.at > self.range.start {
                return Err(Failure::other("the answer begins past what was asked for", None));
            }
            let failure = match tokio::time::timeout(self.store.config.timeout, self.stream.next()).await {
                Ok(Some(Ok(mut piece))) => {
                    let before = (self.range.start - self.at).min(piece.len() as u64);
                    self.at += piece.len() as u64;
                    piece.advance(before as usize);
                    if piece.is_empty() {
                        continue;
                    }
                    piece.truncate(usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX));
                    self.range.start += piece.len() as u64;
                    self.pause.reset();
                    return Ok(Some(piece));
                }
                Ok(Some(Err(cause))) => Failure::unanswered(cause),
                Ok(None) => Failure::cut_short(),
                Err(_) => Failure::timed_out(),
            };
            if !self.pause.wait().await {
                return Err(failure);
            }
            tracing::debug!(key = %self.key, %failure, "asking for the rest");
            let rest = ReadRange::Bounded(self.range.start, Some(self.range.end));
            let (_, got, response) = self.store.client.get(&self.key, rest, Cond::Is(&self.etag)).await?;
            self.at = got.start;
            self.stream = response.into_body().bytes_stream();
        }
        Ok(None)
    }
}
