//! What clients see on real connections: bytes on a socket, served by hyper.

use std::net::SocketAddr;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// A server on a port of its own, for as long as it lives.
struct Server {
    rig: Rig,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn each() -> Vec<Self> {
        let mut servers = Vec::new();
        for rig in Rig::each() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(accept(listener, rig.tus.clone()));
            servers.push(Self { rig, address, _tasks: tasks });
        }
        servers
    }

    async fn connect(&self) -> Client {
        Client { socket: TcpStream::connect(self.address).await.unwrap(), received: Vec::new() }
    }
}

async fn accept(listener: TcpListener, tus: TusService) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let tus = tus.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| tower::Service::call(&mut tus.clone(), request));
            // How a connection ends is what its client sees.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// One connection, spoken to in bytes.
struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends the head of a request: the first line without the version, and the headers beside `Host` and
    /// `Tus-Resumable`.
    async fn head(&mut self, line: &str, headers: &str) {
        let headers = headers.replace('\n', "\r\n");
        let end = if headers.is_empty() { "" } else { "\r\n" };
        self.send(format!("{line} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\n{headers}{end}\r\n")).await;
    }

    /// Sends the head of a PATCH with these further headers.
    async fn patch(&mut self, url: &str, offset: u64, headers: &str) {
        self.head(&format!("PATCH {url}"), &format!("Content-Type: {CHUNK}\nUpload-Offset: {offset}\n{headers}")).await;
    }

    /// More bytes, or `false` at the end of the connection.
    async fn receive(&mut self) -> bool {
        self.socket.read_buf(&mut self.received).await.unwrap() > 0
    }

    /// The next answer; `None` if the connection ends before it.
    async fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        let end = loop {
            match self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end,
                None if !self.receive().await => return None,
                None => {}
            }
        };
        let head = String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        let length = if to_head { 0 } else { length };
        while self.received.len() < length {
            assert!(self.receive().await, "the connection ended within a body");
        }
        Some(Answer { status, headers, body: self.received.drain(..length).collect() })
    }

    async fn answer(&mut self) -> Answer {
        self.try_answer(false).await.unwrap()
    }

    async fn offset(&mut self, url: &str) -> u64 {
        self.head(&format!("HEAD {url}"), "").await;
        let answer = self.try_answer(true).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("upload-offset").parse().unwrap()
    }
}

#[tokio::test]
async fn a_whole_upload_over_one_connection() {
    for server in Server::each().await {
        let mut client = server.connect().await;
        client.head("POST /files/", "Upload-Length: 10\nContent-Length: 0").await;
        let created = client.answer().await;
        assert_eq!((created.status.as_u16(), created.header("content-length")), (201, "0"));
        let url = created.header("location");
        client.patch(url, 0, "Content-Length: 4").await;
        client.send("0123").await;
        assert_eq!(client.answer().await.header("upload-offset"), "4");
        client.patch(url, 4, "Transfer-Encoding: chunked").await;
        client.send("2\r\n45\r\n4;x=y\r\n6789\r\n0\r\nTrailer: x\r\n\r\n").await;
        assert_eq!(client.answer().await.header("upload-offset"), "10");
        assert_eq!(client.offset(url).await, 10);
        client.head(&format!("GET {url}"), "Range: bytes=-3").await;
        let read = client.answer().await;
        assert_eq!((read.status.as_u16(), read.header("content-length"), read.text()), (206, "3", "789"));
        client.head(&format!("DELETE {url}"), "").await;
        assert_eq!(client.answer().await.status, 204);
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_kept_and_goes_on() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut client = server.connect().await;
        client.patch(&url, 0, "Content-Length: 10").await;
        client.send("0123").await;
        client.socket.shutdown().await.unwrap();
        // Whether it answers or not, the server is done with the request when the connection ends.
        while client.receive().await {}
        let mut client = server.connect().await;
        assert_eq!(client.offset(&url).await, 4);
        client.patch(&url, 4, "Content-Length: 6").await;
        client.send("456789").await;
        assert_eq!(client.answer().await.header("upload-offset"), "10");
        assert_eq!(server.rig.send(tus("GET", &url).empty()).await.text(), "0123456789");
    }
}

