//! What callers can ask of a driver beside paths and bytes.

use std::fmt;
use std::ops::{Range, RangeFrom, RangeFull};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::info::{FileInfo, Version};
use crate::path::StoragePath;

/// Which bytes of a file to read. Made from `..`, `a..` or `a..b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRange {
    /// From the first to before the second; where the second is missing, to the end.
    Bounded(u64, Option<u64>),
    /// The last so many bytes; the whole file if it is shorter.
    Suffix(u64),
}

impl ReadRange {
    /// The whole file.
    pub const FULL: Self = Self::Bounded(0, None);

    /// The range within a file of `size` bytes, clamped; empty (`start == end`) where nothing of it is there.
    pub fn within(self, size: u64) -> Range<u64> {
        let (start, end) = match self {
            Self::Bounded(start, end) => (start.min(size), end.unwrap_or(size).min(size)),
            Self::Suffix(length) => (size.saturating_sub(length), size),
        };
        start..end.max(start)
    }
}

impl From<RangeFull> for ReadRange {
    fn from(_: RangeFull) -> Self {
        Self::FULL
    }
}

impl From<RangeFrom<u64>> for ReadRange {
    fn from(range: RangeFrom<u64>) -> Self {
        Self::Bounded(range.start, None)
    }
}

impl From<Range<u64>> for ReadRange {
    fn from(range: Range<u64>) -> Self {
        Self::Bounded(range.start, Some(range.end))
    }
}

/// How [`write_stream`](crate::StorageDriver::write_stream) is to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must be there for the write to begin.
    pub expected: Expected,
    /// What a stream that fails leaves behind.
    pub on_failure: OnFailure,
    /// When the file is whole.
    pub completion: Completion,
}

impl WriteOptions {
    /// The same options, expecting this.
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// Holds a write from `offset` on against what is there, before it begins: `current` is the size of the file in
    /// bytes, or `None` where none is. Drivers call it where nobody can come in between.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists), [`InvalidOffset`](ErrorKind::InvalidOffset) (a size other than
    /// expected, or a gap over `max_gap`), [`SizeExceeded`](ErrorKind::SizeExceeded) (`offset` is past
    /// [`Completion::AtSize`]).
    pub fn check(&self, current: Option<u64>, offset: u64, max_gap: u64) -> Result<()> {
        let size = current.unwrap_or(0);
        let fail = |kind, detail: String| Err(Error::new(kind).with_detail(detail).with_size(size));
        match self.expected {
            Expected::Absent if current.is_some() => {
                return fail(ErrorKind::AlreadyExists, format!("it was to be absent, and has {size} bytes"));
            }
            Expected::Size(expected) if size != expected => {
                return fail(ErrorKind::InvalidOffset, format!("it was to have {expected} bytes, and has {size}"));
            }
            _ => {}
        }
        match self.completion {
            Completion::AtSize(end) if offset > end => {
                return fail(ErrorKind::SizeExceeded, format!("offset {offset} is past its final size of {end} bytes"));
            }
            _ => {}
        }
        if offset.saturating_sub(size) > max_gap {
            let detail = format!("offset {offset} is more than {max_gap} bytes past its end at {size}");
            return fail(ErrorKind::InvalidOffset, detail);
        }
        Ok(())
    }

    /// The most bytes that a write from `offset` on may still bring.
    pub fn room(&self, offset: u64) -> u64 {
        match self.completion {
            Completion::AtSize(end) => end.saturating_sub(offset),
            _ => u64::MAX - offset,
        }
    }
}

/// What must be at the path for a write to begin. It is checked under the driver's lock, or by the condition of the
/// request that commits, so that nobody comes in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Anything, or nothing.
    #[default]
    Any,
    /// No file, committed or not; else [`AlreadyExists`](ErrorKind::AlreadyExists).
    Absent,
    /// A file of so many bytes, or no file for 0; else [`InvalidOffset`](ErrorKind::InvalidOffset), which names the size
    /// that is there.
    Size(u64),
}

/// What stays of the bytes of a stream that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// All that arrived.
    #[default]
    KeepPrefix,
    /// None: no byte of the stream counts, and nothing is cut off, before the stream has ended well.
    Discard,
}

