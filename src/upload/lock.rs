//! One writer for an upload.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{UploadError, UploadId};

/// Sees to it that an upload has one writer at a time, and that who comes last gets it: a request for a locked upload asks
/// the holder to let go.
///
/// Data are safe without it: two writers at one offset never both succeed where the driver says
/// [`exclusive_writers`](crate::Capabilities::exclusive_writers). A locker spares a client that reconnects the wait for
/// its own broken request. Where several processes share uploads, implement it over something that they share.
#[async_trait]
pub trait Locker: fmt::Debug + Send + Sync + 'static {
    /// Locks an upload. If it is locked, asks the holder to let go ([`StopSignal::stop`]) and waits for it.
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
    /// A lock that is released when `release` is dropped, and whose holder is asked to let go by `signal`.
    pub fn new(signal: StopSignal, release: impl Send + Sync + 'static) -> Self {
        Self { signal, _release: Box::new(release) }
    }

    /// Whether the holder was asked to let go.
    pub fn signal(&self) -> &StopSignal {
        &self.signal
    }
}

impl fmt::Debug for UploadLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadLock").field("signal", &self.signal).finish_non_exhaustive()
    }
}

/// Asks the holder of a lock to let go; clones ask the same holder.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<std::sync::atomic::AtomicBool>);

/// Locks within this process.
#[derive(Clone, Debug, Default)]
pub struct MemoryLocker {}

#[async_trait]
impl Locker for MemoryLocker {
    async fn lock(&self, _id: &UploadId, _timeout: Duration) -> Result<UploadLock, UploadError> {
        Ok(UploadLock::new(StopSignal::default(), ()))
    }
}
