//! Why a request failed, and what may have become of it.

use std::fmt;

use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};

use crate::error::{BoxError, Error, ErrorKind};

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    /// None if there was no answer.
    status: Option<StatusCode>,
    code: String,
    message: String,
    fate: Fate,
    cause: Option<BoxError>,
}

/// What the engine did with a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It said no, and will again.
    Refused,
    /// It never began; it may be sent again.
    NotBegun,
    /// It may have been done, may be done later, or never.
    Unknown,
    /// It did not answer in time, and may have been done.
    TimedOut,
}

impl Failure {
    /// The engine answered so; `document` is its error document, if it sent one.
    pub(super) fn answered(status: StatusCode, error: Option<(String, String)>) -> Self {
        let (code, message) = error.unwrap_or_default();
        // A 200 that went out before the work was done: only the code tells what became of it.
        let status = if status.is_success() { status_of(&code) } else { status };
        let throttled = status == StatusCode::TOO_MANY_REQUESTS || matches!(&*code, "SlowDown" | "ThrottlingException");
        // A conditional request that met another one under way; it was not done.
        let raced = status == StatusCode::CONFLICT && code == "ConditionalRequestConflict";
        let fate = if throttled {
            Fate::NotBegun
        } else if status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::INSUFFICIENT_STORAGE
            || raced
            || matches!(&*code, "InternalError" | "RequestTimeout")
            || status == StatusCode::REQUEST_TIMEOUT
        {
            Fate::Unknown
        } else {
            Fate::Refused
        };
        Self { status: Some(status), code, message, fate, cause: None }
    }

    /// No answer came, or only part of one.
    pub(super) fn unanswered(cause: HttpError) -> Self {
        let fate = match cause.kind() {
            HttpErrorKind::Connect => Fate::NotBegun,
            HttpErrorKind::Timeout => Fate::TimedOut,
            _ => Fate::Unknown,
        };
        Self { status: None, code: String::new(), message: String::new(), fate, cause: Some(Box::new(cause)) }
    }

    /// No answer came in time.
    pub(super) fn timed_out() -> Self {
        let message = "no answer in time".to_owned();
        Self { status: None, code: String::new(), message, fate: Fate::TimedOut, cause: None }
    }

    /// The answer ended before all of it was there.
    pub(super) fn cut_short() -> Self {
        let message = "the answer was cut short".to_owned();
        Self { status: None, code: String::new(), message, fate: Fate::Unknown, cause: None }
    }

    /// It was not sent, or the answer makes no sense; trying again won't help.
    pub(super) fn other(message: &str, cause: Option<BoxError>) -> Self {
        Self { status: None, code: String::new(), message: message.to_owned(), fate: Fate::Refused, cause }
    }

    /// There are no credentials to sign with, so that the request never began.
    pub(super) fn no_credentials(cause: impl fmt::Display) -> Self {
        let message = format!("no credentials: {cause}");
        Self { status: None, code: String::new(), message, fate: Fate::NotBegun, cause: None }
    }

