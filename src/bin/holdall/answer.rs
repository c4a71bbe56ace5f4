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

/// What is handed out at once: as much as a frame of HTTP/2 has by default (RFC 9113, section 6.5.2). A client is seen to
/// take nothing by the body not being asked, so one that takes its time must not have much to take.
const PIECE: usize = 16 << 10;

struct Watch {
    /// Of the last piece of the inner body.
    left: Bytes,
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

    fn left(&self) -> u64 {
        self.watch.as_ref().map_or(0, |watch| watch.left.len() as u64)
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
        Self { inner, watch: Some(Watch { left: Bytes::new(), unasked, task: task.abort_handle() }) }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(watch) = &mut this.watch else { return Pin::new(&mut this.inner).poll_frame(cx) };
        let polled = if watch.left.is_empty() {
            Pin::new(&mut this.inner).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut watch.left)))))
        };
        *watch.unasked.since() = polled.is_ready().then(Instant::now);
        polled.map_ok(|frame| {
            frame.map_data(|mut piece| {
                watch.left = piece.split_off(piece.len().min(PIECE));
                piece
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, left) = (self.inner.size_hint(), self.left());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + left);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_watched_body_comes_in_small_pieces_and_whole() {
        let content: Vec<u8> = (0..2 * PIECE + 1).map(|at| (at % 251) as u8).collect();
        let mut body = AnswerBody::watched(content.clone().into(), Duration::from_secs(60), Arc::default());
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            received.extend_from_slice(&piece);
            let left = content.len() - received.len();
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left as u64), left == 0));
        }
        assert_eq!(received, content);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_piece_now_and_then_is_not_cut_and_who_takes_none_is() {
        let (timeout, stalled) = (Duration::from_secs(60), Arc::<Notify>::default());
        let mut body = AnswerBody::watched(vec![0; 9 * PIECE].into(), timeout, stalled.clone());
        for _ in 0..5 {
            assert!(tokio::time::timeout(timeout / 2, stalled.notified()).await.is_err());
            body.frame().await.unwrap().unwrap();
        }
        let since = Instant::now();
        stalled.notified().await;
        assert!(since.elapsed() >= timeout);
    }
}
