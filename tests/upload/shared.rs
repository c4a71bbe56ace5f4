//! Several stores over one backend, as several processes have them, and locks that are not let go.

use holdall::upload::{Locker, MemoryLocker};

use super::*;

on_each_driver! {
    of_two_writers_at_one_offset_one_wins
    what_one_store_declared_binds_the_other
    what_one_store_terminated_is_gone_for_one_that_caches_nothing
    a_chunk_for_what_another_store_terminated_is_not_found
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
