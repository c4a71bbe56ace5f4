//! Where blocking work runs: on the async worker while the disk is quick, on the blocking pool while it is slow.
//!
//! A write into the page cache and a look at a cached inode cost less than a hop to another thread. So such work runs
//! inline and is timed. Once it takes long, all of it goes to the pool for a while, and then inline again.
//!
//! What counts is a moving average: a thread that is preempted in the middle of its work looks slow once, a disk that is
//! slow does so most of the time, or at once by far. A long piece takes long on any disk: it tells nothing of this one, so it
//! goes to the pool untimed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::errors::NAME;
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// What a worker can lose on average without its other tasks noticing.
const SLOW: Duration = Duration::from_millis(1);
/// How many pieces of work the average looks back on, roughly.
const WEIGHT: u64 = 8;
/// The most bytes that quick work writes or reads: on a quick disk far less than [`SLOW`].
const LONG: usize = 1 << 20;
/// How long the pool is used after that.
const REST: Duration = Duration::from_secs(1);

/// What kind of work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Usually microseconds: a few system calls, no sync.
    Quick,
    /// Waits for the disk, or takes time by its nature.
    Slow,
}

impl Work {
    /// Work that writes so many bytes, and waits for no disk.
    pub(super) fn writing(bytes: usize) -> Self {
        if bytes > LONG { Self::Slow } else { Self::Quick }
    }
}

/// How quick the disk is.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// Of what work took lately, in nanoseconds. Threads may overwrite each other's samples.
    average: AtomicU64,
    /// In milliseconds since `start`.
    slow_until: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), average: AtomicU64::new(0), slow_until: AtomicU64::new(0) }
    }

    /// Whether quick work goes to the pool at the moment.
    pub(super) fn is_slow(&self) -> bool {
        let until = self.slow_until.load(Ordering::Relaxed);
        until != 0 && u128::from(until) > self.start.elapsed().as_millis()
    }

    /// Runs the work for a path and waits for it. Work that has begun runs to its end, also when this future is dropped.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub(super) async fn run<T, F>(&self, work: Work, path: &StoragePath, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if work == Work::Slow || self.is_slow() {
            return pool(f).await.map_err(|error| error.at(NAME, path));
        }
        let begun = Instant::now();
        let result = f();
        self.note(begun.elapsed());
        Ok(result)
    }

    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let average = self.average.load(Ordering::Relaxed);
        let average = average - average / WEIGHT + took / WEIGHT;
        self.average.store(average, Ordering::Relaxed);
        if u128::from(average) > SLOW.as_nanos() {
            self.note_slow();
        }
    }

    #[cfg(test)]
    pub(super) fn is_slow_for_good(&self) {
        self.slow_until.store(u64::MAX, Ordering::Relaxed);
    }

    #[cold]
    fn note_slow(&self) {
        self.average.store(0, Ordering::Relaxed);
        let until = (self.start.elapsed() + REST).as_millis();
        self.slow_until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

async fn pool<T, F>(f: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Backend)
            .with_detail("the runtime is shutting down")
            .with_temporary(true)
            .with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quick_work_stays_on_its_thread_while_the_disk_is_quick() {
        let pace = Pace::new();
        let path = &StoragePath::root();
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(pace.run(Work::Quick, path, thread).await.unwrap(), here);
        assert_ne!(pace.run(Work::Slow, path, thread).await.unwrap(), here);
        pace.is_slow_for_good();
        assert_ne!(pace.run(Work::Quick, path, thread).await.unwrap(), here);
        pace.slow_until.store(0, Ordering::Relaxed);
        assert_eq!(pace.run(Work::Quick, path, thread).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_long_piece_goes_to_the_pool_and_tells_nothing_of_the_disk() {
        let pace = Pace::new();
        let here = std::thread::current().id();
        let there = pace.run(Work::writing(LONG + 1), &StoragePath::root(), || std::thread::current().id()).await;
        assert_ne!(there.unwrap(), here);
        assert_eq!(pace.average.load(Ordering::Relaxed), 0, "it was timed");
        assert_eq!(Work::writing(LONG), Work::Quick);
    }

    #[test]
    fn one_piece_of_slow_work_is_chance_and_some_are_a_slow_disk() {
        let pace = Pace::new();
        let is_slow = || pace.slow_until.load(Ordering::Relaxed) > 0;
        for _ in 0..1000 {
            pace.note(SLOW / 50);
        }
        pace.note(SLOW * 5);
        assert!(!is_slow());
        pace.note(SLOW * 5);
        assert!(is_slow());
        pace.slow_until.store(0, Ordering::Relaxed);
        pace.note(SLOW * 5);
        assert!(!is_slow(), "it begins anew");
        pace.note(SLOW * 100);
        assert!(is_slow());
    }
}
