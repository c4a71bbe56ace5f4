//! Streams that are driven by hand, to hold a write open at any point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::context::{Context, path};
use crate::driver::{ByteStream, WriteOptions};
use crate::error::{Error, Result};

/// The failure of a stream in these cases.
#[derive(Debug, thiserror::Error)]
#[error("the client went away")]
pub(super) struct Broken;

/// A stream that gives these bytes and then fails.
pub(super) fn failing(bytes: ByteStream) -> ByteStream {
    bytes.chain(stream::iter([Err(Error::stream(Broken))])).boxed()
}

/// A write that takes its stream from the test's hand.
pub(super) struct OpenWrite {
    feed: UnboundedSender<Result<Bytes>>,
    sent: u64,
    progress: Arc<Progress>,
    write: JoinHandle<Result<u64>>,
}

#[derive(Default)]
struct Progress {
    /// How many pieces the driver has asked for; `OVER` once the write ended.
    asked: AtomicU64,
    changed: Notify,
}

const OVER: u64 = u64::MAX;

impl Progress {
    fn set(&self, asked: u64) {
        self.asked.store(asked, Ordering::SeqCst);
        self.changed.notify_one();
    }
}

/// Marks the end of a write, also of one that is dropped or panics.
struct End(Arc<Progress>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set(OVER);
    }
}

impl OpenWrite {
    /// Starts a write, and returns once the driver asks for the first piece or gave up.
    pub(super) async fn start(t: &Context, at: &str, offset: u64, options: WriteOptions) -> Self {
        let (feed, mut pieces) = unbounded();
        let progress = Arc::new(Progress::default());
        let (asking, end) = (progress.clone(), End(progress.clone()));
        let mut given = 0;
        let stream = stream::poll_fn(move |cx| {
            let next = pieces.poll_next_unpin(cx);
            match next.is_pending() {
                true => asking.set(given + 1),
                false => given += 1,
            }
            next
        });
        let (driver, path) = (t.driver(), path(at));
        let write = tokio::spawn(async move {
            let _end = end;
            driver.write_stream(&path, offset, stream.boxed(), options).await
        });
        let this = Self { feed, sent: 0, progress, write };
        this.settled().await;
        this
    }

    /// Waits until the driver wants more than it was given, or ended.
    async fn settled(&self) {
        while self.progress.asked.load(Ordering::SeqCst) <= self.sent {
            self.progress.changed.notified().await;
        }
    }

    /// Hands over a piece, and returns once the driver took it and asks for more, or gave up.
    pub(super) async fn send(&mut self, piece: impl Into<Bytes>) {
        // A driver that gave up no longer listens; what it says of that shows at the end.
        let _ = self.feed.unbounded_send(Ok(piece.into()));
        self.sent += 1;
        self.settled().await;
    }

    /// Whether the write ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.progress.asked.load(Ordering::SeqCst) == OVER
    }

    /// Ends the stream well.
    pub(super) async fn finish(self) -> Result<u64> {
        drop(self.feed);
        self.write.await.expect("write_stream does not panic")
    }

    /// Ends the stream by a failure.
    pub(super) async fn fail(self) -> Result<u64> {
        let _ = self.feed.unbounded_send(Err(Error::stream(Broken)));
        self.finish().await
    }

    /// Drops the future of the write where it is.
    pub(super) async fn cut(self) {
        self.write.abort();
        let _ = self.write.await;
    }
}
