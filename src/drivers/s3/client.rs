//! The requests of S3, and nothing of what they are for: the only module that knows this protocol.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpConnector, HttpResponse, ReqwestConnector};
use object_store::{PutPayload, RetryConfig};

use super::config::{Credentials, InvalidS3Config, S3Config, S3Encryption};
use super::failure::Failure;
use super::keys::Id;
use super::listing::next_page;
use super::transport::{Again, Call, Transport, encode};
use super::xml;
use crate::driver::ReadRange;

/// Holds the id of the file that an object was made for.
const ID_HEADER: &str = "x-amz-meta-holdall-id";
/// The most keys that one DeleteObjects takes.
const MAX_DELETES: usize = 1000;
/// CompleteMultipartUpload may take some minutes, of whatever size the object is: as long as a copy of so many bytes.
const COMPLETE_WORK: u64 = 1 << 30;

/// An object, as S3 tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: Box<str>,
    pub(super) modified: Option<SystemTime>,
    /// The file it was made for, if this driver made it.
    pub(super) id: Option<Id>,
    /// What else its writer said of it, such as its content type.
    pub(super) metadata: HeaderMap,
}

/// What must hold for a request to be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cond<'a> {
    /// Nothing.
    Any,
    /// No object is there (`If-None-Match: *`).
    Absent,
    /// The object is there with this ETag (`If-Match`).
    Is(&'a str),
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) initiated: Option<SystemTime>,
}

/// A bucket.
pub(super) struct Client {
    pub(super) transport: Transport,
    /// Signs URLs for those who reach the engine by another address.
    public: AmazonS3,
    /// For all that is written.
    write: HeaderMap,
    /// For the objects that are files.
    file: HeaderMap,
    /// Whether the engine takes conditions of writes at all; where it refuses them they are left out.
    conditions: AtomicBool,
}

impl Client {
    /// # Errors
    /// A configuration that can't be honoured.
    pub(super) fn new(config: &S3Config) -> Result<Self, InvalidS3Config> {
        config.check()?;
        let invalid = |parameter| move |cause: object_store::Error| InvalidS3Config::new(parameter, cause.to_string());
        let connector = match &config.connector {
            Some(connector) => Arc::clone(connector),
            None => {
                // reqwest takes the process's provider of cryptography: ring, unless the program has chosen another one.
                let _ = rustls::crypto::ring::default_provider().install_default();
                Arc::new(ReqwestConnector::default())
            }
        };
        let bucket_url = config.bucket_url(config.endpoint.as_deref())?;
        let mut options = object_store::ClientOptions::new()
            .with_allow_http(bucket_url.starts_with("http:"))
            .with_allow_invalid_certificates(!config.verify_tls)
            .with_timeout_disabled();
        if let Some(agent) = config.user_agent.as_deref().and_then(|agent| HeaderValue::from_str(agent).ok()) {
            options = options.with_user_agent(agent);
        }
        let http = connector.connect(&options).map_err(invalid("client"))?;
        let region = config.signing_region();
        let store = |url: String| {
            credentials(config)
                .with_http_connector(Delegate(Arc::clone(&connector)))
                // It only fetches credentials, and each request that needs them tries again anyway.
                .with_client_options(options.clone().with_timeout(config.timeout))
                .with_retry(RetryConfig { max_retries: 1, ..RetryConfig::default() })
                .with_bucket_name(&config.bucket)
                .with_region(&region)
                .with_virtual_hosted_style_request(true)
                .with_endpoint(url)
                .build()
                .map_err(invalid("credentials"))
        };
        let sign_payload = bucket_url.starts_with("http:");
        let public_url = config.bucket_url(config.public_endpoint.as_deref().or(config.endpoint.as_deref()))?;
        let transport = Transport {
            http,
            store: store(bucket_url.clone())?,
            region: region.clone(),
            bucket: config.bucket.clone(),
            bucket_url,
            sign_payload,
            timeout: config.timeout,
            max_retries: config.max_retries,
        };
        let public = store(public_url)?;
        let (write, file) = headers(config);
        Ok(Self { transport, public, write, file, conditions: AtomicBool::new(true) })
    }

