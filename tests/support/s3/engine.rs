//! The engine: buckets and objects in memory. Every request is one call of [`Engine::execute`], so it is atomic.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::answer::{Answer, Code, Refusal};
use super::call::{Call, Op};
use super::conditions::{Condition, Found};
use super::config::Config;
use super::digest;
use super::multipart::Upload;
use super::xml::{Element, Xml};

/// The longest key, in bytes.
const MAX_KEY: usize = 1024;
/// The most that user metadata may hold, names and values together, in bytes.
const MAX_METADATA: usize = 2048;

/// One stored object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bytes.
    pub body: Bytes,
    /// Its entity tag, in quotes.
    pub etag: String,
    /// When it was stored.
    pub modified: DateTime<Utc>,
    /// The headers it was stored with: content type, user metadata, storage class, encryption.
    pub headers: HeaderMap,
}

/// The state of all buckets. A clone is a snapshot: bodies are shared.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) config: Config,
    pub(super) buckets: BTreeMap<String, Bucket>,
    /// The server's clock is this much ahead of the machine's.
    pub(super) ahead: TimeDelta,
    /// Counts what needs a name of its own: uploads, entity tags that aren't digests.
    serial: u64,
}

/// One bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// The objects by key, in byte order.
    pub objects: BTreeMap<String, Object>,
    /// The multipart uploads under way, by id. Ids rise.
    pub uploads: BTreeMap<String, Upload>,
}

impl Engine {
    /// An engine with one empty bucket.
    pub(super) fn new(config: Config) -> Self {
        let buckets = BTreeMap::from([(config.bucket.clone(), Bucket::default())]);
        Self { config, buckets, ahead: TimeDelta::zero(), serial: 0 }
    }

    /// Does one request, wholly or not at all.
    ///
    /// # Errors
    /// As S3 gives them; nothing has changed then, unless the operation is DeleteObjects.
    pub(super) fn execute(&mut self, call: &Call, body: Bytes) -> Result<Answer, Refusal> {
        if call.op != Op::CreateBucket && !self.buckets.contains_key(&call.bucket) {
            return Err(Code::NoSuchBucket.into());
        }
        if call.key.len() > MAX_KEY {
            return Err(Code::KeyTooLongError.into());
        }
        match call.op {
            Op::PutObject => self.put_object(call, body),
            Op::GetObject | Op::HeadObject => self.get_object(call),
            Op::CopyObject => self.copy_object(call),
            Op::DeleteObject => self.delete_object(call),
            Op::DeleteObjects => self.delete_objects(call, &body),
            Op::ListObjectsV2 => self.list_objects(call),
            Op::CreateMultipartUpload => self.create_upload(call),
            Op::UploadPart => self.upload_part(call, body),
            Op::UploadPartCopy => self.upload_part_copy(call),
            Op::CompleteMultipartUpload => self.complete_upload(call, &body),
            Op::AbortMultipartUpload => self.abort_upload(call),
            Op::ListParts => self.list_parts(call),
            Op::ListMultipartUploads => self.list_uploads(call),
            Op::HeadBucket => Ok(Answer::new(StatusCode::OK)),
            Op::CreateBucket => match self.buckets.contains_key(&call.bucket) {
                true => Err(Code::BucketAlreadyOwnedByYou.into()),
                false => {
                    self.buckets.insert(call.bucket.clone(), Bucket::default());
                    Ok(Answer::new(StatusCode::OK))
                }
            },
            Op::Unknown => {
                Err(Refusal::new(Code::NotImplemented, format!("{} {} is not implemented", call.method, call.path)))
            }
        }
    }

