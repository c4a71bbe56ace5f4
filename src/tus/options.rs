//! OPTIONS: what this server speaks (tus 1.0.0, "OPTIONS").

use http::header::HeaderName;
use http::{Response, StatusCode};

use super::body::Body;
use super::config::{Config, Verb};
use super::headers::{TusResumable, checked_value};

pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");

/// The extensions that are there, each with the verb that it needs.
const EXTENSIONS: [(&str, Verb); 4] = [
    ("creation", Verb::Post),
    ("creation-with-upload", Verb::Post),
    ("creation-defer-length", Verb::Post),
    ("termination", Verb::Delete),
];

pub(super) fn answer(config: &Config) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(TUS_VERSION, TusResumable::VERSION);
    let served = EXTENSIONS.iter().filter(|(_, verb)| config.serves(*verb)).map(|(name, _)| *name);
    headers.insert(TUS_EXTENSION, checked_value(served.collect::<Vec<_>>().join(",")));
    if let Some(max_size) = config.store.max_size() {
        headers.insert(TUS_MAX_SIZE, max_size.into());
    }
    response
}