    /// Leaves conditions of writes out from now on: the engine refuses them.
    pub(super) fn without_conditions(&self) {
        self.conditions.store(false, Ordering::Relaxed);
    }

    /// What signs URLs for the outside.
    pub(super) fn signer(&self) -> &AmazonS3 {
        &self.public
    }

    /// HeadObject. `None`: there is none.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Failure> {
        match self.transport.exchange(&Call::new(Method::HEAD, key), Again::Always).await {
            Ok((parts, _)) => object(&parts.headers).map(Some),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// GetObject, its body unread, and where in the object that begins. A range that holds nothing is the engine's
    /// [`Failure::is_range`].
    pub(super) async fn get(
        &self,
        key: &str,
        range: ReadRange,
        cond: Cond<'_>,
    ) -> Result<(Object, Range<u64>, HttpResponse), Failure> {
        let mut call = Call::new(Method::GET, key);
        let range = match range {
            ReadRange::Bounded(0, None) => None,
            ReadRange::Bounded(from, None) => Some(format!("bytes={from}-")),
            ReadRange::Bounded(from, Some(to)) => Some(format!("bytes={from}-{}", to.saturating_sub(1))),
            ReadRange::Suffix(length) => Some(format!("bytes=-{length}")),
        };
        if let Some(range) = &range {
            call = call.header(RANGE.as_str(), range)?;
        }
        let response = self.transport.open(&condition(call, cond)?).await?;
        let mut info = object(response.headers())?;
        if matches!(cond, Cond::Is(etag) if *etag != *info.etag) {
            // The engine ignores the condition; so it is checked here.
            return Err(Failure::answered(StatusCode::PRECONDITION_FAILED, None));
        }
        let within = match response.headers().get(CONTENT_RANGE).filter(|_| range.is_some()) {
            Some(value) => {
                let (within, size) = value.to_str().ok().and_then(content_range).ok_or_else(nonsense)?;
                info.size = size;
                within
            }
            None => 0..info.size,
        };
        Ok((info, within, response))
    }

    /// GetObject of a whole small object of at most `most` bytes. `None`: there is none.
    pub(super) async fn get_small(
        &self,
        key: &str,
        most: u64,
        cond: Cond<'_>,
    ) -> Result<Option<(Object, Bytes)>, Failure> {
        let call = condition(Call::new(Method::GET, key), cond)?;
        match self.transport.fetch(&call, most).await {
            Ok((parts, bytes)) => Ok(Some((object(&parts.headers)?, bytes))),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// PutObject. Gives the ETag.
    pub(super) async fn put(
        &self,
        key: &str,
        body: PutPayload,
        cond: Cond<'_>,
        id: Option<Id>,
        again: Again,
    ) -> Result<Box<str>, Failure> {
        let mut call = Call::new(Method::PUT, key).headers(&self.write).body(body);
        if let Some(id) = id {
            call = call.headers(&self.file).header(ID_HEADER, &id.to_string())?;
        }
        let (parts, _) = self.transport.exchange(&self.condition(call, cond)?, again).await?;
        etag(&parts.headers)
    }

    /// DeleteObject; one that isn't there is as good as deleted.
    pub(super) async fn delete(&self, key: &str, cond: Cond<'_>) -> Result<(), Failure> {
        let call = self.condition(Call::new(Method::DELETE, key), cond)?;
        match self.transport.exchange(&call, Again::Always).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(()),
        }
    }

    /// DeleteObjects, as often as it takes.
    pub(super) async fn delete_all(&self, keys: &[String]) -> Result<(), Failure> {
        if let [key] = keys {
            return self.delete(key, Cond::Any).await;
        }
        for keys in keys.chunks(MAX_DELETES) {
            let document = xml::delete(keys.iter().map(String::as_str));
            let digest = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&document));
            let call = Call::new(Method::POST, "")
                .query("delete", "")
                .header("content-md5", &digest)?
                .body(document.into_bytes().into());
            let (parts, document) = self.transport.exchange(&call, Again::Always).await?;
            let mut failed = None;
            let mut error = (String::new(), String::new());
            fields(&document, |names, text| match names {
                [_, "Error", "Code"] => error.0 = text.to_owned(),
                [_, "Error", "Message"] => error.1 = text.to_owned(),
                // What isn't there is as good as deleted.
                [_, "Error"] if error.0 == "NoSuchKey" => error = Default::default(),
                [_, "Error"] => failed = Some(std::mem::take(&mut error)),
                _ => {}
            })?;
            if failed.is_some() {
                return Err(Failure::answered(parts.status, failed));
            }
        }
        Ok(())
    }

