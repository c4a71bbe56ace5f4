//! GET of finished uploads.

use super::*;

fn get(url: &str) -> Builder {
    Request::builder().method("GET").uri(url)
}

#[tokio::test]
async fn the_whole_with_its_type_and_name_and_without_a_version() {
    for rig in Rig::each() {
        // image/png, cat.png
        let url = rig.finished("filetype aW1hZ2UvcG5n,filename Y2F0LnBuZw==", "0123456789").await;
        let answer = rig.send(get(&url).empty()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "0123456789"));
        assert_eq!(answer.header("content-type"), "image/png");
        assert_eq!(answer.header("content-disposition"), "inline; filename=\"cat.png\"");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        assert_eq!(answer.header("etag"), url.replace("/files/", "\"") + "\"");
        assert!(answer.header("last-modified").ends_with(" GMT") && !answer.has("content-range"));

        // text/html
        let url = rig.finished("type dGV4dC9odG1s", "<script>").await;
        let answer = rig.send(get(&url).empty()).await;
        assert_eq!((answer.header("content-type"), answer.header("content-disposition")), ("text/html", "attachment"));
    }
}

#[tokio::test]
async fn ranges() {
    for rig in Rig::each() {
        let url = rig.finished("", "0123456789").await;
        for (range, status, text, content_range) in [
            ("bytes=0-0", 206, "0", "bytes 0-0/10"),
            ("bytes=2-4", 206, "234", "bytes 2-4/10"),
            ("bytes=7-", 206, "789", "bytes 7-9/10"),
            ("bytes=7-99", 206, "789", "bytes 7-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=0-18446744073709551615", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=10-", 416, "the range lies outside of the upload, which has 10 bytes\n", "bytes */10"),
            ("bytes=-0", 416, "the range lies outside of the upload, which has 10 bytes\n", "bytes */10"),
            (
                "bytes=99999999999999999999-",
                416,
                "the range lies outside of the upload, which has 10 bytes\n",
                "bytes */10",
            ),
            ("bytes=0-1,3-4", 200, "0123456789", ""),
            ("bytes=4-2", 200, "0123456789", ""),
            ("lines=1-2", 200, "0123456789", ""),
        ] {
            let answer = rig.send(get(&url).header("range", range).empty()).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (status, text), "{range}");
            match content_range {
                "" => assert!(!answer.has("content-range"), "{range}"),
                content_range => assert_eq!(answer.header("content-range"), content_range, "{range}"),
            }
        }
        let empty = rig.finished("", "").await;
        for range in ["bytes=0-", "bytes=-5"] {
            let answer = rig.send(get(&empty).header("range", range).empty()).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""), "{range}");
        }
    }
}

#[tokio::test]
async fn conditions() {
    for rig in Rig::each() {
        let url = rig.finished("", "0123456789").await;
        let whole = rig.send(get(&url).empty()).await;
        let (etag, modified) = (whole.header("etag"), whole.header("last-modified"));
        for (name, value, status) in [
            ("if-none-match", etag, 304),
            ("if-none-match", "\"other\"", 200),
            ("if-modified-since", modified, 304),
            ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("if-match", etag, 200),
            ("if-match", "\"other\"", 412),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
        ] {
            let answer = rig.send(get(&url).header(name, value).empty()).await;
            assert_eq!(answer.status, status, "{name}: {value}");
            if status == 304 {
                assert_eq!(
                    (answer.text(), answer.header("etag"), answer.header("cache-control")),
                    ("", etag, "no-store")
                );
            }
        }
        for (if_range, status) in [(etag, 206), ("\"other\"", 200), (modified, 200)] {
            let answer = rig.send(get(&url).header("range", "bytes=1-2").header("if-range", if_range).empty()).await;
            assert_eq!(answer.status, status, "{if_range}");
        }
        // A missing upload has no version to match.
        let missing = get("/files/00000000000000000000000000000000").header("if-none-match", "*");
        assert_eq!(rig.send(missing.empty()).await.status, 404);
    }
}

#[tokio::test]
async fn an_unfinished_upload_is_not_read() {
    for rig in Rig::each() {
        let url = rig.create(10).await;
        for offset in [0, 4] {
            rig.send(get(&url).empty()).await.assert_error(409, "not finished");
            if offset == 0 {
                rig.append(&url, 0, "0123").await;
            }
        }
    }
}
