//! Listings, which S3 gives in pages.

use std::time::SystemTime;

use super::client::Client;
use super::failure::Failure;

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
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
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
    /// The next page of a listing; `None` after the last one.
    pub(super) async fn page(&self, listing: &mut Listing) -> Result<Option<Page>, Failure> {
        let (after, token) = match &listing.at {
            At::Start => (None, None),
            At::After(key) => (Some(key.as_str()), None),
            At::Page(token) => (None, Some(token.as_str())),
            At::End => return Ok(None),
        };
        let mut page = self.list(&listing.prefix, listing.one_level, after, token, listing.max).await?;
        listing.at = page.next.take().map_or(At::End, At::Page);
        Ok(Some(page))
    }
}