    /// The server's clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.ahead
    }

    /// The call's bucket.
    pub(super) fn bucket(&mut self, call: &Call) -> &mut Bucket {
        self.buckets.entry(call.bucket.clone()).or_default()
    }

    /// The object at the call's key.
    pub(super) fn object(&self, call: &Call) -> Option<&Object> {
        self.find(&call.bucket, &call.key)
    }

    /// An object by its bucket and key.
    pub(super) fn find(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    /// A number that was never given before.
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The entity tag of bytes: their MD5, or under SSE-KMS something that is another one each time.
    pub(super) fn etag(&mut self, body: &[u8], headers: &HeaderMap) -> String {
        let kms = headers.get("x-amz-server-side-encryption").is_some_and(|kind| kind == "aws:kms");
        let digest = match kms || self.config.random_etags {
            true => digest::md5(format!("entity {}", self.serial()).as_bytes()),
            false => digest::md5(body),
        };
        format!("\"{}\"", digest::hex(&digest))
    }

    /// Stores an object, if nothing at a key above or below is in the way.
    pub(super) fn store(&mut self, call: &Call, object: Object) -> Result<(), Refusal> {
        let files = self.config.files;
        let bucket = self.bucket(call);
        if files {
            let parents = call.key.match_indices('/').filter_map(|(end, _)| call.key.get(..end));
            if parents.into_iter().any(|parent| bucket.objects.contains_key(parent)) {
                return Err(Code::ObjectParentIsFile.into());
            }
            let folder = format!("{}/", call.key);
            if bucket.objects.range(folder.clone()..).next().is_some_and(|(key, _)| key.starts_with(&folder)) {
                return Err(Code::ExistingObjectIsDirectory.into());
            }
        }
        bucket.objects.insert(call.key.clone(), object);
        Ok(())
    }

    /// The condition of a request that writes, as far as the engine honours it.
    pub(super) fn check_write(&self, call: &Call) -> Result<(), Refusal> {
        if self.config.ignore_conditions {
            return Ok(());
        }
        Condition::of_write(&call.headers)?.check_write(self.object(call), self.config.conflict_for_precondition)
    }

    fn put_object(&mut self, call: &Call, body: Bytes) -> Result<Answer, Refusal> {
        check_body(call, &body)?;
        if body.len() as u64 > self.config.max_put {
            return Err(Code::EntityTooLarge.into());
        }
        let headers = stored_headers(&call.headers)?;
        self.check_write(call)?;
        let etag = self.etag(&body, &headers);
        let answer = echo(Answer::new(StatusCode::OK).etag(&etag), &headers, &call.headers);
        let modified = self.now();
        self.store(call, Object { body, etag, modified, headers })?;
        Ok(answer)
    }

    fn get_object(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        if call.param("partNumber").is_some() {
            return Err(Refusal::new(Code::NotImplemented, "Reading a part by its number is not implemented"));
        }
        let object = self.object(call).ok_or(Code::NoSuchKey)?;
        let mut answer = Answer::new(StatusCode::OK);
        answer.headers = object.headers.clone();
        answer.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Ok(time) = HeaderValue::from_str(&http_date(object.modified)) {
            answer.headers.insert(header::LAST_MODIFIED, time);
        }
        let mut answer = answer.etag(&object.etag);
        let found = match self.config.ignore_read_conditions {
            true => Found::Send,
            false => Condition::of_read(&call.headers)?.check_read(object)?,
        };
        match found {
            Found::Send => {}
            Found::NotModified => {
                answer.status = StatusCode::NOT_MODIFIED;
                return Ok(answer);
            }
        }
        for (param, value) in &call.query {
            let Some(name) = param.strip_prefix("response-") else { continue };
            match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => answer.headers.insert(name, value),
                _ => return Err(Refusal::new(Code::InvalidArgument, format!("{param} is not valid"))),
            };
        }
        answer.body = object.body.clone();
        let size = object.body.len() as u64;
        if let Some((start, end)) = requested_range(call.header("range"), size)? {
            answer.status = StatusCode::PARTIAL_CONTENT;
            answer.body = object.body.slice(start as usize..end as usize);
            if let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end - 1)) {
                answer.headers.insert(header::CONTENT_RANGE, range);
            }
        }
        Ok(answer)
    }

    fn delete_object(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        if !self.config.ignore_conditions && !self.config.ignore_delete_if_match {
            Condition::of_write(&call.headers)?.check_delete(self.object(call))?;
        }
        self.bucket(call).objects.remove(&call.key);
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    fn delete_objects(&mut self, call: &Call, body: &Bytes) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        if !digest::verify(&call.headers, body)? {
            let message = "Missing required header for this request: Content-MD5 or x-amz-checksum-*";
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
        let request = Element::read(body, "Delete")?;
        let objects: Vec<_> = request.children.iter().filter(|child| child.name == "Object").collect();
        if objects.is_empty() || objects.len() > 1000 || objects.iter().any(|object| object.child("Key").is_none()) {
            return Err(Code::MalformedXML.into());
        }
        let quiet = request.child("Quiet") == Some("true");
        let ignore = self.config.ignore_conditions || self.config.ignore_delete_if_match;
        let bucket = self.bucket(call);
        Ok(Answer::xml(Xml::document("DeleteResult", |xml| {
            for object in objects {
                let key = object.child("Key").unwrap_or_default();
                let condition = Condition::etag(object.child("ETag").filter(|_| !ignore));
                match condition.check_delete(bucket.objects.get(key)) {
                    Ok(()) => {
                        bucket.objects.remove(key);
                        if !quiet {
                            xml.element("Deleted", |xml| xml.text("Key", key));
                        }
                    }
                    Err(refusal) => xml.element("Error", |xml| {
                        xml.text("Key", key);
                        xml.text("Code", refusal.code.name());
                        xml.text("Message", &refusal.message);
                    }),
                }
            }
        })))
    }
}

