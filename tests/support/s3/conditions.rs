//! `If-Match` and its like.

use chrono::{DateTime, SubsecRound, Utc};
use http::HeaderMap;

use super::answer::{Code, Refusal};
use super::engine::Object;

/// The conditions of one request.
#[derive(Debug, Default)]
pub(super) struct Condition<'a> {
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    modified_since: Option<DateTime<Utc>>,
    unmodified_since: Option<DateTime<Utc>>,
}

/// What a read does if its conditions hold, or if only `If-None-Match` or `If-Modified-Since` doesn't.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The object is sent.
    Send,
    /// The client has it already.
    NotModified,
}

impl<'a> Condition<'a> {
    /// Of GetObject and HeadObject.
    pub(super) fn of_read(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let time =
            |name| Ok::<_, Refusal>(text(headers, name)?.and_then(|text| DateTime::parse_from_rfc2822(text).ok()));
        Ok(Self {
            if_match: text(headers, "if-match")?,
            if_none_match: text(headers, "if-none-match")?,
            modified_since: time("if-modified-since")?.map(|time| time.to_utc()),
            unmodified_since: time("if-unmodified-since")?.map(|time| time.to_utc()),
        })
    }

    /// Of a write: one of `If-Match: etag` and `If-None-Match: *`.
    ///
    /// # Errors
    /// `NotImplemented` for another `If-None-Match`, `InvalidRequest` for both at once.
    pub(super) fn of_write(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let (if_match, if_none_match) = (text(headers, "if-match")?, text(headers, "if-none-match")?);
        if if_none_match.is_some_and(|tag| tag != "*") {
            return Err(Refusal::new(Code::NotImplemented, "If-None-Match of a write must be *"));
        }
        if if_match.is_some() && if_none_match.is_some() {
            return Err(Refusal::new(Code::InvalidRequest, "If-Match and If-None-Match can't be combined"));
        }
        Ok(Self { if_match, if_none_match, ..Self::default() })
    }

    /// Of the source of a copy.
    pub(super) fn of_source(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            if_match: text(headers, "x-amz-copy-source-if-match")?,
            if_none_match: text(headers, "x-amz-copy-source-if-none-match")?,
            ..Self::default()
        })
    }

    /// Only that the object has this tag.
    pub(super) fn etag(if_match: Option<&'a str>) -> Self {
        Self { if_match, ..Self::default() }
    }

    /// Checks a read, or the source of a copy.
    pub(super) fn check_read(&self, object: &Object) -> Result<Found, Refusal> {
        let modified = object.modified.trunc_subsecs(0);
        match (self.if_match, self.unmodified_since) {
            (Some(tags), _) if !matches(tags, object) => return Err(Code::PreconditionFailed.into()),
            (None, Some(time)) if modified > time => return Err(Code::PreconditionFailed.into()),
            _ => {}
        }
        match (self.if_none_match, self.modified_since) {
            (Some(tags), _) if matches(tags, object) => Ok(Found::NotModified),
            (None, Some(time)) if modified <= time => Ok(Found::NotModified),
            _ => Ok(Found::Send),
        }
    }

    /// Checks a write. `If-Match` on a missing object is `NoSuchKey`, as on S3.
    pub(super) fn check_write(&self, object: Option<&Object>, conflict: bool) -> Result<(), Refusal> {
        let failed = if conflict { Code::ConditionalRequestConflict } else { Code::PreconditionFailed };
        match (self.if_match, object) {
            (Some(_), None) => Err(Code::NoSuchKey.into()),
            (Some(tags), Some(object)) if !matches(tags, object) => Err(failed.into()),
            (None, Some(_)) if self.if_none_match.is_some() => Err(failed.into()),
            _ => Ok(()),
        }
    }

    /// Checks a deletion.
    pub(super) fn check_delete(&self, object: Option<&Object>) -> Result<(), Refusal> {
        match (self.if_match, object) {
            (Some(_), None) => Err(Code::NoSuchKey.into()),
            (Some(tags), Some(object)) if !matches(tags, object) => Err(Code::PreconditionFailed.into()),
            _ => Ok(()),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| Refusal::new(Code::InvalidArgument, format!("{name} is not text")))
}

/// One of the tags is the object's. Quotes may be missing.
fn matches(tags: &str, object: &Object) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || same_tag(tag, &object.etag))
}

/// Two entity tags are the same, with or without quotes.
pub(super) fn same_tag(one: &str, other: &str) -> bool {
    one.trim_matches('"') == other.trim_matches('"')
}
