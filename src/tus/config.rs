//! What the services of all verbs share: the store, and how uploads are named in URLs.

use std::str::FromStr;

use http::header::{ALLOW, HOST, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};

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
    /// The verbs that are left out.
    pub(super) without: Vec<Verb>,
}

/// What a request can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Creates an upload, perhaps with its first bytes.
    Post,
    /// Tells where an upload stands.
    Head,
    /// Adds a chunk to an upload.
    Patch,
    /// Ends an upload and removes what it holds.
    Delete,
    /// Reads a finished upload.
    Get,
    /// Tells what the server can do.
    Options,
}

impl Verb {
    pub(super) fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            Method::POST => Self::Post,
            Method::HEAD => Self::Head,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            Method::OPTIONS => Self::Options,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Head => Method::HEAD,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
            Self::Get => Method::GET,
            Self::Options => Method::OPTIONS,
        }
    }
}

/// The path of the URL at which uploads are created; ends with a slash.
#[derive(Debug)]
pub(super) struct BasePath(Box<str>);

impl FromStr for BasePath {
    type Err = InvalidBasePath;

    fn from_str(text: &str) -> Result<Self, InvalidBasePath> {
        let uri = PathAndQuery::try_from(text).ok().filter(|uri| uri.path() == text && text.starts_with('/'));
        match uri {
            Some(_) if text.ends_with('/') => Ok(Self(text.into())),
            Some(_) => Ok(Self(format!("{text}/").into())),
            None => Err(InvalidBasePath(text.into())),
        }
    }
}

impl BasePath {
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
    pub(super) fn new(store: UploadStore) -> Self {
        Self { store, base_path: BasePath::default(), nested: false, scheme: None, without: Vec::new() }
    }

    pub(super) fn serves(&self, verb: Verb) -> bool {
        !self.without.contains(&verb)
    }

    /// 405, with those of these verbs, and OPTIONS, that would do.
    pub(super) fn method_not_allowed(&self, verbs: &[Verb]) -> TusError {
        let served = verbs.iter().chain(&[Verb::Options]).filter(|verb| self.serves(**verb));
        let allowed = served.map(|verb| verb.method().to_string()).collect::<Vec<_>>().join(", ");
        let message = format!("this method is not allowed here; these are: {allowed}");
        TusError::new(StatusCode::METHOD_NOT_ALLOWED, message).with_header(ALLOW, checked_value(allowed))
    }

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
            TusError::new(StatusCode::NOT_FOUND, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_ends_with_a_slash_and_is_a_path() {
        for (text, path) in [("/files/", "/files/"), ("/files", "/files/"), ("/", "/"), ("/a/b%20c", "/a/b%20c/")] {
            assert_eq!(text.parse::<BasePath>().unwrap().as_str(), path);
        }
        for text in ["", "files", "/files?x", "/files#x", "http://host/files/", "/fi les", "*", "/a\r\nb"] {
            assert!(text.parse::<BasePath>().is_err(), "{text}");
        }
    }
}
