//! Multipart uploads.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, Code, Refusal};
use super::call::Call;
use super::conditions::same_tag;
use super::digest;
use super::engine::{Engine, Object, check_body, echo, refuse_unknown, stored_headers};
use super::xml::{Element, Xml};

/// One multipart upload under way.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The key it will be at.
    pub key: String,
    /// When it was created.
    pub initiated: DateTime<Utc>,
    /// What the object will be stored with.
    pub headers: HeaderMap,
    /// The parts by number.
    pub parts: BTreeMap<u32, Part>,
    /// The upload was created with a checksum algorithm.
    pub checksums: bool,
}

/// One part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its bytes.
    pub body: Bytes,
    /// Its entity tag, in quotes.
    pub etag: String,
    /// When it was stored.
    pub modified: DateTime<Utc>,
}

impl Engine {
    pub(super) fn create_upload(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let headers = stored_headers(&call.headers)?;
        let (initiated, serial) = (self.now(), self.serial());
        // Ids rise, since a listing's marker is one; what follows the number makes them hard to take for one.
        let id = format!("{serial:08x}-{}", digest::hex(&digest::md5(format!("upload {serial}").as_bytes())));
        let answer = Answer::xml(Xml::document("InitiateMultipartUploadResult", |xml| {
            xml.text("Bucket", &call.bucket);
            xml.text("Key", &call.key);
            xml.text("UploadId", &id);
        }));
        let answer = echo(answer, &headers, &HeaderMap::new());
        let checksums = call.headers.contains_key("x-amz-checksum-algorithm");
        let upload = Upload { key: call.key.clone(), initiated, headers, parts: BTreeMap::new(), checksums };
        self.bucket(call).uploads.insert(id, upload);
        Ok(answer)
    }

    pub(super) fn upload_part(&mut self, call: &Call, body: Bytes) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        check_body(call, &body)?;
        let (etag, headers) = self.store_part(call, body)?;
        Ok(echo(Answer::new(StatusCode::OK).etag(&etag), &headers, &call.headers))
    }

    /// Stores a part. Returns its entity tag and the headers of the upload.
    pub(super) fn store_part(&mut self, call: &Call, body: Bytes) -> Result<(String, HeaderMap), Refusal> {
        let last = self.config.max_parts;
        let number = call.part_number().filter(|number| (1..=last).contains(number)).ok_or_else(|| {
            let message = format!("Part number must be an integer between 1 and {last}, inclusive");
            Refusal::new(Code::InvalidArgument, message)
        })?;
        if body.is_empty() && self.config.no_empty_parts {
            return Err(Refusal::new(Code::InvalidRequest, "Empty body"));
        }
        if body.len() as u64 > self.config.max_part {
            return Err(Code::EntityTooLarge.into());
        }
        let headers = self.upload(call)?.headers.clone();
        let (etag, modified) = (self.etag(&body, &headers), self.now());
        self.upload(call)?.parts.insert(number, Part { body, etag: etag.clone(), modified });
        Ok((etag, headers))
    }

    pub(super) fn complete_upload(&mut self, call: &Call, body: &[u8]) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        let named = named_parts(body, self.config.max_parts)?;
        let upload = match self.upload(call) {
            Ok(upload) => upload.clone(),
            Err(refusal) => {
                let object = self.object(call).filter(|_| self.config.complete_again).ok_or(refusal)?;
                return Ok(completed(call, &object.etag));
            }
        };
        let parts = self.check_parts(&upload, &named)?;
        let size: u64 = parts.iter().map(|part| part.body.len() as u64).sum();
        if size > self.config.max_object {
            return Err(Code::EntityTooLarge.into());
        }
        self.check_write(call)?;

        let digests: Vec<u8> = parts.iter().flat_map(|part| digest::unhex(part.etag.trim_matches('"'))).collect();
        let etag = self.etag(&digests, &upload.headers);
        let etag = format!("\"{}-{}\"", etag.trim_matches('"'), parts.len());
        let body = match parts.as_slice() {
            [part] => part.body.clone(),
            parts => {
                let mut body = BytesMut::with_capacity(size as usize);
                parts.iter().for_each(|part| body.extend_from_slice(&part.body));
                body.freeze()
            }
        };
        let modified = self.now();
        let answer = echo(completed(call, &etag), &upload.headers, &HeaderMap::new());
        self.store(call, Object { body, etag, modified, headers: upload.headers })?;
        self.bucket(call).uploads.remove(call.param("uploadId").unwrap_or_default());
        Ok(answer)
    }

    /// Finds the parts that a Complete names, and refuses what S3 refuses.
    fn check_parts(&self, upload: &Upload, named: &[(u32, String)]) -> Result<Vec<Part>, Refusal> {
        if !named.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(Code::InvalidPartOrder.into());
        }
        if upload.checksums && named.iter().zip(1..).any(|((number, _), dense)| *number != dense) {
            return Err(Refusal::new(Code::InternalError, "An upload with checksums needs consecutive part numbers"));
        }
        let find = |(number, etag): &(u32, String)| {
            upload.parts.get(number).filter(|part| same_tag(&part.etag, etag)).cloned().ok_or(Code::InvalidPart)
        };
        let parts = named.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let Some((last, others)) = parts.split_last() else { return Err(Code::MalformedXML.into()) };
        if others.iter().any(|part| (part.body.len() as u64) < self.config.min_part) {
            return Err(Code::EntityTooSmall.into());
        }
        let same = others.windows(2).all(|pair| matches!(pair, [one, next] if one.body.len() == next.body.len()));
        let shorter = others.first().is_none_or(|first| last.body.len() <= first.body.len());
        if self.config.equal_parts && !(same && shorter) {
            return Err(Refusal::new(Code::InvalidPart, "All non-trailing parts must have the same length."));
        }
        Ok(parts)
    }

    pub(super) fn abort_upload(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        self.upload(call)?;
        self.bucket(call).uploads.remove(call.param("uploadId").unwrap_or_default());
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    /// The upload that the call names, if it is one of the call's key.
    pub(super) fn upload(&mut self, call: &Call) -> Result<&mut Upload, Refusal> {
        let id = call.param("uploadId").unwrap_or_default();
        let upload = self.bucket(call).uploads.get_mut(id).filter(|upload| upload.key == call.key);
        upload.ok_or_else(|| Code::NoSuchUpload.into())
    }
}

fn completed(call: &Call, etag: &str) -> Answer {
    Answer::xml(Xml::document("CompleteMultipartUploadResult", |xml| {
        xml.text("Location", &format!("http://{}{}", call.host, call.path));
        xml.text("Bucket", &call.bucket);
        xml.text("Key", &call.key);
        xml.text("ETag", etag);
    }))
}

/// The numbers and entity tags in the body of a Complete.
fn named_parts(body: &[u8], most: u32) -> Result<Vec<(u32, String)>, Refusal> {
    let request = Element::read(body, "CompleteMultipartUpload")?;
    let parts: Vec<_> = request.children.iter().filter(|child| child.name == "Part").collect();
    if parts.is_empty() || parts.len() > most as usize {
        return Err(Code::MalformedXML.into());
    }
    let read = |part: &&Element| Some((part.child("PartNumber")?.parse().ok()?, part.child("ETag")?.to_owned()));
    parts.iter().map(read).collect::<Option<_>>().ok_or_else(|| Code::MalformedXML.into())
}
