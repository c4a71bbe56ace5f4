//! CopyObject and UploadPartCopy.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, Code, Refusal};
use super::call::{Call, decode};
use super::conditions::{Condition, Found};
use super::engine::{Engine, Object, echo, refuse_unknown, stored_headers, xml_date};
use super::xml::Xml;

impl Engine {
    pub(super) fn copy_object(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let mut headers = stored_headers(&call.headers)?;
        let source = self.source(call)?;
        self.check_copy_size(source.body.len() as u64)?;
        match call.header("x-amz-metadata-directive") {
            None | Some("COPY") => {
                let own = [
                    "x-amz-storage-class",
                    "x-amz-server-side-encryption",
                    "x-amz-server-side-encryption-aws-kms-key-id",
                ];
                let own: Vec<_> =
                    own.iter().filter_map(|name| headers.remove(*name).map(|value| (*name, value))).collect();
                if own.is_empty() && self.same_place(call) {
                    let message = "This copy request is illegal because it is trying to copy an object to itself without \
                                   changing the object's metadata, storage class, website redirect location or encryption \
                                   attributes.";
                    return Err(Refusal::new(Code::InvalidRequest, message));
                }
                headers = source.headers.clone();
                headers.remove("x-amz-storage-class");
                headers.extend(own.into_iter().filter_map(|(name, value)| Some((Some(name.parse().ok()?), value))));
            }
            Some("REPLACE") => {}
            Some(_) => return Err(Refusal::new(Code::InvalidArgument, "Unknown metadata directive.")),
        }
        self.check_write(call)?;
        let (etag, modified) = (self.etag(&source.body, &headers), self.now());
        let answer = Answer::xml(Xml::document("CopyObjectResult", |xml| {
            xml.text("LastModified", &xml_date(modified));
            xml.text("ETag", &etag);
        }));
        let answer = echo(answer, &headers, &HeaderMap::new());
        self.store(call, Object { body: source.body, etag, modified, headers })?;
        Ok(answer)
    }

    pub(super) fn upload_part_copy(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        if self.config.no_part_copy {
            return Err(Refusal::new(Code::NotImplemented, "UploadPartCopy is not implemented"));
        }
        self.upload(call)?;
        let source = self.source(call)?.body;
        let body = match call.header("x-amz-copy-source-range") {
            Some(range) => self.copy_range(range, &source)?,
            None => source,
        };
        self.check_copy_size(body.len() as u64)?;
        let (etag, headers) = self.store_part(call, body)?;
        let modified = self.now();
        let answer = Answer::xml(Xml::document("CopyPartResult", |xml| {
            xml.text("LastModified", &xml_date(modified));
            xml.text("ETag", &etag);
        }));
        Ok(Answer { status: StatusCode::OK, ..echo(answer, &headers, &HeaderMap::new()) })
    }

    /// The bytes of `bytes=first-last`, both of which must be given and lie inside the source.
    fn copy_range(&self, range: &str, source: &Bytes) -> Result<Bytes, Refusal> {
        let invalid = |message: String| Refusal::new(Code::InvalidArgument, message);
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let bounds = bounds.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
        let form = "The x-amz-copy-source-range value must be of the form bytes=first-last";
        let (first, last) = bounds.filter(|(first, last)| first <= last).ok_or_else(|| invalid(form.to_owned()))?;
        let size = source.len() as u64;
        if last >= size {
            return Err(invalid(format!("Range specified is not valid for source object of size: {size}")));
        }
        // "You can copy a range only if the source object is greater than 5 MB."
        if size <= self.config.min_part {
            let message =
                "The specified copy source is smaller than the minimum size of a source that ranges are copied of";
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
        Ok(source.slice(first as usize..=last as usize))
    }

    fn check_copy_size(&self, size: u64) -> Result<(), Refusal> {
        let most = self.config.max_copy;
        if size <= most {
            return Ok(());
        }
        let message = "The specified copy source is larger than the maximum allowable size for a copy source";
        Err(Refusal::new(Code::InvalidRequest, format!("{message}: {most}")))
    }

    /// The object that is copied, if its conditions hold.
    fn source(&self, call: &Call) -> Result<Object, Refusal> {
        let (bucket, key) = source_name(call)?;
        if !self.buckets.contains_key(&bucket) {
            return Err(Code::NoSuchBucket.into());
        }
        let source = self.find(&bucket, &key).ok_or(Code::NoSuchKey)?;
        match Condition::of_source(&call.headers)?.check_read(source)? {
            Found::Send => Ok(source.clone()),
            Found::NotModified => Err(Code::PreconditionFailed.into()),
        }
    }

    fn same_place(&self, call: &Call) -> bool {
        source_name(call).is_ok_and(|(bucket, key)| bucket == call.bucket && key == call.key)
    }
}

/// Bucket and key out of `x-amz-copy-source`.
fn source_name(call: &Call) -> Result<(String, String), Refusal> {
    let source = decode(call.header("x-amz-copy-source").unwrap_or_default());
    let name = source.strip_prefix('/').unwrap_or(&source).split_once('/');
    let name = name.map(|(bucket, key)| (bucket.to_owned(), key.to_owned()));
    name.ok_or_else(|| {
        Refusal::new(
            Code::InvalidArgument,
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    })
}
