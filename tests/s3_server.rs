//! The S3 server that the other tests rely on, tried with object_store's client and with requests signed by hand.

mod conditions;
mod control;
mod interleavings;
mod listing;
mod multipart;
mod signing;
mod sockets;

use bytes::Bytes;
use http::Method;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions, PutPayload,
    RetryConfig,
};

use crate::support::s3::{Config, Op, S3Server};

/// A client without sockets, that doesn't try again.
fn store(server: &S3Server, client: &str) -> AmazonS3 {
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = server.builder("http://s3.test").with_http_connector(server.connector(client));
    builder.with_retry(once).build().unwrap()
}

/// AWS, with parts of 8 bytes and more.
fn small() -> S3Server {
    S3Server::new(Config::aws().scaled(8))
}

async fn get(store: &AmazonS3, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::parse("dir/a~b c+d&e='ü'").unwrap();
    let put = store.put(&path, PutPayload::from_static(b"hello")).await.unwrap();
    assert_eq!(put.e_tag.as_deref(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(server.keys(), ["dir/a~b c+d&e='ü'"]);
    assert_eq!(get(&store, &path).await, "hello");
    let head = store.head(&path).await.unwrap();
    assert_eq!((head.size, head.e_tag), (5, put.e_tag));
    store.delete(&path).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_range_is_cut_out_of_the_object() {
    let server = small();
    server.put("x", "hello");
    let store = store(&server, "a");
    let read = async |range| {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        store.get_opts(&Path::from("x"), options).await.unwrap().bytes().await.unwrap()
    };
    assert_eq!(read(GetRange::Bounded(1..3)).await, "el");
    assert_eq!(read(GetRange::Bounded(3..99)).await, "lo");
    assert_eq!(read(GetRange::Offset(4)).await, "o");
    assert_eq!(read(GetRange::Suffix(2)).await, "lo");
    assert_eq!(read(GetRange::Suffix(9)).await, "hello");

    let past = server.raw(Method::GET, "x").header("range", "bytes=5-").send().await.unwrap();
    assert_eq!((past.status.as_u16(), past.code().as_str()), (416, "InvalidRange"));
    assert_eq!(past.headers["content-range"], "bytes */5");
    let several = server.raw(Method::GET, "x").header("range", "bytes=0-1,3-4").send().await.unwrap();
    assert_eq!((several.status.as_u16(), several.body.as_str()), (200, "hello"));
    server.put("empty", "");
    let empty = server.raw(Method::GET, "empty").header("range", "bytes=0-").send().await.unwrap();
    assert_eq!(empty.code(), "InvalidRange");
}

#[tokio::test]
async fn what_an_object_was_put_with_comes_back() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("x");
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/plain"),
        (Attribute::ContentDisposition, "attachment"),
        (Attribute::Metadata("file-id".into()), "7f"),
    ]);
    store.put_opts(&path, "x".into(), PutOptions::from(attributes.clone())).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().attributes, attributes);

    let kms = || server.raw(Method::PUT, "kms").header("x-amz-server-side-encryption", "aws:kms").body("x").send();
    let (put, again) = (kms().await.unwrap(), kms().await.unwrap());
    assert_eq!(put.headers["x-amz-server-side-encryption"], "aws:kms");
    assert_ne!(put.etag(), again.etag(), "entity tags are no digests under SSE-KMS");
    let plain =
        server.raw(Method::PUT, "plain").header("x-amz-storage-class", "STANDARD_IA").body("x").send().await.unwrap();
    assert!(!plain.headers.contains_key("x-amz-server-side-encryption"));
    let head = server.raw(Method::HEAD, "plain").send().await.unwrap();
    let header = |name: &str| head.header(name);
    assert_eq!((header("content-type"), header("content-length")), ("binary/octet-stream", "1"));
    assert_eq!((header("accept-ranges"), header("x-amz-storage-class")), ("bytes", "STANDARD_IA"));
    assert_eq!(head.body, "");
}

#[tokio::test]
async fn what_the_server_does_not_know_is_refused() {
    let server = small();
    server.put("x", "x");
    for target in ["x?acl", "x?tagging", "x?versionId=1", "x?partNumber=1", "?prefix=x"] {
        let answer = server.raw(Method::GET, target).send().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (501, "NotImplemented"), "{target}");
    }
    let put = || server.raw(Method::PUT, "y").body("y");
    let codes = [
        (put().header("x-amz-object-lock-mode", "GOVERNANCE"), "NotImplemented"),
        (put().header("x-amz-storage-class", "CHEAP"), "InvalidStorageClass"),
        (put().header("x-amz-server-side-encryption", "rot13"), "InvalidArgument"),
        (put().header("x-amz-meta-long", &"m".repeat(2048)), "MetadataTooLarge"),
        (put().header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), "BadDigest"),
        (put().header("content-md5", "?"), "InvalidDigest"),
        (put().header("x-amz-checksum-crc32c", "AAAAAA=="), "BadDigest"),
        (server.raw(Method::PUT, &"k".repeat(1025)), "KeyTooLongError"),
    ];
    for (request, code) in codes {
        assert_eq!(request.send().await.unwrap().code(), code);
    }
    let mut elsewhere = server.raw(Method::GET, "");
    *elsewhere.request.uri_mut() = "http://s3.test/nowhere/x".parse().unwrap();
    assert_eq!(elsewhere.send().await.unwrap().code(), "NoSuchBucket");
    assert_eq!(server.keys(), ["x"]);
}

