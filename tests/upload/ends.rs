//! Termination, expiry and concatenation.

use super::*;

on_each_driver! {
    a_terminated_upload_is_gone_with_its_files
    termination_stops_a_running_chunk
    a_directory_in_the_place_of_data_is_named_and_never_deleted
    an_unfinished_upload_expires_and_a_finished_one_does_not
    what_expired_is_swept_and_nothing_else
    each_chunk_puts_the_expiry_off
    parts_are_joined_in_order_and_may_repeat
    what_is_not_a_finished_part_is_not_joined
    a_sum_over_the_maximum_is_refused
}

async fn a_terminated_upload_is_gone_with_its_files(backend: &Backend) {
    let store = backend.store();
    let other = store.create(of_length(3)).await.unwrap().info.id.clone();
    write(&store, &other, 0, "one").await.unwrap();
    let empty = store.create(of_length(6)).await.unwrap().info.id.clone();
    let begun = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let finished = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    for id in [&empty, &begun, &finished] {
        store.terminate(id).await.unwrap();
        assert_eq!(kind(store.info(id).await), UploadErrorKind::NotFound);
        assert_eq!(kind(write(&store, id, 0, "x").await), UploadErrorKind::NotFound);
        assert_eq!(kind(store.terminate(id).await), UploadErrorKind::NotFound);
    }
    assert_eq!(backend.files().await, [other.to_string(), format!("{other}.info")]);
    assert_eq!(read(&store, &other).await, "one");
}

async fn termination_stops_a_running_chunk(backend: &Backend) {
    let store = backend.store();
    let id = store.create(of_length(9)).await.unwrap().info.id.clone();
    let (mut fed, stream) = Fed::new();
    fed.feed("one");
    let running = store.write_chunk(&id, 0, stream, ChunkOptions::default());
    let terminate = async {
        assert!(fed.asked(1).await);
        store.terminate(&id).await
    };
    let (running, terminated) = tokio::join!(running, terminate);
    assert_eq!(kind(running), UploadErrorKind::Stopped);
    terminated.unwrap();
    assert_eq!(backend.files().await, [""; 0]);
}

async fn a_directory_in_the_place_of_data_is_named_and_never_deleted(backend: &Backend) {
    let store = backend.expiring();
    let place = |id| NewUpload { id: Some(id), path: Some(path("/videos")), ..of_length(6) };
    store.create(place(id("a"))).await.unwrap();
    store.create(place(id("b"))).await.unwrap();
    backend.driver.put_content(&path("/videos/precious"), "kept".into()).await.unwrap();
    store.terminate(&id("a")).await.unwrap();
    store.terminate(&id("b")).await.unwrap();
    assert_eq!(backend.driver.get_content(&path("/videos/precious")).await.unwrap(), "kept");
    assert_eq!(backend.files().await, [""; 0]);
}

async fn an_unfinished_upload_expires_and_a_finished_one_does_not(backend: &Backend) {
    let store = backend.expiring();
    let finished = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap();
    assert_eq!(finished.expires, None);
    assert_eq!(store.info(&finished.info.id).await.unwrap().expires, None);
    assert_eq!(read(&store, &finished.info.id).await, "one");
    let upload = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap();
    assert!(upload.expires.is_some());
    let (id, expired) = (&upload.info.id, UploadErrorKind::Expired);
    assert_eq!(kind(store.info(id).await), expired);
    assert_eq!(kind(write(&store, id, 3, "two").await), expired);
    assert_eq!(kind(store.declare_length(id, 6).await), expired);
    assert_eq!(kind(store.finish(id).await), expired);
    let begun = backend.driver.stat(&upload.info.path).await.unwrap();
    assert_eq!(begun.size, 3);
    store.terminate(id).await.unwrap();
}

async fn what_expired_is_swept_and_nothing_else(backend: &Backend) {
    let (store, lasting) = (backend.expiring(), backend.store());
    assert_eq!(store.expire().await.unwrap(), 0);
    let finished = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap();
    let running = lasting.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap();
    for place in ["/up/data-alone", "/up/no.upload.info", "/up/folder/x.info", "/up/torn.info"] {
        backend.driver.put_content(&path(place), "{".into()).await.unwrap();
    }
    let before = backend.files().await;
    store.create(of_length(None)).await.unwrap();
    store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap();
    store.create_with(of_length(None), body("one"), ChunkOptions::default()).await.unwrap();
    assert_eq!(store.expire().await.unwrap(), 3);
    assert_eq!(backend.files().await, before);
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(read(&store, &finished.info.id).await, "one");
    assert!(write(&lasting, &running.info.id, 3, "two").await.unwrap().is_finished());
}