/// When a file is whole. Until then it may stay uncommitted: it shows in
/// [`stat`](crate::StorageDriver::stat) with its durable size, grows by
/// [`write_stream`](crate::StorageDriver::write_stream), goes by [`delete`](crate::StorageDriver::delete), and may not be
/// readable, movable or listed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// When this stream ends, well or not: `stat` never reports a size that can't be read.
    #[default]
    EndOfStream,
    /// When it holds so many bytes. One more is [`SizeExceeded`](ErrorKind::SizeExceeded).
    AtSize(u64),
    /// When [`commit`](crate::StorageDriver::commit) is called.
    OnCommit,
}

/// What must be there for [`put_content_if`](crate::StorageDriver::put_content_if).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    Absent,
    /// The file as it was when this version was got.
    Version(Version),
}

/// What [`walk`](crate::StorageDriver::walk) leaves out.
#[derive(Clone, Default)]
pub struct WalkOptions {
    /// Goes on after this entry of an earlier walk: only what sorts after it comes. Only its path and `is_dir` count.
    pub start_after: Option<FileInfo>,
    /// Asked for each directory once it came: `false` skips what is below it. Unset, everything is visited.
    pub descend: Option<Descend>,
}

/// Whether to visit what is below a directory.
pub type Descend = Arc<dyn Fn(&StoragePath) -> bool + Send + Sync>;

impl WalkOptions {
    /// Whether to visit what is below this directory.
    pub fn descends(&self, directory: &StoragePath) -> bool {
        self.descend.as_ref().is_none_or(|descend| descend(directory))
    }
}

impl fmt::Debug for WalkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalkOptions")
            .field("start_after", &self.start_after)
            .field("descend", &self.descend.as_ref().map(|_| ".."))
            .finish()
    }
}

/// What a signed URL is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlOptions {
    /// The request it allows.
    pub method: UrlMethod,
    /// How long it is good for; 20 minutes by default. Backends have limits of their own (S3: 7 days).
    pub expires_in: Duration,
    /// The `Content-Type` of the answer, instead of the stored one.
    pub response_content_type: Option<String>,
    /// The `Content-Disposition` of the answer.
    pub response_content_disposition: Option<String>,
}

impl Default for UrlOptions {
    fn default() -> Self {
        Self {
            method: UrlMethod::Get,
            expires_in: Duration::from_secs(20 * 60),
            response_content_type: None,
            response_content_disposition: None,
        }
    }
}

/// The request that a signed URL allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlMethod {
    /// Reads the file.
    #[default]
    Get,
    /// Asks for its size and time.
    Head,
    /// Replaces it.
    Put,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped() {
        assert_eq!(ReadRange::from(..).within(10), 0..10);
        assert_eq!(ReadRange::from(4..).within(10), 4..10);
        assert_eq!(ReadRange::from(10..).within(10), 10..10);
        assert_eq!(ReadRange::from(99..).within(10), 10..10);
        assert_eq!(ReadRange::from(2..5).within(10), 2..5);
        assert_eq!(ReadRange::from(2..50).within(10), 2..10);
        assert_eq!(ReadRange::Bounded(5, Some(2)).within(10), 5..5);
        assert_eq!(ReadRange::Suffix(3).within(10), 7..10);
        assert_eq!(ReadRange::Suffix(30).within(10), 0..10);
    }

    #[test]
    fn check_names_the_size_that_is_there() {
        let absent = WriteOptions::default().expecting(Expected::Absent);
        assert_eq!(absent.check(Some(0), 0, 0).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(absent.check(None, 0, 0).is_ok());
        let sized = WriteOptions::default().expecting(Expected::Size(3));
        for current in [Some(2), Some(4), None] {
            let error = sized.check(current, 3, 0).unwrap_err();
            assert_eq!((error.kind(), error.size()), (ErrorKind::InvalidOffset, Some(current.unwrap_or(0))));
        }
        assert!(sized.check(Some(3), 3, 0).is_ok());
        let gap = WriteOptions::default();
        assert!(gap.check(Some(3), 13, 10).is_ok());
        assert_eq!(gap.check(Some(3), 14, 10).unwrap_err().kind(), ErrorKind::InvalidOffset);
        let ending = WriteOptions { completion: Completion::AtSize(5), ..WriteOptions::default() };
        assert!(ending.check(Some(5), 5, 0).is_ok());
        assert_eq!(ending.check(Some(6), 6, 0).unwrap_err().kind(), ErrorKind::SizeExceeded);
        assert_eq!((ending.room(2), ending.room(6)), (3, 0));
    }
}
