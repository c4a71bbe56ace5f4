//! HTTP/1.1 by hand, so that a test decides what goes over the wire and when.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes; past it a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client(BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub(crate) fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes())
    }

    /// The next final answer; to a HEAD it has no body.
    pub(crate) fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let status_line = self.line()?;
            let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                let Some((name, value)) = line.split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if status >= 200 {
                if method != "HEAD" {
                    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
                    answer.body = vec![0; length];
                    self.0.read_exact(&mut answer.body)?;
                }
                return Ok(answer);
            }
        }
    }

    /// Whether the server closed the connection, with no further byte of an answer.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Length", &length));
        }
        self.send_head(method, path, &headers)?;
        self.send(body)?;
        self.answer_to(method)
    }

    /// Creates an upload, perhaps with its first bytes, and returns its path.
    pub(crate) fn create(&mut self, length: u64, body: &[u8]) -> io::Result<String> {
        let length = length.to_string();
        let mut headers = vec![("Upload-Length", &*length)];
        if !body.is_empty() {
            headers.push(CHUNK);
        }
        let answer = self.request("POST", "/files/", &headers, body)?;
        answer.header("location").map(str::to_owned).ok_or_else(|| io::Error::other(format!("{answer:?}")))
    }

    /// The head of a PATCH that announces so many bytes.
    pub(crate) fn begin_patch(&mut self, path: &str, offset: u64, length: u64) -> io::Result<()> {
        let (offset, length) = (offset.to_string(), length.to_string());
        self.send_head("PATCH", path, &[CHUNK, ("Upload-Offset", &offset), ("Content-Length", &length)])
    }

    pub(crate) fn patch(&mut self, path: &str, offset: u64, body: &[u8]) -> io::Result<Answer> {
        self.begin_patch(path, offset, body.len() as u64)?;
        self.send(body)?;
        self.answer_to("PATCH")
    }

    /// Where an upload stands.
    pub(crate) fn offset(&mut self, path: &str) -> io::Result<u64> {
        let answer = self.request("HEAD", path, &[], b"")?;
        answer.offset().ok_or_else(|| io::Error::other(format!("{answer:?}")))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

const CHUNK: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    pub(crate) fn offset(&self) -> Option<u64> {
        self.header("upload-offset")?.parse().ok()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
