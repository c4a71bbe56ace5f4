//! Buckets where not everything is allowed.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use holdall::drivers::S3Driver;
use holdall::{ErrorKind, StorageDriver, UrlOptions, WalkOptions, WriteOptions};
use http::Method;
use http_body_util::Full;

use super::{KIB, data, open, path, scaled, small, stream};
use crate::support::s3::{Call, Code, Config, Failure, Op, Outcome, Rule, S3Server};
use crate::tus::{Rig, patch, tus};

/// From now on what the test says of requests is refused, as a policy refuses it.
fn deny(server: &S3Server, denied: impl Fn(&Call) -> bool + Send + 'static) {
    server.fault(Rule::new(Outcome::Fail(Failure::Error(Code::AccessDenied))).when(denied).always());
}

#[tokio::test]
async fn a_bucket_that_may_only_be_read_is_read() {
    let server = scaled(Config::aws());
    let writer = open(small(&server)).await;
    let (file, all) = (path("/dir/file"), data(300 * KIB));
    writer.put_content(&file, all.clone().into()).await.unwrap();
    let before = server.keys();
    deny(&server, Call::writes);
    let driver = open(small(&server)).await;
    let can = driver.capabilities();
    assert!(!can.conditional_put && !can.exclusive_writers && !can.server_side_concat, "nothing is promised: {can:?}");

    assert!(driver.get_content(&file).await.unwrap() == all);
    assert_eq!(driver.stat(&file).await.unwrap().size, 300 * KIB);
    assert_eq!(driver.list(&path("/")).await.unwrap(), [path("/dir")]);
    let walked: Vec<_> = driver.walk(&path("/"), WalkOptions::default()).try_collect().await.unwrap();
    assert_eq!(walked.len(), 2);
    let url = driver.url_for(&file, UrlOptions::default()).await.unwrap();
    assert_eq!(server.at(Method::GET, &url).deliver().await.unwrap().status, 200);
    assert_eq!(driver.stat(&path("/missing")).await.unwrap_err().kind(), ErrorKind::PathNotFound);
    assert_eq!(driver.sweep(std::time::Duration::ZERO).await.unwrap(), 0);

    let to = path("/to");
    for refused in [
        driver.put_content(&file, "new".into()).await,
        driver.write_stream(&to, 0, stream(b"new"), WriteOptions::default()).await.map(drop),
        driver.write_stream(&to, 0, stream(&all), WriteOptions::default()).await.map(drop),
        driver.write_stream(&file, 300 * KIB, stream(b"new"), WriteOptions::default()).await.map(drop),
        driver.move_to(&file, &to).await,
        driver.concat(&[file.clone(), file.clone()], &to).await.map(drop),
        driver.delete(&file).await,
        driver.delete(&path("/dir")).await,
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::PermissionDenied, false), "{error:?}");
    }
    assert!(driver.get_content(&file).await.unwrap() == all);
    assert_eq!(server.keys(), before);
}

#[tokio::test]
async fn finished_uploads_are_served_from_a_bucket_that_may_only_be_read() {
    let server = scaled(Config::aws());
    let writer = Rig::over(Arc::new(open(small(&server)).await));
    let url = writer.create(7).await;
    let finished = writer.send(patch(&url, 0).body(Full::from("content")).unwrap()).await;
    assert_eq!(finished.status, 204);
    deny(&server, Call::writes);
    let reader = Rig::over(Arc::new(open(small(&server)).await));
    let download = reader.send(tus("GET", &url).body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!((download.status.as_u16(), &*download.body), (200, &b"content"[..]));
    assert_eq!(reader.offset(&url).await, 7);
    let creation = tus("POST", "/files/").header("upload-length", 7).body(Full::<Bytes>::default()).unwrap();
    let refused = reader.send(creation).await;
    assert_eq!(refused.status, 500, "the server's own matter: {refused:?}");
}

#[tokio::test]
async fn a_bucket_that_may_be_written_but_not_cleaned_is_refused_with_the_reason() {
    let ops = [Op::DeleteObject, Op::CreateMultipartUpload, Op::AbortMultipartUpload, Op::HeadObject];
    for op in ops.map(Some).into_iter().chain([None]) {
        let server = scaled(Config::aws());
        let there = server.clone();
        deny(&server, move |call| match op {
            Some(op) => call.op == op,
            // Who may not list is told 403, and not 404, of an object that is not there.
            None => call.op == Op::HeadObject && there.object(&call.key).is_none(),
        });
        let error = S3Driver::open(small(&server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{op:?}: {error:?}");
        assert!(error.to_string().contains("must also read, list and delete"), "{op:?}: {error}");
    }
    // Wrong credentials are another matter.
    let server = S3Server::new(Config::aws().key("other", "other"));
    server.reconfigure(|config| drop(config.keys.remove("test-key")));
    let error = S3Driver::open(super::config(&server)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!error.to_string().contains("must also"), "{error}");
}

#[tokio::test]
async fn a_bucket_where_nothing_can_be_copied_serves_all_the_same() {
    let server = scaled(Config::aws());
    deny(&server, |call| call.op == Op::UploadPartCopy);
    let driver = open(small(&server)).await;
    assert!(!driver.capabilities().server_side_concat);
    let all = data(300 * KIB);
    driver.put_content(&path("/a"), all[..200 * KIB as usize].to_vec().into()).await.unwrap();
    let rest = stream(&all[200 * KIB as usize..]);
    driver.write_stream(&path("/a"), 200 * KIB, rest, WriteOptions::default()).await.unwrap();
    assert!(driver.get_content(&path("/a")).await.unwrap() == all);
}
