//! What a request that can't be served is answered.

use std::borrow::Cow;
use std::error::Error as StdError;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::Body;
use super::headers::{ContentType, InvalidHeader, SingleHeader, UploadOffset};
use crate::upload::{UploadError, UploadErrorKind};

/// An answer other than success: a status, and a line of text that says what was wrong with what. What the storage said
/// goes to the log, not to the client.
#[derive(Debug)]
pub(super) struct TusError {
    status: StatusCode,
    message: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<UploadError>,
}

impl TusError {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), headers: Vec::new(), source: None }
    }

    /// 415: the body is not declared as a piece of an upload.
    pub(super) fn unsupported_media_type() -> Self {
        let message = format!("the Content-Type of a body must be {}", ContentType::CHUNK);
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// The same answer with one more header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer itself; what only the operator should know goes to the log.
    pub(super) fn into_response(self) -> Response<Body> {
        let Self { status, message, headers, source } = self;
        match source {
            Some(error) if error.kind() != UploadErrorKind::Stream && status.is_server_error() => {
                tracing::error!(status = status.as_u16(), error = %Chain(&error), "request failed");
            }
            Some(error) => tracing::debug!(status = status.as_u16(), error = %Chain(&error), "request refused"),
            None => tracing::debug!(status = status.as_u16(), error = %message, "request refused"),
        }
        let mut response = Response::new(Body::from(format!("{message}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // Caches would keep a 404 or 410 unasked (RFC 9110, section 15.1).
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(headers);
        response
    }
}

/// An error with its causes.
struct Chain<'a>(&'a UploadError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// 400: the request is not what the protocol allows.
impl From<InvalidHeader> for TusError {
    fn from(error: InvalidHeader) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.into_message())
    }
}

impl From<UploadError> for TusError {
    fn from(error: UploadError) -> Self {
        use UploadErrorKind as Kind;
        let status = match error.kind() {
            Kind::NotFound | Kind::InvalidId => StatusCode::NOT_FOUND,
            Kind::Expired => StatusCode::GONE,
            Kind::InvalidOffset | Kind::NotFinished | Kind::AlreadyExists => StatusCode::CONFLICT,
            Kind::SizeExceeded => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::LengthMismatch | Kind::NotPartial | Kind::InvalidMetadata => StatusCode::BAD_REQUEST,
            Kind::AlreadyFinished => StatusCode::FORBIDDEN,
            // Never 5xx: clients would start over.
            Kind::Locked | Kind::Stopped => StatusCode::LOCKED,
            // Who still listens is to resume, which clients do after a 503 and not after a 400.
            Kind::Stream => StatusCode::SERVICE_UNAVAILABLE,
            Kind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Storage if error.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = match (error.kind(), error.offset()) {
            (Kind::InvalidOffset, Some(offset)) => {
                Cow::Owned(format!("Upload-Offset is not where the upload is, which is at {offset}"))
            }
            (Kind::Stream, _) => Cow::Borrowed("the body of the request broke off; what arrived before is kept"),
            (kind, _) if status.is_server_error() => Cow::Borrowed(kind.as_str()),
            _ => Cow::Owned(error.to_string()),
        };
        let offset = error.offset().filter(|_| matches!(error.kind(), Kind::InvalidOffset | Kind::Stopped));
        let answer = Self { source: Some(error), ..Self::new(status, message) };
        match offset {
            Some(offset) => answer.with_header(UploadOffset::NAME, offset.into()),
            None => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::path::StoragePath;

    #[test]
    fn what_the_storage_said_stays_in_the_log() {
        let path = StoragePath::parse("/secret/place").unwrap();
        for (kind, status, message) in [
            (ErrorKind::Backend, 500, "the storage failed"),
            (ErrorKind::PermissionDenied, 500, "the storage failed"),
            (ErrorKind::Timeout, 503, "the storage failed"),
            (ErrorKind::NoSpace, 507, "no space left"),
            (ErrorKind::UnsupportedMethod, 501, "not supported by the storage"),
            (ErrorKind::Conflict, 423, "locked by another request"),
            (ErrorKind::PathNotFound, 404, "there is no such upload"),
        ] {
            let storage = Error::new(kind).with_detail("disk 7 of rack 3").at("filesystem", &path);
            let error = TusError::from(UploadError::from(storage));
            assert_eq!((error.status.as_u16(), &*error.message), (status, message));
            assert!(Chain(error.source.as_ref().unwrap()).to_string().contains("disk 7 of rack 3"));
        }
    }

    #[test]
    fn each_kind_has_the_status_that_clients_act_on() {
        use UploadErrorKind::*;
        for (kind, status) in [
            (NotFound, 404),
            (Expired, 410),
            (InvalidOffset, 409),
            (SizeExceeded, 413),
            (LengthMismatch, 400),
            (AlreadyFinished, 403),
            (NotFinished, 409),
            (NotPartial, 400),
            (Locked, 423),
            (Stopped, 423),
            (Stream, 503),
            (InvalidId, 404),
            (InvalidMetadata, 400),
            (InvalidInfo, 500),
            (AlreadyExists, 409),
            (NoSpace, 507),
            (Unsupported, 501),
            (Storage, 500),
        ] {
            assert_eq!(TusError::from(UploadError::new(kind)).status.as_u16(), status, "{kind:?}");
        }
    }
}
