//! The requests of S3, and nothing of what they are for: with what it reads answers and listings by, all that knows this
//! protocol.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine;
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};
use md5::{Digest, Md5};
use object_store::PutPayload;
use object_store::aws::AmazonS3;
use object_store::client::HttpResponse;

use super::answer::{ID_HEADER, content_range, document_etag, etag, fields, nonsense, object};
use super::config::{InvalidS3Config, S3Config};
use super::connect::{connect, headers};
use super::failure::Failure;
use super::keys::Id;
use super::transport::{Again, Call, Transport, encode};
use super::xml;
use crate::driver::ReadRange;

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
        let (transport, public) = connect(config)?;
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
        self.remove(self.condition(Call::new(Method::DELETE, key), cond)?, Again::Always).await
    }

    /// DeleteObject without a condition, sent once: what somebody creates there later is not to be hit by another try.
    pub(super) async fn delete_once(&self, key: &str) -> Result<(), Failure> {
        self.remove(Call::new(Method::DELETE, key), Again::IfNotBegun).await
    }

    /// Sends a deletion; what is not there is deleted.
    async fn remove(&self, call: Call<'_>, again: Again) -> Result<(), Failure> {
        match self.transport.exchange(&call, again).await {
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
        self.remove(Call::new(Method::DELETE, key).query("uploadId", upload), Again::Always).await
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

fn condition<'a>(call: Call<'a>, cond: Cond<'_>) -> Result<Call<'a>, Failure> {
    match cond {
        Cond::Any => Ok(call),
        Cond::Absent => call.header(IF_NONE_MATCH.as_str(), "*"),
        Cond::Is(etag) => call.header(IF_MATCH.as_str(), &format!("\"{etag}\"")),
    }
}