#[tokio::test]
async fn a_connection_that_stops_within_the_head_changes_nothing() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let before = server.rig.state().await;
        for head in [
            format!("PATCH {url} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\nUpload-Off"),
            format!("PATCH {url} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"),
            "POST /fil".into(),
        ] {
            let mut client = server.connect().await;
            client.send(head).await;
            client.socket.shutdown().await.unwrap();
            while client.receive().await {}
        }
        assert_eq!(server.rig.state().await, before);
        assert_eq!(server.connect().await.offset(&url).await, 0);
    }
}

#[tokio::test]
async fn headers_of_64_kib() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let before = server.rig.state().await;
        let mut client = server.connect().await;
        let filler = "9".repeat(65_536);
        client.patch(&url, 0, &format!("Upload-Length: {filler}\nContent-Length: 0")).await;
        client.answer().await.assert_error(400, "Upload-Length");
        client.head("POST /files/", &format!("Upload-Length: 4\nUpload-Metadata: a {filler}")).await;
        client.answer().await.assert_error(400, "longer than 65536 bytes");
        client.head(&format!("PATCH /files/{filler}"), "Content-Length: 0").await;
        let answer = client.answer().await;
        // hyper's own limit of a URL is as long.
        assert!(matches!(answer.status.as_u16(), 404 | 414), "{answer:?}");
        assert_eq!(server.rig.state().await, before);

        // One that the service doesn't know is none of its business, and one within the limit comes back as it came.
        let mut client = server.connect().await;
        client.patch(&url, 0, &format!("X-Filler: {filler}\nContent-Length: 4")).await;
        client.send("0123").await;
        assert_eq!(client.answer().await.header("upload-offset"), "4");
        let metadata = format!("a {}", "AAAA".repeat(16_000));
        client.head("POST /files/", &format!("Upload-Length: 4\nUpload-Metadata: {metadata}")).await;
        let created = client.answer().await;
        client.head(&format!("HEAD {}", created.header("location")), "").await;
        assert_eq!(client.try_answer(true).await.unwrap().header("upload-metadata"), metadata);
    }
}

#[tokio::test]
async fn a_refused_body_does_not_take_the_answer_away() {
    let megabyte = vec![b'x'; 1 << 20];
    for server in Server::each().await {
        let url = server.rig.create(1 << 30).await;
        let mut client = server.connect().await;
        // Clients that read nothing before all is sent, and then go on with the connection.
        for (offset, framing, status) in
            [(5, "Content-Length: 8388608", 409), (0, "Content-Type: text/plain\nContent-Length: 8388608", 400)]
        {
            client.patch(&url, offset, framing).await;
            for _ in 0..8 {
                client.send(&megabyte).await;
            }
            client.answer().await.assert_error(status, "");
        }
        client.patch(&url, 5, "Transfer-Encoding: chunked").await;
        for _ in 0..8 {
            client.send("100000\r\n").await;
            client.send(&megabyte).await;
            client.send("\r\n").await;
        }
        client.send("0\r\n\r\n").await;
        client.answer().await.assert_error(409, "at 0");
        assert_eq!(client.offset(&url).await, 0);
    }
}

#[tokio::test]
async fn a_chunked_body_past_the_end_is_answered_and_the_connection_goes_on() {
    let megabyte = vec![b'x'; 1 << 20];
    for server in Server::each().await {
        let url = server.rig.create(1 << 20).await;
        let mut client = server.connect().await;
        client.patch(&url, 0, "Transfer-Encoding: chunked").await;
        for _ in 0..4 {
            client.send("100000\r\n").await;
            client.send(&megabyte).await;
            client.send("\r\n").await;
        }
        client.send("0\r\n\r\n").await;
        client.answer().await.assert_error(413, "size exceeded");
        assert_eq!(client.offset(&url).await, 1 << 20);
    }
}

