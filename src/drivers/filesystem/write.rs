//! Writing streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};

use super::Store;
use super::copy::write_all;
use super::errors::{At, conflict, plain};
use super::pace::Work;
use super::target::{Found, Held, Target};
use super::temp::TempFile;
use crate::driver::{ByteStream, OnFailure, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// How many bytes of ready pieces go to the pool together, while the disk is slow.
const BATCH: usize = 512 * 1024;
/// And how many pieces: each takes some memory of its own, however short it is.
const PIECES: usize = 1024;
/// What a stream that may have to be discarded holds in memory, before it goes to a file of its own.
pub(super) const STAGED: usize = 256 * 1024;

/// A stream, and what is known of it.
pub(super) struct Source {
    stream: ByteStream,
    /// How many bytes it may still bring.
    room: u64,
    read: u64,
    /// Why it gives no more.
    ended: Option<Ended>,
}

enum Ended {
    Well,
    Failed(Error),
    /// It brought more than it was to.
    TooLong,
}

impl Source {
    #[cfg(test)]
    pub(super) fn for_test(stream: ByteStream) -> Self {
        Self { stream, room: u64::MAX, read: 0, ended: None }
    }

    /// Fills `pieces` with the next piece, and with those that are there already until there are `batch` bytes, or
    /// [`PIECES`].
    pub(super) async fn fill(&mut self, pieces: &mut Vec<Bytes>, batch: usize) {
        pieces.clear();
        let mut held = 0;
        while self.ended.is_none() {
            let next = match held {
                0 => self.stream.next().await,
                _ if held >= batch || pieces.len() >= PIECES => return,
                _ => match self.stream.next().now_or_never() {
                    Some(next) => next,
                    None => return,
                },
            };
            match next {
                Some(Ok(mut piece)) => {
                    self.read += piece.len() as u64;
                    if piece.len() as u64 > self.room {
                        piece.truncate(usize::try_from(self.room).unwrap_or(piece.len()));
                        self.ended = Some(Ended::TooLong);
                    }
                    self.room -= piece.len() as u64;
                    held += piece.len();
                    if !piece.is_empty() {
                        pieces.push(piece);
                    }
                }
                Some(Err(error)) => self.ended = Some(Ended::Failed(error)),
                None => self.ended = Some(Ended::Well),
            }
        }
    }

    /// How it ended.
    fn result(self, path: &StoragePath) -> Result<u64> {
        let error = match self.ended {
            Some(Ended::Well) => return Ok(self.read),
            Some(Ended::Failed(error)) if error.kind() == ErrorKind::Stream => error,
            Some(Ended::Failed(error)) => Error::stream(error),
            Some(Ended::TooLong) | None => {
                plain(ErrorKind::SizeExceeded, path).with_detail("the stream goes on past the final size of the file")
            }
        };
        Err(error.at(super::NAME, path).with_bytes_read(self.read))
    }
}

impl Store {
    /// Writes a stream into a file.
    pub(super) async fn write_stream(
        self: &Arc<Self>,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64> {
        let mut source = Source { stream, room: options.room(offset), read: 0, ended: None };
        if options.on_failure == OnFailure::Discard {
            return self.write_or_discard(path, offset, source, options).await;
        }
        let Some(target) = self.target(path, offset, options, true).await? else {
            return Err(conflict(path, "it was removed"));
        };
        let mut held = Held::new(target);
        let mut result;
        (held, result) = self.work(Work::Quick, path, held, move |target| target.seek(offset)).await?;
        let mut pieces = Vec::with_capacity(1);
        while result.is_ok() {
            source.fill(&mut pieces, if self.pace.is_slow() { BATCH } else { 0 }).await;
            if pieces.is_empty() {
                break;
            }
            ((held, pieces), result) = self.append(path, held, pieces).await?;
        }
        let read = source.read;
        let failed = |error: Error| error.with_bytes_read(read);
        let well = result.is_ok() && matches!(source.ended, Some(Ended::Well));
        self.finish(path, held, well).await.map_err(failed)?;
        result.map_err(failed)?;
        source.result(path)
    }

    /// Takes the whole stream first, beside the file, then appends it.
    async fn write_or_discard(
        self: &Arc<Self>,
        path: &StoragePath,
        offset: u64,
        mut source: Source,
        options: WriteOptions,
    ) -> Result<u64> {
        // Locked from here on, if it is there; if not, it is not made before it is known to stay.
        let target = self.target(path, offset, options, false).await?.map(Held::new);
        let staged = self.gather(path, &mut source).await.map_err(|error| error.with_bytes_read(source.read))?;
        let read = source.result(path)?;
        let failed = |error: Error| error.with_bytes_read(read);
        let held = match target {
            Some(held) => held,
            None => match self.target(path, offset, options, true).await.map_err(failed)? {
                Some(target) => Held::new(target),
                None => return Err(failed(conflict(path, "it was removed"))),
            },
        };
        let work = if matches!(staged, Staged::File(..)) { Work::Slow } else { Work::Quick };
        let append = move |target: &mut Target| {
            target.seek(offset)?;
            match staged {
                Staged::Memory(bytes) if bytes.is_empty() => Ok(()),
                Staged::Memory(bytes) => target.append(&[bytes.freeze()]).inspect_err(|_| target.cut_back(offset)),
                Staged::File(file, length) => target.append_staged(&file, length),
            }
        };
        let (held, result) = self.work(work, path, held, append).await.map_err(failed)?;
        self.finish(path, held, result.is_ok()).await.map_err(failed)?;
        result.map_err(failed)?;
        Ok(read)
    }

    /// The whole of a stream, beside the file.
    async fn gather(self: &Arc<Self>, path: &StoragePath, source: &mut Source) -> Result<Staged> {
        let mut memory = BytesMut::new();
        let mut pieces = Vec::new();
        loop {
            source.fill(&mut pieces, 0).await;
            if pieces.is_empty() {
                return Ok(Staged::Memory(memory));
            }
            if memory.len() + total(&pieces) > STAGED {
                break;
            }
            pieces.iter().for_each(|piece| memory.extend_from_slice(piece));
        }
        let (store, of) = (Arc::clone(self), path.clone());
        let first = memory.freeze();
        let stage = move || store.stage(&of, &first).map(|file| (file, first.len() as u64));
        let (mut file, mut length) = self.pace.run(Work::Quick, path, stage).await??;
        while !pieces.is_empty() {
            let of = path.clone();
            let work = writing(&pieces);
            let append = move || {
                for piece in &pieces {
                    write_all(file.fd(), piece, length, &mut 0).at(&of)?;
                    length += piece.len() as u64;
                }
                Ok::<_, Error>((file, length, pieces))
            };
            (file, length, pieces) = self.pace.run(work, path, append).await??;
            source.fill(&mut pieces, if self.pace.is_slow() { BATCH } else { 0 }).await;
        }
        Ok(Staged::File(file, length))
    }

    /// Opens and locks the file, waiting for another writer for a short while. `None`: there is none, and none is made.
    async fn target(
        self: &Arc<Self>,
        path: &StoragePath,
        offset: u64,
        options: WriteOptions,
        create: bool,
    ) -> Result<Option<Box<Target>>> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut newborn = None;
        loop {
            let (store, of) = (Arc::clone(self), path.clone());
            let work = move || store.find_target(&of, offset, options, create, newborn);
            match self.pace.run(Work::Quick, path, work).await?? {
                Found::Absent => return Ok(None),
                Found::Busy(made) => {
                    newborn = made;
                    self.wait(path, begun, &mut pause).await?;
                }
                Found::Target(target) if target.is_unsettled() => {
                    let (held, settled) =
                        self.work(Work::Slow, path, Held::new(target), move |target| target.settle(offset)).await?;
                    settled?;
                    return Ok(held.take());
                }
                Found::Target(target) => return Ok(Some(target)),
            }
        }
    }

    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: Work,
        path: &StoragePath,
        held: Held,
        f: impl FnOnce(&mut Target) -> Result<T> + Send + 'static,
    ) -> Result<(Held, Result<T>)> {
        self.pace.run(work, path, move || held.with(f)).await
    }

    async fn append(
        self: &Arc<Self>,
        path: &StoragePath,
        held: Held,
        pieces: Vec<Bytes>,
    ) -> Result<((Held, Vec<Bytes>), Result<()>)> {
        let work = writing(&pieces);
        let append = move || {
            let (held, result) = held.with(|target| target.append(&pieces));
            ((held, pieces), result)
        };
        self.pace.run(work, path, append).await
    }

    async fn finish(self: &Arc<Self>, path: &StoragePath, held: Held, ended_well: bool) -> Result<()> {
        let work = if held.get().is_some_and(Target::will_sync) { Work::Slow } else { Work::Quick };
        self.pace.run(work, path, move || held.finish(ended_well)).await?
    }

    /// Waits before another try at a lock, or gives up.
    pub(super) async fn wait(&self, path: &StoragePath, begun: Instant, pause: &mut Duration) -> Result<()> {
        if begun.elapsed() >= self.lock_timeout {
            return Err(conflict(path, "somebody else is writing it"));
        }
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(LAST_PAUSE);
        Ok(())
    }
}

/// The work of writing these pieces.
fn writing(pieces: &[Bytes]) -> Work {
    Work::writing(total(pieces))
}

fn total(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// The first wait for a lock, and the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// A whole stream, beside the file that it is for.
enum Staged {
    Memory(BytesMut),
    File(TempFile, u64),
}
