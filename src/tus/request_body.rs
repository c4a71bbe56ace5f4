//! The body of a request, as the stream that a store takes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use http_body::Body;
use tokio::runtime::Handle;

use crate::driver::ByteStream;
use crate::error::{BoxError, Error};

/// How many bytes of a refused body are read and thrown away, so that the client gets to read the answer.
const LINGER_BYTES: u64 = 16 << 20;

/// How long such a body is read at most.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// The body of a request. Its pieces are passed on as they come.
pub(super) struct RequestBody {
    announced: u64,
    /// `None` where it is known to have no bytes.
    stream: Option<ByteStream>,
}

impl RequestBody {
    pub(super) fn new<B>(head: &Parts, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let announced = body.size_hint();
        if body.is_end_stream() || announced.exact() == Some(0) {
            return Self { announced: 0, stream: None };
        }
        let linger = match head.version {
            Version::HTTP_10 | Version::HTTP_11 if head.headers.contains_key(EXPECT) => Linger::OnceRead,
            Version::HTTP_10 | Version::HTTP_11 => Linger::Always,
            _ => Linger::Never,
        };
        Self { announced: announced.lower(), stream: Some(Box::pin(Pieces { body: Some(Box::pin(body)), linger })) }
    }

    /// How many bytes it brings at least: all of them where the client named a `Content-Length`.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// Whether it is known to have no bytes.
    pub(super) fn is_empty(&self) -> bool {
        self.stream.is_none()
    }

    /// Whether it has no bytes at all. A body of unknown size is asked for its first ones, which are lost by it.
    pub(super) async fn proves_empty(self) -> Result<bool, Error> {
        if self.announced > 0 {
            return Ok(false);
        }
        let mut stream = self.into_stream();
        while let Some(piece) = stream.next().await.transpose()? {
            if !piece.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn into_stream(self) -> ByteStream {
        self.stream.unwrap_or_else(|| futures::stream::empty().boxed())
    }
}

/// The data frames of a body; trailers are passed over.
///
/// An HTTP/1 connection whose request was not read to its end is closed once the answer is out, and bytes that still
/// arrive then make the system reset it, which can take the answer away from the client. So what is left of a body that
/// is dropped before its end goes on being read for a while, and thrown away.
struct Pieces<B: Body<Data = Bytes> + Send + 'static> {
    body: Option<Pin<Box<B>>>,
    linger: Linger,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Linger {
    Always,
    /// The client waits for a `100 Continue`, which the first read makes the server send: there is nothing to throw away
    /// before (RFC 9110, section 10.1.1).
    OnceRead,
    /// HTTP/2 and later reset a single stream, after its answer.
    Never,
}

impl<B> Stream for Pieces<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.linger == Linger::OnceRead {
            this.linger = Linger::Always;
        }
        loop {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Some(Err(error)) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(Error::stream(error))));
                }
                None => {
                    this.body = None;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Send + 'static> Drop for Pieces<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if self.linger == Linger::Always
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(LINGER_TIME, throw_away(body)));
        }
    }
}

async fn throw_away<B: Body<Data = Bytes>>(mut body: Pin<Box<B>>) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, |piece| piece.len() as u64);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
