//! Listings: objects, uploads, parts. All in pages.

use base64::prelude::{BASE64_URL_SAFE, Engine as _};

use super::answer::{Answer, Code, Refusal};
use super::call::{Call, encode};
use super::engine::{Engine, refuse_unknown, xml_date};
use super::xml::Xml;

/// One line of a listing of objects.
enum Line<'a> {
    Object(&'a str),
    Prefix(&'a str),
}

impl Engine {
    pub(super) fn list_objects(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        let most = call.number_param("max-keys", self.config.max_page)?.min(self.config.max_page);
        let (prefix, start) = (call.param("prefix").unwrap_or_default(), call.param("start-after").unwrap_or_default());
        let delimiter = call.param("delimiter").filter(|delimiter| !delimiter.is_empty());
        let url = encoding(call)?;
        let token = call.param("continuation-token").map(|token| read_token(token, prefix)).transpose()?;
        let bucket = self.bucket(call);

        let mut lines = Vec::new();
        let mut truncated = false;
        let from = token.as_deref().unwrap_or(start).max(prefix);
        for key in bucket.objects.range(from.to_owned()..).map(|(key, _)| key.as_str()) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let common =
                delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| prefix.len() + at + delimiter.len()));
            let common = common.and_then(|end| key.get(..end));
            let line = common.map_or(Line::Object(key), Line::Prefix);
            let passed = match &token {
                Some(last) => common.unwrap_or(key) <= last.as_str(),
                None => key <= start && !start.is_empty(),
            };
            let again = matches!((&line, lines.last()), (Line::Prefix(one), Some(Line::Prefix(last))) if one == last);
            if passed || again {
                continue;
            }
            if lines.len() == most {
                truncated = most > 0;
                break;
            }
            lines.push(line);
        }
        let next = lines.last().filter(|_| truncated).map(|line| match line {
            Line::Object(name) | Line::Prefix(name) => BASE64_URL_SAFE.encode(name),
        });
        let xml = Xml::document("ListBucketResult", |xml| {
            xml.text("Name", &call.bucket);
            xml.text("Prefix", &url(prefix));
            if let Some(delimiter) = delimiter {
                xml.text("Delimiter", &url(delimiter));
            }
            xml.text("MaxKeys", &most.to_string());
            xml.text("KeyCount", &lines.len().to_string());
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            if let Some(token) = call.param("continuation-token") {
                xml.text("ContinuationToken", token);
            }
            if let Some(next) = &next {
                xml.text("NextContinuationToken", next);
            }
            for line in &lines {
                match line {
                    Line::Prefix(prefix) => xml.element("CommonPrefixes", |xml| xml.text("Prefix", &url(prefix))),
                    Line::Object(key) => {
                        let Some(object) = bucket.objects.get(*key) else { continue };
                        xml.element("Contents", |xml| {
                            xml.text("Key", &url(key));
                            xml.text("LastModified", &xml_date(object.modified));
                            xml.text("ETag", &object.etag);
                            xml.text("Size", &object.body.len().to_string());
                            let class = object.headers.get("x-amz-storage-class").and_then(|class| class.to_str().ok());
                            xml.text("StorageClass", class.unwrap_or("STANDARD"));
                        });
                    }
                }
            }
        });
        Ok(Answer::xml(xml))
    }

    pub(super) fn list_uploads(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        if call.param("delimiter").is_some() {
            return Err(Refusal::new(Code::NotImplemented, "delimiter is not implemented for uploads"));
        }
        let most = call.number_param("max-uploads", self.config.max_page)?.min(self.config.max_page);
        let (prefix, url) = (call.param("prefix").unwrap_or_default(), encoding(call)?);
        // Without a key-marker the upload-id-marker is ignored; with both, more uploads of that key follow.
        let key_marker = call.param("key-marker").unwrap_or_default();
        let id_marker = call.param("upload-id-marker").filter(|_| !key_marker.is_empty()).unwrap_or_default();
        let bucket = self.bucket(call);
        let after = |key: &str, id: &str| match id_marker.is_empty() {
            true => key_marker.is_empty() || key > key_marker,
            false => (key, id) > (key_marker, id_marker),
        };
        let mut uploads: Vec<_> =
            bucket.uploads.iter().map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload)).collect();
        uploads.retain(|(key, id, _)| key.starts_with(prefix) && after(key, id));
        uploads.sort_unstable_by_key(|(key, id, _)| (*key, *id));
        let truncated = uploads.len() > most && most > 0;
        uploads.truncate(most);
        let xml = Xml::document("ListMultipartUploadsResult", |xml| {
            xml.text("Bucket", &call.bucket);
            xml.text("Prefix", &url(prefix));
            xml.text("KeyMarker", &url(key_marker));
            xml.text("UploadIdMarker", id_marker);
            if let Some((key, id, _)) = uploads.last().filter(|_| truncated) {
                xml.text("NextKeyMarker", &url(key));
                xml.text("NextUploadIdMarker", id);
            }
            xml.text("MaxUploads", &most.to_string());
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            for (key, id, upload) in &uploads {
                xml.element("Upload", |xml| {
                    xml.text("Key", &url(key));
                    xml.text("UploadId", id);
                    xml.text("StorageClass", "STANDARD");
                    xml.text("Initiated", &xml_date(upload.initiated));
                });
            }
        });
        Ok(Answer::xml(xml))
    }

    pub(super) fn list_parts(&mut self, call: &Call) -> Result<Answer, Refusal> {
        refuse_unknown(&call.headers)?;
        let most = call.number_param("max-parts", self.config.max_page)?.min(self.config.max_page);
        let marker = call.number_param("part-number-marker", 0)?;
        let upload = self.upload(call)?;
        let mut parts: Vec<_> = upload.parts.iter().filter(|(number, _)| **number as usize > marker).collect();
        let truncated = parts.len() > most && most > 0;
        parts.truncate(most);
        let xml = Xml::document("ListPartsResult", |xml| {
            xml.text("Bucket", &call.bucket);
            xml.text("Key", &call.key);
            xml.text("UploadId", call.param("uploadId").unwrap_or_default());
            xml.text("PartNumberMarker", &marker.to_string());
            let next = parts.last().map_or(0, |(number, _)| **number);
            xml.text("NextPartNumberMarker", &next.to_string());
            xml.text("MaxParts", &most.to_string());
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            for (number, part) in &parts {
                xml.element("Part", |xml| {
                    xml.text("PartNumber", &number.to_string());
                    xml.text("LastModified", &xml_date(part.modified));
                    xml.text("ETag", &part.etag);
                    xml.text("Size", &part.body.len().to_string());
                });
            }
        });
        Ok(Answer::xml(xml))
    }
}

/// How names are written: as they are, or percent-encoded if the client asks for it.
fn encoding(call: &Call) -> Result<impl Fn(&str) -> String, Refusal> {
    let url = match call.param("encoding-type") {
        None => false,
        Some("url") => true,
        Some(_) => return Err(Refusal::new(Code::InvalidArgument, "Invalid Encoding Method specified in Request")),
    };
    Ok(move |text: &str| if url { encode(text, true) } else { text.to_owned() })
}

/// The last line of the page before. A token is only good for the listing that gave it.
fn read_token(token: &str, prefix: &str) -> Result<String, Refusal> {
    let bytes = BASE64_URL_SAFE.decode(token).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|name| name.starts_with(prefix));
    name.ok_or_else(|| Refusal::new(Code::InvalidArgument, "The continuation token provided is incorrect"))
}
