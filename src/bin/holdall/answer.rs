//! The body of an answer, with an end to patience.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use holdall::Error;
use holdall::tus::Body;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Bytes;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A body on its way to the connection.
///
/// Over HTTP/1 a client that takes nothing blocks the connection, which sees it. Over HTTP/2 it leaves the connection free
/// and this body unasked, and the file behind it open: so a watch waits beside it.
pub(crate) struct AnswerBody {
    inner: Body,
    watch: Option<Watch>,
}

struct Watch {
    unasked: Arc<Unasked>,
    task: AbortHandle,
}

/// Since when the body waits for the client; `None` while the client waits for the body.
struct Unasked(Mutex<Option<Instant>>);

impl Unasked {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AnswerBody {
    pub(crate) fn unwatched(inner: Body) -> Self {
        Self { inner, watch: None }
    }

    /// Notifies `stalled` once the client took nothing for so long.
    pub(crate) fn watched(inner: Body, idle_timeout: Duration, stalled: Arc<Notify>) -> Self {
        if inner.is_end_stream() {
            return Self::unwatched(inner);
        }
        let unasked = Arc::new(Unasked(Mutex::new(Some(Instant::now()))));
        let watched = unasked.clone();
        let task = tokio::spawn(async move {
            loop {
                let now = Instant::now();
                let end = watched.since().unwrap_or(now) + idle_timeout;
                if end <= now {
                    return stalled.notify_one();
                }
                tokio::time::sleep_until(end).await;
            }
        });
        Self { inner, watch: Some(Watch { unasked, task: task.abort_handle() }) }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Some(watch) = &self.watch {
            *watch.unasked.since() = polled.is_ready().then(Instant::now);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
