//! Chunks: cut short, handed over, and out of place.

use super::*;

on_each_driver! {
    what_arrived_before_the_connection_broke_is_kept_and_gone_on_from
    a_chunk_to_be_discarded_leaves_nothing_when_it_breaks
    a_chunk_at_another_offset_changes_nothing
    bytes_past_the_length_are_not_kept
    an_announced_chunk_that_is_too_long_changes_nothing
    a_dropped_request_keeps_what_it_took_and_lets_go
    a_new_request_stops_the_running_one
    an_empty_chunk_does_not_put_the_expiry_off
    a_missing_upload_is_not_found
    the_length_is_declared_once
    the_length_can_come_with_a_chunk
    a_length_that_is_reached_when_declared_finishes_the_upload
    an_upload_without_a_length_is_finished_as_it_is
    without_a_length_the_maximum_bounds_the_bytes
}

async fn what_arrived_before_the_connection_broke_is_kept_and_gone_on_from(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(9)).await.unwrap().info.id.clone();
    let error = store.write_chunk(&id, 0, broken("one"), ChunkOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.id()), (UploadErrorKind::Stream, Some(&id)));
    let causes: Vec<_> = std::iter::successors(std::error::Error::source(&error), |cause| cause.source()).collect();
    assert_eq!(causes.last().unwrap().to_string(), "the connection broke");
    assert_eq!(store.info(&id).await.unwrap().offset, 3);
    let error = store.write_chunk(&id, 3, broken(""), ChunkOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), UploadErrorKind::Stream);
    assert_eq!(write(&store, &id, 3, "twotri").await.unwrap().offset, 9);
    assert_eq!(read(&store, &id).await, "onetwotri");
}

async fn a_chunk_to_be_discarded_leaves_nothing_when_it_breaks(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(6)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let discard = ChunkOptions { on_failure: holdall::OnFailure::Discard, ..ChunkOptions::default() };
    assert_eq!(kind(store.write_chunk(&id, 3, broken("xxx"), discard).await), UploadErrorKind::Stream);
    assert_eq!(store.info(&id).await.unwrap().offset, 3);
    assert!(store.write_chunk(&id, 3, body("two"), discard).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "onetwo");
}

async fn a_chunk_at_another_offset_changes_nothing(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(6)).await.unwrap().info.id.clone();
    for (offset, current) in [(1, 0), (6, 0), (7, 0), (u64::MAX, 0)] {
        let error = write(&store, &id, offset, "x").await.unwrap_err();
        assert_eq!((error.kind(), error.offset()), (UploadErrorKind::InvalidOffset, Some(current)), "{offset}");
    }
    write(&store, &id, 0, "one").await.unwrap();
    for offset in [0, 2, 4, 6, 7] {
        for text in ["", "x"] {
            let error = write(&store, &id, offset, text).await.unwrap_err();
            assert_eq!((error.kind(), error.offset()), (UploadErrorKind::InvalidOffset, Some(3)), "{offset}");
        }
    }
    let options = ChunkOptions { announced: 100, ..ChunkOptions::default() };
    let error = store.write_chunk(&id, 0, body("x"), options).await.unwrap_err();
    assert_eq!((error.kind(), error.offset()), (UploadErrorKind::InvalidOffset, Some(3)));
    write(&store, &id, 3, "two").await.unwrap();
    for offset in [0, 3, 7] {
        let error = write(&store, &id, offset, "x").await.unwrap_err();
        assert_eq!((error.kind(), error.offset()), (UploadErrorKind::InvalidOffset, Some(6)), "{offset}");
    }
    assert!(write(&store, &id, 6, "").await.unwrap().is_finished());
    assert_eq!(kind(write(&store, &id, 6, "x").await), UploadErrorKind::SizeExceeded);
    assert_eq!(kind(store.write_chunk(&id, 6, broken(""), ChunkOptions::default()).await), UploadErrorKind::Stream);
    assert_eq!(read(&store, &id).await, "onetwo");
}

async fn bytes_past_the_length_are_not_kept(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(3)).await.unwrap().info.id.clone();
    assert_eq!(kind(write(&store, &id, 0, "onetwo").await), UploadErrorKind::SizeExceeded);
    assert!(store.info(&id).await.unwrap().offset <= 3);
}

