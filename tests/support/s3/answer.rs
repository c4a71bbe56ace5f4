//! What the server says: an answer, or one of S3's error codes.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::call::Call;
use super::xml::Xml;

/// A whole answer, before a fault may spoil it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line's code.
    pub status: StatusCode,
    /// All headers but `Content-Length`, unless the answer is to a HEAD.
    pub headers: HeaderMap,
    /// The body; empty for a HEAD.
    pub body: Bytes,
}

impl Answer {
    /// An empty answer.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A 200 with an XML document.
    pub fn xml(xml: Xml) -> Self {
        Self { body: xml.finish(), ..Self::new(StatusCode::OK) }
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))
    }

    /// The answer with one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The answer with its entity tag.
    pub fn etag(self, etag: &str) -> Self {
        match HeaderValue::from_str(etag) {
            Ok(value) => self.with(header::ETAG, value),
            Err(_) => self,
        }
    }

    /// The answer as a HEAD gets it.
    pub fn without_body_for(mut self, call: &Call) -> Self {
        if call.method == http::Method::HEAD {
            self.headers.entry(header::CONTENT_LENGTH).or_insert(self.body.len().into());
            self.body = Bytes::new();
        }
        self
    }

    /// The error document for a refused request.
    pub fn error(refusal: &Refusal, call: &Call) -> Self {
        let status = if refusal.in_200 { StatusCode::OK } else { refusal.code.status() };
        if status == StatusCode::NOT_MODIFIED {
            return Self::new(status);
        }
        let xml = Xml::document("Error", |xml| {
            xml.text("Code", refusal.code.name());
            xml.text("Message", &refusal.message);
            if !call.bucket.is_empty() {
                xml.text("BucketName", &call.bucket);
            }
            if !call.key.is_empty() {
                xml.text("Key", &call.key);
            }
            xml.text("RequestId", &call.request_id());
        });
        let answer = Self { status, ..Self::xml(xml) };
        let answer = answer.without_body_for(call);
        match (refusal.code, HeaderValue::from_str(&format!("bytes */{}", refusal.size))) {
            (Code::InvalidRange, Ok(value)) => answer.with(header::CONTENT_RANGE, value),
            _ => answer,
        }
    }
}

/// A request that the engine refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error's code.
    pub code: Code,
    /// The sentence in the error document.
    pub message: String,
    /// The error document comes under status 200, as S3 does it when a long Complete or copy fails.
    pub in_200: bool,
    /// The object's size, for `InvalidRange`.
    pub size: u64,
}

impl Refusal {
    /// A refusal that says more than its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), in_200: false, size: 0 }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.message())
    }
}

macro_rules! codes {
    ($($code:ident $status:literal $message:literal,)+) => {
        /// S3's error codes, as far as this server gives them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is documented by its message")]
        pub enum Code { $($code),+ }

        impl Code {
            /// The name in the error document.
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),+ }
            }

            /// The status it comes with.
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$code => $status),+ };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            fn message(self) -> &'static str {
                match self { $(Self::$code => $message),+ }
            }
        }
    };
}

codes! {
    AccessDenied 403 "Access Denied",
    AuthorizationHeaderMalformed 400 "The authorization header that you provided is not valid.",
    AuthorizationQueryParametersError 400 "The query parameters for authorization are not valid.",
    BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received.",
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.",
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource.",
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed object size.",
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed object size.",
    ExistingObjectIsDirectory 409 "Existing Object is a directory.",
    ExpiredToken 400 "The provided token has expired.",
    InternalError 500 "We encountered an internal error. Please try again.",
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.",
    InvalidArgument 400 "Invalid Argument",
    InvalidDigest 400 "The Content-MD5 or checksum value that you specified is not valid.",
    InvalidPart 400 "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.",
    InvalidPartOrder 400 "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
    InvalidRange 416 "The requested range is not satisfiable",
    InvalidRequest 400 "Invalid Request",
    InvalidStorageClass 400 "The storage class that you specified is not valid.",
    InvalidToken 400 "The provided token is malformed or otherwise not valid.",
    KeyTooLongError 400 "Your key is too long.",
    MalformedXML 400 "The XML that you provided was not well formed or did not validate against our published schema.",
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size.",
    MethodNotAllowed 405 "The specified method is not allowed against this resource.",
    MissingContentLength 411 "You must provide the Content-Length HTTP header.",
    NoSuchBucket 404 "The specified bucket does not exist.",
    NoSuchKey 404 "The specified key does not exist.",
    NoSuchUpload 404 "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload might have been aborted or completed.",
    NotImplemented 501 "A header or query you provided implies functionality that is not implemented.",
    NotModified 304 "Not Modified",
    ObjectParentIsFile 409 "Object parent already exists as a file.",
    OperationAborted 409 "A conflicting conditional operation is currently in progress against this resource. Try again.",
    PreconditionFailed 412 "At least one of the preconditions that you specified did not hold.",
    RequestTimeTooSkewed 403 "The difference between the request time and the server's time is too large.",
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period.",
    ServiceUnavailable 503 "Service is unable to handle request.",
    SignatureDoesNotMatch 403 "The request signature that the server calculated does not match the signature that you provided.",
    SlowDown 503 "Please reduce your request rate.",
    TooManyRequests 429 "Please reduce your request rate.",
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.",
}
