//! The one error of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::path::{InvalidPath, StoragePath};

/// Any error, owned: what an [`Error`] can have as its source.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with which path on which driver; one word wide.
///
/// Callers match on [`kind`](Error::kind). [`Display`](fmt::Display) names the kind, the path and the driver and leaves
/// the cause to [`source`](StdError::source); neither shows a secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    detail: Option<Box<str>>,
    path: Option<StoragePath>,
    driver: Option<&'static str>,
    temporary: bool,
    bytes_read: u64,
    size: Option<u64>,
    source: Option<BoxError>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Neither a file nor a directory is at the path.
    PathNotFound,
    /// The path is not allowed, here or at all.
    InvalidPath,
    /// The file is not of the size that the caller expected, or a gap would be larger than the driver allows;
    /// [`Error::size`] says how large the file is.
    InvalidOffset,
    /// More bytes than were allowed: the size a file was to complete at, or a limit of the driver.
    SizeExceeded,
    /// This driver, or this instance of it, can't do that; see [`Capabilities`](crate::Capabilities).
    UnsupportedMethod,
    /// The file is still uncommitted and the backend can't show it yet.
    NotCommitted,
    /// There is a file where there should be none.
    AlreadyExists,
    /// Somebody else is writing, or has written in between. What they did stands.
    Conflict,
    /// A directory is where a file is needed.
    IsADirectory,
    /// A file is where a directory is needed.
    NotADirectory,
    /// The backend denies access.
    PermissionDenied,
    /// The backend is full, or a quota is.
    NoSpace,
    /// The backend did not answer in time.
    Timeout,
    /// The stream that the caller handed in failed; its own error is the source.
    Stream,
    /// Any other failure of the backend; its own error is the source.
    Backend,
}

impl ErrorKind {
    /// The kind in words, as [`Error`] prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PathNotFound => "path not found",
            Self::InvalidPath => "invalid path",
            Self::InvalidOffset => "invalid offset",
            Self::SizeExceeded => "size exceeded",
            Self::UnsupportedMethod => "unsupported method",
            Self::NotCommitted => "not committed yet",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict with another writer",
            Self::IsADirectory => "is a directory",
            Self::NotADirectory => "not a directory",
            Self::PermissionDenied => "permission denied",
            Self::NoSpace => "no space left",
            Self::Timeout => "timed out",
            Self::Stream => "the stream to write failed",
            Self::Backend => "the backend failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// An error of this kind, with nothing else known yet. [`ErrorKind::Timeout`] is taken as temporary.
    #[cold]
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: None,
            path: None,
            driver: None,
            temporary: kind == ErrorKind::Timeout,
            bytes_read: 0,
            size: None,
            source: None,
        }))
    }

    /// The failure of a stream that is handed to a driver: what a body's own error becomes.
    #[cold]
    pub fn stream(source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Stream).with_source(source)
    }

    /// Maps an I/O error to the named kind it means, or to [`ErrorKind::Backend`]; the error itself becomes the source.
    #[cold]
    pub fn io(source: io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::PathNotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::IsADirectory => ErrorKind::IsADirectory,
            Io::NotADirectory => ErrorKind::NotADirectory,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
            Io::FileTooLarge => ErrorKind::SizeExceeded,
            Io::InvalidFilename => ErrorKind::InvalidPath,
            Io::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Backend,
        };
        let temporary = matches!(source.kind(), Io::Interrupted | Io::TimedOut | Io::WouldBlock | Io::ResourceBusy);
        Self::new(kind).with_source(source).with_temporary(temporary)
    }

    /// The same error with a sentence that says what was wrong with what.
    pub fn with_detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same error at `path` of the driver of this name, unless it names a path or a driver already.
    pub fn at(mut self, driver: &'static str, path: &StoragePath) -> Self {
        self.0.driver.get_or_insert(driver);
        self.0.path.get_or_insert_with(|| path.clone());
        self
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, saying whether trying again may help.
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// The same error, naming how many bytes were read from the caller's stream before it.
    pub fn with_bytes_read(mut self, bytes: u64) -> Self {
        self.0.bytes_read = bytes;
        self
    }

    /// The same error, naming the size of the file that is there, in bytes.
    pub fn with_size(mut self, size: u64) -> Self {
        self.0.size = Some(size);
        self
    }

    /// What callers match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The path it is about, where there is one: of a call with two paths the one at fault.
    pub fn path(&self) -> Option<&StoragePath> {
        self.0.path.as_ref()
    }

    /// The name of the driver that failed ([`StorageDriver::name`](crate::StorageDriver::name)).
    pub fn driver(&self) -> Option<&'static str> {
        self.0.driver
    }

    /// Whether the same call may succeed later, as the layer that saw the failure judged it.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// How many bytes had been read from the caller's stream; 0 for calls without one.
    pub fn bytes_read(&self) -> u64 {
        self.0.bytes_read
    }

    /// The size in bytes of the file that is there, where the failure is about it.
    pub fn size(&self) -> Option<u64> {
        self.0.size
    }

    /// What was wrong, in a sentence, where more is known than the kind.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, detail, path, driver, .. } = &*self.0;
        if let Some(driver) = driver {
            write!(f, "{driver}: ")?;
        }
        if let Some(path) = path {
            write!(f, "{path}: ")?;
        }
        f.write_str(kind.as_str())?;
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind);
        if let Some(driver) = inner.driver {
            out.field("driver", &driver);
        }
        if let Some(path) = &inner.path {
            out.field("path", path);
        }
        if let Some(detail) = &inner.detail {
            out.field("detail", detail);
        }
        if let Some(size) = inner.size {
            out.field("size", &size);
        }
        out.field("bytes_read", &inner.bytes_read).field("temporary", &inner.temporary);
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<InvalidPath> for Error {
    fn from(source: InvalidPath) -> Self {
        Self::new(ErrorKind::InvalidPath).with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_says_kind_path_and_driver_and_leaves_the_cause_to_source() {
        let path = StoragePath::parse("/a/b").unwrap();
        let error = Error::io(io::Error::other("the disk is on fire")).at("filesystem", &path);
        assert_eq!(error.to_string(), "filesystem: /a/b: the backend failed");
        assert_eq!(error.source().unwrap().to_string(), "the disk is on fire");
    }

    #[test]
    fn the_first_place_named_stands() {
        let (inner, outer) = (StoragePath::parse("/inner").unwrap(), StoragePath::parse("/outer").unwrap());
        let error = Error::new(ErrorKind::Conflict).at("memory", &inner).at("prefix", &outer);
        assert_eq!((error.driver(), error.path()), (Some("memory"), Some(&inner)));
    }

    #[test]
    fn a_disk_that_is_full_is_no_space_and_not_temporary() {
        let error = Error::io(io::ErrorKind::StorageFull.into());
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::NoSpace, false));
    }
}
