//! HEAD: where an upload stands (tus 1.0.0, "HEAD").

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use super::body::Body;
use super::config::Config;
use super::error::TusError;
use super::headers::{
    SingleHeader, UploadConcat, UploadDeferLength, UploadLength, UploadMetadata, UploadOffset, checked_value,
};
use crate::upload::{UploadId, UploadKind};

pub(super) async fn answer(config: &Config, id: &UploadId) -> Result<Response<Body>, TusError> {
    let upload = config.store.info(id).await?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UploadOffset::NAME, upload.offset.into());
    match upload.info.length {
        Some(length) => headers.insert(UploadLength::NAME, length.into()),
        None => headers.insert(UploadDeferLength::NAME, HeaderValue::from_static("1")),
    };
    if !upload.info.metadata.as_str().is_empty() {
        headers.insert(UploadMetadata::NAME, checked_value(upload.info.metadata.as_str().to_owned()));
    }
    match &upload.info.kind {
        UploadKind::Regular => {}
        UploadKind::Partial => {
            headers.insert(UploadConcat::NAME, HeaderValue::from_static("partial"));
        }
        UploadKind::Final(parts) => {
            let urls: Vec<String> = parts.iter().map(|id| format!("{}{id}", config.base_path.as_str())).collect();
            headers.insert(UploadConcat::NAME, checked_value(format!("final;{}", urls.join(" "))));
        }
    }
    Ok(response)
}
