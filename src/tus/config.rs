//! What the services of all verbs share: the store, and how uploads are named in URLs.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::error::TusError;
use super::headers::checked_value;
use crate::upload::{UploadId, UploadStore};

/// Why a text is not a base path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid base path {0:?}: it must be the path of a URL, and begin with '/'")]
pub struct InvalidBasePath(String);

/// What the services of all verbs share.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) store: UploadStore,
    pub(super) base_path: BasePath,
    /// Whether the paths of requests come without the base path.
    pub(super) nested: bool,
    /// Of `Location`, if it is to be absolute.
    pub(super) scheme: Option<Scheme>,
}

/// The path of the URL at which uploads are created; ends with a slash.
#[derive(Debug)]
pub(super) struct BasePath(Box<str>);

impl BasePath {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidBasePath> {
        let uri = PathAndQuery::try_from(text).ok().filter(|uri| uri.path() == text && text.starts_with('/'));
        match uri {
            Some(_) if text.ends_with('/') => Ok(Self(text.into())),
            Some(_) => Ok(Self(format!("{text}/").into())),
            None => Err(InvalidBasePath(text.into())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for BasePath {
    fn default() -> Self {
        Self("/files/".into())
    }
}

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The place where uploads are created.
    Collection,
    Upload(UploadId),
}

impl Config {
    /// What the path of a request names: the base path, with or without its last slash, or one segment after it.
    pub(super) fn target(&self, path: &str) -> Result<Target, TusError> {
        let base = if self.nested { "/" } else { self.base_path.as_str() };
        if path == base || Some(path) == base.strip_suffix('/') {
            return Ok(Target::Collection);
        }
        let id = path.strip_prefix(base).and_then(|segment| UploadId::parse(segment).ok());
        id.map(Target::Upload).ok_or_else(|| {
            let message = format!(
                "no upload has this URL: it would be {}<id>, with an id of 1 to {} of A-Z a-z 0-9 _ -",
                self.base_path.as_str(),
                UploadId::MAX_LEN
            );
            TusError::new(http::StatusCode::NOT_FOUND, message)
        })
    }

    /// The URL of an upload, for `Location`.
    pub(super) fn location(&self, request: &Parts, id: &UploadId) -> HeaderValue {
        let base = self.base_path.as_str();
        let url = match self.scheme.as_ref().zip(authority(request)) {
            Some((scheme, authority)) => format!("{scheme}://{authority}{base}{id}"),
            None => format!("{base}{id}"),
        };
        checked_value(url)
    }
}

/// The host, and perhaps port, that a request is for: of its target, as in HTTP/2, or of its `Host` (RFC 9110, section
/// 7.2).
fn authority(request: &Parts) -> Option<Authority> {
    let named = || Authority::try_from(request.headers.get(HOST)?.as_bytes()).ok();
    request.uri.authority().cloned().or_else(named)
}
