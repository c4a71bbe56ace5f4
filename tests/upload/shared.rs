//! Several stores over one backend, as several processes have them, and locks that are not let go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use futures::FutureExt;
use holdall::upload::{Locker, MemoryLocker};

use super::*;
use crate::support::rng::Rng;

on_each_driver! {
    of_two_writers_at_one_offset_one_wins
    what_one_store_declared_binds_the_other
    what_one_store_terminated_is_gone_for_one_that_caches_nothing
    a_chunk_for_what_another_store_terminated_is_not_found
    clients_that_break_off_and_come_back_lose_and_mix_no_byte
}

async fn of_two_writers_at_one_offset_one_wins(backend: &Backend) {
    let stores = [backend.store(), backend.store()];
    let id = stores[0].create(of_length(9)).await.unwrap().info.id.clone();
    write(&stores[0], &id, 0, "one").await.unwrap();
    for store in &stores {
        assert_eq!(store.info(&id).await.unwrap().offset, 3);
    }
    let (first, second) = tokio::join!(write(&stores[0], &id, 3, "two"), write(&stores[1], &id, 3, "TWO"));
    let (won, lost, text) = if first.is_ok() { (first, second, "onetwo") } else { (second, first, "oneTWO") };
    assert_eq!(won.unwrap().offset, 6);
    let lost = kind(lost);
    assert!(matches!(lost, UploadErrorKind::InvalidOffset | UploadErrorKind::Locked), "{lost:?}");
    for store in &stores {
        assert_eq!(store.info(&id).await.unwrap().offset, 6);
    }
    write(&stores[1], &id, 6, "tri").await.unwrap();
    assert_eq!(read(&stores[0], &id).await, format!("{text}tri"));
}

async fn what_one_store_declared_binds_the_other(backend: &Backend) {
    let stores = [backend.store(), backend.store()];
    let id = stores[0].create(of_length(None)).await.unwrap().info.id.clone();
    for store in &stores {
        assert_eq!(store.info(&id).await.unwrap().info.length, None);
    }
    stores[0].declare_length(&id, 3).await.unwrap();
    assert_eq!(stores[1].info(&id).await.unwrap().info.length, Some(3));
    assert_eq!(kind(stores[1].declare_length(&id, 4).await), UploadErrorKind::LengthMismatch);
    assert_eq!(kind(write(&stores[1], &id, 0, "four").await), UploadErrorKind::SizeExceeded);
}

async fn what_one_store_terminated_is_gone_for_one_that_caches_nothing(backend: &Backend) {
    let first = backend.store();
    let second = UploadStore::builder(backend.driver.clone()).prefix(path("/up")).cached_infos(0).build();
    let id = first.create(of_length(3)).await.unwrap().info.id.clone();
    assert_eq!(second.info(&id).await.unwrap().offset, 0);
    first.terminate(&id).await.unwrap();
    assert_eq!(kind(second.info(&id).await), UploadErrorKind::NotFound);
    assert_eq!(kind(write(&second, &id, 0, "one").await), UploadErrorKind::NotFound);
    assert_eq!(backend.files().await, [""; 0]);
}

async fn a_chunk_for_what_another_store_terminated_is_not_found(backend: &Backend) {
    let stores = [backend.store(), backend.store()];
    let id = stores[0].create(of_length(6)).await.unwrap().info.id.clone();
    write(&stores[1], &id, 0, "one").await.unwrap();
    stores[0].terminate(&id).await.unwrap();
    assert_eq!(kind(write(&stores[1], &id, 3, "two").await), UploadErrorKind::NotFound);
    assert_eq!(kind(stores[1].info(&id).await), UploadErrorKind::NotFound);
    assert_eq!(backend.files().await, [""; 0]);
}

/// The byte at each offset of the upload below.
fn byte_at(offset: usize) -> u8 {
    (offset * 7 + offset / 251) as u8
}

/// So many bytes from this offset on, in pieces; the connection may break after them.
fn pieces(offset: usize, length: usize, breaks: bool) -> ByteStream {
    let bytes: Vec<u8> = (offset..offset + length).map(byte_at).collect();
    let pieces: Vec<_> = bytes.chunks(500).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let end = breaks.then(|| Err(Error::stream("the connection broke")));
    stream::iter(pieces.into_iter().chain(end)).boxed()
}