#[tokio::test]
async fn what_follows_a_body_of_announced_length_is_not_part_of_it() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut client = server.connect().await;
        client.patch(&url, 0, "Content-Length: 4").await;
        client.send("0123456789\r\n\r\n").await;
        assert_eq!(client.answer().await.header("upload-offset"), "4");
        assert_eq!(client.answer().await.status, 400);
        assert_eq!(server.connect().await.offset(&url).await, 4);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_past_errors() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut client = server.connect().await;
        client.patch(&url, 5, "Content-Length: 1").await;
        client.send("x").await;
        client.patch(&url, 0, "Content-Length: 4").await;
        client.send("0123").await;
        client.head(&format!("HEAD {url}"), "").await;
        client.head("PUT /files/", "Content-Length: 0").await;
        client.answer().await.assert_error(409, "at 0");
        assert_eq!(client.answer().await.status, 204);
        assert_eq!(client.try_answer(true).await.unwrap().header("upload-offset"), "4");
        client.answer().await.assert_error(405, "POST");
    }
}

#[tokio::test]
async fn who_waits_for_a_continue_is_refused_without_one() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut client = server.connect().await;
        client.patch(&url, 5, "Content-Length: 4\nExpect: 100-continue").await;
        client.answer().await.assert_error(409, "at 0");
        let mut client = server.connect().await;
        client.patch(&url, 0, "Content-Length: 4\nExpect: 100-continue").await;
        assert_eq!(client.answer().await.status, 100);
        client.send("0123").await;
        assert_eq!(client.answer().await.header("upload-offset"), "4");
    }
}

/// A PATCH of 10 bytes that holds the upload, and brought 4 of them.
async fn holder(server: &Server, url: &str) -> Client {
    let mut holder = server.connect().await;
    holder.patch(url, 0, "Content-Length: 10\nExpect: 100-continue").await;
    // The server reads the body: it has the lock.
    assert_eq!(holder.answer().await.status, 100);
    holder.send("0123").await;
    holder
}

#[tokio::test]
async fn a_client_that_comes_back_takes_over() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut old = holder(&server, &url).await;
        let mut new = server.connect().await;
        // An offset that can't be right makes the old request stop, and tells what it kept.
        new.patch(&url, 10, "Content-Length: 0").await;
        let answer = new.answer().await;
        answer.assert_error(409, "at ");
        old.answer().await.assert_error(423, "stopped");
        let offset = new.offset(&url).await;
        assert_eq!(answer.header("upload-offset"), offset.to_string());
        assert!(matches!(offset, 0 | 4), "{offset}");
        new.patch(&url, offset, &format!("Content-Length: {}", 10 - offset)).await;
        new.send(&"0123456789"[offset as usize..]).await;
        assert_eq!(new.answer().await.header("upload-offset"), "10");
        assert_eq!(server.rig.send(tus("GET", &url).empty()).await.text(), "0123456789");
    }
}

#[tokio::test]
async fn a_termination_ends_a_running_chunk() {
    for server in Server::each().await {
        let url = server.rig.create(10).await;
        let mut old = holder(&server, &url).await;
        let mut new = server.connect().await;
        new.head(&format!("DELETE {url}"), "").await;
        assert_eq!(new.answer().await.status, 204);
        old.answer().await.assert_error(423, "stopped");
        assert_eq!(server.rig.state().await, []);
        new.head(&format!("GET {url}"), "").await;
        new.answer().await.assert_error(404, "no such upload");
    }
}

#[tokio::test]
async fn http_2_without_tls() {
    for server in Server::each().await {
        let socket = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
        let _connection = JoinSet::from_iter([connection]);
        let send = async |request: Request<Full<Bytes>>| {
            let (head, body) = client.clone().send_request(request).await.unwrap().into_parts();
            Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
        };
        let created = send(tus("POST", "http://test/files/").header("upload-length", 10).empty()).await;
        assert_eq!(created.status, 201, "{created:?}");
        let url = format!("http://test{}", created.header("location"));
        assert_eq!(send(patch(&url, 0).full("0123")).await.header("upload-offset"), "4");
        send(patch(&url, 0).full("0123")).await.assert_error(409, "at 4");
        send(patch(&url, 4).full("0123456789")).await.assert_error(413, "room for 6");
        assert_eq!(send(patch(&url, 4).full("456789")).await.header("upload-offset"), "10");
        assert_eq!(send(tus("HEAD", &url).empty()).await.header("upload-offset"), "10");
        assert_eq!(send(tus("GET", &url).empty()).await.text(), "0123456789");
    }
}
