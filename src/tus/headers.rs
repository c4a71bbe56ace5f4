//! The headers of the protocol: each is parsed once, into a type that owns its rule and names its section.
//!
//! All of them are refused when they come twice, since a proxy and this server could pick different ones.

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::upload::Metadata;

/// A request header with one value.
pub trait SingleHeader: Sized {
    /// Its name.
    const NAME: HeaderName;

    /// Its name as the specification writes it.
    const SPELLING: &'static str;

    /// Parses its value.
    ///
    /// # Errors
    /// [`InvalidHeader`], which says what is wrong with it.
    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader>;

    /// Finds and parses it.
    ///
    /// # Errors
    /// [`InvalidHeader`] if it comes twice, or doesn't parse.
    fn find(headers: &HeaderMap) -> Result<Option<Self>, InvalidHeader> {
        let mut values = headers.get_all(Self::NAME).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value).map(Some),
            (Some(_), Some(_)) => Err(Self::invalid("came more than once")),
        }
    }

    /// Finds and parses it.
    ///
    /// # Errors
    /// [`InvalidHeader`] if it is missing, comes twice, or doesn't parse.
    fn require(headers: &HeaderMap) -> Result<Self, InvalidHeader> {
        Self::find(headers)?.ok_or_else(|| Self::invalid("is missing"))
    }

    /// The error of this header with this problem.
    fn invalid(problem: impl fmt::Display) -> InvalidHeader {
        InvalidHeader(format!("{} {problem}", Self::SPELLING).into())
    }
}

/// What was wrong with which header, in a sentence. It shows at most the beginning of what came, escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidHeader(Box<str>);

impl InvalidHeader {
    /// The sentence.
    pub fn into_message(self) -> String {
        self.0.into()
    }
}

/// The largest number of bytes that any header can name: 2⁶³ - 1, the largest size that file systems and other servers know.
pub const MAX_BYTES: u64 = i64::MAX as u64;

/// A number of bytes: digits only, at most [`MAX_BYTES`].
fn bytes<H: SingleHeader>(value: &HeaderValue) -> Result<u64, InvalidHeader> {
    let text = value.as_bytes();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(H::invalid(format_args!("is not a number of bytes, digits only: {}", Shown(text))));
    }
    let number = text.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|number| *number <= MAX_BYTES)
    });
    number.ok_or_else(|| H::invalid(format_args!("is larger than {MAX_BYTES}: {}", Shown(text))))
}

/// The beginning of a text that may be hostile and long, quoted and escaped.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        let (start, more) = if self.0.len() > MOST { (&self.0[..MOST], "…") } else { (self.0, "") };
        write!(f, "\"{}{more}\"", start.escape_ascii())
    }
}

/// A value made of parts that were checked before: visible ASCII, spaces and tabs.
pub(super) fn checked_value(text: String) -> HeaderValue {
    let value = HeaderValue::try_from(text);
    debug_assert!(value.is_ok(), "{value:?}");
    value.unwrap_or(HeaderValue::from_static(""))
}

/// `Upload-Offset`: where in the upload the body of a request begins, in bytes (tus 1.0.0, "Headers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadOffset(pub u64);

impl SingleHeader for UploadOffset {
    const NAME: HeaderName = HeaderName::from_static("upload-offset");
    const SPELLING: &'static str = "Upload-Offset";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        bytes::<Self>(value).map(Self)
    }
}

/// `Upload-Length`: the size of the whole upload, in bytes (tus 1.0.0, "Headers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLength(pub u64);

impl SingleHeader for UploadLength {
    const NAME: HeaderName = HeaderName::from_static("upload-length");
    const SPELLING: &'static str = "Upload-Length";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        bytes::<Self>(value).map(Self)
    }
}

/// `Upload-Defer-Length: 1`: the length comes with a later request (tus 1.0.0, "Creation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadDeferLength;

impl SingleHeader for UploadDeferLength {
    const NAME: HeaderName = HeaderName::from_static("upload-defer-length");
    const SPELLING: &'static str = "Upload-Defer-Length";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        match value.as_bytes() {
            b"1" => Ok(Self),
            other => Err(Self::invalid(format_args!("can only be 1, and is {}", Shown(other)))),
        }
    }
}