    /// CopyObject, with its metadata but for the id, which is the copy's own; up to 5 GiB.
    pub(super) async fn copy(&self, from: &str, object: &Object, to: &str, id: Id) -> Result<(), Failure> {
        let call = Call::new(Method::PUT, to).headers(&self.write).headers(&self.file).headers(&object.metadata);
        let call = call.header("x-amz-metadata-directive", "REPLACE")?.header(ID_HEADER, &id.to_string())?;
        let call = self.copy_source(call.work(object.size), from, &object.etag)?;
        let (_, document) = self.transport.exchange(&call, Again::Always).await?;
        document_etag(&document).map(drop)
    }

    /// CreateMultipartUpload, for the file of this id. Gives the upload's id.
    pub(super) async fn create_upload(&self, key: &str, id: Id) -> Result<String, Failure> {
        let call = Call::new(Method::POST, key).query("uploads", "").headers(&self.write).headers(&self.file);
        let (_, document) = self.transport.exchange(&call.header(ID_HEADER, &id.to_string())?, Again::Always).await?;
        let mut upload = None;
        fields(&document, |names, text| {
            if let [_, "UploadId"] = names {
                upload = Some(text.to_owned());
            }
        })?;
        upload.filter(|upload| !upload.is_empty()).ok_or_else(nonsense)
    }

