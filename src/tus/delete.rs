//! DELETE: ends an upload and removes what it holds (tus 1.0.0, "Termination").

use http::{Response, StatusCode};

use super::body::Body;
use super::config::Config;
use super::error::TusError;
use crate::upload::UploadId;

pub(super) async fn answer(config: &Config, id: &UploadId) -> Result<Response<Body>, TusError> {
    config.store.terminate(id).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
