//! Single requests, signed, for what object_store's client doesn't send.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpError, HttpRequest, HttpRequestBody, HttpService as _};

use super::{Connector, S3Server, lock};

/// One request that is being put together. It goes in without a socket.
#[derive(Debug)]
pub struct Raw {
    connector: Connector,
    /// The request; what is changed here before [`send`](Self::send) is signed.
    pub request: HttpRequest,
    /// What it is signed with.
    pub credential: AwsCredential,
    /// The region that the signature names.
    pub region: String,
}

/// The answer to a [`Raw`] request.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl RawAnswer {
    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        quick_xml::escape::unescape(text).ok().map(|text| text.into_owned())
    }

    /// The error's code; empty if there is none.
    pub fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The entity tag in the header; empty if there is none.
    pub fn etag(&self) -> &str {
        self.header("etag")
    }
}

impl S3Server {
    /// A request for `target`, a key with its query, of the first bucket. Its client is `raw`.
    pub fn raw(&self, method: Method, target: &str) -> Raw {
        let config = lock(&self.0.engine).config.clone();
        let (key_id, secret) =
            config.keys.first_key_value().map(|(id, secret)| (id.clone(), secret.clone())).unwrap_or_default();
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://s3.test/{}/{target}", config.bucket).parse().unwrap_or_default();
        let credential = AwsCredential { key_id, secret_key: secret.secret, token: secret.token };
        Raw { connector: self.connector("raw"), request, credential, region: config.region }
    }

    /// A request to a URL as it is, signed by the URL itself, if at all: to be [delivered](Raw::deliver). Its client is `raw`.
    pub fn at(&self, method: Method, url: &url::Url) -> Raw {
        let mut raw = self.raw(method, "");
        *raw.request.uri_mut() = url.as_str().parse().unwrap_or_default();
        raw
    }
}

impl Raw {
    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.request.headers_mut().append(name, value);
        }
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = HttpRequestBody::from(body.into());
        self
    }

    /// Told apart by this name.
    #[must_use]
    pub fn client(mut self, client: &str) -> Self {
        self.connector = self.connector.server.connector(client);
        self
    }

    /// Signs it, and takes it out to be sent later, by [`Raw::deliver`], or changed in between.
    ///
    /// # Errors
    /// As object_store's signer has them.
    pub fn sign(mut self) -> object_store::Result<Self> {
        AwsAuthorizer::new(&self.credential, "s3", &self.region).try_authorize(&mut self.request, None)?;
        Ok(self)
    }

    /// Sends it as it is.
    ///
    /// # Errors
    /// If a fault broke the connection.
    pub async fn deliver(self) -> Result<RawAnswer, HttpError> {
        let (parts, body) = self.connector.call(self.request).await?.into_parts();
        let body = String::from_utf8_lossy(&body.bytes().await?).into_owned();
        Ok(RawAnswer { status: parts.status, headers: parts.headers, body })
    }

    /// Signs and sends it.
    ///
    /// # Errors
    /// If a fault broke the connection.
    pub async fn send(self) -> object_store::Result<RawAnswer> {
        let sent = self.sign()?.deliver().await;
        sent.map_err(|error| object_store::Error::Generic { store: "raw", source: Box::new(error) })
    }
}
