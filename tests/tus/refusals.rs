//! Bad input: each is answered with a clear line of text, and nothing changes.

use super::*;

/// Sends what `request` makes of the URL of an upload of 10 bytes that holds 4, and asserts that it is refused with this
/// status and text and leaves everything as it was.
async fn refused<B>(request: impl Fn(&str) -> Request<B>, status: u16, part: &str)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    for rig in Rig::each_with(|store| store.max_size(1000), |tus| tus) {
        let url = rig.create(10).await;
        rig.append(&url, 0, "0123").await;
        let before = rig.state().await;
        let answer = rig.send(request(&url)).await;
        answer.assert_error(status, part);
        assert_eq!(rig.state().await, before);
        // And it goes on.
        rig.append(&url, 4, "456789").await;
    }
}

#[tokio::test]
async fn an_unknown_or_missing_version_is_told_the_known_one() {
    for version in [None, Some("0.2.2"), Some("1.0"), Some("2.0.0"), Some("")] {
        for rig in Rig::each() {
            let url = rig.create(10).await;
            let before = rig.state().await;
            for (method, url) in [("POST", "/files/"), ("HEAD", &url), ("PATCH", &url), ("DELETE", &url), ("PUT", &url)]
            {
                let request = Request::builder()
                    .method(method)
                    .uri(url)
                    .header("upload-length", 1)
                    .header("upload-offset", 0)
                    .header("content-type", CHUNK);
                let request = match version {
                    Some(version) => request.header("tus-resumable", version),
                    None => request,
                };
                let answer = rig.send(request.full("x")).await;
                assert_eq!(answer.status, 412, "{version:?} {method}");
                assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"));
                assert_eq!(answer.body.is_empty(), method == "HEAD");
            }
            assert_eq!(rig.state().await, before);
        }
    }
}

#[tokio::test]
async fn numbers_that_are_none() {
    let long = "9".repeat(65_536);
    for number in ["", "-1", "+4", "4.0", "0x4", "4 4", "four", "9223372036854775808", "18446744073709551620", &long] {
        let header = |name: &'static str| move |request: Builder| request.header(name, number);
        let patch_at = header("upload-offset");
        refused(|url| patch_at(tus("PATCH", url).header("content-type", CHUNK)).full("4"), 400, "Upload-Offset is")
            .await;
        let declare = header("upload-length");
        refused(|url| declare(patch(url, 4)).full("4"), 400, "Upload-Length is").await;
        refused(|_| declare(tus("POST", "/files/")).empty(), 400, "Upload-Length is").await;
    }
}

#[tokio::test]
async fn an_offset_that_is_missing_or_comes_twice() {
    refused(|url| tus("PATCH", url).header("content-type", CHUNK).full("4"), 400, "Upload-Offset is missing").await;
    refused(|url| patch(url, 4).header("upload-offset", 4).full("4"), 400, "Upload-Offset came more than once").await;
}

#[tokio::test]
async fn another_offset_than_the_current_one() {
    for offset in [0, 3, 5, 10] {
        for rig in Rig::each() {
            let url = rig.create(10).await;
            rig.append(&url, 0, "0123").await;
            let before = rig.state().await;
            for body in ["", "x"] {
                let answer = rig.send(patch(&url, offset).full(body)).await;
                answer.assert_error(409, "at 4");
                assert_eq!(answer.header("upload-offset"), "4");
            }
            assert_eq!(rig.state().await, before);
        }
    }
}

#[tokio::test]
async fn a_chunk_of_another_content_type() {
    let patch = |url: &str| tus("PATCH", url).header("upload-offset", 4);
    refused(|url| patch(url).full("4"), 415, "application/offset+octet-stream").await;
    for kind in ["application/octet-stream", "text/plain", ""] {
        refused(|url| patch(url).header("content-type", kind).full("4"), 415, CHUNK).await;
        let create = || tus("POST", "/files/").header("upload-length", 4).header("content-type", kind);
        refused(|_| create().full("4"), 415, CHUNK).await;
        refused(|_| create().pieces(vec![Ok(""), Ok("4")]), 415, CHUNK).await;
    }
    refused(|url| super::patch(url, 4).header("content-type", CHUNK).full("4"), 400, "Content-Type came more").await;
}