    /// UploadPart, one try: another one needs another number. Gives the ETag.
    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        body: PutPayload,
    ) -> Result<Box<str>, Failure> {
        let call =
            Call::new(Method::PUT, key).query("partNumber", number.to_string()).query("uploadId", upload).body(body);
        let (parts, _) = self.transport.exchange(&call, Again::Never).await?;
        etag(&parts.headers)
    }

    /// UploadPartCopy of another object (by key and ETag), or of a range of it; one try.
    pub(super) async fn copy_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        from: (&str, &str),
        range: Option<Range<u64>>,
    ) -> Result<Box<str>, Failure> {
        let mut call = Call::new(Method::PUT, key).query("partNumber", number.to_string()).query("uploadId", upload);
        if let Some(range) = range {
            let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            call = call.header("x-amz-copy-source-range", &header)?.work(range.end - range.start);
        }
        let (_, document) = self.transport.exchange(&self.copy_source(call, from.0, from.1)?, Again::Never).await?;
        document_etag(&document)
    }

    /// CompleteMultipartUpload of these parts (number, ETag), in order. One try.
    pub(super) async fn complete<'a>(
        &self,
        key: &str,
        upload: &str,
        parts: impl Iterator<Item = (u32, Cow<'a, str>)>,
        cond: Cond<'_>,
    ) -> Result<Box<str>, Failure> {
        let document = xml::complete(parts.map(|(number, etag)| (number, Cow::Owned(format!("\"{etag}\"")))));
        let call = Call::new(Method::POST, key).query("uploadId", upload).body(document.into_bytes().into());
        let call = call.work(COMPLETE_WORK);
        let call = self.condition(call, cond)?.header(CONTENT_TYPE.as_str(), "application/xml")?;
        let (_, document) = self.transport.exchange(&call, Again::Never).await?;
        document_etag(&document)
    }

    /// AbortMultipartUpload; one that isn't there is as good as aborted.
    pub(super) async fn abort(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let call = Call::new(Method::DELETE, key).query("uploadId", upload);
        match self.transport.exchange(&call, Again::Always).await {
            Err(failure) if !failure.is_not_found() => Err(failure),
            _ => Ok(()),
        }
    }

    /// ListParts: when the youngest part came. `None`: no part, or no such upload.
    pub(super) async fn youngest_part(&self, key: &str, upload: &str) -> Result<Option<SystemTime>, Failure> {
        let (mut youngest, mut marker) = (None, None::<String>);
        loop {
            let mut call = Call::new(Method::GET, key).query("uploadId", upload);
            if let Some(marker) = &marker {
                call = call.query("part-number-marker", marker.as_str());
            }
            let document = match self.transport.exchange(&call, Again::Always).await {
                Ok((_, document)) => document,
                Err(failure) if failure.is_not_found() => return Ok(None),
                Err(failure) => return Err(failure),
            };
            let (mut truncated, mut next) = (false, None);
            fields(&document, |names, text| match names {
                [_, "Part", "LastModified"] => youngest = youngest.max(xml::time(text)),
                [_, "IsTruncated"] => truncated = text == "true",
                [_, "NextPartNumberMarker"] => next = Some(text.to_owned()),
                _ => {}
            })?;
            marker = next_page(truncated, next.as_deref(), marker.as_deref())?;
            if marker.is_none() {
                return Ok(youngest);
            }
        }
    }

    /// ListMultipartUploads: all whose keys begin with `prefix`.
    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Failure> {
        let (mut uploads, mut item) = (Vec::new(), Upload::default());
        let mut marker = (String::new(), String::new());
        loop {
            let mut call = Call::new(Method::GET, "").query("uploads", "").query("prefix", prefix);
            if !marker.0.is_empty() {
                call = call.query("key-marker", marker.0.as_str()).query("upload-id-marker", marker.1.as_str());
            }
            let (_, document) = self.transport.exchange(&call, Again::Always).await?;
            let (mut truncated, mut next) = (false, (String::new(), String::new()));
            fields(&document, |names, text| match names {
                [_, "Upload", "Key"] => item.key = text.to_owned(),
                [_, "Upload", "UploadId"] => item.id = text.to_owned(),
                [_, "Upload", "Initiated"] => item.initiated = xml::time(text),
                [_, "Upload"] => uploads.push(std::mem::take(&mut item)),
                [_, "IsTruncated"] => truncated = text == "true",
                [_, "NextKeyMarker"] => next.0 = text.to_owned(),
                [_, "NextUploadIdMarker"] => next.1 = text.to_owned(),
                _ => {}
            })?;
            if !truncated {
                return Ok(uploads);
            }
            if next.0.is_empty() || next == marker {
                return Err(nonsense());
            }
            marker = next;
        }
    }

    /// The condition of a write, if the engine takes any.
    fn condition<'a>(&self, call: Call<'a>, cond: Cond<'_>) -> Result<Call<'a>, Failure> {
        if self.conditions.load(Ordering::Relaxed) { condition(call, cond) } else { Ok(call) }
    }

    fn copy_source<'a>(&self, call: Call<'a>, from: &str, etag: &str) -> Result<Call<'a>, Failure> {
        let mut source = format!("/{}/", self.transport.bucket);
        encode(from, true, &mut source);
        call.header("x-amz-copy-source", &source)?.header("x-amz-copy-source-if-match", &format!("\"{etag}\""))
    }
}

/// A boxed connector as one.
#[derive(Debug)]
struct Delegate(Arc<dyn HttpConnector>);

impl HttpConnector for Delegate {
    fn connect(&self, options: &object_store::ClientOptions) -> object_store::Result<object_store::client::HttpClient> {
        self.0.connect(options)
    }
}

/// A builder that knows the credentials, and nothing else of the environment.
fn credentials(config: &S3Config) -> AmazonS3Builder {
    let builder = AmazonS3Builder::new();
    match &config.credentials.0 {
        Credentials::Static { access_key, secret_key, session_token } => {
            let builder = builder.with_access_key_id(access_key).with_secret_access_key(&secret_key.0);
            match session_token {
                Some(token) => builder.with_token(&token.0),
                None => builder,
            }
        }
        Credentials::Environment => [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_ENDPOINT_URL_STS",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_METADATA_ENDPOINT",
            "AWS_IMDSV1_FALLBACK",
        ]
        .into_iter()
        .fold(builder, |builder, name| match (name.to_ascii_lowercase().parse(), std::env::var(name)) {
            (Ok(key), Ok(value)) => builder.with_config(key, value),
            _ => builder,
        }),
    }
}