async fn each_chunk_puts_the_expiry_off(backend: &Backend) {
    let store = backend.store();
    let begun = store.create_with(of_length(9), body("one"), ChunkOptions::default()).await.unwrap();
    let empty = store.create(of_length(9)).await.unwrap();
    for upload in [&begun, &empty] {
        backdate(&*backend.driver, &upload.info.id).await;
    }
    let store = backend.store();
    assert_eq!(kind(store.info(&empty.info.id).await), UploadErrorKind::Expired);
    let upload = store.info(&begun.info.id).await.unwrap();
    assert!(upload.expires.unwrap() > SystemTime::now());
    let upload = write(&store, &begun.info.id, 3, "two").await.unwrap();
    assert!(upload.expires.unwrap() > SystemTime::now());
    assert!(write(&store, &begun.info.id, 6, "").await.unwrap().expires.unwrap() > SystemTime::now());
    assert_eq!(store.expire().await.unwrap(), 1);
    assert!(write(&store, &begun.info.id, 6, "tri").await.unwrap().is_finished());
}

async fn part(store: &UploadStore, text: &'static str) -> UploadId {
    let new = NewUpload { partial: true, ..of_length(text.len() as u64) };
    let upload = store.create_with(new, body(text), ChunkOptions::default()).await.unwrap();
    assert!(upload.is_finished());
    upload.info.id.clone()
}

async fn parts_are_joined_in_order_and_may_repeat(backend: &Backend) {
    let store = backend.store();
    let (one, two, none) = (part(&store, "one").await, part(&store, "two").await, part(&store, "").await);
    let parts = [two.clone(), none, one.clone(), two.clone()];
    let metadata = Metadata::parse("joined").unwrap();
    let whole = store.concat(NewUpload { metadata: metadata.clone(), ..NewUpload::default() }, &parts).await.unwrap();
    let id = &whole.info.id;
    assert_eq!((whole.offset, whole.is_finished()), (9, true));
    assert_eq!(store.info(id).await.unwrap(), whole);
    assert_eq!(read(&store, id).await, "twoonetwo");
    let reopened = backend.store().info(id).await.unwrap();
    assert_eq!(reopened.info.metadata, metadata);
    assert_eq!(reopened.info.kind, holdall::upload::UploadKind::Final(parts.into()));
    for offset in [0, 9] {
        assert_eq!(kind(write(&store, id, offset, "").await), UploadErrorKind::AlreadyFinished);
    }
    // The whole stands without its parts.
    store.terminate(&one).await.unwrap();
    assert_eq!(read(&store, id).await, "twoonetwo");
    assert_eq!(read(&store, &store.concat(of_length(0), &[]).await.unwrap().info.id).await, "");
}

async fn what_is_not_a_finished_part_is_not_joined(backend: &Backend) {
    let store = backend.store();
    let whole = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let good = part(&store, "one").await;
    let known = NewUpload { partial: true, ..of_length(6) };
    let begun = store.create_with(known, body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let unknown = NewUpload { partial: true, ..NewUpload::default() };
    let endless = store.create_with(unknown, body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let joined = store.concat(NewUpload::default(), std::slice::from_ref(&good)).await.unwrap().info.id.clone();
    let before = backend.files().await;
    for (bad, reason) in [
        (whole, UploadErrorKind::NotPartial),
        (joined, UploadErrorKind::NotPartial),
        (begun, UploadErrorKind::NotFinished),
        (endless, UploadErrorKind::NotFinished),
        (id("missing"), UploadErrorKind::NotFound),
    ] {
        let error = store.concat(NewUpload::default(), &[good.clone(), bad.clone()]).await.unwrap_err();
        assert_eq!((error.kind(), error.id()), (reason, Some(&bad)));
    }
    assert_eq!(kind(store.concat(of_length(7), &[good.clone(), good]).await), UploadErrorKind::LengthMismatch);
    assert_eq!(backend.files().await, before);
}

async fn a_sum_over_the_maximum_is_refused(backend: &Backend) {
    let store = UploadStore::builder(backend.driver.clone()).prefix(path("/up")).max_size(5).build();
    let one = part(&store, "one").await;
    let before = backend.files().await;
    assert_eq!(kind(store.concat(NewUpload::default(), &[one.clone(), one]).await), UploadErrorKind::SizeExceeded);
    assert_eq!(backend.files().await, before);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_upload_whose_data_somebody_made_a_link_can_be_removed() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let driver = Arc::new(holdall::FilesystemDriver::open(root.path()).unwrap());
    let store = UploadStore::new(driver);
    let upload = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap();
    let data = root.path().join(upload.info.id.as_str());
    std::fs::remove_file(&data).unwrap();
    std::os::unix::fs::symlink(outside.path(), &data).unwrap();
    store.terminate(&upload.info.id).await.unwrap();
    assert!(data.symlink_metadata().is_err() && outside.path().exists());
}