/// The length that a creation names: one of [`UploadLength`] (`Some`) and [`UploadDeferLength`] (`None`), not both (tus
/// 1.0.0, "Creation").
///
/// # Errors
/// [`InvalidHeader`] for both, neither, or one that doesn't parse.
pub fn creation_length(headers: &HeaderMap) -> Result<Option<u64>, InvalidHeader> {
    match (UploadLength::find(headers)?, UploadDeferLength::find(headers)?) {
        (Some(UploadLength(length)), None) => Ok(Some(length)),
        (None, Some(UploadDeferLength)) => Ok(None),
        (None, None) => Err(UploadLength::invalid("is missing, and so is Upload-Defer-Length")),
        (Some(_), Some(_)) => Err(UploadLength::invalid("and Upload-Defer-Length exclude each other")),
    }
}

/// `Upload-Metadata`: what the client says of the upload (tus 1.0.0, "Creation"). An empty one counts as none, since
/// clients without metadata send that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMetadata(pub Metadata);

impl SingleHeader for UploadMetadata {
    const NAME: HeaderName = HeaderName::from_static("upload-metadata");
    const SPELLING: &'static str = "Upload-Metadata";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        let text = value.to_str().map_err(|_| Self::invalid("has bytes that are not ASCII; values go in base64"))?;
        Metadata::parse(text).map(Self).map_err(|error| Self::invalid(format_args!("is malformed: {error}")))
    }
}

/// `Upload-Concat`: whether an upload is a part of another, or made of parts (tus 1.0.0, "Concatenation").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadConcat {
    /// `partial`: it is to become part of another.
    Partial,
    /// `final;` and the URLs of the parts, absolute or not, in order.
    Final(Vec<String>),
}

impl SingleHeader for UploadConcat {
    const NAME: HeaderName = HeaderName::from_static("upload-concat");
    const SPELLING: &'static str = "Upload-Concat";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        let malformed =
            || Self::invalid(format_args!("is neither partial nor final;… with URLs: {}", Shown(value.as_bytes())));
        let text = value.to_str().map_err(|_| malformed())?;
        if text == "partial" {
            return Ok(Self::Partial);
        }
        let urls = text.strip_prefix("final;").ok_or_else(malformed)?;
        let urls: Vec<String> = urls.split(' ').filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if urls.is_empty() { Err(malformed()) } else { Ok(Self::Final(urls)) }
    }
}

/// `Tus-Resumable`: the version of the protocol (tus 1.0.0, "Headers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TusResumable;

impl TusResumable {
    /// The one version that this server speaks.
    pub const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
}

impl SingleHeader for TusResumable {
    const NAME: HeaderName = HeaderName::from_static("tus-resumable");
    const SPELLING: &'static str = "Tus-Resumable";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        match value {
            value if value == Self::VERSION => Ok(Self),
            other => Err(Self::invalid(format_args!("must be 1.0.0, and is {}", Shown(other.as_bytes())))),
        }
    }
}

/// `X-HTTP-Method-Override`: the method that counts instead of the request's own (tus 1.0.0, "Headers").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodOverride(pub http::Method);

impl SingleHeader for MethodOverride {
    const NAME: HeaderName = HeaderName::from_static("x-http-method-override");
    const SPELLING: &'static str = "X-HTTP-Method-Override";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        let method = http::Method::from_bytes(value.as_bytes());
        method.map(Self).map_err(|_| Self::invalid(format_args!("is not a method: {}", Shown(value.as_bytes()))))
    }
}

/// `Content-Type`, as far as the protocol asks: whether the body is a piece of an upload (tus 1.0.0, "PATCH").
/// Parameters are ignored, and so is the case (RFC 9110, section 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// It is `application/offset+octet-stream`.
    pub is_chunk: bool,
}

impl ContentType {
    /// The media type of a piece of an upload.
    pub const CHUNK: &'static str = "application/offset+octet-stream";
}

impl SingleHeader for ContentType {
    const NAME: HeaderName = CONTENT_TYPE;
    const SPELLING: &'static str = "Content-Type";

