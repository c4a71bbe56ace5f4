//! Who may send a request: signatures in headers and in URLs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeZone, Utc};
use http::{Method, Request};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use object_store::signer::Signer;

use super::{small, store};
use crate::support::s3::sigv4::{Secret, verify};
use crate::support::s3::{Call, Config, Outcome, Raw, Refusal, Rule, S3Server};

/// The examples in the S3 API reference all have this key and this day.
fn documented(request: Request<()>) -> Result<String, Refusal> {
    let secret = Secret { secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(), token: None };
    let keys = BTreeMap::from([("AKIAIOSFODNN7EXAMPLE".into(), secret)]);
    let now = Utc.with_ymd_and_hms(2013, 5, 24, 0, 5, 0).unwrap();
    verify(&Call::new(1, request.into_parts().0, 0), b"", &keys, "us-east-1", now)
}

#[test]
fn the_documented_examples_are_good() {
    let get = Request::get("/test.txt")
        .header("host", "examplebucket.s3.amazonaws.com")
        .header("range", "bytes=0-9")
        .header("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        .header("x-amz-date", "20130524T000000Z")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
    assert_eq!(documented(get.body(()).unwrap()).unwrap(), "AKIAIOSFODNN7EXAMPLE");

    let url = "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
               AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400\
               &X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert_eq!(documented(Request::get(url).body(()).unwrap()).unwrap(), "AKIAIOSFODNN7EXAMPLE");
    let error = documented(Request::head(url).body(()).unwrap()).unwrap_err();
    assert_eq!(error.code.name(), "SignatureDoesNotMatch");
}

async fn refused(request: Raw) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status.as_u16(), answer.code())
}

