//! A TCP connection that neither waits for ever nor takes its last answer back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long and how much a client may go on sending after it was answered.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A connection whose writes fail once the other side takes nothing for too long.
///
/// Closing a socket that has unread bytes resets the connection, and the client may lose the answer that says why its
/// body isn't wanted. So where a body was left unread, the end of the connection waits a little for the client's.
pub(crate) struct Stream {
    inner: TcpStream,
    idle_timeout: Duration,
    write_timer: Option<Pin<Box<Sleep>>>,
    unread: Arc<AtomicBool>,
    linger: Option<Linger>,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl Stream {
    /// `unread` is set by who leaves bytes of the client unread.
    pub(crate) fn new(inner: TcpStream, idle_timeout: Duration, unread: Arc<AtomicBool>) -> Self {
        Self { inner, idle_timeout, write_timer: None, unread, linger: None }
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let timeout = self.idle_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("the client took nothing for {timeout:?}"))))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            timer: Box::pin(tokio::time::sleep_until(Instant::now() + LINGER_TIME)),
            left: LINGER_BYTES,
        });
        let mut scratch = [0; 8 << 10];
        while linger.left > 0 && linger.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}
