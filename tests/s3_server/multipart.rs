//! Multipart uploads.

use http::Method;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};

use super::{get, small, store};
use crate::support::s3::{RawAnswer, S3Server};

async fn create(server: &S3Server, key: &str) -> String {
    let answer = server.raw(Method::POST, &format!("{key}?uploads")).send().await.unwrap();
    answer.element("UploadId").unwrap()
}

async fn part(server: &S3Server, key: &str, id: &str, number: u32, body: &'static str) -> RawAnswer {
    server.raw(Method::PUT, &format!("{key}?uploadId={id}&partNumber={number}")).body(body).send().await.unwrap()
}

async fn complete(server: &S3Server, key: &str, id: &str, parts: &[(u32, &str)]) -> RawAnswer {
    let parts: String = parts
        .iter()
        .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    server.raw(Method::POST, &format!("{key}?uploadId={id}")).body(body).send().await.unwrap()
}

#[tokio::test]
async fn parts_become_one_object() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("big");
    let id = store.create_multipart(&path).await.unwrap();
    let mut parts = Vec::new();
    for (number, text) in ["12345678", "abcdefgh", "end"].into_iter().enumerate() {
        parts.push(store.put_part(&path, &id, number, text.into()).await.unwrap());
    }
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    let done = store.complete_multipart(&path, &id, parts).await.unwrap();
    // The MD5 of the parts' MD5s.
    assert_eq!(done.e_tag.as_deref(), Some("\"47667a7c3212792fa8403b49465b7b8a-3\""));
    assert_eq!(get(&store, &path).await, "12345678abcdefghend");
    assert!(server.uploads().is_empty());
}

#[tokio::test]
async fn numbers_need_not_be_dense_and_the_last_part_of_a_number_counts() {
    let server = small();
    let id = create(&server, "x").await;
    let old = part(&server, "x", &id, 10_000, "old").await;
    let last = part(&server, "x", &id, 10_000, "new").await;
    let first = part(&server, "x", &id, 7, "12345678").await;
    let spare = part(&server, "x", &id, 9, "never named").await;
    assert_ne!(spare.etag(), "");
    let stale = complete(&server, "x", &id, &[(7, first.etag()), (10_000, old.etag())]).await;
    assert_eq!((stale.status.as_u16(), stale.code().as_str()), (400, "InvalidPart"));
    let done = complete(&server, "x", &id, &[(7, first.etag()), (10_000, last.etag().trim_matches('"'))]).await;
    assert!(done.element("ETag").unwrap().ends_with("-2\""));
    assert_eq!(server.object("x").unwrap().body, "12345678new");
}

#[tokio::test]
async fn a_complete_is_refused_as_aws_refuses_it() {
    let server = small();
    let id = create(&server, "x").await;
    let one = part(&server, "x", &id, 1, "12345678").await.etag().to_owned();
    let two = part(&server, "x", &id, 2, "short").await.etag().to_owned();
    let three = part(&server, "x", &id, 3, "12345678").await.etag().to_owned();
    let cases: [(&[(u32, &str)], &str); 6] = [
        (&[], "MalformedXML"),
        (&[(3, &three), (1, &one)], "InvalidPartOrder"),
        (&[(1, &one), (1, &one)], "InvalidPartOrder"),
        (&[(1, &two)], "InvalidPart"),
        (&[(4, &one)], "InvalidPart"),
        (&[(1, &one), (2, &two), (3, &three)], "EntityTooSmall"),
    ];
    for (parts, code) in cases {
        assert_eq!(complete(&server, "x", &id, parts).await.code(), code);
    }
    assert_eq!(complete(&server, "y", &id, &[(1, &one)]).await.code(), "NoSuchUpload");
    assert_eq!(server.uploads().len(), 1);
    assert_eq!(complete(&server, "x", &id, &[(1, &one), (2, &two)]).await.status, 200);
}

