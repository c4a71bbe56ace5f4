//! The contract: what every driver promises, and what its users may rely on.

mod forward;
mod options;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use url::Url;

pub use self::options::{
    Completion, Descend, Expected, OnFailure, Precondition, ReadRange, UrlMethod, UrlOptions, WalkOptions, WriteOptions,
};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Capabilities, FileInfo, Version};
use crate::path::StoragePath;

/// The bytes of a file in order, in pieces of any size: what a read gives and what a write takes.
///
/// A stream ends at its first error. A body of another error type is made one by mapping with
/// [`Error::stream`](crate::Error::stream).
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Blobs under paths, in one backend.
///
/// # Contract
/// **Paths.** [`StoragePath`] is checked when it is built. A driver never follows a path out of its root, and keeps
/// what is its own under names with `~`, which no path reaches. Directories come with their first file and may be there
/// or not once their last one went. A file where a directory is needed is refused with
/// [`NotADirectory`](ErrorKind::NotADirectory), the reverse with [`IsADirectory`](ErrorKind::IsADirectory), where
/// [`Capabilities::file_directory_conflicts`] says so; nothing is lost either way.
///
/// **Durability.** Bytes that a finished call acknowledged, and sizes that [`stat`](Self::stat) reports, outlive a crash
/// of the process, and one of the machine as far as the driver says.
///
/// **Writers.** Two writers on one path never leave a mixture. The second waits briefly and then fails with
/// [`Conflict`](ErrorKind::Conflict), as does a writer whose file was replaced, moved or deleted meanwhile.
///
/// **Cancellation.** A future that is dropped takes no more bytes from its stream; bytes it took may still land, and the
/// path stays locked until they have.
///
/// **Memory.** Streams are never held whole: [`Capabilities::max_stream_memory`] is the most that one holds. Slow
/// consumers and slow backends slow the other side down.
///
/// **Errors.** Each carries the path and the driver's name, has the most specific [`ErrorKind`] that fits, and says
/// whether a retry may help. A call that fails changes nothing, except where its documentation says otherwise.
///
/// # Implementing it
/// The methods without a body are required; the others are correct as they stand, but slow or refusing. Prove a driver
/// with [`conformance_tests!`](crate::conformance_tests) (feature `conformance`).
#[async_trait]
pub trait StorageDriver: Debug + Send + Sync + 'static {
    /// A short name of the kind of driver, for errors and metrics: `filesystem`, `memory`, `s3`.
    fn name(&self) -> &'static str;

    /// What this instance can do.
    fn capabilities(&self) -> Capabilities;

    /// Info and bytes of the same version of a file, in one request where the backend is remote.
    ///
    /// The range is clamped to the file: from its end or beyond the stream is empty. The info speaks of the whole file.
    /// What is written to the path while the stream is read either does not show or ends the stream with an error.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound), [`IsADirectory`](ErrorKind::IsADirectory),
    /// [`NotCommitted`](ErrorKind::NotCommitted).
    async fn read(&self, path: &StoragePath, range: ReadRange) -> Result<(FileInfo, ByteStream)>;

    /// The whole content of a file; meant for small ones.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[doc(alias = "GetContent")]
    async fn get_content(&self, path: &StoragePath) -> Result<Bytes> {
        let (_, stream) = self.read(path, ReadRange::FULL).await?;
        collect(stream).await
    }

    /// The bytes of a file from `offset` on.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[doc(alias = "ReadStream")]
    #[doc(alias = "Reader")]
    async fn read_stream(&self, path: &StoragePath, offset: u64) -> Result<ByteStream> {
        Ok(self.read(path, ReadRange::from(offset..)).await?.1)
    }

    /// Replaces the content of a file as a whole, or creates it; parents appear by themselves. A reader sees the old
    /// content or the new one, never a mixture, also after a crash.
    ///
    /// # Errors
    /// [`IsADirectory`](ErrorKind::IsADirectory), [`NotADirectory`](ErrorKind::NotADirectory),
    /// [`NoSpace`](ErrorKind::NoSpace).
    #[doc(alias = "PutContent")]
    async fn put_content(&self, path: &StoragePath, content: Bytes) -> Result<()>;

    /// Writes a stream into a file from `offset` on, and returns how many bytes were read from the stream.
    ///
    /// - `offset` at the size of the file appends.
    /// - `offset` below it keeps the bytes before `offset`; the rest is cut off before the first new byte is written, so
    ///   that a crash never leaves new bytes followed by old ones.
    /// - `offset` above it fills the gap with zeros, also on a missing path, up to [`Capabilities::max_gap`].
    /// - `offset` 0 on a missing path creates the file, also with an empty stream.
    ///
    /// The options say which size is expected ([`Expected`]), what a failure leaves ([`OnFailure`]) and when the file is
    /// whole ([`Completion`]).
    ///
    /// If the stream or the backend fails, what arrived before stays: [`stat`](Self::stat) then gives the offset to go
    /// on from, and every byte below it reads back. [`Error::bytes_read`] says how many bytes were taken from the
    /// stream.
    ///
    /// # Errors
    /// - [`Stream`](ErrorKind::Stream): the stream failed; its own error is the source.
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists), [`InvalidOffset`](ErrorKind::InvalidOffset): not what was
    ///   [`Expected`], or the gap is too long. Nothing changed; [`Error::size`] names the size that is there.
    /// - [`SizeExceeded`](ErrorKind::SizeExceeded): more bytes than [`Completion::AtSize`] allows; none past it is kept.
    /// - [`Conflict`](ErrorKind::Conflict): somebody else writes the file, or replaced it meanwhile.
    /// - [`IsADirectory`](ErrorKind::IsADirectory), [`NotADirectory`](ErrorKind::NotADirectory),
    ///   [`NoSpace`](ErrorKind::NoSpace).
    #[doc(alias = "WriteStream")]
    #[doc(alias = "Writer")]
    async fn write_stream(
        &self,
        path: &StoragePath,
        offset: u64,
        stream: ByteStream,
        options: WriteOptions,
    ) -> Result<u64>;

    /// What is at a path: a file with its size and time, also an uncommitted one with its durable size, or a directory.
    /// The root is always there.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound).
    #[doc(alias = "Stat")]
    async fn stat(&self, path: &StoragePath) -> Result<FileInfo>;

    /// The direct children of a directory: absolute, sorted by their bytes, each once. Uncommitted files may be left
    /// out. An empty root lists nothing.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound), [`NotADirectory`](ErrorKind::NotADirectory).
    #[doc(alias = "List")]
    async fn list(&self, path: &StoragePath) -> Result<Vec<StoragePath>>;

    /// All that lies below a directory, files and directories, without the directory itself.
    ///
    /// The order is that of the bytes of the paths, a directory compared as if its path ended in `/`: `/a-b` comes before
    /// `/a` as a directory, which comes before `/a/c`. That is the order of S3's keys. Empty directories and uncommitted
    /// files may be left out. What changes meanwhile may show or not.
    ///
    /// # Errors
    /// The first item is [`PathNotFound`](ErrorKind::PathNotFound) or [`NotADirectory`](ErrorKind::NotADirectory) where
    /// there is no directory.
    #[doc(alias = "Walk")]
    fn walk(&self, path: &StoragePath, options: WalkOptions) -> BoxStream<'static, Result<FileInfo>>;

    /// Gives a file another path. What was at `to` is replaced in one step. Onto itself: no change.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound), which names `from`, with `to` as it was;
    /// [`IsADirectory`](ErrorKind::IsADirectory) if either is a directory; [`NotADirectory`](ErrorKind::NotADirectory);
    /// [`NotCommitted`](ErrorKind::NotCommitted).
    #[doc(alias = "Move")]
    async fn move_to(&self, from: &StoragePath, to: &StoragePath) -> Result<()>;

    /// Removes a file, or a directory and all below it; `/a` spares `/ab`. A directory that can't be removed whole may
    /// be left in part.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound); [`InvalidPath`](ErrorKind::InvalidPath) for the root.
    #[doc(alias = "Delete")]
    async fn delete(&self, path: &StoragePath) -> Result<()>;

    /// A URL at which the backend itself serves this file for a while. The path need not exist.
    ///
    /// # Errors
    /// [`UnsupportedMethod`](ErrorKind::UnsupportedMethod) where the driver can't, or not this method.
    #[doc(alias = "URLFor")]
    #[doc(alias = "RedirectURL")]
    async fn url_for(&self, path: &StoragePath, options: UrlOptions) -> Result<Url> {
        let _ = options;
        Err(unsupported(self.name(), path, "this driver has no URLs of its own"))
    }

    /// Puts the bytes of the sources, in order, at `to`, and returns how many there are. `to` is replaced in one step, and
    /// may be one of the sources; a source may come more than once. One source makes it a copy, none an empty file.
    ///
    /// # Errors
    /// As [`read`](Self::read) for a source, which the error names, and as [`put_content`](Self::put_content) for `to`.
    async fn concat(&self, sources: &[StoragePath], to: &StoragePath) -> Result<u64>;

    /// Ends an uncommitted file: makes it a complete one, of the bytes that it holds. A complete file becomes durable by
    /// it, and does not change otherwise.
    ///
    /// # Errors
    /// [`PathNotFound`](ErrorKind::PathNotFound), [`IsADirectory`](ErrorKind::IsADirectory),
    /// [`Conflict`](ErrorKind::Conflict).
    async fn commit(&self, path: &StoragePath) -> Result<()>;

    /// The content of a small file with its version.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`UnsupportedMethod`](ErrorKind::UnsupportedMethod) without
    /// [`Capabilities::conditional_put`].
    async fn get_versioned(&self, path: &StoragePath) -> Result<(Bytes, Version)> {
        Err(unsupported(self.name(), path, "this driver has no versions"))
    }

    /// As [`put_content`](Self::put_content), if the precondition holds at the moment of the change; gives the version
    /// that this made. Meant for small files.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for [`Precondition::Absent`]; [`Conflict`](ErrorKind::Conflict) for
    /// [`Precondition::Version`], also if the file is gone; [`UnsupportedMethod`](ErrorKind::UnsupportedMethod) without
    /// [`Capabilities::conditional_put`].
    async fn put_content_if(&self, path: &StoragePath, content: Bytes, condition: Precondition) -> Result<Version> {
        let _ = (content, condition);
        Err(unsupported(self.name(), path, "this driver has no versions"))
    }

    /// Removes what crashes left behind and is older than `older_than`, and returns how many things went. Files that the
    /// trait's methods show are not touched, but uncommitted ones that nobody has written to for that long are.
    ///
    /// # Errors
    /// As the backend; what was removed before stays removed.
    async fn sweep(&self, older_than: Duration) -> Result<u64> {
        let _ = older_than;
        Ok(0)
    }
}

fn unsupported(driver: &'static str, path: &StoragePath, why: &str) -> Error {
    Error::new(ErrorKind::UnsupportedMethod).with_detail(why).at(driver, path)
}

/// All bytes of a stream as one; a stream of one piece is not copied.
///
/// # Errors
/// The stream's own.
pub async fn collect(mut stream: ByteStream) -> Result<Bytes> {
    let Some(first) = stream.next().await.transpose()? else {
        return Ok(Bytes::new());
    };
    let Some(second) = stream.next().await.transpose()? else {
        return Ok(first);
    };
    let mut all = BytesMut::with_capacity((first.len() + second.len()).next_power_of_two());
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.freeze())
}
