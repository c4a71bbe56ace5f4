//! PATCH: adds a chunk where an upload ends (tus 1.0.0, "PATCH"), and declares its length if that was deferred.

use http::request::Parts;
use http::{Response, StatusCode};

use super::body::Body;
use super::config::Config;
use super::error::TusError;
use super::headers::{ContentType, SingleHeader, UploadLength, UploadOffset};
use super::request_body::RequestBody;
use crate::upload::{ChunkOptions, UploadId};

pub(super) async fn answer(
    config: &Config,
    request: &Parts,
    id: &UploadId,
    body: RequestBody,
) -> Result<Response<Body>, TusError> {
    let headers = &request.headers;
    ContentType::find(headers)?.filter(|kind| kind.is_chunk).ok_or_else(TusError::unsupported_media_type)?;
    let UploadOffset(offset) = UploadOffset::require(headers)?;
    let length = UploadLength::find(headers)?.map(|UploadLength(length)| length);

    let options = ChunkOptions { length, announced: body.announced(), ..ChunkOptions::default() };
    let upload = config.store.write_chunk(id, offset, body.into_stream(), options).await?;

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(UploadOffset::NAME, upload.offset.into());
    Ok(response)
}
