//! What the errors of the system mean here.

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// The name of the driver, in errors and metrics.
pub(super) const NAME: &str = "filesystem";

/// Says at which path a system call failed.
pub(super) trait At<T> {
    /// The error at this path, where a directory or a file is to be made or changed.
    fn at(self, path: &StoragePath) -> Result<T>;

    /// The error at this path, where something is looked up: nothing is below a file.
    fn found(self, path: &StoragePath) -> Result<T>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, path: &StoragePath) -> Result<T> {
        self.map_err(|errno| error(errno, path))
    }

    fn found(self, path: &StoragePath) -> Result<T> {
        self.map_err(|errno| error(if errno == Errno::NOTDIR { Errno::NOENT } else { errno }, path))
    }
}

/// The error that a failed system call means.
#[cold]
pub(super) fn error(errno: Errno, path: &StoragePath) -> Error {
    let source = std::io::Error::from(errno);
    match errno {
        Errno::LOOP => Error::new(ErrorKind::PermissionDenied)
            .with_detail("a symbolic link is in the way; none is followed below the root")
            .with_source(source),
        // A file is to take the place of a directory that it lies in.
        Errno::NOTEMPTY => Error::new(ErrorKind::IsADirectory).with_source(source),
        Errno::NXIO => not_regular(path).with_source(source),
        Errno::AGAIN => Error::new(ErrorKind::Conflict).with_temporary(true).with_source(source),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Error::io(source).with_temporary(true),
        _ => Error::io(source),
    }
    .at(NAME, path)
}

/// The error of this kind at a path.
#[cold]
pub(super) fn plain(kind: ErrorKind, path: &StoragePath) -> Error {
    Error::new(kind).at(NAME, path)
}

/// Somebody else holds the lock, or came in between.
#[cold]
pub(super) fn conflict(path: &StoragePath, detail: &str) -> Error {
    plain(ErrorKind::Conflict, path).with_detail(detail).with_temporary(true)
}

/// A device, a socket or a pipe is at the path.
#[cold]
pub(super) fn not_regular(path: &StoragePath) -> Error {
    plain(ErrorKind::PermissionDenied, path).with_detail("it is neither a file nor a directory")
}
