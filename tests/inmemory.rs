//! The in-memory driver.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdall::conformance::Harness;
use holdall::drivers::InMemoryDriver;
use holdall::{ByteStream, ErrorKind, Expected, OnFailure, ReadRange, StorageDriver, StoragePath, WriteOptions};

#[derive(Default)]
struct InMemory(InMemoryDriver);

#[async_trait]
impl Harness for InMemory {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        Arc::new(self.0.clone())
    }

    async fn leftovers(&self) -> Vec<String> {
        self.0.list(&StoragePath::root()).await.unwrap().iter().map(ToString::to_string).collect()
    }
}

holdall::conformance_tests!(conformance, InMemory::default());

/// The same behind all that forwards.
#[derive(Default)]
struct Forwarded(InMemory);

#[async_trait]
impl Harness for Forwarded {
    async fn open(&self) -> Arc<dyn StorageDriver> {
        let shared: Arc<dyn StorageDriver> = self.0.open().await;
        let boxed: Box<dyn StorageDriver> = Box::new(shared);
        Arc::new(Arc::new(boxed))
    }

    async fn leftovers(&self) -> Vec<String> {
        self.0.leftovers().await
    }
}

holdall::conformance_tests!(forwarded, Forwarded::default());

fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

fn pieces(pieces: Vec<Bytes>) -> ByteStream {
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

const ANY: WriteOptions = WriteOptions {
    expected: Expected::Any,
    on_failure: OnFailure::KeepPrefix,
    completion: holdall::Completion::EndOfStream,
};

#[test]
fn large_pieces_are_kept_and_given_as_they_came() {
    block_on(async {
        let (driver, path) = (InMemoryDriver::new(), path("/file"));
        let sent: Vec<Bytes> = (0..4).map(|number| Bytes::from(vec![number; 64 * 1024])).collect();
        for on_failure in [OnFailure::KeepPrefix, OnFailure::Discard] {
            let options = WriteOptions { on_failure, ..ANY };
            driver.write_stream(&path, 0, pieces(sent.clone()), options).await.unwrap();
            driver.concat(std::slice::from_ref(&path), &path).await.unwrap();
            driver.move_to(&path, &path.join("moved").unwrap()).await.unwrap_err();
            let (_, stream) = driver.read(&path, ReadRange::FULL).await.unwrap();
            let got: Vec<Bytes> = stream.try_collect().await.unwrap();
            let addresses = |all: &[Bytes]| all.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
            assert_eq!(addresses(&got), addresses(&sent));
        }
        let content = Bytes::from(vec![7; 1 << 20]);
        driver.put_content(&path, content.clone()).await.unwrap();
        assert_eq!(driver.get_content(&path).await.unwrap().as_ptr(), content.as_ptr());
        let (_, mut stream) = driver.read(&path, ReadRange::from(1000..2000)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().as_ptr(), content[1000..].as_ptr());
    });
}

#[test]
fn bytes_show_as_they_arrive_and_readers_keep_their_version() {
    block_on(async {
        let (driver, path) = (InMemoryDriver::new(), path("/file"));
        let (feed, stream) = futures::channel::mpsc::unbounded();
        let mut write = driver.write_stream(&path, 0, stream.boxed(), ANY);
        let mut readers = Vec::new();
        for number in 1..=20_u8 {
            feed.unbounded_send(Ok(Bytes::from(vec![number; 1000]))).unwrap();
            assert!((&mut write).now_or_never().is_none(), "the stream is still open");
            let size = driver.stat(&path).await.unwrap().size;
            assert_eq!(size, u64::from(number) * 1000);
            readers.push(driver.read(&path, ReadRange::FULL).await.unwrap());
        }
        drop(feed);
        assert_eq!(write.await.unwrap(), 20_000);
        driver.put_content(&path, "replaced".into()).await.unwrap();
        for (info, stream) in readers {
            let bytes = holdall::collect(stream).await.unwrap();
            assert_eq!(bytes.len() as u64, info.size);
            assert!(bytes.chunks(1000).zip(1..).all(|(chunk, number)| chunk == [number; 1000]));
        }
    });
}

#[test]
fn a_writer_that_does_not_wait_needs_no_runtime() {
    block_on(async {
        let (driver, path) = (InMemoryDriver::new().lock_wait(Duration::ZERO), path("/file"));
        let mut open = driver.write_stream(&path, 0, stream::pending().boxed(), ANY);
        assert!((&mut open).now_or_never().is_none());
        let second = driver.write_stream(&path, 0, pieces(vec![]), ANY).await.unwrap_err();
        assert_eq!((second.kind(), second.is_temporary()), (ErrorKind::Conflict, true));
        drop(open);
        driver.write_stream(&path, 0, pieces(vec![]), ANY).await.unwrap();
    });
}

#[tokio::test]
async fn waiting_writers_go_on_one_after_the_other() {
    let (driver, path) = (InMemoryDriver::new().lock_wait(Duration::from_secs(3600)), path("/file"));
    let (feed, stream) = futures::channel::mpsc::unbounded();
    let mut first = driver.write_stream(&path, 0, stream.boxed(), ANY);
    assert!((&mut first).now_or_never().is_none());
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (driver, path) = (driver.clone(), path.clone());
            tokio::spawn(async move {
                loop {
                    let size = driver.stat(&path).await.unwrap().size;
                    let options = ANY.expecting(Expected::Size(size));
                    match driver.write_stream(&path, size, pieces(vec!["x".into()]), options).await {
                        Err(error) if error.kind() == ErrorKind::InvalidOffset => {}
                        done => return done.unwrap(),
                    }
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    feed.unbounded_send(Ok("first".into())).unwrap();
    drop(feed);
    first.await.unwrap();
    for writer in waiting {
        assert_eq!(writer.await.unwrap(), 1);
    }
    assert_eq!(driver.get_content(&path).await.unwrap(), "firstxxxxxxxxxx");
}

#[tokio::test]
async fn writers_that_wait_for_a_file_that_goes_begin_anew() {
    let (driver, path) = (InMemoryDriver::new().lock_wait(Duration::from_secs(3600)), path("/file"));
    let mut open = driver.write_stream(&path, 0, stream::pending().boxed(), ANY);
    assert!((&mut open).now_or_never().is_none());
    let options = WriteOptions { on_failure: OnFailure::Discard, ..ANY };
    let mut waiting: Vec<_> =
        (0..3).map(|_| driver.write_stream(&path, 0, pieces(vec!["new".into()]), options)).collect();
    for write in &mut waiting {
        assert!(write.now_or_never().is_none(), "another writer holds the file");
    }
    driver.delete(&path).await.unwrap();
    for write in waiting {
        assert_eq!(write.await.unwrap(), 3);
    }
    assert_eq!(driver.get_content(&path).await.unwrap(), "new");
}

#[test]
fn a_writer_ends_at_its_next_piece_once_its_file_is_gone() {
    block_on(async {
        let (driver, path) = (InMemoryDriver::new(), path("/dir/file"));
        let (feed, stream) = futures::channel::mpsc::unbounded();
        let mut write = driver.write_stream(&path, 0, stream.boxed(), ANY);
        assert!((&mut write).now_or_never().is_none());
        driver.delete(&path.parent().unwrap()).await.unwrap();
        feed.unbounded_send(Ok("late".into())).unwrap();
        let error = write.await.unwrap_err();
        assert_eq!((error.kind(), error.bytes_read()), (ErrorKind::Conflict, 4));
        assert_eq!(driver.stat(&path).await.unwrap_err().kind(), ErrorKind::PathNotFound);
    });
}

#[test]
fn a_clone_is_the_same_files() {
    block_on(async {
        let driver = InMemoryDriver::new();
        driver.put_content(&path("/file"), "content".into()).await.unwrap();
        assert_eq!(driver.clone().get_content(&path("/file")).await.unwrap(), "content");
    });
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_refused_leaves_the_file_to_the_next_one() {
    let driver = InMemoryDriver::new().lock_wait(Duration::from_secs(3600));
    let at = &path("/file");
    let (feed, fed) = futures::channel::mpsc::unbounded();
    let mut first = driver.write_stream(at, 0, fed.boxed(), ANY);
    assert!(futures::poll!(&mut first).is_pending());
    let mut refused = driver.write_stream(at, 9, pieces(vec![]), ANY.expecting(Expected::Size(9)));
    let mut next = driver.write_stream(at, 0, pieces(vec!["next".into()]), ANY);
    assert!(futures::poll!(&mut refused).is_pending());
    assert!(futures::poll!(&mut next).is_pending());
    drop(feed);
    first.await.unwrap();
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidOffset);
    assert_eq!(next.await.unwrap(), 4);
}
