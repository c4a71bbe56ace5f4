//! GET: the bytes of a finished upload, whole or in part. The protocol has no GET; this is what HTTP makes of it.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    LAST_MODIFIED,
};
use http::request::Parts;
use http::{Response, StatusCode};

use super::body::Body;
use super::conditional::{self, EntityTag, Outcome};
use super::config::Config;
use super::content;
use super::error::TusError;
use super::headers::checked_value;
use crate::driver::ReadRange;
use crate::info::FileInfo;
use crate::upload::UploadId;

pub(super) async fn answer(config: &Config, request: &Parts, id: &UploadId) -> Result<Response<Body>, TusError> {
    let etag = EntityTag::of(id);
    let range = conditional::range(&request.headers, &etag);
    let (upload, file, stream) = config.store.reader(id, range.unwrap_or(ReadRange::FULL)).await?;

    match conditional::evaluate(&request.headers, &etag, file.modified) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            insert_validators(response.headers_mut(), &etag, &file);
            return Ok(response);
        }
        Outcome::Failed => {
            return Err(TusError::new(StatusCode::PRECONDITION_FAILED, "the upload is not the one that is asked for"));
        }
    }
    // Nothing of an empty file can be named by a range; clients that ask for its start want the whole.
    let range = range.filter(|_| file.size > 0);
    let bytes = range.unwrap_or(ReadRange::FULL).within(file.size);
    if range.is_some() && bytes.is_empty() {
        let message = format!("the range lies outside of the upload, which has {} bytes", file.size);
        let unsatisfied = checked_value(format!("bytes */{}", file.size));
        return Err(TusError::new(StatusCode::RANGE_NOT_SATISFIABLE, message).with_header(CONTENT_RANGE, unsatisfied));
    }

    let mut response = Response::new(Body::stream(stream, bytes.end - bytes.start));
    let headers = response.headers_mut();
    let (media_type, disposition) = content::describe(&upload.info.metadata);
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert_validators(headers, &etag, &file);
    if range.is_some() {
        let part = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, file.size);
        headers.insert(CONTENT_RANGE, checked_value(part));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// What a client needs to ask again for the same version, which no cache is to keep.
fn insert_validators(headers: &mut HeaderMap, etag: &EntityTag, file: &FileInfo) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ETAG, etag.to_value());
    if let Some(modified) = file.modified.and_then(conditional::last_modified) {
        headers.insert(LAST_MODIFIED, modified);
    }
}
