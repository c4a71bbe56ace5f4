//! The body of an answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http_body::{Frame, SizeHint};

use crate::driver::ByteStream;
use crate::error::{Error, ErrorKind};

/// The body of an answer: nothing, a line of text, or the bytes of an upload. Its size is always known, so that the HTTP
/// server sends a `Content-Length`.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Stream {
        stream: ByteStream,
        left: u64,
    },
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// The bytes of a stream, which brings `length` of them. One that brings fewer ends with an error, so that the client
    /// sees a broken body and not a short one.
    pub fn stream(stream: ByteStream, length: u64) -> Self {
        if length == 0 { Self::empty() } else { Self(Inner::Stream { stream, left: length }) }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let inner = &mut self.get_mut().0;
        match inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Stream { stream, left } => {
                let piece = ready!(Pin::new(stream).poll_next(cx)).unwrap_or_else(|| {
                    Err(Error::new(ErrorKind::Backend).with_detail(format!("it ended {left} bytes too early")))
                });
                match piece {
                    Ok(mut piece) => {
                        piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                        *left -= piece.len() as u64;
                        if *left == 0 {
                            *inner = Inner::Empty;
                        }
                        Poll::Ready(Some(Ok(Frame::data(piece))))
                    }
                    Err(error) => {
                        *inner = Inner::Empty;
                        Poll::Ready(Some(Err(error)))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Inner::Empty => 0,
            Inner::Full(bytes) => bytes.len() as u64,
            Inner::Stream { left, .. } => *left,
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Empty => f.write_str("Body::Empty"),
            Inner::Full(bytes) => f.debug_tuple("Body::Full").field(bytes).finish(),
            Inner::Stream { left, .. } => f.debug_struct("Body::Stream").field("left", left).finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::executor::block_on;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    fn stream(pieces: &'static [&'static [u8]]) -> ByteStream {
        futures::stream::iter(pieces).map(|piece| Ok(Bytes::from_static(piece))).boxed()
    }

    fn read(body: Body) -> Result<Bytes, Error> {
        block_on(body.collect()).map(|all| all.to_bytes())
    }

    #[test]
    fn each_knows_its_exact_size() {
        for (body, size) in [(Body::empty(), 0), ("".into(), 0), ("abc".into(), 3), (Body::stream(stream(&[]), 0), 0)] {
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(size), size == 0), "{body:?}");
            assert_eq!(read(body).unwrap().len() as u64, size);
        }
        let mut body = Body::stream(stream(&[b"ab", b"cde"]), 5);
        assert_eq!(body.size_hint().exact(), Some(5));
        block_on(body.frame()).unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(read(body).unwrap(), "cde");
    }

    #[test]
    fn a_stream_that_ends_too_early_is_an_error_and_one_that_brings_more_is_cut() {
        assert!(read(Body::stream(stream(&[b"ab"]), 3)).unwrap_err().detail().unwrap().contains("1 bytes too early"));
        assert_eq!(read(Body::stream(stream(&[b"ab", b"cd"]), 3)).unwrap(), "abc");
    }
}