async fn an_announced_chunk_that_is_too_long_changes_nothing(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(6)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let options = ChunkOptions { announced: 4, ..ChunkOptions::default() };
    assert_eq!(kind(store.write_chunk(&id, 3, body("four"), options).await), UploadErrorKind::SizeExceeded);
    assert_eq!(store.info(&id).await.unwrap().offset, 3);
    let options = ChunkOptions { announced: 3, ..ChunkOptions::default() };
    assert!(store.write_chunk(&id, 3, body("two"), options).await.unwrap().is_finished());
}

async fn a_dropped_request_keeps_what_it_took_and_lets_go(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(9)).await.unwrap().info.id.clone();
    let (mut fed, stream) = Fed::new();
    fed.feed("one");
    {
        let request = store.write_chunk(&id, 0, stream, ChunkOptions::default());
        tokio::select! {
            biased;
            done = request => panic!("it ended: {done:?}"),
            asked = fed.asked(1) => assert!(asked),
        }
    }
    // Once the lock is free again, what was taken is there, and nothing more is taken.
    assert_eq!(write(&store, &id, 3, "two").await.unwrap().offset, 6);
    assert!(!fed.asked(0).await);
    assert_eq!(write(&store, &id, 6, "tri").await.unwrap().offset, 9);
    assert_eq!(read(&store, &id).await, "onetwotri");
}

async fn a_new_request_stops_the_running_one(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(9)).await.unwrap().info.id.clone();
    let (mut fed, stream) = Fed::new();
    fed.feed("one");
    let running = store.write_chunk(&id, 0, stream, ChunkOptions::default());
    let second = async {
        assert!(fed.asked(1).await);
        write(&store, &id, 3, "two").await
    };
    let (running, second) = tokio::join!(running, second);
    assert_eq!(kind(running), UploadErrorKind::Stopped);
    assert_eq!(second.unwrap().offset, 6);
    write(&store, &id, 6, "tri").await.unwrap();
    assert_eq!(read(&store, &id).await, "onetwotri");
}