    fn parse(value: &HeaderValue) -> Result<Self, InvalidHeader> {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        Ok(Self { is_chunk: essence.trim_ascii().eq_ignore_ascii_case(Self::CHUNK.as_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: impl AsRef<[u8]>) -> HeaderValue {
        HeaderValue::from_bytes(bytes.as_ref()).unwrap()
    }

    #[test]
    fn numbers_are_digits_and_at_most_the_largest_file_size() {
        for (text, number) in [("0", 0), ("007", 7), ("9223372036854775807", MAX_BYTES)] {
            assert_eq!(UploadOffset::parse(&value(text)), Ok(UploadOffset(number)), "{text}");
        }
        for text in ["", "-1", "+1", "1 ", " 1", "1.0", "1e3", "0x10", "12a", "1,2", "१", "1\t"] {
            let error = UploadOffset::parse(&value(text)).unwrap_err().to_string();
            assert!(error.starts_with("Upload-Offset is not a number of bytes, digits only: \""), "{text}: {error}");
        }
        for text in ["9223372036854775808", "18446744073709551616", &"9".repeat(65_536)] {
            let error = UploadLength::parse(&value(text)).unwrap_err().to_string();
            assert!(error.starts_with("Upload-Length is larger than 9223372036854775807: \"") && error.len() < 150);
        }
    }

    #[test]
    fn what_came_is_shown_escaped_and_cut_short() {
        let mut hostile = vec![b'\t', 0xff, b'"'];
        hostile.resize(65_536, b'x');
        let error = UploadOffset::parse(&value(hostile)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("Upload-Offset is not a number of bytes, digits only: \"\\t\\xff\\\"{}…\"", "x".repeat(37))
        );
    }

    #[test]
    fn a_header_that_comes_twice_is_refused_even_if_both_agree() {
        let mut headers = HeaderMap::new();
        headers.append(UploadOffset::NAME, value("5"));
        assert_eq!(UploadOffset::find(&headers), Ok(Some(UploadOffset(5))));
        headers.append(UploadOffset::NAME, value("5"));
        assert_eq!(UploadOffset::find(&headers).unwrap_err().to_string(), "Upload-Offset came more than once");
        assert_eq!(UploadLength::require(&headers).unwrap_err().to_string(), "Upload-Length is missing");
    }

    #[test]
    fn a_creation_names_its_length_or_defers_it() {
        let of = |length: Option<&str>, defer: Option<&str>| {
            let mut headers = HeaderMap::new();
            length.map(|length| headers.append(UploadLength::NAME, value(length)));
            defer.map(|defer| headers.append(UploadDeferLength::NAME, value(defer)));
            creation_length(&headers)
        };
        assert_eq!(of(Some("3"), None), Ok(Some(3)));
        assert_eq!(of(None, Some("1")), Ok(None));
        for (length, defer) in
            [(None, None), (Some("3"), Some("1")), (None, Some("0")), (None, Some("")), (None, Some("2"))]
        {
            assert!(of(length, defer).is_err(), "{length:?} {defer:?}");
        }
    }

    #[test]
    fn the_content_type_of_a_chunk_may_have_parameters_and_capitals() {
        for (text, is_chunk) in [
            ("application/offset+octet-stream", true),
            ("Application/Offset+Octet-Stream ; charset=utf-8", true),
            ("application/octet-stream", false),
            ("application/offset+octet-streams", false),
            ("", false),
        ] {
            assert_eq!(ContentType::parse(&value(text)), Ok(ContentType { is_chunk }), "{text}");
        }
    }

    #[test]
    fn concat_is_partial_or_final_with_urls_and_perhaps_a_space() {
        assert_eq!(UploadConcat::parse(&value("partial")), Ok(UploadConcat::Partial));
        for text in ["final;/files/a http://h/files/b", "final; /files/a http://h/files/b"] {
            let urls = vec!["/files/a".to_owned(), "http://h/files/b".to_owned()];
            assert_eq!(UploadConcat::parse(&value(text)), Ok(UploadConcat::Final(urls)));
        }
        for text in ["", "Partial", "final", "final;", "final; ", "final /a", "partial;/a"] {
            assert!(UploadConcat::parse(&value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(TusResumable::parse(&value("1.0.0")), Ok(TusResumable));
        for text in ["", "1.0", "1.0.1", "0.2.2", "1.0.0, 1.0.0"] {
            assert!(TusResumable::parse(&value(text)).is_err(), "{text}");
        }
    }
}
