//! One writer for an upload.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::task::AtomicWaker;

use super::{UploadError, UploadId};

/// Sees to it that an upload has one writer at a time, and that who comes last gets it: a request for a locked upload asks
/// the holder to let go.
///
/// It spares a client that comes back the wait for its own broken request. Bytes are safe without it: of two writers at one
/// offset only one succeeds, where the driver has [`exclusive_writers`](crate::Capabilities::exclusive_writers). Where
/// several processes share uploads, implement it over something that they share, so that the holder is found
/// wherever it runs.
#[async_trait]
pub trait Locker: fmt::Debug + Send + Sync + 'static {
    /// Locks an upload, which need not exist. If it is locked, asks the holder to let go ([`StopSignal::stop`]) and waits
    /// for that. A future that is dropped leaves nothing locked.
    ///
    /// # Errors
    /// [`Locked`](super::UploadErrorKind::Locked) if the holder did not let go within `timeout`.
    async fn lock(&self, id: &UploadId, timeout: Duration) -> Result<UploadLock, UploadError>;
}

/// Holds an upload locked until it is dropped.
pub struct UploadLock {
    signal: StopSignal,
    _release: Box<dyn Send + Sync>,
}

impl UploadLock {
    /// A lock that is released by dropping `release`, and whose holder is asked to let go by `signal`.
    pub fn new(signal: StopSignal, release: impl Send + Sync + 'static) -> Self {
        Self { signal, _release: Box::new(release) }
    }

    /// What asks this holder to let go.
    pub fn signal(&self) -> &StopSignal {
        &self.signal
    }
}

impl fmt::Debug for UploadLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadLock").field("signal", &self.signal).finish_non_exhaustive()
    }
}

/// Asks the holder of a lock to let go: it takes no more bytes, keeps what it has, and answers
/// [`Stopped`](super::UploadErrorKind::Stopped). Clones ask the same holder.
#[derive(Clone, Default)]
pub struct StopSignal(Arc<Signal>);

#[derive(Default)]
struct Signal {
    cause: AtomicU8,
    waker: AtomicWaker,
}

const GOING_ON: u8 = 0;
const ASKED: u8 = 1;
const ABANDONED: u8 = 2;

/// Why a chunk takes no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StopCause {
    #[error("another request asked for the upload")]
    Asked,
    #[error("the request was dropped")]
    Abandoned,
}

impl StopSignal {
    /// Asks the holder to let go. It costs little, and more than once is as good as once.
    pub fn stop(&self) {
        self.raise(ASKED);
    }

    /// Whether the holder has to let go.
    pub fn is_stopped(&self) -> bool {
        self.cause().is_some()
    }

    /// Tells what goes on without its request that the request is gone.
    pub(super) fn abandon(&self) {
        self.raise(ABANDONED);
    }

    pub(super) fn cause(&self) -> Option<StopCause> {
        match self.0.cause.load(Ordering::Acquire) {
            GOING_ON => None,
            ASKED => Some(StopCause::Asked),
            _ => Some(StopCause::Abandoned),
        }
    }

    /// Ready once the holder has to let go. Only the task that polled last is woken.
    pub(super) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<StopCause> {
        self.0.waker.register(cx.waker());
        self.cause().map_or(Poll::Pending, Poll::Ready)
    }

    fn raise(&self, cause: u8) {
        let first = self.0.cause.compare_exchange(GOING_ON, cause, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.0.waker.wake();
        }
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopSignal").field(&self.cause()).finish()
    }
}