#[tokio::test]
async fn checksums_are_checked() {
    let server = small();
    // Check values of "123456789" from the catalogues of CRCs.
    let right = [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
    ];
    for (name, value) in right {
        let answer = server.raw(Method::PUT, "x").header(name, value).body("123456789").send().await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let server = small();
    for number in 0..1001 {
        server.put(&format!("{number:04}"), "x");
    }
    let store = store(&server, "a");
    let paths = (0..1001).map(|number| Ok(Path::from(format!("{number:04}"))));
    let gone: Vec<_> = futures::TryStreamExt::try_collect(
        store.delete_stream(Box::pin(futures::stream::iter(paths.collect::<Vec<_>>()))),
    )
    .await
    .unwrap();
    assert_eq!((gone.len(), server.keys().len()), (1001, 0));
    assert_eq!(server.counts().of(Op::DeleteObjects).requests, 2);

    server.put("x", "x");
    let body = "<Delete><Object><Key>x</Key></Object></Delete>";
    assert_eq!(server.raw(Method::POST, "?delete").body(body).send().await.unwrap().code(), "InvalidRequest");
    let many = format!("<Delete>{}</Delete>", "<Object><Key>x</Key></Object>".repeat(1001));
    let many = server.raw(Method::POST, "?delete").header("content-md5", &md5(&many)).body(many).send().await.unwrap();
    assert_eq!((many.code().as_str(), server.keys().len()), ("MalformedXML", 1));
    let body = "<Delete><Object><Key>x</Key><ETag>other</ETag></Object><Object><Key>missing</Key></Object></Delete>";
    let answer = server.raw(Method::POST, "?delete").header("content-md5", &md5(body)).body(body).send().await.unwrap();
    assert_eq!((answer.code().as_str(), server.keys().len()), ("PreconditionFailed", 1));
    assert!(answer.body.contains("<Deleted><Key>missing</Key></Deleted>"));
}

fn md5(body: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(crate::support::s3::digest::md5(body.as_bytes()))
}

#[tokio::test]
async fn an_object_is_copied() {
    let server = small();
    let store = store(&server, "a");
    let (from, to) = (Path::parse("a b").unwrap(), Path::from("to"));
    let attributes = Attributes::from_iter([(Attribute::Metadata("id".into()), "1")]);
    store.put_opts(&from, "hello".into(), PutOptions::from(attributes)).await.unwrap();
    store.copy(&from, &to).await.unwrap();
    assert_eq!(get(&store, &to).await, "hello");
    assert_eq!(server.object("to").unwrap().headers["x-amz-meta-id"], "1");

    let copy = |to: &str| server.raw(Method::PUT, to).header("x-amz-copy-source", "/bucket/a%20b");
    let replaced =
        copy("to").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-id", "2").send().await.unwrap();
    assert!(replaced.element("ETag").unwrap().starts_with('"'));
    assert_eq!(server.object("to").unwrap().headers["x-amz-meta-id"], "2");
    assert_eq!(copy("a%20b").send().await.unwrap().code(), "InvalidRequest");
    assert_eq!(
        copy("to").header("x-amz-copy-source-if-match", "\"x\"").send().await.unwrap().code(),
        "PreconditionFailed"
    );
    assert_eq!(copy("to").header("if-none-match", "*").send().await.unwrap().code(), "PreconditionFailed");
    assert!(matches!(store.copy(&Path::from("missing"), &to).await, Err(Error::NotFound { .. })));

    server.reconfigure(|config| config.max_copy = 4);
    assert_eq!(copy("to").send().await.unwrap().code(), "InvalidRequest");
}

#[tokio::test]
async fn a_bucket_may_be_in_the_host() {
    let server = small();
    let builder = server.builder("http://bucket.s3.test").with_virtual_hosted_style_request(true);
    let store = builder.with_http_connector(server.connector("a")).build().unwrap();
    store.put(&Path::from("dir/x"), "x".into()).await.unwrap();
    assert_eq!(server.keys(), ["dir/x"]);
}
