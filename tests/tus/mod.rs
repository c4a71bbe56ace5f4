//! The tus service: what it answers to good and to bad input, on each driver, and what clients see on real connections.

mod connections;
mod download;
mod model;
mod protocol;
mod refusals;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use holdall::drivers::{Durability, FilesystemDriver, InMemoryDriver};
use holdall::tus::{TusBuilder, TusService};
use holdall::upload::{UploadStore, UploadStoreBuilder};
use holdall::{BoxError, StorageDriver, StoragePath, WalkOptions, collect};
use http::request::Builder;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tempfile::TempDir;
use tower::ServiceExt;

/// A service over a fresh driver.
pub(crate) struct Rig {
    tus: TusService,
    driver: Arc<dyn StorageDriver>,
    _directory: Option<TempDir>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Rig {
    /// One for each driver.
    fn each() -> Vec<Self> {
        Self::each_with(|store| store, |tus| tus)
    }

    fn each_with(store: fn(UploadStoreBuilder) -> UploadStoreBuilder, tus: fn(TusBuilder) -> TusBuilder) -> Vec<Self> {
        let directory = TempDir::new().unwrap();
        let filesystem = FilesystemDriver::builder(directory.path()).durability(Durability::None).open().unwrap();
        let drivers: [(Arc<dyn StorageDriver>, Option<TempDir>); 2] =
            [(Arc::new(InMemoryDriver::new()), None), (Arc::new(filesystem), Some(directory))];
        drivers
            .into_iter()
            .map(|(driver, _directory)| {
                let store = store(UploadStore::builder(driver.clone())).build();
                Self { tus: tus(TusService::builder(store)).build(), driver, _directory }
            })
            .collect()
    }

    /// One over this driver.
    pub(crate) fn over(driver: Arc<dyn StorageDriver>) -> Self {
        Self { tus: TusService::new(UploadStore::new(driver.clone())), driver, _directory: None }
    }

    pub(crate) async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = self.tus.clone().oneshot(request).await.unwrap().into_parts();
        let announced = http_body::Body::size_hint(&body).exact().unwrap();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body.len() as u64, announced);
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Creates an upload and returns its URL.
    pub(crate) async fn create(&self, length: u64) -> String {
        let answer = self.send(tus("POST", "/files/").header("upload-length", length).empty()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Creates a finished upload of these bytes and returns its URL.
    async fn finished(&self, metadata: &str, content: &'static str) -> String {
        let request = tus("POST", "/files/")
            .header("upload-length", content.len())
            .header("upload-metadata", metadata)
            .header("content-type", CHUNK)
            .full(content);
        let answer = self.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (201, &*content.len().to_string()));
        answer.header("location").to_owned()
    }

    /// Adds a chunk, which must succeed.
    async fn append(&self, url: &str, offset: u64, content: &'static str) {
        let answer = self.send(patch(url, offset).full(content)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.header("upload-offset"), (offset + content.len() as u64).to_string());
    }

    /// The offset that HEAD tells.
    pub(crate) async fn offset(&self, url: &str) -> u64 {
        let answer = self.send(tus("HEAD", url).empty()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("upload-offset").parse().unwrap()
    }

    /// All files with their contents.
    async fn state(&self) -> Vec<(StoragePath, Bytes)> {
        let files = self.driver.walk(&StoragePath::root(), WalkOptions::default());
        files
            .try_filter(|file| futures::future::ready(!file.is_dir))
            .and_then(async |file| {
                let content = collect(self.driver.read_stream(&file.path, 0).await?).await?;
                Ok((file.path, content))
            })
            .try_collect()
            .await
            .unwrap()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert_eq!(values.next(), None, "{name} came twice");
        value.to_str().unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts an error of this status, in one line of text that holds `part`.
    fn assert_error(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((self.header("tus-resumable"), self.header("cache-control")), ("1.0.0", "no-store"));
        let line = self.text().strip_suffix('\n').unwrap();
        assert!(line.contains(part), "{line}");
        assert!(line.len() < 300 && !line.contains(char::is_control), "{line}");
    }
}

pub(crate) const CHUNK: &str = "application/offset+octet-stream";

/// A request of the protocol.
pub(crate) fn tus(method: &str, url: &str) -> Builder {
    Request::builder().method(method).uri(url).header("tus-resumable", "1.0.0")
}

/// A PATCH, but for its body.
pub(crate) fn patch(url: &str, offset: u64) -> Builder {
    tus("PATCH", url).header("content-type", CHUNK).header("upload-offset", offset)
}

trait WithBody {
    fn full(self, content: &'static str) -> Request<Full<Bytes>>;
    fn empty(self) -> Request<Full<Bytes>>;
    /// A body of unknown size, in these pieces; an error ends it.
    fn pieces(self, pieces: Vec<Result<&'static str, &'static str>>) -> Request<BoxedPieces>;
}

type BoxedPieces = StreamBody<futures::stream::BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

impl WithBody for Builder {
    fn full(self, content: &'static str) -> Request<Full<Bytes>> {
        self.body(Full::from(content)).unwrap()
    }

    fn empty(self) -> Request<Full<Bytes>> {
        self.full("")
    }

    fn pieces(self, pieces: Vec<Result<&'static str, &'static str>>) -> Request<BoxedPieces> {
        let frames = futures::stream::iter(pieces)
            .map(|piece| piece.map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))).map_err(BoxError::from));
        self.body(StreamBody::new(frames.boxed())).unwrap()
    }
}
