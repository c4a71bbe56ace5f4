//! The two ways in: a socket, and object_store's client without one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::S3Server;
use super::answer::Answer;
use super::control::{Failure, Reply};

/// A socket of 127.0.0.1 that the server answers on. Dropped, it and its connections are closed.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Listener {
    pub(super) async fn bind(server: S3Server) -> io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(server, socket));
        Ok(Self { address, _tasks: tasks })
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(server: S3Server, socket: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = socket.accept() => {
                connections.spawn(serve(server.clone(), stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection, until it ends or a fault ends it.
async fn serve(server: S3Server, stream: TcpStream) {
    // Answers are small, and clients wait for them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: http::Request<Incoming>| {
        let server = server.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            match server.handle(None, parts, body).await {
                Reply::Answer(answer, cut) => Ok(response(answer, cut)),
                Reply::Broken(Failure::Timeout) => std::future::pending().await,
                Reply::Broken(Failure::Reset) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                Reply::Broken(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            }
        }
    });
    let mut connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let Err(error) = Pin::new(&mut connection).await else { return };
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    if source.is_some_and(|source| source.kind() == io::ErrorKind::ConnectionReset) {
        let stream = connection.into_parts().io.into_inner();
        let _ = stream.set_zero_linger();
    }
}

/// A body in one piece, or the beginning of one and then an error.
struct Sent {
    bytes: Option<Bytes>,
    cut: bool,
    length: u64,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.bytes.take().filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None => std::mem::take(&mut self.cut).then(|| Err(io::Error::from(io::ErrorKind::ConnectionReset))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }

    fn is_end_stream(&self) -> bool {
        !self.cut && self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }
}

fn response(answer: Answer, cut: Option<u64>) -> Response<Sent> {
    let Answer { status, headers, body } = answer;
    let length = body.len();
    let kept = cut.map_or(length, |cut| length.min(usize::try_from(cut).unwrap_or(usize::MAX)));
    let sent = Sent { bytes: Some(body.slice(..kept)), cut: cut.is_some() && kept < length, length: length as u64 };
    let mut response = Response::new(sent);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    response
}

/// A transport for object_store's clients that leads straight to the server, without a socket. The host of a request
/// is not looked at, but by signatures and for the bucket. Time-outs are not kept.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(super) server: S3Server,
    pub(super) client: Arc<str>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        // A copy, as a socket makes one: what is stored must not pin what the caller holds.
        let body = Bytes::copy_from_slice(&body.collect().await?.to_bytes());
        match self.server.handle(Some(&self.client), parts, body).await {
            Reply::Answer(answer, cut) => {
                let body = |body: Sent| {
                    HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))
                };
                Ok(response(answer, cut).map(body))
            }
            Reply::Broken(failure) => Err(broken(failure)),
        }
    }
}

/// What reqwest would make of it, by way of object_store.
fn broken(failure: Failure) -> HttpError {
    let (kind, error) = match failure {
        Failure::Timeout => (HttpErrorKind::Timeout, io::ErrorKind::TimedOut),
        Failure::Close => (HttpErrorKind::Request, io::ErrorKind::UnexpectedEof),
        _ => (HttpErrorKind::Interrupted, io::ErrorKind::ConnectionReset),
    };
    HttpError::new(kind, io::Error::from(error))
}