#[tokio::test]
async fn a_chunk_in_a_transfer_coding_that_nobody_undoes() {
    for coding in ["gzip, chunked", "gzip", "identity"] {
        let request = |url: &str| patch(url, 4).header("transfer-encoding", coding).full("4567");
        refused(request, 501, "Transfer-Encoding").await;
    }
    for rig in Rig::each() {
        let url = rig.create(10).await;
        let answer = rig.send(patch(&url, 0).header("transfer-encoding", "Chunked").full("0123")).await;
        assert_eq!(answer.status, 204);
    }
}

#[tokio::test]
async fn bodies_that_do_not_fit() {
    refused(|url| patch(url, 4).full("4567890"), 413, "the chunk has 7 bytes, and there is room for 6").await;
    refused(
        |_| tus("POST", "/files/").header("upload-length", 2).header("content-type", CHUNK).full("012"),
        413,
        "the chunk has 3 bytes, and there is room for 2",
    )
    .await;
    let too_much: &'static str = "x".repeat(1001).leak();
    let deferred = || tus("POST", "/files/").header("upload-defer-length", 1).header("content-type", CHUNK);
    refused(|_| deferred().full(too_much), 413, "the chunk has 1001 bytes, and there is room for 1000").await;
    refused(|_| tus("POST", "/files/").header("upload-length", 1001).empty(), 413, "at most 1000").await;
}

#[tokio::test]
async fn the_length_of_a_creation_is_named_once() {
    let create = || tus("POST", "/files/");
    refused(|_| create().empty(), 400, "Upload-Length is missing, and so is Upload-Defer-Length").await;
    let both = || create().header("upload-length", 4).header("upload-defer-length", 1);
    refused(|_| both().empty(), 400, "exclude each other").await;
    for defer in ["0", "2", "true", ""] {
        refused(|_| create().header("upload-defer-length", defer).empty(), 400, "Upload-Defer-Length can only be 1")
            .await;
    }
    let twice = || create().header("upload-length", 4).header("upload-length", 4);
    refused(|_| twice().empty(), 400, "Upload-Length came more than once").await;
}

#[tokio::test]
async fn a_length_is_declared_once_and_never_below_the_offset() {
    refused(|url| patch(url, 4).header("upload-length", 11).empty(), 400, "length").await;
    for rig in Rig::each_with(|store| store.max_size(1000), |tus| tus) {
        let url = rig.send(tus("POST", "/files/").header("upload-defer-length", 1).empty()).await;
        let url = url.header("location").to_owned();
        rig.append(&url, 0, "0123").await;
        let before = rig.state().await;
        rig.send(patch(&url, 4).header("upload-length", 3).empty()).await.assert_error(400, "length");
        rig.send(patch(&url, 4).header("upload-length", 1001).empty()).await.assert_error(413, "at most 1000");
        rig.send(patch(&url, 4).header("upload-length", 5).full("45")).await.assert_error(413, "room for 1");
        assert_eq!(rig.state().await, before);
        let answer = rig.send(tus("HEAD", &url).empty()).await;
        assert_eq!((answer.header("upload-offset"), answer.header("upload-defer-length")), ("4", "1"));
    }
}

#[tokio::test]
async fn metadata_that_the_protocol_does_not_allow() {
    let long = format!("a {}", "A".repeat(65_536));
    for (metadata, part) in [
        ("name !!!", "pair 1 of the metadata: the value is not valid base64"),
        ("name YQ", "base64"),
        ("name YQ==,", "pair 2 of the metadata: the key is empty"),
        (",name YQ==", "pair 1"),
        ("a YQ==,,b YQ==", "pair 2"),
        ("name YQ==,name Yg==", "pair 2 of the metadata: the key is repeated"),
        ("name YQ== YQ==", "base64"),
        ("name  YQ==", "base64"),
        ("na\tme YQ==", "not allowed in a key"),
        (&long, "longer than 65536 bytes"),
    ] {
        let create = || tus("POST", "/files/").header("upload-length", 4).header("upload-metadata", metadata);
        refused(|_| create().empty(), 400, part).await;
        refused(|_| create().header("content-type", CHUNK).full("0123"), 400, part).await;
    }
    let create = || tus("POST", "/files/").header("upload-length", 4);
    refused(|_| create().header("upload-metadata", "näme".as_bytes()).empty(), 400, "not ASCII").await;
    let twice = || create().header("upload-metadata", "a").header("upload-metadata", "b");
    refused(|_| twice().empty(), 400, "Upload-Metadata came more than once").await;
}

