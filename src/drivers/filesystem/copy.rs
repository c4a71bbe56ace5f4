//! Moving bytes into files.

use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, Result};

/// What is copied through memory at a time, where the kernel can't copy.
const BUFFER: usize = 256 * 1024;

/// Writes all bytes from `offset` on, and counts what was written, also when it fails.
pub(super) fn write_all(file: impl AsFd, mut bytes: &[u8], mut offset: u64, written: &mut u64) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(&file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                *written += count as u64;
                offset += count as u64;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Copies the first `length` bytes of a file to `offset` of another: by reference or within the kernel where it can.
/// Tells how many there were.
pub(super) fn copy(from: impl AsFd, to: impl AsFd, offset: u64, length: u64) -> Result<u64> {
    let mut done = 0;
    while done < length {
        let count = usize::try_from((length - done).min(1 << 30)).unwrap_or(BUFFER);
        match rustix::fs::copy_file_range(&from, Some(&mut done.clone()), &to, Some(&mut (offset + done)), count) {
            // Some file systems end early.
            Ok(0) => return copy_by_memory(from, to, offset, done, length),
            Ok(count) => done += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::BADF) => {
                return copy_by_memory(from, to, offset, done, length);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

pub(super) fn copy_by_memory(from: impl AsFd, to: impl AsFd, offset: u64, mut done: u64, length: u64) -> Result<u64> {
    let mut buffer = Vec::with_capacity(BUFFER);
    while done < length {
        buffer.clear();
        match rustix::io::pread(&from, spare_capacity(&mut buffer), done) {
            Ok(0) => break,
            Ok(_) => {
                buffer.truncate(usize::try_from(length - done).unwrap_or(BUFFER));
                write_all(&to, &buffer, offset + done, &mut 0)?;
                done += buffer.len() as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
