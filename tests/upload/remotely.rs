//! What uploads cost, and what they stand, on a remote backend.

use super::*;

fn remote() -> (Remote, UploadStore) {
    let remote = Remote::default();
    (remote.clone(), UploadStore::builder(Arc::new(remote)).prefix(path("/up")).build())
}

#[tokio::test]
async fn each_step_costs_no_call_too_many() {
    let (remote, store) = remote();
    let id = store.create(of_length(9)).await.unwrap().info.id.clone();
    assert_eq!(remote.calls(), ["put_content"]);
    store.info(&id).await.unwrap();
    assert_eq!(remote.calls(), ["stat"]);
    write(&store, &id, 0, "one").await.unwrap();
    write(&store, &id, 3, "two").await.unwrap();
    assert_eq!(remote.calls(), ["write_stream", "write_stream"]);
    store.info(&id).await.unwrap();
    assert_eq!(remote.calls(), ["stat"]);
    write(&store, &id, 6, "tri").await.unwrap();
    assert_eq!(remote.calls(), ["write_stream"]);
    assert!(remote.is_committed(&path(&format!("/up/{id}"))));
    read(&store, &id).await;
    assert_eq!(remote.calls(), ["read"]);
    store.create_with(of_length(9), body("one"), ChunkOptions::default()).await.unwrap();
    assert_eq!(remote.calls(), ["put_content", "write_stream"]);
    store.create(of_length(0)).await.unwrap();
    assert_eq!(remote.calls(), ["put_content", "write_stream"]);
}

#[tokio::test]
async fn declaring_the_length_that_is_there_completes_the_file() {
    let (remote, store) = remote();
    let upload = store.create_with(of_length(None), body("one"), ChunkOptions::default()).await.unwrap();
    assert!(!remote.is_committed(&upload.info.path));
    store.declare_length(&upload.info.id, 3).await.unwrap();
    assert!(remote.is_committed(&upload.info.path));
}

#[tokio::test]
async fn data_that_something_else_completed_take_no_bytes() {
    let (remote, store) = remote();
    let upload = store.create(of_length(None)).await.unwrap();
    remote.put_content(&upload.info.path, "one".into()).await.unwrap();
    let id = &upload.info.id;
    assert_eq!(kind(write(&store, id, 3, "two").await), UploadErrorKind::AlreadyFinished);
    let error = write(&store, id, 0, "two").await.unwrap_err();
    assert_eq!((error.kind(), error.offset()), (UploadErrorKind::InvalidOffset, Some(3)));
    assert_eq!(remote.get_content(&upload.info.path).await.unwrap(), "one");
}

#[tokio::test]
async fn a_length_is_not_declared_over_one_that_came_in_between() {
    let remote = Remote::default().conditional();
    let store = UploadStore::builder(Arc::new(remote.clone())).prefix(path("/up")).build();
    let id = store.create(of_length(None)).await.unwrap().info.id.clone();
    let gate = remote.hold("get_versioned");
    let declaring = store.declare_length(&id, 3);
    tokio::pin!(declaring);
    assert!(futures::poll!(&mut declaring).is_pending());
    let info = remote.get_content(&info_path(&id)).await.unwrap();
    let mut info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    info["length"] = 4.into();
    remote.put_content(&info_path(&id), info.to_string().into()).await.unwrap();
    gate.add_permits(1);
    let error = declaring.await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (UploadErrorKind::Locked, true));
    assert_eq!(store.info(&id).await.unwrap().info.length, Some(4));
}

#[tokio::test]
async fn an_upload_that_a_crash_left_whole_but_uncommitted_is_ended_by_who_needs_it() {
    for way in ["read", "finish", "write", "concat"] {
        let (remote, store) = remote();
        let new = NewUpload { partial: true, ..of_length(3) };
        let upload = store.create_with(new, body("one"), ChunkOptions::default()).await.unwrap();
        remote.uncommit(&upload.info.path);
        let id = &upload.info.id;
        match way {
            "read" => drop(read(&store, id).await),
            "finish" => drop(store.finish(id).await.unwrap()),
            "write" => drop(write(&store, id, 3, "").await.unwrap()),
            _ => drop(store.concat(NewUpload::default(), &[id.clone(), id.clone()]).await.unwrap()),
        }
        assert!(remote.is_committed(&upload.info.path), "{way}");
    }
}

#[tokio::test]
async fn an_empty_upload_whose_file_a_crash_kept_from_being_made_is_whole() {
    let (remote, store) = remote();
    remote.fail("write_stream");
    let error = store.create(of_length(0)).await.unwrap_err();
    assert_eq!(error.kind(), UploadErrorKind::Storage);
    let id = &error.created().unwrap().id;
    remote.fail(None);
    assert!(store.info(id).await.unwrap().is_finished());
    assert_eq!(read(&store, id).await, "");
}