#[tokio::test]
async fn a_bad_signature_is_refused() {
    let server = small();
    let put = || server.raw(Method::PUT, "x").body("x");

    let mut wrong = put();
    wrong.credential.secret_key.push('!');
    assert_eq!(refused(wrong).await, (403, "SignatureDoesNotMatch".into()));
    let mut unknown = put();
    unknown.credential.key_id.push('!');
    assert_eq!(refused(unknown).await, (403, "InvalidAccessKeyId".into()));
    let mut elsewhere = put();
    elsewhere.region = "eu-west-1".into();
    assert_eq!(refused(elsewhere).await, (400, "AuthorizationHeaderMalformed".into()));
    let mut token = put();
    token.credential.token = Some("unasked".into());
    assert_eq!(refused(token).await, (400, "InvalidToken".into()));

    assert_eq!(put().deliver().await.unwrap().code(), "AccessDenied", "nobody signed it");
    let changed = put().sign().unwrap().body("y");
    assert_eq!(changed.deliver().await.unwrap().code(), "XAmzContentSHA256Mismatch");
    let added = put().sign().unwrap().header("x-amz-meta-a", "b");
    assert_eq!(added.deliver().await.unwrap().code(), "AccessDenied");
    let moved = server.raw(Method::PUT, "x").sign().unwrap();
    let mut other = moved;
    *other.request.uri_mut() = "http://s3.test/bucket/y".parse().unwrap();
    assert_eq!(other.deliver().await.unwrap().code(), "SignatureDoesNotMatch");
    let late = put().sign().unwrap();
    server.advance(Duration::from_secs(16 * 60));
    assert_eq!(late.deliver().await.unwrap().code(), "RequestTimeTooSkewed");
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn a_session_token_must_come_along() {
    let mut config = Config::aws();
    config.keys.values_mut().for_each(|key| key.token = Some("session".into()));
    let server = S3Server::new(config);
    assert_eq!(server.raw(Method::PUT, "x").send().await.unwrap().status, 200);
    let mut without = server.raw(Method::PUT, "x");
    without.credential.token = None;
    assert_eq!(without.send().await.unwrap().code(), "InvalidToken");
}

#[tokio::test]
async fn a_presigned_url_is_good_for_its_method_and_its_time() {
    let server = small();
    let store = store(&server, "a");
    let path = Path::parse("dir/a b+c").unwrap();
    let hour = Duration::from_secs(3600);
    let put = store.signed_url(Method::PUT, &path, hour).await.unwrap();
    assert_eq!(server.at(Method::PUT, &put).body("hello").deliver().await.unwrap().status, 200);
    let get = store.signed_url(Method::GET, &path, hour).await.unwrap();
    assert_eq!(server.at(Method::GET, &get).deliver().await.unwrap().body, "hello");
    assert_eq!(server.at(Method::HEAD, &get).deliver().await.unwrap().status, 403);
    assert_eq!(server.at(Method::PUT, &get).body("x").deliver().await.unwrap().code(), "SignatureDoesNotMatch");
    let head = store.signed_url(Method::HEAD, &path, hour).await.unwrap();
    assert_eq!(server.at(Method::HEAD, &head).deliver().await.unwrap().headers["content-length"], "5");
    let mut longer = get.clone();
    longer.query_pairs_mut().append_pair("response-content-type", "text/html");
    assert_eq!(server.at(Method::GET, &longer).deliver().await.unwrap().code(), "SignatureDoesNotMatch");
    let unsigned = server.at(Method::PUT, &put).header("x-amz-meta-a", "b").body("x");
    assert_eq!(unsigned.deliver().await.unwrap().code(), "AccessDenied");

    server.advance(hour + Duration::from_secs(2));
    let expired = server.at(Method::GET, &get).deliver().await.unwrap();
    assert_eq!(
        (expired.code().as_str(), expired.element("Message").as_deref()),
        ("AccessDenied", Some("Request has expired"))
    );
    let too_long = store.signed_url(Method::GET, &path, Duration::from_secs(604_801)).await.unwrap();
    assert_eq!(server.at(Method::GET, &too_long).deliver().await.unwrap().code(), "AuthorizationQueryParametersError");
}

#[tokio::test]
async fn a_presigned_url_may_name_query_and_headers() {
    use object_store::signer::SignedUrlOptions;
    let server = small();
    let store = store(&server, "a");
    let path = Path::from("x");
    store.put(&path, "hello".into()).await.unwrap();
    let options = SignedUrlOptions::new().with_query([
        ("response-content-type", "text/html"),
        ("response-content-disposition", "attachment; filename=\"a b\""),
    ]);
    let url = store.signed_url_opts(Method::GET, &path, Duration::from_secs(60), &options).await.unwrap();
    let answer = server.at(Method::GET, &url).deliver().await.unwrap();
    assert_eq!((answer.body.as_str(), &answer.headers["content-type"]), ("hello", &"text/html".parse().unwrap()));
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"a b\"");
}

#[tokio::test]
async fn clients_are_told_apart_by_their_keys() {
    let server = S3Server::new(Config::aws().key("writer", "w").key("zombie", "z"));
    let hits =
        server.fault(Rule::new(Outcome::Fail(crate::support::s3::Code::SlowDown.into())).client("zombie").always());
    let listener = server.listen().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (key, secret) in [("writer", "w"), ("zombie", "z")] {
        let builder = server.builder(&listener.url()).with_access_key_id(key).with_secret_access_key(secret);
        let once = object_store::RetryConfig { max_retries: 0, ..Default::default() };
        let put = builder.with_retry(once).build().unwrap().put(&Path::from("x"), "x".into()).await;
        assert_eq!(put.is_ok(), key == "writer");
    }
    assert_eq!(hits.count(), 1);
}

#[tokio::test]
async fn a_public_server_asks_for_no_signature() {
    let server = S3Server::new(Config { public: true, ..Config::aws() });
    assert_eq!(server.raw(Method::PUT, "x").body("x").deliver().await.unwrap().status, 200);
    store(&server, "a").head(&Path::from("x")).await.unwrap();
    assert!(server.record().iter().all(|entry| !entry.call.headers.contains_key("authorization")));
}
