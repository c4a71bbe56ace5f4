//! Locks that hold between threads and between processes: `flock`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, Result};

/// Locks a file for writing, unless somebody else holds it. The lock goes with the handle.
pub(super) fn try_exclusive(file: impl AsFd) -> Result<bool> {
    try_lock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Locks a file against writers, unless there is one. The lock goes with the handle.
pub(super) fn try_shared(file: impl AsFd) -> Result<bool> {
    try_lock(file, FlockOperation::NonBlockingLockShared)
}

fn try_lock(file: impl AsFd, operation: FlockOperation) -> Result<bool> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits for a lock that is held for microseconds, unless its holder was stopped.
fn wait(timeout: Duration, mut attempt: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(20);
    while !attempt()? {
        if begun.elapsed() > timeout {
            return Err(Errno::AGAIN);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(1));
    }
    Ok(())
}

/// Guards what names stand for. Who lets a name stand for something else shares it; who must not be disturbed between
/// looking at a name and replacing it has it alone.
#[derive(Debug)]
pub(super) struct Names {
    /// The lock file, for all who share the lock in this process.
    file: OwnedFd,
    shared: Mutex<usize>,
    timeout: Duration,
}

const FILE: &str = "names";

impl Names {
    /// Opens the lock file in the directory of temporary files.
    pub(super) fn open(tmp: impl AsFd, timeout: Duration) -> Result<Self> {
        Ok(Self { file: open(tmp)?, shared: Mutex::new(0), timeout })
    }

    /// Waits until nobody has the lock alone. `EAGAIN` after the timeout.
    pub(super) fn share(&self) -> Result<SharedNames<'_>> {
        wait(self.timeout, || {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let locked = *shared > 0 || try_shared(&self.file)?;
            *shared += usize::from(locked);
            Ok(locked)
        })?;
        Ok(SharedNames(self))
    }

    /// Waits until nobody else has the lock, in this process or another. `EAGAIN` after the timeout.
    pub(super) fn alone(&self, tmp: impl AsFd) -> Result<OwnedFd> {
        let file = open(tmp)?;
        wait(self.timeout, || try_exclusive(&file))?;
        Ok(file)
    }
}

fn open(tmp: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(tmp, FILE, flags, Mode::from_raw_mode(0o666))
}

/// The shared lock, until it is dropped.
#[derive(Debug)]
pub(super) struct SharedNames<'a>(&'a Names);

impl Drop for SharedNames<'_> {
    fn drop(&mut self) {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        *shared -= 1;
        if *shared == 0 {
            // Unlocking an open file can't fail.
            _ = rustix::fs::flock(&self.0.file, FlockOperation::Unlock);
        }
    }
}
