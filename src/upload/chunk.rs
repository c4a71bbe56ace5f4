//! The stream of a chunk on its way to the driver.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::lock::{StopCause, StopSignal};
use super::{UploadError, UploadErrorKind};
use crate::{ByteStream, Error, Result};

/// A chunk's stream that ends with an error as soon as its writer has to let go, or when it brings more than allowed.
pub(super) struct Chunk {
    /// Gone once it ended: that lets go of the connection behind it.
    stream: Option<ByteStream>,
    signal: StopSignal,
    /// How many bytes may still come.
    room: u64,
}

/// The stream brought more bytes than the store takes.
#[derive(Debug, thiserror::Error)]
#[error("it brings more bytes than allowed")]
struct TooLong;

impl Chunk {
    /// At most `room` bytes of the stream, until the signal stops it.
    pub(super) fn new(stream: ByteStream, signal: StopSignal, room: u64) -> Self {
        Self { stream: Some(stream), signal, room }
    }

    fn end(&mut self, cause: impl StdError + Send + Sync + 'static) -> Poll<Option<Result<Bytes>>> {
        self.stream = None;
        Poll::Ready(Some(Err(Error::stream(cause))))
    }
}

impl Stream for Chunk {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(cause) = self.signal.cause().filter(|_| self.stream.is_some()) {
            return self.end(cause);
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        match stream.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(mut piece))) => {
                if piece.len() as u64 > self.room {
                    if self.room == 0 {
                        return self.end(TooLong);
                    }
                    piece.truncate(usize::try_from(self.room).unwrap_or(usize::MAX));
                    self.stream = Some(futures::stream::once(async { Err(Error::stream(TooLong)) }).boxed());
                }
                self.room -= piece.len() as u64;
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(end) => {
                self.stream = None;
                Poll::Ready(end)
            }
            Poll::Pending => match self.signal.poll_stopped(cx) {
                Poll::Ready(cause) => self.end(cause),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

/// Says of a driver's error who ended the stream.
pub(super) fn stream_error(error: Error) -> UploadError {
    let mut cause = error.source();
    let mut kind = UploadErrorKind::Stream;
    while let Some(inner) = cause {
        if inner.is::<TooLong>() {
            kind = UploadErrorKind::SizeExceeded;
        } else if inner.downcast_ref() == Some(&StopCause::Asked) {
            kind = UploadErrorKind::Stopped;
        }
        cause = inner.source();
    }
    UploadError::of_driver(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn body(pieces: &[&'static str]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        futures::stream::iter(pieces).boxed()
    }

    /// What came of a chunk, and how it ended.
    async fn drain(mut chunk: Chunk) -> (String, Option<UploadErrorKind>) {
        let mut text = String::new();
        while let Some(piece) = chunk.next().await {
            match piece {
                Ok(piece) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Stream);
                    assert!(chunk.next().await.is_none());
                    return (text, Some(stream_error(error).kind()));
                }
            }
        }
        (text, None)
    }

    #[tokio::test]
    async fn bytes_up_to_the_limit_come_and_one_more_is_an_error() {
        for (room, expected, end) in [
            (7, "abcdef", None),
            (6, "abcdef", None),
            (5, "abcde", Some(UploadErrorKind::SizeExceeded)),
            (4, "abcd", Some(UploadErrorKind::SizeExceeded)),
            (0, "", Some(UploadErrorKind::SizeExceeded)),
        ] {
            let chunk = Chunk::new(body(&["ab", "", "cd", "ef"]), StopSignal::default(), room);
            assert_eq!(drain(chunk).await, (expected.to_owned(), end), "{room}");
        }
        assert_eq!(drain(Chunk::new(body(&["", ""]), StopSignal::default(), 0)).await, (String::new(), None));
    }

    #[tokio::test]
    async fn a_stopped_chunk_takes_nothing_more_and_says_why() {
        let (asked, abandoned) = (StopSignal::default(), StopSignal::default());
        asked.stop();
        abandoned.abandon();
        let end = |signal| drain(Chunk::new(body(&["ab"]), signal, 9));
        assert_eq!(end(asked).await, (String::new(), Some(UploadErrorKind::Stopped)));
        assert_eq!(end(abandoned).await, (String::new(), Some(UploadErrorKind::Stream)));
    }

    #[tokio::test]
    async fn a_chunk_that_waits_for_bytes_is_woken_to_stop_and_lets_go_of_its_stream() {
        let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Bytes>>();
        let signal = StopSignal::default();
        let draining = tokio::spawn(drain(Chunk::new(receiver.boxed(), signal.clone(), 9)));
        sender.unbounded_send(Ok("ab".into())).unwrap();
        while !sender.is_empty() {
            tokio::task::yield_now().await;
        }
        signal.stop();
        assert_eq!(draining.await.unwrap(), ("ab".to_owned(), Some(UploadErrorKind::Stopped)));
        assert!(sender.is_closed());
    }

    #[tokio::test]
    async fn the_stream_s_own_error_comes_as_it_is() {
        let broken = body(&["ab"]).chain(futures::stream::once(async { Err(Error::stream("reset")) })).boxed();
        let chunk = Chunk::new(broken, StopSignal::default(), 9);
        assert_eq!(drain(chunk).await, ("ab".to_owned(), Some(UploadErrorKind::Stream)));
    }
}