/// What both requests that carry a body of the object's must satisfy.
pub(super) fn check_body(call: &Call, body: &[u8]) -> Result<(), Refusal> {
    if call.headers.get("content-encoding").is_some_and(|coding| coding.as_bytes().starts_with(b"aws-chunked")) {
        return Err(Refusal::new(Code::NotImplemented, "aws-chunked bodies are not implemented by this server"));
    }
    if call.headers.contains_key(header::TRANSFER_ENCODING) && !call.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Code::MissingContentLength.into());
    }
    digest::verify(&call.headers, body)?;
    Ok(())
}

/// Picks what is kept with an object from the headers of the request that creates it.
pub(super) fn stored_headers(headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    const KEPT: [&str; 8] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
    ];
    const CLASSES: [&str; 8] = [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
    ];
    refuse_unknown(headers)?;
    let mut kept = HeaderMap::new();
    let mut metadata = 0;
    for (name, value) in headers {
        let user = name.as_str().strip_prefix("x-amz-meta-");
        metadata += user.map_or(0, |user| user.len() + value.len());
        if user.is_some() || KEPT.contains(&name.as_str()) {
            kept.append(name.clone(), value.clone());
        }
    }
    if metadata > MAX_METADATA {
        return Err(Code::MetadataTooLarge.into());
    }
    if let Some(class) = headers.get("x-amz-storage-class") {
        if !CLASSES.iter().any(|known| class == known) {
            return Err(Code::InvalidStorageClass.into());
        }
        if class != "STANDARD" {
            kept.insert("x-amz-storage-class", class.clone());
        }
    }
    let kind = headers.get("x-amz-server-side-encryption").map(HeaderValue::as_bytes);
    if !matches!(kind, None | Some(b"AES256" | b"aws:kms")) {
        return Err(Refusal::new(Code::InvalidArgument, "The encryption method specified is not supported"));
    }
    kept.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    Ok(kept)
}

/// S3 refuses what it doesn't know, so that nobody takes a header for honoured that isn't.
pub(super) fn refuse_unknown(headers: &HeaderMap) -> Result<(), Refusal> {
    const KNOWN: [&str; 20] = [
        "x-amz-acl",
        "x-amz-checksum-algorithm",
        "x-amz-content-sha256",
        "x-amz-copy-source",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-range",
        "x-amz-date",
        "x-amz-metadata-directive",
        "x-amz-request-payer",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-security-token",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-tagging-directive",
        "x-amz-checksum-type",
        "x-amz-user-agent",
    ];
    let unknown = headers.keys().map(|name| name.as_str()).find(|name| {
        name.starts_with("x-amz-")
            && !name.starts_with("x-amz-meta-")
            && !digest::CHECKSUMS.contains(name)
            && !KNOWN.contains(name)
    });
    match unknown {
        Some(name) => Err(Refusal::new(Code::NotImplemented, format!("The header {name} is not implemented"))),
        None => Ok(()),
    }
}

/// Adds the headers that S3 repeats in the answer to a write: encryption and the request's checksums.
pub(super) fn echo(mut answer: Answer, stored: &HeaderMap, request: &HeaderMap) -> Answer {
    let encryption = stored.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-server-side-encryption"));
    let checksums = request.iter().filter(|(name, _)| digest::CHECKSUMS.contains(&name.as_str()));
    answer.headers.extend(encryption.chain(checksums).map(|(name, value)| (name.clone(), value.clone())));
    answer
}

/// The half-open range that a `Range` header asks for. One that is not understood is ignored.
///
/// # Errors
/// `InvalidRange` if it begins past the last byte.
pub(super) fn requested_range(header: Option<&str>, size: u64) -> Result<Option<(u64, u64)>, Refusal> {
    let Some((first, last)) = header.and_then(|header| header.strip_prefix("bytes=")?.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(suffix)) if first.is_empty() => {
            (if suffix == 0 { size } else { size.saturating_sub(suffix) }, size)
        }
        _ => return Ok(None),
    };
    match range.0 < size {
        true => Ok(Some(range)),
        false => Err(Refusal { size, ..Code::InvalidRange.into() }),
    }
}

/// A time as HTTP's headers have it: whole seconds.
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A time as S3's XML has it: whole seconds, with zeros for the milliseconds.
pub(super) fn xml_date(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