/// The headers of all that is written, and of files beside.
fn headers(config: &S3Config) -> (HeaderMap, HeaderMap) {
    let (mut write, mut file) = (HeaderMap::new(), HeaderMap::new());
    let set = |headers: &mut HeaderMap, name: &'static str, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    let (algorithm, key) = match &config.encryption {
        None => (None, None),
        Some(S3Encryption::Aes256) => (Some("AES256"), None),
        Some(S3Encryption::Kms(key)) => (Some("aws:kms"), key.as_deref()),
    };
    set(&mut write, "x-amz-server-side-encryption", algorithm);
    set(&mut write, "x-amz-server-side-encryption-aws-kms-key-id", key);
    // Heads and segments are nobody's business but the bucket's owner's, whoever may read the files.
    let acl = config.acl.as_deref();
    let for_all = acl.is_some_and(|acl| acl.starts_with("bucket-owner-"));
    set(if for_all { &mut write } else { &mut file }, "x-amz-acl", acl);
    set(&mut file, "x-amz-storage-class", config.storage_class.as_deref());
    (write, file)
}

fn condition<'a>(call: Call<'a>, cond: Cond<'_>) -> Result<Call<'a>, Failure> {
    match cond {
        Cond::Any => Ok(call),
        Cond::Absent => call.header(IF_NONE_MATCH.as_str(), "*"),
        Cond::Is(etag) => call.header(IF_MATCH.as_str(), &format!("\"{etag}\"")),
    }
}

/// The elements of an answer.
pub(super) fn fields(document: &[u8], leaf: impl FnMut(&[&str], &str)) -> Result<(), Failure> {
    xml::read(document, leaf).map_err(|cause| Failure::other("the answer is not XML", Some(Box::new(cause))))
}

pub(super) fn nonsense() -> Failure {
    Failure::other("the answer lacks what it must have", None)
}

/// An ETag as we keep it.
fn unquote(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

fn etag(headers: &HeaderMap) -> Result<Box<str>, Failure> {
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(unquote);
    etag.filter(|etag| !etag.is_empty()).map(Into::into).ok_or_else(nonsense)
}

/// The ETag in an answer that begins before the engine has done its work: where the rest is missing, it may be done or not.
fn document_etag(document: &Bytes) -> Result<Box<str>, Failure> {
    let mut etag = None::<Box<str>>;
    let read = fields(document, |names, text| {
        if let [_, "ETag"] = names {
            etag = Some(unquote(text).into());
        }
    });
    etag.filter(|etag| read.is_ok() && !etag.is_empty()).ok_or_else(Failure::cut_short)
}

fn object(headers: &HeaderMap) -> Result<Object, Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Object {
        size: text(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()).ok_or_else(nonsense)?,
        etag: etag(headers)?,
        modified: text(LAST_MODIFIED.as_str()).and_then(|date| httpdate::parse_http_date(date).ok()),
        id: text(ID_HEADER).and_then(Id::parse),
        metadata: headers
            .iter()
            // What isn't plain text can't be signed.
            .filter(|(name, value)| is_metadata(name.as_str()) && value.to_str().is_ok())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    })
}

/// Whether a header of an object comes from its writer; the id is told apart.
fn is_metadata(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
    KEPT.contains(&name) || (name.starts_with("x-amz-meta-") && name != ID_HEADER)
}

/// `bytes 3-7/10`: the range, its end excluded, and the size of the whole (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, size.parse::<u64>().ok()?);
    if size == 0 {
        // Garage answers a range of nothing, which has no such form: `bytes 0-18446744073709551615/0`.
        return Some((0..0, 0));
    }
    (first <= last && last < size).then(|| (first..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_taken_only_if_it_makes_sense() {
        assert_eq!(content_range("bytes 3-7/10"), Some((3..8, 10)));
        for text in ["", "bytes */10", "bytes 7-3/10", "bytes 3-10/10", "bytes 3-7/*", "bytes -7/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn etags_lose_their_quotes() {
        assert_eq!(unquote("\"abc\""), "abc");
        assert_eq!(unquote("W/\"abc-2\""), "abc-2");
        assert_eq!(unquote("abc"), "abc");
    }
}
