//! POST: creates an upload (tus 1.0.0, "Creation"), perhaps with its first bytes ("Creation With Upload").

use http::header::LOCATION;
use http::request::Parts;
use http::{Response, StatusCode};

use super::body::Body;
use super::config::Config;
use super::error::TusError;
use super::headers::{ContentType, SingleHeader, UploadConcat, UploadMetadata, UploadOffset, creation_length};
use super::request_body::RequestBody;
use crate::upload::{ChunkOptions, NewUpload, Upload, UploadError};

pub(super) async fn answer(config: &Config, request: &Parts, body: RequestBody) -> Result<Response<Body>, TusError> {
    let headers = &request.headers;
    if UploadConcat::find(headers)?.is_some() {
        let message = "Upload-Concat asks for concatenation, which this server does not offer";
        return Err(TusError::new(StatusCode::BAD_REQUEST, message));
    }
    let length = creation_length(headers)?;
    let metadata = UploadMetadata::find(headers)?.map(|UploadMetadata(metadata)| metadata).unwrap_or_default();
    let brings_chunk = ContentType::find(headers)?.is_some_and(|kind| kind.is_chunk);

    let new = NewUpload { length, metadata, ..NewUpload::default() };
    let created = if brings_chunk && !body.is_empty() {
        let options = ChunkOptions { announced: body.announced(), ..ChunkOptions::default() };
        config.store.create_with(new, body.into_stream(), options).await
    } else if brings_chunk || body.proves_empty().await.map_err(UploadError::from)? {
        // Clients that can't leave it out send some Content-Type without a body.
        config.store.create(new).await
    } else {
        return Err(TusError::unsupported_media_type());
    };
    match created {
        Ok(upload) => Ok(created_response(config, request, &upload, brings_chunk)),
        Err(error) => Err(failed(config, request, error)),
    }
}

fn created_response(config: &Config, request: &Parts, upload: &Upload, brings_chunk: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(LOCATION, config.location(request, &upload.info.id));
    if brings_chunk {
        headers.insert(UploadOffset::NAME, upload.offset.into());
    }
    response
}

/// The answer to a failure; an upload that is there all the same is named, so that the client can go on with it.
fn failed(config: &Config, request: &Parts, error: UploadError) -> TusError {
    let location = error.created().map(|info| config.location(request, &info.id));
    let answer = TusError::from(error);
    match location {
        Some(location) => answer.with_header(LOCATION, location),
        None => answer,
    }
}
