//! Listings, which S3 gives in pages.

use std::time::SystemTime;

use http::Method;

use super::answer::{fields, nonsense};
use super::client::Client;
use super::failure::Failure;
use super::transport::{Again, Call};
use super::xml;

/// A listing of keys, and where it is. Read by [`Client::page`].
#[derive(Debug)]
pub(super) struct Listing {
    prefix: String,
    one_level: bool,
    max: Option<u32>,
    at: At,
}

/// Where a listing goes on.
#[derive(Debug)]
enum At {
    Start,
    /// After this key.
    After(String),
    /// On the page of this token.
    Page(String),
    End,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<Listed>,
    /// What objects share up to a slash, with it.
    pub(super) prefixes: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) initiated: Option<SystemTime>,
}

impl Listing {
    /// All keys that begin so.
    pub(super) fn of(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), one_level: false, max: None, at: At::Start }
    }

    /// Of the keys with a slash behind the prefix only what they share up to it.
    pub(super) fn one_level(self) -> Self {
        Self { one_level: true, ..self }
    }

    /// In pages of at most so many keys.
    pub(super) fn pages_of(self, max: u32) -> Self {
        Self { max: Some(max), ..self }
    }

    /// Goes on after this key, unless all pages were read.
    pub(super) fn skip_to(&mut self, key: String) {
        if !matches!(self.at, At::End) {
            self.at = At::After(key);
        }
    }

    /// Gives no more pages.
    pub(super) fn end(&mut self) {
        self.at = At::End;
    }
}

impl Client {
    /// ListObjectsV2: the next page of a listing; `None` after the last one.
    pub(super) async fn page(&self, listing: &mut Listing) -> Result<Option<Page>, Failure> {
        let mut call = Call::new(Method::GET, "").query("list-type", "2").query("prefix", listing.prefix.as_str());
        if listing.one_level {
            call = call.query("delimiter", "/");
        }
        if let Some(max) = listing.max {
            call = call.query("max-keys", max.to_string());
        }
        let (call, token) = match &listing.at {
            At::Start => (call, None),
            At::After(key) => (call.query("start-after", key.as_str()), None),
            At::Page(token) => (call.query("continuation-token", token.as_str()), Some(token.as_str())),
            At::End => return Ok(None),
        };
        let (_, document) = self.transport.exchange(&call, Again::Always).await?;
        let (mut page, mut item, mut truncated, mut next) = (Page::default(), Listed::default(), false, None);
        fields(&document, |names, text| match names {
            [_, "Contents", "Key"] => item.key = text.to_owned(),
            [_, "Contents", "Size"] => item.size = text.parse().unwrap_or(0),
            [_, "Contents", "LastModified"] => item.modified = xml::time(text),
            [_, "Contents"] => page.objects.push(std::mem::take(&mut item)),
            [_, "CommonPrefixes", "Prefix"] => page.prefixes.push(text.to_owned()),
            [_, "IsTruncated"] => truncated = text == "true",
            [_, "NextContinuationToken"] => next = Some(text.to_owned()),
            _ => {}
        })?;
        listing.at = next_page(truncated, next.as_deref(), token)?.map_or(At::End, At::Page);
        Ok(Some(page))
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
}

/// Where the next page of a listing begins, if there is one: not where the last one did.
fn next_page(truncated: bool, next: Option<&str>, last: Option<&str>) -> Result<Option<String>, Failure> {
    match next.filter(|next| !next.is_empty() && Some(*next) != last) {
        _ if !truncated => Ok(None),
        Some(next) => Ok(Some(next.to_owned())),
        None => Err(nonsense()),
    }
}
