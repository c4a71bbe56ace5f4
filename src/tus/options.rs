//! OPTIONS: what this server speaks (tus 1.0.0, "OPTIONS").

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::Body;
use super::config::Config;
use super::headers::TusResumable;

pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");

/// The extensions that are there.
const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-with-upload,creation-defer-length,termination");

pub(super) fn answer(config: &Config) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(TUS_VERSION, TusResumable::VERSION);
    headers.insert(TUS_EXTENSION, EXTENSIONS);
    if let Some(max_size) = config.store.max_size() {
        headers.insert(TUS_MAX_SIZE, max_size.into());
    }
    response
}
