//! Resumable uploads over several drivers.

mod ends;
mod remote;
mod remotely;
mod shared;
mod writing;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use holdall::upload::{ChunkOptions, Metadata, NewUpload, Upload, UploadError, UploadErrorKind, UploadId, UploadStore};
use holdall::{ByteStream, Error, ReadRange, StorageDriver, StoragePath, collect};
use tokio::sync::mpsc;

pub(crate) use remote::Remote;

/// A driver, and what must live as long as it.
pub(crate) struct Backend {
    pub(crate) driver: Arc<dyn StorageDriver>,
    _directory: Option<tempfile::TempDir>,
}

impl Backend {
    fn of(driver: impl StorageDriver) -> Self {
        Self { driver: Arc::new(driver), _directory: None }
    }

    pub(crate) fn remote() -> Self {
        Self::of(Remote::default())
    }

    pub(crate) fn memory() -> Self {
        Self::of(holdall::drivers::InMemoryDriver::new())
    }

    pub(crate) fn filesystem() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let driver = holdall::drivers::FilesystemDriver::open(directory.path()).unwrap();
        Self { driver: Arc::new(driver), _directory: Some(directory) }
    }

    /// Uploads in `/up`, with the defaults.
    pub(crate) fn store(&self) -> UploadStore {
        UploadStore::builder(self.driver.clone()).prefix(path("/up")).build()
    }

    /// Uploads in `/up`, which expire at once if they are not finished.
    pub(crate) fn expiring(&self) -> UploadStore {
        UploadStore::builder(self.driver.clone()).prefix(path("/up")).expires_after(Duration::ZERO).build()
    }

    /// The files in `/up`, and none if that is gone.
    pub(crate) async fn files(&self) -> Vec<String> {
        let files = self.driver.list(&path("/up")).await.unwrap_or_default();
        files.iter().map(|file| file.file_name().unwrap().to_owned()).collect()
    }
}

/// One test for each function and each driver.
macro_rules! on_each_driver {
    ($($test:ident)*) => {
        mod on_remote {
            $(#[tokio::test] async fn $test() { super::$test(&crate::upload::Backend::remote()).await })*
        }
        mod on_memory {
            $(#[tokio::test] async fn $test() { super::$test(&crate::upload::Backend::memory()).await })*
        }
        mod on_filesystem {
            $(#[tokio::test] async fn $test() { super::$test(&crate::upload::Backend::filesystem()).await })*
        }
    };
}
pub(crate) use on_each_driver;

pub(crate) fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

pub(crate) fn id(text: &str) -> UploadId {
    UploadId::parse(text).unwrap()
}

pub(crate) fn info_path(id: &UploadId) -> StoragePath {
    path(&format!("/up/{id}.info"))
}

pub(crate) fn of_length(length: impl Into<Option<u64>>) -> NewUpload {
    NewUpload { length: length.into(), ..NewUpload::default() }
}

pub(crate) fn body(text: &'static str) -> ByteStream {
    stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed()
}

/// A body whose connection breaks after this text.
pub(crate) fn broken(text: &'static str) -> ByteStream {
    body(text).chain(stream::once(async { Err(Error::stream("the connection broke")) })).boxed()
}

pub(crate) async fn write(
    store: &UploadStore,
    id: &UploadId,
    offset: u64,
    text: &'static str,
) -> Result<Upload, UploadError> {
    store.write_chunk(id, offset, body(text), ChunkOptions::default()).await
}

pub(crate) async fn read(store: &UploadStore, id: &UploadId) -> Bytes {
    let (upload, file, stream) = store.reader(id, ReadRange::FULL).await.unwrap();
    assert_eq!((upload.is_finished(), upload.offset, upload.expires), (true, file.size, None));
    collect(stream).await.unwrap()
}

#[track_caller]
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, UploadError>) -> UploadErrorKind {
    result.unwrap_err().kind()
}

/// A body that the test feeds.
pub(crate) struct Fed {
    pieces: mpsc::UnboundedSender<Bytes>,
    asked: mpsc::UnboundedReceiver<()>,
}

impl Fed {
    pub(crate) fn new() -> (Self, ByteStream) {
        let (pieces, receiver) = mpsc::unbounded_channel();
        let (asking, asked) = mpsc::unbounded_channel();
        let stream = stream::unfold((receiver, asking), |(mut receiver, asking)| async move {
            asking.send(()).ok();
            Some((Ok(receiver.recv().await?), (receiver, asking)))
        });
        (Self { pieces, asked }, stream.boxed())
    }

    /// Hands in a piece.
    pub(crate) fn feed(&self, text: &'static str) {
        self.pieces.send(text.into()).unwrap();
    }

    /// Waits until the writer took all pieces and asks for one more; false if it let go of the stream.
    pub(crate) async fn asked(&mut self, pieces: usize) -> bool {
        for _ in 0..=pieces {
            if self.asked.recv().await.is_none() {
                return false;
            }
        }
        true
    }
}

/// Rewrites the info of an upload as if it had been created an hour ago, to expire after half of one.
pub(crate) async fn backdate(driver: &dyn StorageDriver, id: &UploadId) {
    let info = driver.get_content(&info_path(id)).await.unwrap();
    let mut info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    info["created"] = (info["created"].as_u64().unwrap() - 3_600_000).into();
    info["expires_after"] = 1_800_000.into();
    driver.put_content(&info_path(id), info.to_string().into()).await.unwrap();
}

on_each_driver! {
    an_upload_in_chunks_reads_back_with_its_metadata_byte_for_byte
    an_upload_survives_that_its_store_is_opened_again
    creation_can_bring_the_first_chunk
    an_upload_of_length_0_is_finished_by_its_creation
    own_ids_and_paths_are_taken_once
    a_path_where_infos_are_is_refused
    nothing_over_the_maximum_is_created
    an_info_that_is_torn_or_foreign_is_named_and_left_alone
}

async fn an_upload_in_chunks_reads_back_with_its_metadata_byte_for_byte(backend: &Backend) {
    let store = backend.store();
    let text = "filename d29ybGQucGRm, is_confidential,raw /wD+";
    let metadata = Metadata::parse(text).unwrap();
    let created = store.create(NewUpload { metadata, ..of_length(11) }).await.unwrap();
    let id = &created.info.id;
    assert_eq!((created.offset, created.is_finished(), created.expires), (0, false, None));
    assert_eq!(store.info(id).await.unwrap(), created);
    assert_eq!(kind(store.reader(id, ReadRange::FULL).await.map(drop)), UploadErrorKind::NotFinished);
    let upload = write(&store, id, 0, "hello").await.unwrap();
    assert_eq!((upload.offset, upload.is_finished()), (5, false));
    let error = store.reader(id, ReadRange::FULL).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.offset(), error.id()), (UploadErrorKind::NotFinished, Some(5), Some(id)));
    assert_eq!(write(&store, id, 5, "").await.unwrap().offset, 5);
    let upload = write(&store, id, 5, " world").await.unwrap();
    assert!(upload.is_finished());
    assert_eq!(store.info(id).await.unwrap(), upload);
    assert_eq!(read(&store, id).await, "hello world");
    let (upload, file, stream) = store.reader(id, ReadRange::from(4..7)).await.unwrap();
    assert_eq!((file.size, collect(stream).await.unwrap()), (11, "o w".into()));
    assert_eq!(upload.info.metadata.as_str(), text);
    assert_eq!(upload.info.metadata.get("raw").unwrap(), [255, 0, 254]);
}

