//! Accepts connections and serves HTTP/1.1 and, for who begins with its preface, HTTP/2 on them.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body::Body;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use crate::shutdown::{Phase, Shutdown};
use crate::stream::Stream;
use crate::workers::Workers;

/// The most that the request line and headers of a request may have together, in bytes; past it the answer is 431.
const MAX_HEADER_SIZE: usize = 32 << 10;
const MAX_HTTP2_STREAMS: u32 = 100;
/// An HTTP/2 connection that doesn't answer a ping is closed after twice this.
const PING_INTERVAL: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What connections may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
}

/// A connection, as its requests see it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    unread: Arc<AtomicBool>,
    stalled: Arc<Notify>,
}

impl Peer {
    /// Notified, it cuts the connection: the client takes nothing of an answer.
    pub(crate) fn stalled(&self) -> Arc<Notify> {
        self.stalled.clone()
    }

    /// Says whether the client may be sending bytes that nobody will read.
    pub(crate) fn left_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }
}

/// Answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    fn handle(self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves connections until the stop begins, and returns when the last one ended.
pub(crate) async fn serve<H: Handler>(
    listener: TcpListener,
    workers: Arc<Workers>,
    handler: H,
    limits: Limits,
    shutdown: Shutdown,
) {
    // Acquired in pieces of one, so the total has to fit.
    let most = limits.max_connections.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
    let permits = Arc::new(Semaphore::new(most));
    let mut stop = pin!(shutdown.clone().reached(Phase::Draining));
    loop {
        let permit = tokio::select! {
            biased;
            () = &mut stop => break,
            permit = permits.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address)));
        match accepted {
            Ok((stream, address)) => {
                let open = most - permits.available_permits();
                let (handler, limits, shutdown) = (handler.clone(), limits.clone(), shutdown.clone());
                workers.spawn(async move {
                    let _permit = permit;
                    match TcpStream::from_std(stream) {
                        Ok(stream) => {
                            serve_connection(stream, address, handler, &limits, read_buffer(open), shutdown).await;
                        }
                        Err(error) => tracing::error!(%error, "a connection could not be served"),
                    }
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: what is running has to end first.
                tracing::error!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _all_ended = permits.acquire_many(most as u32).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The most bytes that are read at once on a connection that is one of so many: large pieces are cheaper, and there may
/// be two of them for each connection.
fn read_buffer(open: usize) -> usize {
    match open {
        ..=32 => 128 << 10,
        33..=512 => 64 << 10,
        _ => 16 << 10,
    }
}

async fn serve_connection<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    handler: H,
    limits: &Limits,
    read_buffer: usize,
    shutdown: Shutdown,
) {
    let version = tokio::select! {
        version = tokio::time::timeout(limits.header_timeout, is_http2(&stream)) => version,
        () = shutdown.clone().reached(Phase::Draining) => return,
    };
    let Ok(Ok(is_http2)) = version else { return };
    // Answers are written whole; the kernel is not to wait for more.
    let _ = stream.set_nodelay(true);
    // True from the start: the head of a request may be refused too.
    let peer = Peer { address, unread: Arc::new(AtomicBool::new(true)), stalled: Arc::default() };
    let io = TokioIo::new(Stream::new(stream, limits.idle_timeout, peer.unread.clone()));
    let stalled = peer.stalled();
    let service = hyper::service::service_fn(move |request| {
        let response = handler.clone().handle(peer.clone(), request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let ended = if is_http2 {
        let window = 8 * read_buffer as u32;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_connection_window_size(window)
            .initial_stream_window_size(window)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL)
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .max_header_list_size(MAX_HEADER_SIZE as u32)
            .serve_connection(io, service);
        tokio::select! {
            ended = drive(connection, shutdown) => ended,
            () = stalled.notified() => {
                tracing::debug!(peer = %address, "the client took nothing for {:?}", limits.idle_timeout);
                Ok(())
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(MAX_HEADER_SIZE)
            .max_buf_size(read_buffer.max(MAX_HEADER_SIZE))
            .serve_connection(io, service);
        drive(connection, shutdown).await
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, error = &error as &dyn Error, "connection broke");
    }
}

/// Whether a connection begins with the preface of HTTP/2 (RFC 9113, section 3.4). No method of HTTP/1 that is served
/// here begins like it, so few bytes decide.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    const ENOUGH: usize = 4;
    let mut start = [0; ENOUGH];
    let mut pause = Duration::from_millis(1);
    loop {
        match stream.peek(&mut start).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length if !PREFACE.starts_with(&start[..length]) => return Ok(false),
            ENOUGH => return Ok(true),
            // The rest is on its way, and peeking is always ready by now. Who stops here is not to keep this thread busy.
            _ => {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(Duration::from_secs(1));
            }
        }
    }
}

async fn drive<C: GracefulConnection>(connection: C, shutdown: Shutdown) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = shutdown.clone().reached(Phase::Draining) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        ended = connection => ended,
        () = shutdown.reached(Phase::Closing) => Ok(()),
    }
}
