//! Listings, page by page.

use futures::TryStreamExt;
use http::Method;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::{small, store};
use crate::support::s3::Op;

fn names(list: Vec<ObjectMeta>) -> Vec<String> {
    list.into_iter().map(|meta| meta.location.to_string()).collect()
}

#[tokio::test]
async fn a_listing_has_pages_of_a_thousand() {
    let server = small();
    for number in 0..2500 {
        server.put(&format!("d/{number:04}"), "x");
    }
    server.put("d!", "before the folder");
    server.put("e", "x");
    let store = store(&server, "a");
    let all = names(store.list(Some(&Path::from("d"))).try_collect().await.unwrap());
    assert_eq!((all.len(), all.is_sorted()), (2500, true));
    assert_eq!(server.counts().of(Op::ListObjectsV2).requests, 3);
    let after: Vec<_> = store.list_with_offset(None, &Path::from("d/2497")).try_collect().await.unwrap();
    assert_eq!(names(after), ["d/2498", "d/2499", "e"]);
    let root = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((root.common_prefixes, names(root.objects)), (vec![Path::from("d")], vec!["d!".into(), "e".into()]));
}

/// All keys and common prefixes, with pages of that size, and the number of pages.
async fn pages(server: &crate::support::s3::S3Server, query: &str, size: usize) -> (Vec<String>, usize) {
    let (mut found, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let answer =
            server.raw(Method::GET, &format!("?list-type=2&max-keys={size}{query}{token}")).send().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        pages += 1;
        assert!(pages < 100, "the listing has no end: {found:?}");
        let before = found.len();
        for line in answer.body.split("<Contents>").skip(1) {
            found.push(line.split_once("<Key>").unwrap().1.split_once('<').unwrap().0.to_owned());
        }
        for line in answer.body.split("<CommonPrefixes>").skip(1) {
            found.push(line.split_once("<Prefix>").unwrap().1.split_once('<').unwrap().0.to_owned());
        }
        assert_eq!(answer.element("KeyCount").unwrap(), (found.len() - before).to_string());
        match answer.element("NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    found.sort();
    (found, pages)
}

#[tokio::test]
async fn pages_of_any_size_give_the_same() {
    let server = small();
    for key in ["a", "b/1", "b/2", "b/c/1", "b0", "c/1", "d"] {
        server.put(key, "x");
    }
    let keys = ["a", "b/1", "b/2", "b/c/1", "b0", "c/1", "d"];
    let folded = ["a", "b/", "b0", "c/", "d"];
    for size in 1..=8 {
        assert_eq!(pages(&server, "", size).await, (keys.map(String::from).to_vec(), keys.len().div_ceil(size)));
        assert_eq!(
            pages(&server, "&delimiter=/", size).await,
            (folded.map(String::from).to_vec(), folded.len().div_ceil(size))
        );
        assert_eq!(pages(&server, "&prefix=b/&delimiter=/", size).await.0, ["b/1", "b/2", "b/c/"]);
        assert_eq!(pages(&server, "&start-after=b/2", size).await.0, ["b/c/1", "b0", "c/1", "d"]);
    }
    assert_eq!(pages(&server, "&prefix=none", 1).await, (vec![], 1));
}

#[tokio::test]
async fn a_listing_is_refused_as_aws_refuses_it() {
    let server = small();
    for query in ["max-keys=-1", "max-keys=x", "continuation-token=x", "encoding-type=base64"] {
        let answer = server.raw(Method::GET, &format!("?list-type=2&{query}")).send().await.unwrap();
        assert_eq!(answer.code(), "InvalidArgument", "{query}");
    }
    server.put("a b&c", "x");
    let none = server.raw(Method::GET, "?list-type=2&max-keys=0").send().await.unwrap();
    assert_eq!((none.element("Key"), none.element("IsTruncated").as_deref()), (None, Some("false")));
    let more = server.raw(Method::GET, "?list-type=2&max-keys=5000").send().await.unwrap();
    assert_eq!((more.element("MaxKeys").as_deref(), more.element("Key").as_deref()), (Some("1000"), Some("a b&c")));
    let url = server.raw(Method::GET, "?list-type=2&encoding-type=url").send().await.unwrap();
    assert_eq!(url.element("Key").as_deref(), Some("a%20b%26c"));
}

#[tokio::test]
async fn uploads_and_parts_have_pages() {
    let server = small();
    let mut uploads = Vec::new();
    for key in ["b", "a", "b", "c/1", "b"] {
        let answer = server.raw(Method::POST, &format!("{key}?uploads")).send().await.unwrap();
        uploads.push((key.to_owned(), answer.element("UploadId").unwrap()));
    }
    let newest = uploads.last().unwrap().1.clone();
    uploads.sort();
    for size in 1..=6 {
        let (mut found, mut marker) = (Vec::new(), String::new());
        loop {
            let answer = server.raw(Method::GET, &format!("?uploads&max-uploads={size}{marker}")).send().await.unwrap();
            assert!(found.len() <= uploads.len(), "the listing has no end: {found:?}");
            for upload in answer.body.split("<Upload>").skip(1) {
                let text = |name: &str| {
                    upload.split_once(&format!("<{name}>")).unwrap().1.split_once('<').unwrap().0.to_owned()
                };
                found.push((text("Key"), text("UploadId")));
            }
            let Some(key) = answer.element("NextKeyMarker") else { break };
            marker = format!("&key-marker={key}&upload-id-marker={}", answer.element("NextUploadIdMarker").unwrap());
        }
        assert_eq!(found, uploads);
    }
    let one = server.raw(Method::GET, "?uploads&prefix=c/").send().await.unwrap();
    assert_eq!((one.body.matches("<Upload>").count(), one.element("Key").as_deref()), (1, Some("c/1")));
    let after = server.raw(Method::GET, "?uploads&key-marker=b").send().await.unwrap();
    assert_eq!(after.element("Key").as_deref(), Some("c/1"));

    for number in [2, 5, 9] {
        let target = format!("b?uploadId={newest}&partNumber={number}");
        server.raw(Method::PUT, &target).body("four").send().await.unwrap();
    }
    let first = server.raw(Method::GET, &format!("b?uploadId={newest}&max-parts=2")).send().await.unwrap();
    assert_eq!(
        (first.body.matches("<Part>").count(), first.element("NextPartNumberMarker").as_deref()),
        (2, Some("5"))
    );
    assert_eq!((first.element("IsTruncated").as_deref(), first.element("Size").as_deref()), (Some("true"), Some("4")));
    let rest = server.raw(Method::GET, &format!("b?uploadId={newest}&part-number-marker=5")).send().await.unwrap();
    assert_eq!(
        (rest.element("PartNumber").as_deref(), rest.element("IsTruncated").as_deref()),
        (Some("9"), Some("false"))
    );
    assert_eq!(server.raw(Method::GET, "b?uploadId=unknown").send().await.unwrap().code(), "NoSuchUpload");
}