async fn an_upload_survives_that_its_store_is_opened_again(backend: &Backend) {
    let new = NewUpload { metadata: Metadata::parse("a Yg==").unwrap(), partial: true, ..of_length(6) };
    let created = backend.expiring_later().create(new).await.unwrap();
    let id = &created.info.id;
    write(&backend.store(), id, 0, "one").await.unwrap();
    let store = backend.store();
    let upload = store.info(id).await.unwrap();
    assert_eq!((&upload.info, upload.offset), (&created.info, 3));
    assert!(upload.expires.unwrap() >= created.expires.unwrap());
    write(&store, id, 3, "two").await.unwrap();
    assert_eq!(read(&backend.store(), id).await, "onetwo");
}

async fn creation_can_bring_the_first_chunk(backend: &Backend) {
    let store = backend.store();
    let upload = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap();
    assert_eq!((upload.offset, upload.is_finished()), (3, false));
    assert!(write(&store, &upload.info.id, 3, "two").await.unwrap().is_finished());
    assert_eq!(read(&store, &upload.info.id).await, "onetwo");

    let whole = store.create_with(of_length(3), body("all"), ChunkOptions::default()).await.unwrap();
    assert!(whole.is_finished());
    assert_eq!(read(&store, &whole.info.id).await, "all");

    let error = store.create_with(of_length(6), broken("on"), ChunkOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), UploadErrorKind::Stream);
    let id = &error.created().unwrap().id;
    assert_eq!(store.info(id).await.unwrap().offset, 2);
    write(&store, id, 2, "etwo").await.unwrap();
    assert_eq!(read(&store, id).await, "onetwo");

    let before = backend.files().await;
    let options = ChunkOptions { announced: 4, ..ChunkOptions::default() };
    let error = store.create_with(of_length(3), body("four"), options).await.unwrap_err();
    assert_eq!((error.kind(), error.created()), (UploadErrorKind::SizeExceeded, None));
    let options = ChunkOptions { length: Some(4), ..ChunkOptions::default() };
    let error = store.create_with(of_length(3), body("four"), options).await.unwrap_err();
    assert_eq!((error.kind(), error.created()), (UploadErrorKind::LengthMismatch, None));
    assert_eq!(backend.files().await, before);
}

