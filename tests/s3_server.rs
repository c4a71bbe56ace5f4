//! The S3 server that the other tests rely on, tried with object_store's client and with requests signed by hand.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use crate::support::s3::{Code, Config, Failure, Op, Outcome, Rule, S3Server};

/// A client without sockets.
fn store(server: &S3Server, client: &str) -> AmazonS3 {
    server.builder("http://s3.test").with_http_connector(server.connector(client)).build().unwrap()
}

fn small() -> S3Server {
    S3Server::new(Config::aws().scaled(8))
}

async fn get(store: &AmazonS3, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn objects_come_back_as_they_were_put() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::parse("dir/a~b c+d").unwrap();
    let put = store.put(&path, PutPayload::from_static(b"hello")).await.unwrap();
    assert_eq!(put.e_tag.as_deref(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(get(&store, &path).await, "hello");
    assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "el");
    let suffix = GetOptions { range: Some(GetRange::Suffix(2)), ..GetOptions::default() };
    assert_eq!(store.get_opts(&path, suffix).await.unwrap().bytes().await.unwrap(), "lo");
    let past = GetOptions { range: Some(GetRange::Offset(5)), ..GetOptions::default() };
    assert!(store.get_opts(&path, past).await.is_err());
    let head = store.head(&path).await.unwrap();
    assert_eq!((head.size, head.e_tag), (5, put.e_tag));
    store.delete(&path).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    assert_eq!(server.counts().of(Op::HeadObject).requests, 2);
}

#[tokio::test]
async fn conditions_of_writes_are_honoured() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("x");
    let put = |text: &'static str, mode| store.put_opts(&path, text.into(), PutOptions::from(mode));
    let first = put("one", PutMode::Create).await.unwrap();
    assert!(matches!(put("two", PutMode::Create).await, Err(Error::AlreadyExists { .. })));
    let version = |e_tag| PutMode::Update(UpdateVersion { e_tag, version: None });
    put("two", version(first.e_tag.clone())).await.unwrap();
    assert!(matches!(put("three", version(first.e_tag)).await, Err(Error::Precondition { .. })));
    assert_eq!(get(&store, &path).await, "two");

    server.reconfigure(|config| config.ignore_conditions = true);
    put("four", PutMode::Create).await.unwrap();
    assert_eq!(get(&store, &path).await, "four");
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
    assert!(done.e_tag.is_some_and(|tag| tag.ends_with("-3\"")));
    assert_eq!(get(&store, &path).await, "12345678abcdefghend");
    assert!(server.uploads().is_empty());
}

#[tokio::test]
async fn a_listing_has_pages() {
    let server = small();
    for number in 0..2500 {
        server.put(&format!("d/{number:04}"), "x");
    }
    server.put("e", "x");
    let store = store(&server, "a");
    let all: Vec<_> = store.list(Some(&Path::from("d"))).try_collect().await.unwrap();
    assert_eq!(all.len(), 2500);
    assert_eq!(server.counts().of(Op::ListObjectsV2).requests, 3);
    let after: Vec<_> = store
        .list_with_offset(None, &Path::from("d/2497"))
        .map(|meta| meta.unwrap().location.to_string())
        .collect()
        .await;
    assert_eq!(after, ["d/2498", "d/2499", "e"]);
    let root = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((root.common_prefixes, root.objects.len()), (vec![Path::from("d")], 1));
}

#[tokio::test]
async fn a_fault_hits_before_or_after_the_engine() {
    let server = small();
    let store = server
        .builder("http://s3.test")
        .with_http_connector(server.connector("a"))
        .with_retry(object_store::RetryConfig { max_retries: 0, ..Default::default() })
        .build()
        .unwrap();
    let path = Path::from("x");
    let hits = server.fault(Rule::on(Op::PutObject, Outcome::Fail(Code::SlowDown.into())));
    assert!(store.put(&path, "1".into()).await.is_err());
    assert_eq!((hits.count(), server.object("x").is_none()), (1, true));
    server.fault(Rule::on(Op::PutObject, Outcome::Lost(Failure::Reset)));
    assert!(store.put(&path, "2".into()).await.is_err());
    assert_eq!(server.object("x").unwrap().body, "2");
    server.fault(Rule::new(Outcome::Late(Failure::Timeout)).writes());
    assert!(store.put(&path, "3".into()).await.is_err());
    assert_eq!(get(&store, &path).await, "2");
    for late in server.take_late() {
        assert_eq!(late.land(), 200);
    }
    assert_eq!(get(&store, &path).await, "3");
}

#[tokio::test]
async fn a_socket_serves_the_same() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = small();
    let listener = server.listen().await.unwrap();
    let store = server.builder(&listener.url()).build().unwrap();
    let path = Path::from("x/y");
    store.put(&path, "hello".into()).await.unwrap();
    assert_eq!(get(&store, &path).await, "hello");
    server.fault(Rule::on(Op::GetObject, Outcome::Fail(Failure::Reset)).times(2));
    assert_eq!(get(&store, &path).await, "hello");
    assert_eq!(server.counts().of(Op::GetObject).requests, 4);
    server.fault(Rule::on(Op::GetObject, Outcome::Cut(2)));
    assert_eq!(get(&store, &path).await, "hello");
}
