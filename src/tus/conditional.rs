//! Conditional and range requests for a finished upload (RFC 9110, sections 13 and 14).
//!
//! The content of an upload never changes once it is finished, so its id makes a strong entity tag.

use std::time::SystemTime;

use http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};

use super::headers::checked_value;
use crate::driver::ReadRange;
use crate::upload::UploadId;

/// The entity tag of an upload (RFC 9110, section 8.8.3).
pub(super) struct EntityTag(String);

impl EntityTag {
    pub(super) fn of(id: &UploadId) -> Self {
        Self(format!("\"{id}\""))
    }

    pub(super) fn to_value(&self) -> HeaderValue {
        checked_value(self.0.clone())
    }

    /// Whether a list of entity tags, or `*`, names this one; `None` without such a header. Ours is strong, so weak tags
    /// match only where the comparison is weak (RFC 9110, section 8.8.3.2).
    fn is_listed(&self, headers: &HeaderMap, name: HeaderName, comparison: Comparison) -> Option<bool> {
        let mut lines = headers.get_all(name).iter().peekable();
        lines.peek()?;
        Some(lines.any(|line| line.as_bytes().trim_ascii() == b"*" || self.is_in(line.as_bytes(), comparison)))
    }

    fn is_in(&self, mut list: &[u8], comparison: Comparison) -> bool {
        loop {
            list = list.trim_ascii_start();
            let (weak, rest) = match list.strip_prefix(b"W/") {
                Some(rest) => (true, rest),
                None => (false, list),
            };
            // From here to the closing quote; what isn't a tag ends the list.
            let Some(end) = rest.strip_prefix(b"\"").and_then(|tag| tag.iter().position(|byte| *byte == b'"')) else {
                return false;
            };
            let (tag, rest) = rest.split_at(end + 2);
            if tag == self.0.as_bytes() && (!weak || comparison == Comparison::Weak) {
                return true;
            }
            match rest.trim_ascii_start().strip_prefix(b",") {
                Some(rest) => list = rest,
                None => return false,
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// What the conditions of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Serve it.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client expects.
    Failed,
}

/// Holds the conditions of a request against what is there, in the order of RFC 9110, section 13.2.2.
pub(super) fn evaluate(headers: &HeaderMap, etag: &EntityTag, modified: Option<SystemTime>) -> Outcome {
    let expected = etag.is_listed(headers, IF_MATCH, Comparison::Strong);
    if !expected.or_else(|| modified_since(headers, IF_UNMODIFIED_SINCE, modified).map(|newer| !newer)).unwrap_or(true)
    {
        return Outcome::Failed;
    }
    let known = etag.is_listed(headers, IF_NONE_MATCH, Comparison::Weak);
    if known.or_else(|| modified_since(headers, IF_MODIFIED_SINCE, modified).map(|newer| !newer)).unwrap_or(false) {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether it changed after the date in this header, by whole seconds; `None` without a valid date, or a time to compare.
fn modified_since(headers: &HeaderMap, name: HeaderName, modified: Option<SystemTime>) -> Option<bool> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Some(seconds(modified?) > seconds(date))
}

/// `Last-Modified`, for times that it can name: from 1970 to 9999.
pub(super) fn last_modified(modified: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10000).then(|| checked_value(httpdate::fmt_http_date(modified)))
}

/// The range to serve; `None` for the whole: without a `Range`, with one that is malformed, not of bytes, or of more than
/// one part, and with an `If-Range` that names another version (RFC 9110, sections 13.1.5 and 14.2). A date in `If-Range`
/// counts as another version: it is too weak to join parts by.
pub(super) fn range(headers: &HeaderMap, etag: &EntityTag) -> Option<ReadRange> {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(range), None) = (lines.next(), lines.next()) else { return None };
    if !etag.is_listed(headers, IF_RANGE, Comparison::Strong).unwrap_or(true) {
        return None;
    }
    parse_range(range.to_str().ok()?)
}

fn parse_range(text: &str) -> Option<ReadRange> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    match set.trim().split_once('-')? {
        ("", length) => Some(ReadRange::Suffix(position(length)?)),
        (first, "") => Some(ReadRange::Bounded(position(first)?, None)),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then(|| ReadRange::Bounded(first, Some(last.saturating_add(1))))
        }
    }
}