    /// There is no such object or upload.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND) && self.code != "NoSuchBucket"
    }

    /// There is no such upload any more: somebody completed or aborted it.
    pub(super) fn is_no_such_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    /// The condition of the request did not hold, or there was nothing to hold it against.
    pub(super) fn is_precondition(&self) -> bool {
        // Engines that keep objects as files answer 409 as well where one is in the way.
        self.fate == Fate::Refused
            && matches!(self.status, Some(StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT))
            && !matches!(&*self.code, "ObjectParentIsFile" | "ExistingObjectIsDirectory")
    }

    /// A directory is in the way, for an engine that keeps objects as files.
    pub(super) fn is_directory_in_the_way(&self) -> bool {
        self.code == "ExistingObjectIsDirectory"
    }

    /// Whether the range starts at or past the end of the object.
    pub(super) fn is_range(&self) -> bool {
        self.status == Some(StatusCode::RANGE_NOT_SATISFIABLE)
    }

    /// The engine does not know this request, or this header of it.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == Some(StatusCode::NOT_IMPLEMENTED)
            || self.status == Some(StatusCode::METHOD_NOT_ALLOWED)
            || matches!(&*self.code, "NotImplemented" | "MethodNotAllowed")
    }

    /// Whether the caller may not do this.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.status, Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED))
    }

    /// Whether the caller is known and may not do this. Wrong credentials have codes of their own.
    pub(super) fn is_access_denied(&self) -> bool {
        self.is_denied() && self.code == "AccessDenied"
    }

    /// The engine will not make this object of these parts, however often it is asked.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(&*self.code, "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder")
    }

    /// Whether it may have been done, now or later.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.fate, Fate::Unknown | Fate::TimedOut)
    }

    /// Whether it never began.
    pub(super) fn is_not_begun(&self) -> bool {
        self.fate == Fate::NotBegun
    }

    fn kind(&self) -> ErrorKind {
        match &*self.code {
            "EntityTooLarge" | "MaxPartNumberExceeded" => return ErrorKind::SizeExceeded,
            "KeyTooLongError" | "KeyTooLong" => return ErrorKind::InvalidPath,
            "ObjectParentIsFile" => return ErrorKind::NotADirectory,
            "ExistingObjectIsDirectory" => return ErrorKind::IsADirectory,
            "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" => return ErrorKind::NoSpace,
            "NoSuchBucket" => return ErrorKind::Backend,
            _ => {}
        }
        match self.status {
            _ if self.fate == Fate::TimedOut => ErrorKind::Timeout,
            _ if self.is_denied() => ErrorKind::PermissionDenied,
            _ if self.is_precondition() => ErrorKind::Conflict,
            _ if self.is_not_implemented() => ErrorKind::UnsupportedMethod,
            Some(StatusCode::NOT_FOUND) => ErrorKind::PathNotFound,
            Some(StatusCode::INSUFFICIENT_STORAGE) => ErrorKind::NoSpace,
            Some(StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT) => ErrorKind::Timeout,
            _ => ErrorKind::Backend,
        }
    }
}

/// The status that comes with an error's code (Amazon S3 API Reference, "Error responses").
fn status_of(code: &str) -> StatusCode {
    match code {
        "AccessDenied" => StatusCode::FORBIDDEN,
        "NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" => StatusCode::NOT_FOUND,
        "ConditionalRequestConflict" => StatusCode::CONFLICT,
        "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
        "NotImplemented" => StatusCode::NOT_IMPLEMENTED,
        "InternalError" => StatusCode::INTERNAL_SERVER_ERROR,
        "ServiceUnavailable" | "SlowDown" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "S3 answered {}", status.as_u16())?,
            None if matches!(self.fate, Fate::Refused | Fate::NotBegun) => f.write_str("S3 could not be asked")?,
            None => f.write_str("S3 did not answer")?,
        }
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let temporary = failure.fate != Fate::Refused;
        Self::new(failure.kind()).with_temporary(temporary).with_source(failure)
    }
}

impl From<getrandom::Error> for Failure {
    fn from(cause: getrandom::Error) -> Self {
        Self::other("no random numbers to be had", Some(Box::new(cause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        Failure::answered(StatusCode::from_u16(status).unwrap(), Some((code.into(), String::new())))
    }

    #[test]
    fn answers_have_their_named_kinds() {
        for (status, code, kind, temporary) in [
            (404, "NoSuchKey", ErrorKind::PathNotFound, false),
            (404, "NoSuchBucket", ErrorKind::Backend, false),
            (403, "AccessDenied", ErrorKind::PermissionDenied, false),
            (412, "PreconditionFailed", ErrorKind::Conflict, false),
            (409, "ObjectParentIsFile", ErrorKind::NotADirectory, false),
            (503, "SlowDown", ErrorKind::Backend, true),
            (500, "InternalError", ErrorKind::Backend, true),
            (501, "NotImplemented", ErrorKind::UnsupportedMethod, false),
            (507, "XMinioStorageFull", ErrorKind::NoSpace, false),
            (400, "EntityTooLarge", ErrorKind::SizeExceeded, false),
            (504, "", ErrorKind::Timeout, true),
        ] {
            let error = Error::from(answered(status, code));
            assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{status} {code}");
        }
    }

    #[test]
    fn only_what_surely_never_began_is_not_lost() {
        assert!(answered(503, "SlowDown").is_not_begun() && !answered(503, "SlowDown").is_lost());
        assert!(answered(500, "").is_lost() && answered(503, "").is_lost());
        assert!(answered(409, "ConditionalRequestConflict").is_lost());
        assert!(answered(412, "").is_precondition() && !answered(412, "").is_lost());
        assert!(Failure::timed_out().is_lost());
    }
}