async fn an_empty_chunk_does_not_put_the_expiry_off(backend: &Backend) {
    let store = backend.expiring_later();
    let id = store.create(of_length(6)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let upload = write(&store, &id, 3, "").await.unwrap();
    assert_eq!((upload.offset, &upload), (3, &store.info(&id).await.unwrap()));
}

async fn a_missing_upload_is_not_found(backend: &Backend) {
    let store = backend.expiring();
    let (missing, gone) = (id("missing"), UploadErrorKind::NotFound);
    assert_eq!(kind(store.info(&missing).await), gone);
    assert_eq!(kind(write(&store, &missing, 0, "x").await), gone);
    assert_eq!(kind(store.declare_length(&missing, 5).await), gone);
    assert_eq!(kind(store.finish(&missing).await), gone);
    assert_eq!(kind(store.reader(&missing, ReadRange::FULL).await.map(drop)), gone);
    assert_eq!(kind(store.concat(NewUpload::default(), std::slice::from_ref(&missing)).await), gone);
    assert_eq!(kind(store.terminate(&missing).await), gone);
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(backend.files().await, [""; 0]);
}

async fn the_length_is_declared_once(backend: &Backend) {
    let store = UploadStore::builder(backend.driver.clone()).prefix(path("/up")).max_size(100).build();
    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    let upload = write(&store, &id, 0, "one").await.unwrap();
    assert_eq!((upload.info.length, upload.is_finished()), (None, false));
    let error = store.declare_length(&id, 2).await.unwrap_err();
    assert_eq!((error.kind(), error.offset()), (UploadErrorKind::LengthMismatch, Some(3)));
    assert_eq!(kind(store.declare_length(&id, 101).await), UploadErrorKind::SizeExceeded);
    assert_eq!(store.info(&id).await.unwrap().info.length, None);
    let upload = store.declare_length(&id, 6).await.unwrap();
    assert_eq!((upload.info.length, upload.offset), (Some(6), 3));
    assert_eq!(store.declare_length(&id, 6).await.unwrap(), upload);
    assert_eq!(kind(store.declare_length(&id, 7).await), UploadErrorKind::LengthMismatch);
    assert_eq!(backend.store().info(&id).await.unwrap().info.length, Some(6));
    assert!(write(&store, &id, 3, "two").await.unwrap().is_finished());
    assert!(store.declare_length(&id, 6).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "onetwo");
}

async fn the_length_can_come_with_a_chunk(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let with = |length, announced| ChunkOptions { length: Some(length), announced, ..ChunkOptions::default() };
    // What is refused declares nothing.
    assert_eq!(kind(store.write_chunk(&id, 2, body("x"), with(6, 0)).await), UploadErrorKind::InvalidOffset);
    assert_eq!(kind(store.write_chunk(&id, 3, body("twotri"), with(6, 6)).await), UploadErrorKind::SizeExceeded);
    assert_eq!(kind(store.write_chunk(&id, 3, body(""), with(2, 0)).await), UploadErrorKind::LengthMismatch);
    assert_eq!(store.info(&id).await.unwrap().info.length, None);
    let upload = store.write_chunk(&id, 3, body("t"), with(6, 1)).await.unwrap();
    assert_eq!((upload.info.length, upload.offset), (Some(6), 4));
    assert_eq!(kind(store.write_chunk(&id, 4, body("wo"), with(7, 0)).await), UploadErrorKind::LengthMismatch);
    assert!(store.write_chunk(&id, 4, body("wo"), with(6, 2)).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "onetwo");
}

async fn a_length_that_is_reached_when_declared_finishes_the_upload(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    assert!(store.declare_length(&id, 3).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "one");

    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let options = ChunkOptions { length: Some(3), ..ChunkOptions::default() };
    assert!(store.write_chunk(&id, 3, body(""), options).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "one");

    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    assert!(store.declare_length(&id, 0).await.unwrap().is_finished());
    assert_eq!(read(&store, &id).await, "");
}

async fn an_upload_without_a_length_is_finished_as_it_is(backend: &Backend) {
    let store = backend.store();
    let upload = store.create_with(of_length(None), body("one"), ChunkOptions::default()).await.unwrap();
    let id = upload.info.id.clone();
    write(&store, &id, 3, "two").await.unwrap();
    assert_eq!(kind(store.reader(&id, ReadRange::FULL).await.map(drop)), UploadErrorKind::NotFinished);
    for _ in 0..2 {
        let upload = store.finish(&id).await.unwrap();
        assert_eq!((upload.info.length, upload.is_finished()), (Some(6), true));
    }
    assert_eq!(read(&store, &id).await, "onetwo");
    assert_eq!(kind(write(&store, &id, 6, "x").await), UploadErrorKind::SizeExceeded);

    let empty = store.create(of_length(None)).await.unwrap().info.id.clone();
    assert!(store.finish(&empty).await.unwrap().is_finished());
    assert_eq!(read(&store, &empty).await, "");

    let short = store.create(of_length(4)).await.unwrap().info.id.clone();
    write(&store, &short, 0, "one").await.unwrap();
    let error = store.finish(&short).await.unwrap_err();
    assert_eq!((error.kind(), error.offset()), (UploadErrorKind::NotFinished, Some(3)));
}

async fn without_a_length_the_maximum_bounds_the_bytes(backend: &Backend) {
    let store = UploadStore::builder(backend.driver.clone()).prefix(path("/up")).max_size(4).build();
    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    write(&store, &id, 0, "one").await.unwrap();
    let options = ChunkOptions { announced: 2, ..ChunkOptions::default() };
    assert_eq!(kind(store.write_chunk(&id, 3, body("tw"), options).await), UploadErrorKind::SizeExceeded);
    assert_eq!(store.info(&id).await.unwrap().offset, 3);
    assert_eq!(kind(write(&store, &id, 3, "two").await), UploadErrorKind::SizeExceeded);
    assert_eq!(store.info(&id).await.unwrap().offset, 4);
    assert_eq!(kind(write(&store, &id, 4, "x").await), UploadErrorKind::SizeExceeded);
    store.finish(&id).await.unwrap();
    assert_eq!(read(&store, &id).await, "onet");
}
