//! What answers say.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};

use super::client::Object;
use super::failure::Failure;
use super::keys::Id;
use super::xml;

/// Holds the id of the file that an object was made for.
pub(super) const ID_HEADER: &str = "x-amz-meta-holdall-id";

/// The elements of an answer.
pub(super) fn fields(document: &[u8], leaf: impl FnMut(&[&str], &str)) -> Result<(), Failure> {
    xml::read(document, leaf).map_err(|cause| Failure::other("the answer is not XML", Some(Box::new(cause))))
}

/// An answer that is none.
pub(super) fn nonsense() -> Failure {
    Failure::other("the answer lacks what it must have", None)
}

/// An ETag as we keep it.
fn unquote(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// The ETag in the headers of an answer.
pub(super) fn etag(headers: &HeaderMap) -> Result<Box<str>, Failure> {
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(unquote);
    etag.filter(|etag| !etag.is_empty()).map(Into::into).ok_or_else(nonsense)
}

/// The ETag in an answer that begins before the engine has done its work: where the rest is missing, it may be done or not.
pub(super) fn document_etag(document: &Bytes) -> Result<Box<str>, Failure> {
    let mut etag = None::<Box<str>>;
    let read = fields(document, |names, text| {
        if let [_, "ETag"] = names {
            etag = Some(unquote(text).into());
        }
    });
    etag.filter(|etag| read.is_ok() && !etag.is_empty()).ok_or_else(Failure::cut_short)
}

/// An object, by the headers of an answer.
pub(super) fn object(headers: &HeaderMap) -> Result<Object, Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Object {
        size: text(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()).ok_or_else(nonsense)?,
        etag: etag(headers)?,
        modified: text(LAST_MODIFIED.as_str()).and_then(|date| httpdate::parse_http_date(date).ok()),
        id: text(ID_HEADER).and_then(Id::parse),
        metadata: headers
            .iter()
            // What isn't text can't be signed.
            .filter(|(name, value)| is_metadata(name.as_str()) && std::str::from_utf8(value.as_bytes()).is_ok())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    })
}

/// Whether a header of an object comes from its writer; the id is told apart.
fn is_metadata(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
    KEPT.contains(&name) || (name.starts_with("x-amz-meta-") && name != ID_HEADER)
}

/// `bytes 3-7/10`: the range, its end excluded, and the size of the whole (RFC 9110, section 14.4).
pub(super) fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, size.parse::<u64>().ok()?);
    if size == 0 {
        // Garage answers a range of nothing, which has no such form: `bytes 0-18446744073709551615/0`.
        return Some((0..0, 0));
    }
    (first <= last && last < size).then(|| (first..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_taken_only_if_it_makes_sense() {
        assert_eq!(content_range("bytes 3-7/10"), Some((3..8, 10)));
        for text in ["", "bytes */10", "bytes 7-3/10", "bytes 3-10/10", "bytes 3-7/*", "bytes -7/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_writer_of_an_object_said_is_kept_if_it_is_text() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-length", "3".as_bytes()),
            ("etag", b"\"abc\""),
            ("content-disposition", "attachment; filename=\"\u{fc}.pdf\"".as_bytes()),
            ("x-amz-meta-author", b"\xff"),
            ("server", b"S3"),
        ] {
            headers.insert(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let metadata = object(&headers).unwrap().metadata;
        assert_eq!(metadata.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["content-disposition"]);
        assert_eq!(metadata["content-disposition"], headers["content-disposition"]);
    }

    #[test]
    fn etags_lose_their_quotes() {
        assert_eq!(unquote("\"abc\""), "abc");
        assert_eq!(unquote("W/\"abc-2\""), "abc-2");
        assert_eq!(unquote("abc"), "abc");
    }
}
