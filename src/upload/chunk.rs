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