#[tokio::test]
async fn a_part_is_refused_as_aws_refuses_it() {
    let server = small();
    let id = create(&server, "x").await;
    for number in [0, 10_001] {
        assert_eq!(part(&server, "x", &id, number, "x").await.code(), "InvalidArgument");
    }
    assert_eq!(part(&server, "x", "unknown", 1, "x").await.code(), "NoSuchUpload");
    server.reconfigure(|config| config.max_part = 3);
    assert_eq!(part(&server, "x", &id, 1, "four").await.code(), "EntityTooLarge");
    assert!(server.uploads()[0].1.parts.is_empty());
}

#[tokio::test]
async fn the_condition_of_a_complete_is_honoured() {
    let server = small();
    let id = create(&server, "x").await;
    let tag = part(&server, "x", &id, 1, "x").await.etag().to_owned();
    server.put("x", "in the way");
    let body = format!(
        "<CompleteMultipartUpload><Part><ETag>{tag}</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>"
    );
    let complete = |name, value: &str| {
        let request = server.raw(Method::POST, &format!("x?uploadId={id}")).body(body.clone());
        request.header(name, value).send()
    };
    assert_eq!(complete("if-none-match", "*").await.unwrap().code(), "PreconditionFailed");
    assert_eq!(complete("if-match", "\"other\"").await.unwrap().code(), "PreconditionFailed");
    assert_eq!(server.uploads().len(), 1, "a refused Complete leaves the upload");
    let there = server.object("x").unwrap().etag;
    assert_eq!(complete("if-match", &there).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upload_ends_once() {
    let server = small();
    let id = create(&server, "x").await;
    let tag = part(&server, "x", &id, 1, "x").await.etag().to_owned();
    assert_eq!(complete(&server, "x", &id, &[(1, &tag)]).await.status, 200);
    assert_eq!(complete(&server, "x", &id, &[(1, &tag)]).await.code(), "NoSuchUpload");
    assert_eq!(part(&server, "x", &id, 1, "late").await.code(), "NoSuchUpload");

    let id = create(&server, "y").await;
    let abort = || server.raw(Method::DELETE, &format!("y?uploadId={id}")).send();
    assert_eq!(abort().await.unwrap().status, 204);
    assert_eq!(abort().await.unwrap().code(), "NoSuchUpload");
    assert_eq!(complete(&server, "y", &id, &[(1, &tag)]).await.code(), "NoSuchUpload");

    server.reconfigure(|config| config.complete_again = true);
    assert_eq!(complete(&server, "y", &id, &[(1, &tag)]).await.code(), "NoSuchUpload", "there is no object");
    server.put("y", "of someone else");
    assert_eq!(complete(&server, "y", &id, &[(1, &tag)]).await.status, 200);
    assert_eq!(server.object("y").unwrap().body, "of someone else");
}

#[tokio::test]
async fn a_range_of_an_object_becomes_a_part() {
    let server = small();
    server.put("from", "0123456789");
    let id = create(&server, "x").await;
    let copy = |number: u32, range: &str| {
        let request = server.raw(Method::PUT, &format!("x?uploadId={id}&partNumber={number}"));
        request.header("x-amz-copy-source", "bucket/from").header("x-amz-copy-source-range", range)
    };
    let one = copy(1, "bytes=1-8").send().await.unwrap().element("ETag").unwrap();
    let two = copy(2, "bytes=9-9").send().await.unwrap().element("ETag").unwrap();
    assert_eq!(copy(3, "bytes=9-10").send().await.unwrap().code(), "InvalidArgument");
    assert_eq!(copy(3, "bytes=9-").send().await.unwrap().code(), "InvalidArgument");
    let tag = server.object("from").unwrap().etag;
    assert_eq!(copy(3, "bytes=0-1").header("x-amz-copy-source-if-match", &tag).send().await.unwrap().status, 200);
    server.put("from", "changed...");
    let changed = copy(3, "bytes=0-1").header("x-amz-copy-source-if-match", &tag).send().await.unwrap();
    assert_eq!(changed.code(), "PreconditionFailed");
    assert_eq!(complete(&server, "x", &id, &[(1, &one), (2, &two)]).await.status, 200);
    assert_eq!(server.object("x").unwrap().body, "123456789");

    let id = create(&server, "y").await;
    let copy =
        || server.raw(Method::PUT, &format!("y?uploadId={id}&partNumber=1")).header("x-amz-copy-source", "bucket/from");
    server.reconfigure(|config| config.max_copy = 9);
    assert_eq!(copy().send().await.unwrap().code(), "InvalidRequest");
    assert_eq!(copy().header("x-amz-copy-source-range", "bytes=0-8").send().await.unwrap().status, 200);
    server.put("from", "short");
    assert_eq!(copy().header("x-amz-copy-source-range", "bytes=0-1").send().await.unwrap().code(), "InvalidRequest");
    server.reconfigure(|config| config.no_part_copy = true);
    assert_eq!(copy().send().await.unwrap().status, 501);
}

#[tokio::test]
async fn an_engine_may_demand_equal_parts() {
    let server = small();
    server.reconfigure(|config| config.equal_parts = true);
    let id = create(&server, "x").await;
    let eight = part(&server, "x", &id, 1, "12345678").await.etag().to_owned();
    let nine = part(&server, "x", &id, 2, "123456789").await.etag().to_owned();
    let last = part(&server, "x", &id, 3, "12345678").await.etag().to_owned();
    assert_eq!(complete(&server, "x", &id, &[(1, &eight), (2, &nine), (3, &last)]).await.code(), "InvalidPart");
    assert_eq!(complete(&server, "x", &id, &[(1, &eight), (2, &nine)]).await.code(), "InvalidPart");
    assert_eq!(complete(&server, "x", &id, &[(1, &eight), (3, &last)]).await.status, 200);
}

#[tokio::test]
async fn checksums_need_consecutive_numbers() {
    let server = small();
    let create = server.raw(Method::POST, "x?uploads").header("x-amz-checksum-algorithm", "SHA256");
    let id = create.send().await.unwrap().element("UploadId").unwrap();
    let tag = part(&server, "x", &id, 2, "x").await.etag().to_owned();
    assert_eq!(complete(&server, "x", &id, &[(2, &tag)]).await.code(), "InternalError");
}

#[tokio::test]
async fn the_limits_are_those_of_aws_unless_scaled() {
    let server = S3Server::new(crate::support::s3::Config::aws());
    let id = create(&server, "x").await;
    let put = async |number: u32, length: usize| {
        let request = server.raw(Method::PUT, &format!("x?uploadId={id}&partNumber={number}"));
        request.body(vec![0; length]).send().await.unwrap().etag().to_owned().to_owned()
    };
    let (short, full, last) = (put(1, (5 << 20) - 1).await, put(2, 5 << 20).await, put(3, 1).await);
    assert_eq!(complete(&server, "x", &id, &[(1, &short), (3, &last)]).await.code(), "EntityTooSmall");
    assert_eq!(complete(&server, "x", &id, &[(2, &full), (3, &last)]).await.status, 200);
}

#[tokio::test]
async fn files_are_not_folders_where_keys_are_files() {
    let server = small();
    server.reconfigure(|config| config.files = true);
    let put = |key: &str| server.raw(Method::PUT, key).body("x").send();
    assert_eq!(put("a/b").await.unwrap().status, 200);
    assert_eq!(put("a").await.unwrap().code(), "ExistingObjectIsDirectory");
    assert_eq!(put("a/b/c").await.unwrap().code(), "ObjectParentIsFile");
    assert_eq!(put("a/bc").await.unwrap().status, 200);
    let id = create(&server, "a/b/c").await;
    let tag = part(&server, "a/b/c", &id, 1, "x").await.etag().to_owned();
    assert_eq!(complete(&server, "a/b/c", &id, &[(1, &tag)]).await.code(), "ObjectParentIsFile");
}
