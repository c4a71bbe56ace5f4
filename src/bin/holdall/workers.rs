//! Threads that serve connections, each with a runtime of its own: a connection stays with its thread.
//!
//! A runtime that shares its tasks among threads wakes one of them for nearly every piece that arrives, which costs more
//! than the piece does. What waits for a disk goes to the threads that a runtime keeps for that.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How many threads may wait for disks at once, over all.
const BLOCKING_THREADS: usize = 512;

/// The threads; dropped, they end, and with them what they still serve.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropped, it ends the thread.
    _running: oneshot::Sender<()>,
}

impl Workers {
    pub(crate) fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let blocking = (BLOCKING_THREADS / threads).max(16);
        (0..threads.get()).map(|number| Worker::start(number, blocking)).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a connection on the thread that has the fewest.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed)) else {
            return;
        };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(worker.connections.clone());
        worker.runtime.spawn(async move {
            let _counted = counted;
            connection.await;
        });
    }
}

/// A connection that is counted until it is gone.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    fn start(number: usize, blocking_threads: usize) -> io::Result<Self> {
        let name = format!("holdall-{number}");
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking_threads)
            .thread_name(&name)
            .build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        std::thread::Builder::new().name(name).spawn(move || {
            let _ = runtime.block_on(ended);
            // What still waits for a disk that doesn't answer is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, connections: Arc::default(), _running: running })
    }
}
