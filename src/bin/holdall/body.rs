//! The body of a request, with an end to patience.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, Sleep};

use crate::shutdown::{Phase, Shutdown};

/// A body as it comes from the connection. It ends with an error if no byte comes for too long, or if the server stops.
pub(crate) struct RequestBody {
    inner: Incoming,
    idle_timeout: Duration,
    shutdown: Shutdown,
    fate: Fate,
    /// Made at the first wait: most small bodies are there at once.
    watch: Option<Box<Watch>>,
    waiting: bool,
}

struct Watch {
    idle: Pin<Box<Sleep>>,
    stop: BoxFuture<'static, ()>,
    /// When the wait for the next bytes began.
    since: Instant,
}

/// Whether a body was read to its end, also for who handed it away.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicBool>);

impl Fate {
    fn set_read(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, idle_timeout: Duration, shutdown: Shutdown) -> (Self, Fate) {
        let fate = Fate::default();
        if inner.is_end_stream() {
            fate.set_read();
        }
        (Self { inner, idle_timeout, shutdown, fate: fate.clone(), watch: None, waiting: false }, fate)
    }

    /// Whether to go on waiting for bytes.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let now = Instant::now();
        let watch = self.watch.get_or_insert_with(|| {
            Box::new(Watch {
                idle: Box::pin(tokio::time::sleep_until(now + self.idle_timeout)),
                stop: self.shutdown.clone().reached(Phase::Cutting).boxed(),
                since: now,
            })
        });
        if !self.waiting {
            self.waiting = true;
            watch.since = now;
        }
        if watch.stop.poll_unpin(cx).is_ready() {
            return Err(BodyError::Stopped);
        }
        // The timer is not set back at each piece; when it rings, it is set to what is left.
        while watch.idle.as_mut().poll(cx).is_ready() {
            let end = watch.since + self.idle_timeout;
            if end <= Instant::now() {
                return Err(BodyError::Stalled(self.idle_timeout));
            }
            watch.idle.as_mut().reset(end);
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waiting = false;
                if frame.is_none() || self.inner.is_end_stream() {
                    self.fate.set_read();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
            }
            Poll::Pending => match self.poll_watch(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum BodyError {
    Connection(hyper::Error),
    Stalled(Duration),
    Stopped,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(_) => f.write_str("the connection broke"),
            Self::Stalled(timeout) => write!(f, "no byte came for {timeout:?}"),
            Self::Stopped => f.write_str("the server is stopping"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            _ => None,
        }
    }
}
