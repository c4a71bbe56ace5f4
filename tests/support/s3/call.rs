//! One request: which operation it is, on what, and what it carries beside its body.

use http::{HeaderMap, Method, header, request::Parts};
use url::form_urlencoded;

use super::answer::{Code, Refusal};

/// The operations of S3 that this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "these are the names of S3's API")]
pub enum Op {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteObject,
    DeleteObjects,
    GetObject,
    HeadBucket,
    HeadObject,
    ListMultipartUploads,
    ListObjectsV2,
    ListParts,
    PutObject,
    UploadPart,
    UploadPartCopy,
    /// Anything else: answered with `NotImplemented`.
    Unknown,
}

/// One request without its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// The running number of the request, from 1, never reset.
    pub number: u64,
    /// Who sent it: the name its connector was given, else the access key it is signed with.
    pub client: String,
    /// What it asks for.
    pub op: Op,
    /// The bucket, decoded.
    pub bucket: String,
    /// The object's key, decoded; empty if the request is about the bucket.
    pub key: String,
    /// The method.
    pub method: Method,
    /// The path as it was sent.
    pub path: String,
    /// The host and port it was sent to.
    pub host: String,
    /// The query's pairs, decoded, in the order sent.
    pub query: Vec<(String, String)>,
    /// All headers.
    pub headers: HeaderMap,
    /// The length of the body.
    pub bytes_in: u64,
    /// Why its signature is not good, if so: the engine refuses it.
    pub refused: Option<Refusal>,
}

impl Call {
    /// Understands a request. What it asks for may still be nonsense.
    pub fn new(number: u64, parts: Parts, bytes_in: u64) -> Self {
        let host = match parts.headers.get(header::HOST).map(|host| host.to_str()) {
            Some(Ok(host)) => host.to_owned(),
            _ => parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        };
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (bucket, key) = match virtual_bucket(&host) {
            Some(bucket) => (bucket.to_owned(), decode(path.strip_prefix('/').unwrap_or(&path))),
            None => {
                let path = path.strip_prefix('/').unwrap_or(&path);
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decode(bucket), decode(key))
            }
        };
        let (method, headers) = (parts.method, parts.headers);
        let mut call = Self {
            number,
            client: String::new(),
            op: Op::Unknown,
            bucket,
            key,
            method,
            path,
            host,
            query,
            headers,
            bytes_in,
            refused: None,
        };
        call.op = call.operation();
        call
    }

    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The id that its answer carries.
    pub fn request_id(&self) -> String {
        format!("{:016X}", self.number)
    }

    /// The request changes something if it is done.
    pub fn writes(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A query parameter that is a number.
    ///
    /// # Errors
    /// `InvalidArgument` if it is something else.
    pub fn number_param(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(text) = self.param(name) else { return Ok(default) };
        let message = || format!("Argument {name} must be an integer between 0 and 2147483647, not {text:?}");
        let number = text.parse::<u32>().ok().filter(|number| *number <= i32::MAX as u32);
        number.map(|number| number as usize).ok_or_else(|| Refusal::new(Code::InvalidArgument, message()))
    }

    /// The part number of an UploadPart or UploadPartCopy, as sent.
    pub fn part_number(&self) -> Option<u32> {
        self.param("partNumber")?.parse().ok()
    }

    fn operation(&self) -> Op {
        let has = |name| self.param(name).is_some();
        if self.bucket.is_empty() || self.query.iter().any(|(name, _)| !known_param(name)) {
            return Op::Unknown;
        }
        let copy = self.headers.contains_key("x-amz-copy-source");
        match (self.method.as_str(), self.key.is_empty()) {
            ("GET", true) if has("uploads") => Op::ListMultipartUploads,
            ("GET", true) if self.param("list-type") == Some("2") => Op::ListObjectsV2,
            ("HEAD", true) => Op::HeadBucket,
            ("PUT", true) => Op::CreateBucket,
            ("POST", true) if has("delete") => Op::DeleteObjects,
            ("GET", false) if has("uploadId") => Op::ListParts,
            ("GET", false) => Op::GetObject,
            ("HEAD", false) => Op::HeadObject,
            ("PUT", false) if has("uploadId") && copy => Op::UploadPartCopy,
            ("PUT", false) if has("uploadId") => Op::UploadPart,
            ("PUT", false) if copy => Op::CopyObject,
            ("PUT", false) => Op::PutObject,
            ("POST", false) if has("uploads") => Op::CreateMultipartUpload,
            ("POST", false) if has("uploadId") => Op::CompleteMultipartUpload,
            ("DELETE", false) if has("uploadId") => Op::AbortMultipartUpload,
            ("DELETE", false) => Op::DeleteObject,
            _ => Op::Unknown,
        }
    }
}

/// The bucket of a virtual-hosted request: `bucket.s3.example.com`, `bucket.s3-accelerate.amazonaws.com`.
fn virtual_bucket(host: &str) -> Option<&str> {
    let end = host.find(".s3.").or_else(|| host.find(".s3-"))?;
    host.get(..end)
}

/// Sub-resources that this server doesn't know (`acl`, `tagging`, `versionId`) must not pass for plain requests.
fn known_param(name: &str) -> bool {
    const KNOWN: [&str; 17] = [
        "continuation-token",
        "delete",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "list-type",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "start-after",
        "upload-id-marker",
        "uploadId",
        "uploads",
    ];
    KNOWN.contains(&name)
        || name == "x-id"
        || name.starts_with("response-")
        || name.to_ascii_lowercase().starts_with("x-amz-")
}

/// Resolves `%XX`; anything else stays as it is.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent-encodes all but the unreserved characters, and `/` if `slash` is set (SigV4's `UriEncode`).
pub fn encode(text: &str, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if slash => out.push('/'),
            byte => {
                let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'));
                out.push('%');
                out.extend(digits.map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    out
}
