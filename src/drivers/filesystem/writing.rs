//! The files that an instance is writing: how much of each is known to be durable, whoever made it so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;
use rustix::io::Result;

/// The files that are being written, by device and inode.
#[derive(Debug, Default)]
pub(super) struct Writing(Mutex<HashMap<(u64, u64), Arc<Progress>>>);

/// How much of a file that is being written is durable.
#[derive(Debug)]
pub(super) struct Progress {
    /// Held over each sync of the file, and over what follows from it: a failed sync is reported once, to whoever asks
    /// first, and nobody may take the next one for good before the bytes are taken back.
    syncing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The size up to which everything is durable, and may have been reported.
    floor: u64,
    /// How often the file was cut.
    cuts: u64,
    /// Whether a sync failed that somebody else asked for.
    failed: bool,
}

impl Writing {
    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), Arc<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a write. Who begins it holds the file's lock.
    pub(super) fn begin(&self, stat: &Stat, floor: u64) -> Arc<Progress> {
        let state = Mutex::new(State { floor, cuts: 0, failed: false });
        let progress = Arc::new(Progress { syncing: Mutex::new(()), state });
        self.lock().insert((stat.st_dev, stat.st_ino), Arc::clone(&progress));
        progress
    }

    pub(super) fn get(&self, stat: &Stat) -> Option<Arc<Progress>> {
        self.lock().get(&(stat.st_dev, stat.st_ino)).cloned()
    }

    /// Ends a write, before its lock goes.
    pub(super) fn end(&self, stat: &Stat) {
        self.lock().remove(&(stat.st_dev, stat.st_ino));
    }
}

impl Progress {
    /// Waits until nobody else syncs the file.
    pub(super) fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn floor(&self) -> u64 {
        self.state().floor
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// A sync failed that somebody else than the writer asked for.
    pub(super) fn fail(&self) {
        self.state().failed = true;
    }

    /// Changes the size of the file to `to`: what comes after that is no longer durable.
    pub(super) fn cut(&self, to: u64, cut: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.state();
        state.floor = state.floor.min(to);
        state.cuts += 1;
        cut()
    }

    /// Looks at the file where it is not being cut, and tells how often it was before.
    pub(super) fn look<T>(&self, look: impl FnOnce() -> T) -> (T, u64) {
        let state = self.state();
        (look(), state.cuts)
    }

    /// Everything up to `size` is durable, unless the file was cut since it had that size.
    pub(super) fn raise(&self, size: u64, cuts: u64) {
        let mut state = self.state();
        if state.cuts == cuts {
            state.floor = state.floor.max(size);
        }
    }
}