async fn clients_that_break_off_and_come_back_lose_and_mix_no_byte(backend: &Backend) {
    const LENGTH: usize = 100_000;
    let stores = [backend.store(), backend.store()];
    let id = stores[0].create(of_length(LENGTH as u64)).await.unwrap().info.id.clone();
    let acknowledged = AtomicU64::new(0);
    let client = |number: u64| {
        let (store, id, acknowledged, mut rng) = (&stores[number as usize % 2], &id, &acknowledged, Rng::new(number));
        async move {
            for _ in 0..40 {
                let before = acknowledged.load(Ordering::SeqCst);
                let upload = store.info(id).await.unwrap();
                assert!(upload.offset >= before, "{} after {before}", upload.offset);
                acknowledged.fetch_max(upload.offset, Ordering::SeqCst);
                let offset = upload.offset as usize;
                let length = (rng.below(5_000) as usize).min(LENGTH - offset);
                let body = pieces(offset, length, rng.below(3) == 0);
                let mut request = Box::pin(store.write_chunk(id, upload.offset, body, ChunkOptions::default()));
                // Some are dropped after a few steps.
                let mut steps = if rng.below(3) == 0 { rng.below(4) } else { u64::MAX };
                let written = std::future::poll_fn(|cx| match request.poll_unpin(cx) {
                    Poll::Ready(written) => Poll::Ready(Some(written)),
                    Poll::Pending if steps == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        steps -= 1;
                        Poll::Pending
                    }
                });
                match written.await {
                    Some(Ok(upload)) => _ = acknowledged.fetch_max(upload.offset, Ordering::SeqCst),
                    Some(Err(error)) => match error.kind() {
                        UploadErrorKind::Stream | UploadErrorKind::Stopped => {}
                        UploadErrorKind::Locked | UploadErrorKind::InvalidOffset => {}
                        other => panic!("{other:?}: {error:?}"),
                    },
                    None => {}
                }
            }
        }
    };
    tokio::join!(client(1), client(2), client(3), client(4));
    for store in &stores {
        store.idle().await;
    }
    let upload = stores[0].info(&id).await.unwrap();
    assert!(upload.offset >= acknowledged.into_inner());
    let offset = upload.offset as usize;
    let rest = pieces(offset, LENGTH - offset, false);
    let upload = stores[0].write_chunk(&id, upload.offset, rest, ChunkOptions::default()).await.unwrap();
    assert!(upload.is_finished());
    let content = read(&stores[1], &id).await;
    assert_eq!((0..LENGTH).find(|&offset| content[offset] != byte_at(offset)), None);
}

#[tokio::test]
async fn the_sweep_spares_what_was_written_to_while_it_waited_for_the_lock() {
    let backend = Backend::remote();
    let locker = MemoryLocker::default();
    let store =
        UploadStore::builder(backend.driver.clone()).prefix(path("/up")).locker(Arc::new(locker.clone())).build();
    let upload = store.create(of_length(6)).await.unwrap();
    let id = &upload.info.id;
    backdate(&*backend.driver, id).await;
    let writer = locker.lock(id, Duration::ZERO).await.unwrap();
    let sweep = store.expire();
    tokio::pin!(sweep);
    assert!(futures::poll!(&mut sweep).is_pending());
    assert!(writer.signal().is_stopped());
    let options = holdall::WriteOptions { completion: holdall::Completion::AtSize(6), ..Default::default() };
    backend.driver.write_stream(&upload.info.path, 0, body("one"), options).await.unwrap();
    drop(writer);
    assert_eq!(sweep.await.unwrap(), 0);
    assert_eq!(backend.store().info(id).await.unwrap().offset, 3);
}

#[tokio::test(start_paused = true)]
async fn a_cached_upload_without_data_is_looked_for_again_after_a_while() {
    let backend = Backend::remote();
    let stores = [backend.store(), backend.store(), backend.store()];
    let id = stores[0].create(of_length(6)).await.unwrap().info.id.clone();
    for store in &stores {
        assert_eq!(store.info(&id).await.unwrap().offset, 0);
    }
    stores[0].terminate(&id).await.unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(kind(write(&stores[1], &id, 0, "one").await), UploadErrorKind::NotFound);
    assert_eq!(kind(stores[2].info(&id).await), UploadErrorKind::NotFound);
    assert_eq!(backend.files().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_needs_a_lock_that_is_not_let_go_gives_up_after_the_timeout_and_readers_need_none() {
    let backend = Backend::remote();
    let locker = MemoryLocker::default();
    let store = UploadStore::builder(backend.driver.clone())
        .prefix(path("/up"))
        .locker(Arc::new(locker.clone()))
        .lock_timeout(Duration::from_secs(3))
        .build();
    let id = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let stubborn = locker.lock(&id, Duration::ZERO).await.unwrap();
    let begin = tokio::time::Instant::now();
    let locked = UploadErrorKind::Locked;
    assert_eq!(kind(write(&store, &id, 3, "").await), locked);
    assert_eq!(kind(store.terminate(&id).await), locked);
    assert_eq!(kind(store.finish(&id).await), locked);
    assert_eq!(kind(store.declare_length(&id, 3).await), locked);
    assert_eq!(begin.elapsed().as_secs(), 12);
    assert!(stubborn.signal().is_stopped());
    assert!(store.info(&id).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "one");
    assert_eq!(begin.elapsed().as_secs(), 12);
    drop(stubborn);
    store.terminate(&id).await.unwrap();
}

#[tokio::test]
async fn requests_can_move_between_threads() {
    let backend = Backend::remote();
    let store = backend.store();
    let write = tokio::spawn(async move {
        let upload = store.create(of_length(3)).await.unwrap();
        let upload = store.write_chunk(&upload.info.id, 0, body("one"), ChunkOptions::default()).await.unwrap();
        store.concat(NewUpload::default(), std::slice::from_ref(&upload.info.id)).await.ok();
        store.finish(&upload.info.id).await.unwrap();
        store.expire().await.unwrap();
        store.terminate(&upload.info.id).await
    });
    write.await.unwrap().unwrap();
}