#[tokio::test]
async fn a_termination_that_failed_half_way_leaves_no_upload_and_can_be_tried_again() {
    let (remote, store) = remote();
    let id = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    remote.fail("delete");
    assert_eq!(kind(store.terminate(&id).await), UploadErrorKind::Storage);
    remote.fail(None);
    assert_eq!(kind(store.info(&id).await), UploadErrorKind::NotFound);
    assert_eq!(kind(write(&store, &id, 3, "two").await), UploadErrorKind::NotFound);
    assert_eq!(kind(store.reader(&id, ReadRange::FULL).await.map(drop)), UploadErrorKind::NotFound);
    assert_eq!(remote.paths().len(), 2);
    store.terminate(&id).await.unwrap();
    assert_eq!(remote.paths(), [""; 0]);
}

#[tokio::test]
async fn what_is_left_of_a_termination_goes_with_the_sweep() {
    let (remote, store) = remote();
    let id = store.create_with(of_length(6), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    remote.fail("delete");
    store.terminate(&id).await.unwrap_err();
    assert_eq!(kind(store.expire().await), UploadErrorKind::Storage);
    remote.fail(None);
    assert_eq!(store.expire().await.unwrap(), 1);
    assert_eq!(remote.paths(), [""; 0]);
}

#[tokio::test]
async fn a_final_upload_that_could_not_be_made_leaves_nothing() {
    let (remote, store) = remote();
    let new = NewUpload { partial: true, ..of_length(3) };
    let part = store.create_with(new, body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    remote.fail("concat");
    assert_eq!(kind(store.concat(NewUpload::default(), std::slice::from_ref(&part)).await), UploadErrorKind::Storage);
    assert_eq!(remote.paths(), [format!("/up/{part}"), format!("/up/{part}.info")]);
}

#[tokio::test]
async fn a_final_upload_that_is_being_made_is_not_finished() {
    let (remote, store) = remote();
    let new = NewUpload { partial: true, ..of_length(3) };
    let part = store.create_with(new, body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let new = NewUpload { id: Some(id("whole")), ..NewUpload::default() };
    let gate = remote.hold("concat");
    {
        let parts = [part.clone(), part];
        let joining = store.concat(new, &parts);
        tokio::pin!(joining);
        assert!(futures::poll!(&mut joining).is_pending());
        let upload = store.info(&id("whole")).await.unwrap();
        assert_eq!((upload.offset, upload.is_finished()), (0, false));
        assert_eq!(kind(store.reader(&id("whole"), ReadRange::FULL).await.map(drop)), UploadErrorKind::NotFinished);
    }
    // The request is gone, and the upload comes to its end.
    gate.add_permits(1);
    store.finish(&id("whole")).await.unwrap();
    assert_eq!(read(&store, &id("whole")).await, "oneone");
}

#[tokio::test]
async fn what_was_begun_comes_to_its_end_though_the_request_is_gone() {
    let (remote, store) = remote();
    let id = store.create_with(of_length(None), body("one"), ChunkOptions::default()).await.unwrap().info.id.clone();
    let gate = remote.hold("commit");
    {
        let finishing = store.finish(&id);
        tokio::pin!(finishing);
        assert!(futures::poll!(&mut finishing).is_pending());
    }
    gate.add_permits(1);
    store.idle().await;
    assert!(remote.is_committed(&path(&format!("/up/{id}"))));

    let gate = remote.hold("delete");
    {
        let terminating = store.terminate(&id);
        tokio::pin!(terminating);
        assert!(futures::poll!(&mut terminating).is_pending());
    }
    assert_eq!(remote.paths().len(), 2);
    gate.add_permits(2);
    store.idle().await;
    assert_eq!(remote.paths(), [""; 0]);
}

#[tokio::test]
async fn a_failed_backend_is_told_with_its_own_error() {
    let (remote, store) = remote();
    remote.fail("put_content");
    let error = store.create(of_length(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.created()), (UploadErrorKind::Storage, None));
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(source.detail(), Some("made to fail"));
    assert!(!error.to_string().contains("made to fail"), "{error}");
}

#[tokio::test]
async fn what_a_look_read_before_a_termination_is_not_believed_after_it() {
    let (remote, creator) = remote();
    let id = creator.create(of_length(9)).await.unwrap().info.id.clone();
    let store = UploadStore::builder(Arc::new(remote.clone())).prefix(path("/up")).build();
    let gate = remote.hold("bytes");
    let mut look = Box::pin(store.info(&id));
    assert!(futures::poll!(&mut look).is_pending());
    remote.hold("nothing more");
    store.terminate(&id).await.unwrap();
    gate.add_permits(1);
    _ = look.await;
    assert_eq!(store.info(&id).await.unwrap_err().kind(), UploadErrorKind::NotFound);
}

#[tokio::test]
async fn an_upload_can_be_removed_where_no_space_is_left_to_mark_it() {
    let (remote, store) = remote();
    let unfinished = store.create_with(of_length(9), body("one"), ChunkOptions::default()).await.unwrap();
    let finished = store.create_with(of_length(3), body("one"), ChunkOptions::default()).await.unwrap();
    remote.leave_no_space("put_content");
    for upload in [unfinished, finished] {
        store.terminate(&upload.info.id).await.unwrap();
        assert_eq!(kind(store.info(&upload.info.id).await), UploadErrorKind::NotFound);
    }
    assert_eq!(remote.paths(), [""; 0]);
}
