//! The same through a socket.

use std::io::ErrorKind;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{get, small};
use crate::support::s3::{Config, Failure, Listener, Op, Outcome, Rule, S3Server};

fn client(server: &S3Server, listener: &Listener) -> AmazonS3 {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    server.builder(&listener.url()).build().unwrap()
}

#[tokio::test]
async fn a_client_works_and_tries_again() {
    let server = small();
    let listener = server.listen().await.unwrap();
    let store = client(&server, &listener);
    let path = Path::from("x/y");
    store.put(&path, "hello".into()).await.unwrap();
    server.fault(Rule::on(Op::GetObject, Outcome::Fail(Failure::Reset)));
    server.fault(Rule::on(Op::GetObject, Outcome::Fail(Failure::Close)));
    assert_eq!(get(&store, &path).await, "hello");
    assert_eq!(server.counts().of(Op::GetObject).requests, 3);
    server.fault(Rule::on(Op::GetObject, Outcome::Cut(2)));
    assert_eq!(get(&store, &path).await, "hello");
    assert_eq!(store.head(&path).await.unwrap().size, 5);
    store.delete(&path).await.unwrap();
}

/// object_store sends again what can't have arrived, or does no harm: both ways in must look the same to it.
#[tokio::test]
async fn a_client_sees_the_same_failures_without_a_socket() {
    let server = small();
    let listener = server.listen().await.unwrap();
    let connected = server.builder("http://s3.test").with_http_connector(server.connector("a")).build().unwrap();
    for (way, store) in [("socket", client(&server, &listener)), ("connector", connected)] {
        // A conditional PUT is only sent again if the connection was closed without a word.
        for (failure, requests) in [(Failure::Reset, 1), (Failure::Close, 2)] {
            let path = Path::from(format!("{way}-{failure:?}"));
            server.reset();
            server.fault(Rule::new(Outcome::Fail(failure)));
            let put = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
            assert_eq!((put.is_ok(), server.counts().total().requests), (requests == 2, requests), "{path}: {put:?}");
        }
    }
}

#[tokio::test]
async fn a_large_object_comes_back_whole() {
    let server = S3Server::new(Config::aws());
    let listener = server.listen().await.unwrap();
    let store = client(&server, &listener);
    let path = Path::from("big");
    let body: Vec<u8> = (0..12_u32 << 20).map(|at| (at % 251) as u8).collect();
    let mut upload = WriteMultipart::new(store.put_multipart_opts(&path, Default::default()).await.unwrap());
    upload.write(&body);
    upload.finish().await.unwrap();
    assert_eq!(server.counts().of(Op::UploadPart).requests, 3);
    assert!(get(&store, &path).await == body);
}

/// Sends a request as bytes and reads to the end.
async fn talk(listener: &Listener, request: &str) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.kind())?;
    Ok(answer)
}

#[tokio::test]
async fn a_broken_connection_looks_as_told() {
    let server = small();
    let listener = server.listen().await.unwrap();
    let request = "GET /bucket/x HTTP/1.1\r\nhost: s3.test\r\nconnection: close\r\n\r\n";
    let denied = talk(&listener, request).await.unwrap();
    assert!(denied.starts_with("HTTP/1.1 403") && denied.contains("<Code>AccessDenied</Code>"), "{denied}");
    server.fault(Rule::new(Outcome::Fail(Failure::Reset)));
    assert_eq!(talk(&listener, request).await, Err(ErrorKind::ConnectionReset));
    server.fault(Rule::new(Outcome::Fail(Failure::Close)));
    assert_eq!(talk(&listener, request).await, Ok(String::new()));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_done() {
    let server = small();
    let listener = server.listen().await.unwrap();
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    stream.write_all(b"PUT /bucket/x HTTP/1.1\r\nhost: s3.test\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!((server.keys().len(), server.record().len()), (0, 0));
}

#[tokio::test]
async fn a_listener_that_goes_closes_its_connections() {
    let server = small();
    let listener = server.listen().await.unwrap();
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    drop(listener);
    let mut rest = Vec::new();
    // Closed or reset: it ends.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
