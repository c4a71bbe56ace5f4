//! `url_for`, tried by the requests that the harness can send.

use bytes::Bytes;

use super::context::{Context, path};
use super::data::Data;
use super::harness::Fetched;
use crate::driver::{UrlMethod, UrlOptions};
use crate::error::ErrorKind;

/// The answer to a request to a URL for this file; `None`, and the case is skipped, where that can't be had.
async fn fetch(t: &mut Context, at: &str, options: UrlOptions, body: Bytes) -> Option<Fetched> {
    let method = options.method;
    let url = match t.driver().url_for(&path(at), options).await {
        Ok(url) => url,
        Err(error) if error.kind() == ErrorKind::UnsupportedMethod => {
            // Reading is what a driver that signs URLs can do at least.
            assert!(!t.can().url_for || method == UrlMethod::Put, "capabilities promise URLs to read: {error:?}");
            t.assert_names(&error, at);
            t.skip("this driver has no such URLs");
            return None;
        }
        Err(error) => panic!("url_for({at}) failed: {error:?}"),
    };
    let fetched = t.harness().fetch(method, &url, body).await;
    if fetched.is_none() {
        t.skip("the harness sends no requests");
    }
    fetched
}

fn header<'a>(fetched: &'a Fetched, name: &str) -> Option<&'a str> {
    fetched.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub(super) async fn a_url_gives_the_content(t: &mut Context) {
    let content = Data(75).bytes(0..100_000);
    t.put("/dir/file", content.clone()).await;
    let Some(got) = fetch(t, "/dir/file", UrlOptions::default(), Bytes::new()).await else { return };
    assert_eq!(got.status, 200);
    assert!(got.body == content, "a GET of the URL gives the content");
}

pub(super) async fn a_url_for_head_gives_the_length(t: &mut Context) {
    t.put("/dir/file", Data(76).bytes(0..12_345)).await;
    let options = UrlOptions { method: UrlMethod::Head, ..UrlOptions::default() };
    let Some(got) = fetch(t, "/dir/file", options, Bytes::new()).await else { return };
    assert_eq!((got.status, got.body.len()), (200, 0));
    assert_eq!(header(&got, "content-length"), Some("12345"), "a HEAD of the URL gives the length");
}

pub(super) async fn a_url_sets_type_and_disposition(t: &mut Context) {
    t.put("/file", "content").await;
    let disposition = "attachment; filename=\"a name.txt\"";
    let options = UrlOptions {
        response_content_type: Some("text/x-test; charset=utf-8".into()),
        response_content_disposition: Some(disposition.into()),
        ..UrlOptions::default()
    };
    let Some(got) = fetch(t, "/file", options, Bytes::new()).await else { return };
    assert_eq!(got.status, 200);
    assert_eq!(header(&got, "content-type"), Some("text/x-test; charset=utf-8"));
    assert_eq!(header(&got, "content-disposition"), Some(disposition));
}

pub(super) async fn a_url_for_put_replaces_the_content(t: &mut Context) {
    t.put("/file", "old").await;
    let options = UrlOptions { method: UrlMethod::Put, ..UrlOptions::default() };
    let Some(got) = fetch(t, "/file", options, Bytes::from_static(b"new")).await else { return };
    assert!((200..300).contains(&got.status), "a PUT to the URL is done: {}", got.status);
    t.assert_content("/file", b"new").await;
}

pub(super) async fn a_url_for_one_file_gives_no_other(t: &mut Context) {
    t.put("/a", "a").await;
    t.put("/ab", "ab").await;
    let Some(got) = fetch(t, "/missing", UrlOptions::default(), Bytes::new()).await else { return };
    assert_eq!(got.status, 404, "the path need not exist, but then nothing is there");
}