#[tokio::test]
async fn urls_that_name_no_upload() {
    let long = format!("/files/{}", "a".repeat(129));
    for url in [
        "/files/a.info",
        "/files/..",
        "/files/../x",
        "/files/a/b",
        "/files//a",
        "/files/a/",
        "/files/%61",
        "/files/a%2Fb",
        "/files/a~",
        "/files/a;b",
        "/files/a+b",
        "/filesa",
        "/other/a",
        "/",
        "/file",
        &long,
        "/files/%00",
        "*",
    ] {
        for method in ["HEAD", "PATCH", "DELETE", "POST"] {
            for rig in Rig::each() {
                let existing = rig.create(10).await;
                let before = rig.state().await;
                let request = tus(method, url).header("upload-length", 4).header("upload-offset", 0);
                let answer = rig.send(request.header("content-type", CHUNK).full("0123")).await;
                assert_eq!(answer.status, 404, "{method} {url} {answer:?}");
                assert!(!answer.has("upload-offset"));
                assert_eq!(
                    answer.text(),
                    if method == "HEAD" {
                        ""
                    } else {
                        "no upload has this URL: it would be /files/<id>, with an id of 1 to 128 of A-Z a-z 0-9 _ -\n"
                    }
                );
                assert_eq!(rig.state().await, before);
                assert_eq!(rig.offset(&existing).await, 0);
            }
        }
    }
}

#[tokio::test]
async fn uploads_that_are_not_there() {
    let url = "/files/00000000000000000000000000000000";
    refused(|_| patch(url, 0).full("x"), 404, "no such upload").await;
    refused(|_| tus("DELETE", url).empty(), 404, "no such upload").await;
    refused(|_| tus("GET", url).empty(), 404, "no such upload").await;
    for rig in Rig::each() {
        let answer = rig.send(tus("HEAD", url).empty()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (404, ""));
        assert!(!answer.has("upload-offset"));
    }
}

#[tokio::test]
async fn methods_that_are_not_allowed_here() {
    for method in ["PUT", "TRACE", "CONNECT", "POST", "patch", "FROBNICATE"] {
        refused(|url| tus(method, url).full("x"), 405, "HEAD, PATCH, DELETE, GET, OPTIONS").await;
    }
    for method in ["PUT", "GET", "PATCH", "DELETE"] {
        refused(|_| patch("/files/", 0).method(method).full("x"), 405, "these are: POST, OPTIONS").await;
    }
    refused(|url| tus("POST", url).header("x-http-method-override", "").empty(), 400, "is not a method").await;
    let twice =
        |url: &str| patch(url, 4).header("x-http-method-override", "PATCH").header("x-http-method-override", "PATCH");
    refused(|url| twice(url).full("4"), 400, "came more than once").await;
}

#[tokio::test]
async fn concatenation_is_refused_in_words() {
    let create = || tus("POST", "/files/").header("upload-length", 4);
    for concat in ["partial", "final;/files/a /files/b"] {
        refused(|_| create().header("upload-concat", concat).empty(), 400, "does not offer").await;
    }
    refused(|_| create().header("upload-concat", "whole").empty(), 400, "neither partial nor final").await;
}

#[tokio::test]
async fn a_body_of_unknown_size_that_does_not_fit_is_kept_to_the_length() {
    for rig in Rig::each() {
        let url = rig.create(10).await;
        rig.append(&url, 0, "0123").await;
        rig.send(patch(&url, 4).pieces(vec![Ok("45"), Ok("6789x"), Ok("y")])).await.assert_error(413, "size exceeded");
        // What fits arrived well.
        assert_eq!(rig.offset(&url).await, 10);
        assert_eq!(rig.send(tus("GET", &url).empty()).await.text(), "0123456789");
    }
}

#[tokio::test]
async fn a_finished_upload_takes_nothing_more() {
    for rig in Rig::each() {
        let url = rig.finished("", "0123456789").await;
        let before = rig.state().await;
        assert_eq!(rig.send(patch(&url, 10).empty()).await.status, 204);
        rig.send(patch(&url, 10).full("x")).await.assert_error(413, "room for 0");
        rig.send(patch(&url, 10).pieces(vec![Ok("x")])).await.assert_error(413, "are there already");
        rig.send(patch(&url, 0).full("0123456789")).await.assert_error(409, "at 10");
        assert_eq!(rig.state().await, before);
    }
}
