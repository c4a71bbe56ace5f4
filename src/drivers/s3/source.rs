//! The bytes that a write is given, and those of them that wait for a request.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;

use crate::driver::ByteStream;
use crate::error::{Error, ErrorKind, Result};

/// Pieces under this size are copied together: as slices they could pin buffers many times their size.
const SMALL: usize = 16 << 10;
/// How large what they are copied into is.
const CHUNK: usize = 64 << 10;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Why no more bytes come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The caller's stream failed, or brought more than fits: what came before counts.
    Stream(Error),
    /// What was to stand before the caller's bytes could not be read: nothing counts.
    Prefix(Error),
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Stream(error) | Broken::Prefix(error) => error,
        }
    }
}

/// The caller's stream, with what is to stand before it.
pub(super) struct Source {
    /// Bytes that are not the caller's: what is kept of an object, a gap's zeros.
    prefix: VecDeque<ByteStream>,
    stream: ByteStream,
    peeked: Option<Option<Result<Bytes>>>,
    /// How many bytes may still come.
    room: u64,
    /// How many came from the caller's stream, also those that didn't fit.
    read: u64,
}

impl Source {
    pub(super) fn new(stream: ByteStream, room: u64) -> Self {
        Self { prefix: VecDeque::new(), stream, peeked: None, room, read: 0 }
    }

    /// Puts these bytes before the stream, after what was put there already.
    pub(super) fn after(&mut self, prefix: ByteStream) {
        self.prefix.push_back(prefix);
    }

    /// Puts so many zeros before the stream.
    pub(super) fn after_zeros(&mut self, mut count: u64) {
        if count > 0 {
            self.after(
                stream::iter(std::iter::from_fn(move || {
                    let piece = count.min(CHUNK as u64);
                    count -= piece;
                    (piece > 0).then(|| Ok(Bytes::from_static(ZEROS.get(..piece as usize).unwrap_or_default())))
                }))
                .boxed(),
            );
        }
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Waits for the caller's stream to begin: `true` if it has a byte, `false` if it ended or failed without one.
    pub(super) async fn has_bytes(&mut self) -> bool {
        loop {
            match &self.peeked {
                Some(Some(Ok(piece))) if !piece.is_empty() => return true,
                Some(Some(Ok(_))) | None => self.peeked = Some(self.stream.next().await),
                Some(_) => return false,
            }
        }
    }

    /// The next piece. `None`: the stream ended well.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        while let Some(prefix) = self.prefix.front_mut() {
            match ready!(prefix.poll_next_unpin(cx)) {
                Some(Ok(piece)) => return Poll::Ready(Some(Ok(piece))),
                Some(Err(error)) => return Poll::Ready(Some(Err(Broken::Prefix(error)))),
                None => drop(self.prefix.pop_front()),
            }
        }
        let piece = match self.peeked.take() {
            Some(peeked) => peeked,
            None => ready!(self.stream.poll_next_unpin(cx)),
        };
        Poll::Ready(match piece {
            None => None,
            Some(Err(error)) if error.kind() == ErrorKind::Stream => Some(Err(Broken::Stream(error))),
            Some(Err(error)) => Some(Err(Broken::Stream(Error::stream(error)))),
            Some(Ok(piece)) if piece.len() as u64 <= self.room => {
                self.room -= piece.len() as u64;
                self.read += piece.len() as u64;
                Some(Ok(piece))
            }
            Some(Ok(mut piece)) if self.room > 0 => {
                // What fits comes now, the failure at the next call.
                self.peeked = Some(Some(Ok(piece.split_off(self.room as usize))));
                self.read += self.room;
                self.room = 0;
                Some(Ok(piece))
            }
            Some(Ok(piece)) => {
                self.read += piece.len() as u64;
                let error =
                    Error::new(ErrorKind::SizeExceeded).with_detail("the stream has more bytes than the file may");
                Some(Err(Broken::Stream(error)))
            }
        })
    }
}

/// Bytes that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pieces: VecDeque<Bytes>,
    /// Small pieces, copied; they follow the others.
    small: BytesMut,
    length: u64,
}

impl Buffer {
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len() as u64;
        if piece.len() >= SMALL {
            self.flush();
            self.pieces.push_back(piece);
        } else if !piece.is_empty() {
            if self.small.len() + piece.len() > CHUNK {
                self.flush();
            }
            if self.small.capacity() == 0 {
                // The first is as large as what is there: most appends of a few bytes stop here.
                self.small.reserve(if self.pieces.is_empty() { piece.len() } else { CHUNK });
            }
            self.small.extend_from_slice(&piece);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.small).freeze());
        }
    }

    /// Takes the first `count` bytes, or all.
    pub(super) fn take(&mut self, count: u64) -> Vec<Bytes> {
        self.flush();
        let mut left = count.min(self.length);
        self.length -= left;
        let mut taken = Vec::new();
        while left > 0 {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            if piece.len() as u64 > left {
                self.pieces.push_front(piece.split_off(left as usize));
            }
            left -= piece.len() as u64;
            taken.push(piece);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn stream(pieces: &'static [&'static [u8]]) -> ByteStream {
        stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece)))).boxed()
    }

    #[tokio::test]
    async fn a_source_gives_prefix_and_what_fits_and_counts_the_callers() {
        let mut source = Source::new(stream(&[b"", b"abc", b"def"]), 4);
        source.after(stream(&[b"x"]));
        source.after_zeros(2);
        assert!(source.has_bytes().await);
        let mut all = Vec::new();
        let broken = loop {
            match poll_fn(|cx| source.poll_next(cx)).await {
                Some(Ok(piece)) => all.extend_from_slice(&piece),
                Some(Err(Broken::Stream(error))) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(all, b"x\0\0abcd");
        assert_eq!((broken.kind(), source.read()), (ErrorKind::SizeExceeded, 6));
    }

    #[tokio::test]
    async fn an_empty_stream_has_no_bytes_and_ends_well() {
        let mut source = Source::new(stream(&[b"", b""]), 0);
        assert!(!source.has_bytes().await);
        assert!(poll_fn(|cx| source.poll_next(cx)).await.is_none());
    }

    #[test]
    fn a_buffer_gives_back_what_it_got_in_any_cut() {
        let mut buffer = Buffer::default();
        let mut all = Vec::new();
        for (n, length) in [3, 70_000, 1, 20_000, 15_000, 60_000, 2].into_iter().enumerate() {
            let piece = vec![n as u8; length];
            all.extend_from_slice(&piece);
            buffer.push(piece.into());
        }
        let mut out = Vec::new();
        for cut in [1, 2, 69_999, 50_000, 0, u64::MAX] {
            out.extend(buffer.take(cut).concat());
        }
        assert!(buffer.is_empty());
        assert_eq!(out, all);
    }
}
