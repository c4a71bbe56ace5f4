//! URLs that S3 itself serves.

use std::time::Duration;

use http::Method;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use url::Url;

use super::store::Store;
use super::transport::in_time;
use crate::driver::{UrlMethod, UrlOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::path::StoragePath;

/// S3's longest.
const MAX_EXPIRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Store {
    /// See [`url_for`](crate::StorageDriver::url_for). Takes no request, unless credentials have to be renewed.
    pub(super) async fn url_for(&self, path: &StoragePath, options: UrlOptions) -> Result<Url> {
        let unsupported = |detail: &str| Err(Error::new(ErrorKind::UnsupportedMethod).with_detail(detail));
        if path.is_root() {
            return Err(Error::new(ErrorKind::IsADirectory));
        }
        if options.expires_in > MAX_EXPIRY || options.expires_in.as_secs() == 0 {
            return unsupported("a signed URL is good for at least a second and at most 7 days");
        }
        let method = match options.method {
            UrlMethod::Get => Method::GET,
            UrlMethod::Head => Method::HEAD,
            UrlMethod::Put => Method::PUT,
        };
        let answers = [
            ("response-content-type", options.response_content_type),
            ("response-content-disposition", options.response_content_disposition),
        ];
        let query: Vec<(&str, String)> = answers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        if options.method == UrlMethod::Put && !query.is_empty() {
            return unsupported("the answer to a PUT has no content, so that no type or disposition of it can be set");
        }
        let key = Path::parse(self.keys.object(path))
            .map_err(|cause| Error::new(ErrorKind::InvalidPath).with_source(cause))?;
        let query = SignedUrlOptions::default().with_query(query);
        let url = self.client.signer().signed_url_opts(method, &key, options.expires_in, &query);
        Ok(in_time(self.config.timeout, url).await?)
    }
}
