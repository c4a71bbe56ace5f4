//! Reading: small files at once, large ones in pieces.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::Store;
use super::directory::{info, looks_unchanged, size};
use super::errors::{At, conflict, not_regular, plain};
use super::pace::Work;
use super::version::Nonce;
use crate::driver::{ByteStream, ReadRange};
use crate::error::{ErrorKind, Result};
use crate::info::FileInfo;
use crate::path::StoragePath;

/// What is read at once, on the async worker.
const SMALL: u64 = 64 * 1024;
/// How many bytes are read at once, and so the most that a read holds.
pub(super) const PIECE: u64 = 256 * 1024;
/// What all reads share; the more there are, the shorter their pieces, down to [`SMALL`].
const BUDGET: u64 = 32 << 20;
/// How often a small read begins anew when it met a write.
const ATTEMPTS: usize = 8;

/// One of the reads that share the budget.
struct Share(Arc<Store>);

impl Share {
    fn new(store: &Arc<Store>) -> Self {
        store.reads.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(store))
    }

    fn piece(&self) -> u64 {
        (BUDGET / self.0.reads.load(Ordering::Relaxed).max(1)).clamp(SMALL, PIECE)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.reads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is being read.
struct Reader {
    share: Share,
    path: StoragePath,
    file: OwnedFd,
    /// As it was when reading began, or after an append since then.
    stat: Stat,
    /// Which says whether it was only appended to since then; unset if that can't be told.
    nonce: Option<Option<Nonce>>,
    at: u64,
    end: u64,
    /// The last pieces, whose memory is used again once they are dropped: a consumer often holds one while it asks for the
    /// next.
    last: [Bytes; 2],
}

impl Store {
    /// Opens a file for reading.
    pub(super) fn open_to_read(&self, path: &StoragePath) -> Result<(OwnedFd, Stat)> {
        if path.is_root() {
            return Err(plain(ErrorKind::IsADirectory, path));
        }
        let file = self.root.open_file(path, OFlags::RDONLY).found(path)?;
        let stat = rustix::fs::fstat(&file).at(path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, stat)),
            FileType::Directory => Err(plain(ErrorKind::IsADirectory, path)),
            _ => Err(not_regular(path)),
        }
    }

    /// Info and bytes of a file: the stream, or what it takes to go on.
    fn begin_read(self: &Arc<Self>, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, Begun)> {
        let (mut file, mut stat) = self.open_to_read(path)?;
        let mut nonce = None;
        for attempt in 0..ATTEMPTS {
            let range = range.within(size(&stat));
            let info = info(path.clone(), &stat).ok_or_else(|| not_regular(path))?;
            if range.is_empty() {
                return Ok((info, Begun::Whole(Bytes::new())));
            }
            if self.xattrs && (attempt > 0 || range.end - range.start > SMALL) {
                nonce = Some(self.nonce(&file).at(path)?);
            }
            let mut reader = Reader {
                share: Share::new(self),
                path: path.clone(),
                file,
                stat,
                nonce,
                at: range.start,
                end: range.end,
                last: Default::default(),
            };
            if range.end - range.start > SMALL {
                return Ok((info, Begun::InPieces(Box::new(reader))));
            }
            match reader.piece() {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    file = reader.file;
                    stat = rustix::fs::fstat(&file).at(path)?;
                }
                piece => return Ok((info, Begun::Whole(piece?))),
            }
        }
        Err(changed(path))
    }

    /// Info and bytes of a file.
    pub(super) async fn read(self: &Arc<Self>, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)> {
        let (store, of) = (Arc::clone(self), path.clone());
        let (info, begun) = self.pace.run(Work::Quick, path, move || store.begin_read(&of, range)).await??;
        let stream = match begun {
            Begun::Whole(bytes) if bytes.is_empty() => stream::empty().boxed(),
            Begun::Whole(bytes) => stream::once(std::future::ready(Ok(bytes))).boxed(),
            Begun::InPieces(reader) => stream::try_unfold(reader, Reader::next).boxed(),
        };
        Ok((info, stream))
    }

    /// All bytes of an open file, which is as `stat` says.
    pub(super) fn read_whole(&self, path: &StoragePath, file: impl AsFd, stat: &Stat) -> Result<Vec<u8>> {
        let length = usize::try_from(size(stat)).map_err(|_| plain(ErrorKind::SizeExceeded, path))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|error| plain(ErrorKind::Backend, path).with_source(error))?;
        fill(&file, &mut bytes, length, 0).at(path)?;
        if bytes.len() < length {
            return Err(changed(path));
        }
        Ok(bytes)
    }
}

/// What a read begins with.
enum Begun {
    Whole(Bytes),
    InPieces(Box<Reader>),
}

impl Reader {
    async fn next(mut self: Box<Self>) -> Result<Option<(Bytes, Box<Self>)>> {
        if self.at == self.end {
            return Ok(None);
        }
        let (store, path) = (Arc::clone(&self.share.0), self.path.clone());
        let work = move || self.piece().map(|piece| Some((piece, self)));
        store.pace.run(Work::Quick, &path, work).await?
    }

    /// The next piece; what was read so far is from before any rewrite.
    fn piece(&mut self) -> Result<Bytes> {
        let length = usize::try_from((self.end - self.at).min(self.share.piece())).unwrap_or(usize::MAX);
        let free = self.last.iter_mut().find(|last| last.is_unique());
        let mut free = free.map(std::mem::take).unwrap_or_default();
        // Or its bytes would be moved along.
        free.clear();
        let mut bytes = Vec::from(free);
        bytes.reserve_exact(length);
        fill(&self.file, &mut bytes, length, self.at).at(&self.path)?;
        let now = rustix::fs::fstat(&self.file).at(&self.path)?;
        if bytes.len() < length || self.is_rewritten(&now)? {
            return Err(changed(&self.path));
        }
        self.at += length as u64;
        let bytes = Bytes::from(bytes);
        if self.at < self.end {
            self.last.swap(0, 1);
            self.last[0] = bytes.clone();
        }
        Ok(bytes)
    }

    /// Whether anything but an append happened to the file. Each cut gives it another nonce.
    fn is_rewritten(&mut self, now: &Stat) -> Result<bool> {
        if looks_unchanged(&self.stat, now) {
            return Ok(false);
        }
        let Some(nonce) = self.nonce else { return Ok(true) };
        self.stat = *now;
        Ok(size(now) < self.end || self.share.0.nonce(&self.file).at(&self.path)? != nonce)
    }
}

/// Reads until `bytes` has `length` bytes, or the file ends. The vector has the room.
fn fill(file: impl AsFd, bytes: &mut Vec<u8>, length: usize, offset: u64) -> rustix::io::Result<()> {
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(&file, spare_capacity(bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(length);
    Ok(())
}

fn changed(path: &StoragePath) -> crate::Error {
    conflict(path, "it was rewritten while it was read")
}