async fn an_upload_of_length_0_is_finished_by_its_creation(backend: &Backend) {
    let store = backend.store();
    let upload = store.create(of_length(0)).await.unwrap();
    assert!(upload.is_finished());
    assert_eq!(read(&store, &upload.info.id).await, "");
    assert!(backend.driver.stat(&upload.info.path).await.is_ok());
    assert!(write(&store, &upload.info.id, 0, "").await.unwrap().is_finished());
    assert_eq!(kind(write(&store, &upload.info.id, 0, "x").await), UploadErrorKind::SizeExceeded);
    let upload = store.create_with(of_length(0), body(""), ChunkOptions::default()).await.unwrap();
    assert_eq!(read(&store, &upload.info.id).await, "");
}

async fn own_ids_and_paths_are_taken_once(backend: &Backend) {
    let store = backend.store();
    let named = || NewUpload { id: Some(id("mine")), ..of_length(3) };
    write(&store, &store.create(named()).await.unwrap().info.id, 0, "one").await.unwrap();
    assert_eq!(kind(store.create(named()).await), UploadErrorKind::AlreadyExists);
    assert_eq!(read(&store, &id("mine")).await, "one");

    let placed = || NewUpload { path: Some(path("/elsewhere/video")), ..of_length(3) };
    let upload = store.create(placed()).await.unwrap();
    write(&store, &upload.info.id, 0, "two").await.unwrap();
    assert_eq!(backend.driver.get_content(&path("/elsewhere/video")).await.unwrap(), "two");
    assert_eq!(kind(store.create(placed()).await), UploadErrorKind::AlreadyExists);
    assert_eq!(read(&backend.store(), &upload.info.id).await, "two");

    backend.driver.put_content(&path("/up/orphan"), "three".into()).await.unwrap();
    assert_eq!(
        kind(store.create(NewUpload { id: Some(id("orphan")), ..of_length(9) }).await),
        UploadErrorKind::AlreadyExists
    );
}

async fn a_path_where_infos_are_is_refused(backend: &Backend) {
    let store = backend.store();
    for place in ["/", "/up/other.info"] {
        let new = NewUpload { path: Some(path(place)), ..of_length(3) };
        assert_eq!(kind(store.create(new).await), UploadErrorKind::InvalidId, "{place}");
    }
    let deep = UploadStore::builder(backend.driver.clone()).prefix(path(&"/abcdefg".repeat(93))).build();
    assert_eq!(kind(deep.create(of_length(3)).await), UploadErrorKind::InvalidId);
    assert_eq!(backend.files().await, [""; 0]);
}

async fn nothing_over_the_maximum_is_created(backend: &Backend) {
    let store = UploadStore::builder(backend.driver.clone()).prefix(path("/up")).max_size(3).build();
    assert_eq!(store.max_size(), Some(3));
    assert_eq!(kind(store.create(of_length(4)).await), UploadErrorKind::SizeExceeded);
    let options = ChunkOptions { announced: 4, ..ChunkOptions::default() };
    assert_eq!(kind(store.create_with(of_length(None), body("four"), options).await), UploadErrorKind::SizeExceeded);
    assert_eq!(backend.files().await, [""; 0]);
    assert!(store.create(of_length(3)).await.is_ok());
}

async fn an_info_that_is_torn_or_foreign_is_named_and_left_alone(backend: &Backend) {
    let store = backend.expiring();
    let large =
        r#"{"version":1,"id":"large","length":9,"created":0,"expires_after":0}"#.to_owned() + &" ".repeat(1 << 20);
    for (name, content) in [
        ("torn", r#"{"version":1,"id":"torn","len"#),
        ("empty", ""),
        ("foreign", r#"{"ID":"foreign","Size":3}"#),
        ("copied", r#"{"version":1,"id":"original","length":3,"created":0,"expires_after":0}"#),
        ("newer", r#"{"version":2,"id":"newer","length":3,"created":0,"expires_after":0}"#),
        ("large", &large),
    ] {
        let id = id(name);
        backend.driver.put_content(&info_path(&id), content.to_owned().into()).await.unwrap();
        backend.driver.put_content(&path(&format!("/up/{id}")), "data".into()).await.unwrap();
        let invalid = UploadErrorKind::InvalidInfo;
        let error = store.info(&id).await.unwrap_err();
        assert_eq!((error.kind(), error.id(), error.detail().is_some()), (invalid, Some(&id), true));
        assert_eq!(kind(write(&store, &id, 0, "x").await), invalid, "{name}");
        assert_eq!(kind(store.declare_length(&id, 5).await), invalid, "{name}");
        assert_eq!(kind(store.finish(&id).await), invalid, "{name}");
        assert_eq!(kind(store.reader(&id, ReadRange::FULL).await.map(drop)), invalid, "{name}");
        assert_eq!(kind(store.concat(NewUpload::default(), std::slice::from_ref(&id)).await), invalid, "{name}");
        assert_eq!(kind(store.terminate(&id).await), invalid, "{name}");
    }
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(backend.files().await.len(), 12);
}

impl Backend {
    /// Uploads in `/up`, which expire in an hour.
    fn expiring_later(&self) -> UploadStore {
        let hour = Duration::from_secs(3600);
        UploadStore::builder(self.driver.clone()).prefix(path("/up")).expires_after(hour).build()
    }
}
