//! URLs that others use: those who reach the engine by an address that the driver doesn't.

use std::time::Duration;

use holdall::drivers::S3Credentials;
use holdall::{ErrorKind, StorageDriver, StoragePath, UrlMethod, UrlOptions};
use http::Method;
use url::Url;

use super::{config, open, path};
use crate::support::s3::{Config, S3Server};

/// The same URL at another host.
fn moved(url: &Url, host: &str) -> Url {
    let mut url = url.clone();
    url.set_host(Some(host)).unwrap();
    url
}

#[tokio::test]
async fn urls_are_signed_for_the_public_endpoint_and_good_there_only() {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server).root("a/folder").public_endpoint("https://files.example:8443")).await;
    let at = path("/dir/file");
    driver.put_content(&at, "content".into()).await.unwrap();
    server.reset();
    for (url_method, method) in
        [(UrlMethod::Get, Method::GET), (UrlMethod::Head, Method::HEAD), (UrlMethod::Put, Method::PUT)]
    {
        let url = driver.url_for(&at, UrlOptions { method: url_method, ..UrlOptions::default() }).await.unwrap();
        assert!(url.as_str().starts_with("https://files.example:8443/bucket/a/folder/dir/file?"), "{url}");
        let inside = server.at(method.clone(), &moved(&url, "s3.test")).deliver().await.unwrap();
        assert_eq!(inside.status, 403, "{method} at the internal host");
        let answer = server.at(method.clone(), &url).body("new").deliver().await.unwrap();
        assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        let (length, body) = (answer.header("content-length").to_owned(), answer.body);
        match url_method {
            UrlMethod::Get => assert_eq!(body, "content"),
            UrlMethod::Head => assert_eq!((length.as_str(), body.as_str()), ("7", "")),
            UrlMethod::Put => assert_eq!(driver.get_content(&at).await.unwrap(), "new"),
        }
    }
    let own = |client: &str| server.record().iter().filter(|entry| entry.call.client == client).count();
    assert_eq!(own("driver"), 1, "signing takes no request");
    assert!(server.record().iter().filter(|entry| entry.call.client == "driver").all(|e| e.call.host == "s3.test"));
}

#[tokio::test]
async fn the_bucket_is_in_the_public_host_where_paths_are_not_the_style() {
    let server = S3Server::new(Config::aws());
    let driver = config(&server).endpoint("http://s3.inside").public_endpoint("https://s3.files.example");
    let driver = open(driver.path_style(false)).await;
    driver.put_content(&path("/file"), "content".into()).await.unwrap();
    let url = driver.url_for(&path("/file"), UrlOptions::default()).await.unwrap();
    assert!(url.as_str().starts_with("https://bucket.s3.files.example/file?"), "{url}");
    assert_eq!(server.at(Method::GET, &url).deliver().await.unwrap().body, "content");
}

#[tokio::test]
async fn a_url_is_good_for_its_time_and_its_answer_only() {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server)).await;
    let at = path("/file");
    driver.put_content(&at, "content".into()).await.unwrap();
    let options = UrlOptions {
        expires_in: Duration::from_secs(3600),
        response_content_type: Some("text/plain; charset=utf-8".into()),
        response_content_disposition: Some("attachment; filename*=UTF-8''a%20b+%E2%82%AC.txt".into()),
        ..UrlOptions::default()
    };
    let url = driver.url_for(&at, options.clone()).await.unwrap();
    let answer = server.at(Method::GET, &url).deliver().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "content"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("content-disposition"), "attachment; filename*=UTF-8''a%20b+%E2%82%AC.txt");
    let html = url.as_str().replace("text%2Fplain", "text%2Fhtml");
    assert_ne!(html, url.as_str());
    let changed = server.at(Method::GET, &html.parse().unwrap()).deliver().await.unwrap();
    assert_eq!(changed.code(), "SignatureDoesNotMatch");
    let unsigned = server.at(Method::GET, &url.join("/bucket/file").unwrap()).deliver().await.unwrap();
    assert_eq!(unsigned.code(), "AccessDenied");

    server.advance(Duration::from_secs(3000));
    assert_eq!(server.at(Method::GET, &url).deliver().await.unwrap().status, 200);
    server.advance(Duration::from_secs(1000));
    let expired = server.at(Method::GET, &url).deliver().await.unwrap();
    assert_eq!(expired.element("Message").as_deref(), Some("Request has expired"));
}

#[tokio::test]
async fn a_url_carries_the_session_of_temporary_credentials() {
    let mut temporary = Config::aws();
    temporary.keys.values_mut().for_each(|key| key.token = Some("session/+=".into()));
    let server = S3Server::new(temporary);
    let keys = S3Credentials::keys("test-key", "test-secret", Some("session/+=".into()));
    let driver = open(config(&server).credentials(keys)).await;
    driver.put_content(&path("/file"), "content".into()).await.unwrap();
    let url = driver.url_for(&path("/file"), UrlOptions::default()).await.unwrap();
    assert_eq!(server.at(Method::GET, &url).deliver().await.unwrap().body, "content");
}

#[tokio::test]
async fn urls_that_could_not_work_are_refused() {
    let server = S3Server::new(Config::aws());
    let driver = open(config(&server)).await;
    let refused = async |at: &StoragePath, options: UrlOptions| driver.url_for(at, options).await.unwrap_err().kind();
    let day = Duration::from_secs(24 * 60 * 60);
    for expires_in in [Duration::ZERO, Duration::from_millis(999), 7 * day + Duration::from_secs(1)] {
        let options = UrlOptions { expires_in, ..UrlOptions::default() };
        assert_eq!(refused(&path("/file"), options).await, ErrorKind::UnsupportedMethod, "{expires_in:?}");
    }
    let longest = UrlOptions { expires_in: 7 * day, ..UrlOptions::default() };
    let url = driver.url_for(&path("/file"), longest).await.unwrap();
    assert_eq!(server.at(Method::GET, &url).deliver().await.unwrap().code(), "NoSuchKey", "signed, and nothing there");
    let put =
        UrlOptions { method: UrlMethod::Put, response_content_type: Some("text/html".into()), ..UrlOptions::default() };
    assert_eq!(refused(&path("/file"), put).await, ErrorKind::UnsupportedMethod);
    assert_eq!(refused(&StoragePath::root(), UrlOptions::default()).await, ErrorKind::IsADirectory);
}