/// A number of digits; one that is too large for any file is taken as the largest.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn tag() -> EntityTag {
        EntityTag::of(&UploadId::parse("abc").unwrap())
    }

    #[test]
    fn one_range_of_bytes_is_served_and_anything_else_is_the_whole() {
        for (text, range) in [
            ("bytes=0-0", Some(ReadRange::Bounded(0, Some(1)))),
            ("Bytes=5-", Some(ReadRange::Bounded(5, None))),
            ("bytes=-5", Some(ReadRange::Suffix(5))),
            ("bytes=-0", Some(ReadRange::Suffix(0))),
            ("bytes=0-18446744073709551615", Some(ReadRange::Bounded(0, Some(u64::MAX)))),
            ("bytes=99999999999999999999-", Some(ReadRange::Bounded(u64::MAX, None))),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=1-2-3", None),
            ("items=0-1", None),
            ("bytes=0x1-", None),
            ("", None),
        ] {
            assert_eq!(super::range(&headers(&[(RANGE, text)]), &tag()), range, "{text}");
        }
        let mut twice = headers(&[(RANGE, "bytes=0-1")]);
        twice.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(super::range(&twice, &tag()), None);
    }

    #[test]
    fn if_range_needs_this_very_version() {
        for (value, served) in
            [("\"abc\"", true), ("W/\"abc\"", false), ("\"abd\"", false), ("Sat, 29 Oct 1994 19:43:31 GMT", false)]
        {
            let headers = headers(&[(RANGE, "bytes=0-0"), (IF_RANGE, value)]);
            assert_eq!(range(&headers, &tag()).is_some(), served, "{value}");
        }
    }

    #[test]
    fn conditions_are_evaluated_in_their_order() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        let (at, before, after) =
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        use Outcome::*;
        for (lines, outcome) in [
            (vec![], Proceed),
            (vec![(IF_NONE_MATCH, "\"abc\"")], NotModified),
            (vec![(IF_NONE_MATCH, "W/\"abc\"")], NotModified),
            (vec![(IF_NONE_MATCH, "\"a,b\", W/\"x\" ,\"abc\"")], NotModified),
            (vec![(IF_NONE_MATCH, "*")], NotModified),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, after)], Proceed),
            (vec![(IF_NONE_MATCH, "abc")], Proceed),
            (vec![(IF_NONE_MATCH, "\"abc")], Proceed),
            (vec![(IF_MODIFIED_SINCE, at)], NotModified),
            (vec![(IF_MODIFIED_SINCE, before)], Proceed),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Proceed),
            (vec![(IF_MATCH, "\"abc\""), (IF_UNMODIFIED_SINCE, before)], Proceed),
            (vec![(IF_MATCH, "W/\"abc\"")], Failed),
            (vec![(IF_MATCH, "\"x\", \"y\"")], Failed),
            (vec![(IF_MATCH, "*")], Proceed),
            (vec![(IF_UNMODIFIED_SINCE, before)], Failed),
            (vec![(IF_UNMODIFIED_SINCE, at)], Proceed),
            (vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")], Failed),
        ] {
            assert_eq!(evaluate(&headers(&lines), &tag(), Some(modified)), outcome, "{lines:?}");
        }
        assert_eq!(evaluate(&headers(&[(IF_MODIFIED_SINCE, at)]), &tag(), None), Proceed);
    }

    #[test]
    fn times_that_no_http_date_can_name_are_left_out() {
        assert_eq!(last_modified(SystemTime::UNIX_EPOCH).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(last_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
        assert_eq!(last_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
    }
}
