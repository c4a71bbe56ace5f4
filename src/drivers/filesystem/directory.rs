//! The entries of a directory, and what the system says of a file.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat};
use rustix::io::{Errno, Result};

use crate::info::FileInfo;
use crate::path::StoragePath;

/// How a directory is opened to be read, changed and synced.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Some 1,000 names at a time.
const BUFFER: usize = 32 * 1024;

/// Calls `each` with the name and kind of all entries but `.` and `..`, from where the handle stands.
pub(super) fn entries(dir: impl AsFd, mut each: impl FnMut(&CStr, FileType) -> Result<()>) -> Result<()> {
    let mut buffer = Vec::<u8>::with_capacity(BUFFER);
    let buffer: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
    let mut entries = RawDir::new(&dir, buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        each(name, kind)?;
    }
    Ok(())
}

/// A name that shows as a child: a file or a directory, not a link, and one that a path can have.
pub(super) fn child(directory: &StoragePath, name: &str) -> Option<StoragePath> {
    directory.join(name).ok()
}

/// The info of a file or a directory; nothing else has one.
pub(super) fn info(path: StoragePath, stat: &Stat) -> Option<FileInfo> {
    let modified = Some(time(stat.st_mtime, stat.st_mtime_nsec));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(FileInfo::file(path, size(stat), modified)),
        FileType::Directory => Some(FileInfo::directory(path, modified)),
        _ => None,
    }
}

/// Whether a file looks as it did then, as far as size and time of modification tell.
pub(super) fn looks_unchanged(then: &Stat, now: &Stat) -> bool {
    (now.st_size, now.st_mtime, now.st_mtime_nsec) == (then.st_size, then.st_mtime, then.st_mtime_nsec)
}

/// The size of a file in bytes.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// When anything of it last changed, also its name.
pub(super) fn modified_or_changed(stat: &Stat) -> SystemTime {
    time(stat.st_ctime, stat.st_ctime_nsec)
}

/// A time of the system, which may lie before 1970; the fields differ in width between architectures.
fn time(seconds: impl TryInto<i64>, nanoseconds: impl TryInto<u32>) -> SystemTime {
    let seconds = seconds.try_into().unwrap_or(0);
    let nanoseconds = Duration::from_nanos(nanoseconds.try_into().unwrap_or(0).into());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    whole.and_then(|time| time.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
