//! One request: built, signed, sent, tried again.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method};
use object_store::PutPayload;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody};

use super::failure::Failure;
use super::xml;

/// The most that is read of an answer that is not a file.
const MAX_DOCUMENT: u64 = 16 << 20;
/// How slow a connection may be, in bytes.
const SENT_PER_SECOND: u64 = 256 << 10;
/// How slow an engine may copy, in bytes.
const WORKED_PER_SECOND: u64 = 4 << 20;
/// How often a request is sent that a directory is in the way of.
const MAX_BLOCKED: u32 = 5;

/// How requests reach the bucket.
pub(super) struct Transport {
    pub(super) http: HttpClient,
    /// Gives the credentials, and signs URLs.
    pub(super) store: AmazonS3,
    pub(super) region: String,
    pub(super) bucket: String,
    /// The URL of the bucket, without a slash at the end.
    pub(super) bucket_url: String,
    /// Whether payloads are part of the signature: where no TLS protects them.
    pub(super) sign_payload: bool,
    pub(super) timeout: Duration,
    pub(super) max_retries: u32,
}

/// Which failures lead to another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// All that may help: for requests that may be done twice.
    Always,
    /// Those that never began: for requests that must not be done twice.
    IfNotBegun,
    /// None.
    Never,
}

/// A request to be.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Empty for the bucket itself.
    pub(super) key: &'a str,
    pub(super) query: Vec<(&'static str, Cow<'a, str>)>,
    pub(super) headers: HeaderMap,
    pub(super) body: PutPayload,
    /// How many bytes the engine works on before it answers, beside those that it is sent.
    pub(super) work: u64,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, key: &'a str) -> Self {
        Self { method, key, query: Vec::new(), headers: HeaderMap::new(), body: PutPayload::default(), work: 0 }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header. A value that can't be one comes from an engine that sent it, and is left out with its request.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, Failure> {
        let value = HeaderValue::from_str(value)
            .map_err(|cause| Failure::other("a value can't be sent in a header", Some(Box::new(cause))))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn headers(mut self, headers: &HeaderMap) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    pub(super) fn body(mut self, body: PutPayload) -> Self {
        self.body = body;
        self
    }

    pub(super) fn work(self, bytes: u64) -> Self {
        Self { work: bytes, ..self }
    }
}

impl Transport {
    /// Sends a request whose answer is a document, and reads it. An error that comes with status 200 is one.
    pub(super) async fn exchange(&self, call: &Call<'_>, again: Again) -> Result<(Parts, Bytes), Failure> {
        self.retry(call, again, |response| async {
            let (parts, body) = response.into_parts();
            let document = self.document(body).await?;
            if let Some(error) = xml::read_error(&document) {
                return Err(Failure::answered(parts.status, Some(error)));
            }
            Ok((parts, document))
        })
        .await
    }

    /// Sends a request whose answer is a small object, and reads it; at most `most` bytes.
    pub(super) async fn fetch(&self, call: &Call<'_>, most: u64) -> Result<(Parts, Bytes), Failure> {
        self.retry(call, Again::Always, |response| async {
            let (parts, body) = response.into_parts();
            Ok((parts, self.read_all(body, most).await?))
        })
        .await
    }

    /// Sends a request whose answer is a file, and leaves the body unread.
    pub(super) async fn open(&self, call: &Call<'_>) -> Result<HttpResponse, Failure> {
        self.retry(call, Again::Always, |response| async { Ok(response) }).await
    }

    async fn retry<T, F>(&self, call: &Call<'_>, again: Again, read: impl Fn(HttpResponse) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut pause = Backoff::new(self.max_retries);
        let mut blocked = 0;
        loop {
            let failure = match self.try_once(call).await {
                Ok(response) => match read(response).await {
                    Ok(read) => return Ok(read),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            // It may be one that just became empty, which the engine is about to remove.
            blocked += u32::from(failure.is_directory_in_the_way());
            let retry = match again {
                _ if failure.is_directory_in_the_way() => blocked < MAX_BLOCKED && again != Again::Never,
                Again::Always => failure.is_lost() || failure.is_not_begun(),
                Again::IfNotBegun => failure.is_not_begun(),
                Again::Never => false,
            };
            if !retry || !pause.wait().await {
                return Err(failure);
            }
            tracing::debug!(method = %call.method, key = call.key, %failure, "trying again");
        }
    }

    /// One try, signed anew.
    async fn try_once(&self, call: &Call<'_>) -> Result<HttpResponse, Failure> {
        let request = self.request(call).await?;
        let (sending, working) = (call.body.content_length() as u64 / SENT_PER_SECOND, call.work / WORKED_PER_SECOND);
        let limit = self.timeout + Duration::from_secs(sending + working);
        let response = tokio::time::timeout(limit, self.http.execute(request)).await;
        let response = response.map_err(|_| Failure::timed_out())?.map_err(Failure::unanswered)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let document = self.document(response.into_body()).await.unwrap_or_default();
        Err(Failure::answered(status, xml::read_error(&document)))
    }

    async fn request(&self, call: &Call<'_>) -> Result<HttpRequest, Failure> {
        let invalid = |cause: http::Error| Failure::other("the request makes no sense", Some(Box::new(cause)));
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(self.url(call.key, &call.query))
            .body(body(&call.body))
            .map_err(invalid)?;
        request.headers_mut().clone_from(&call.headers);
        let length = call.body.content_length();
        if length > 0 || call.method == Method::PUT || call.method == Method::POST {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let digest = (self.sign_payload && length > 0).then(|| {
            let mut context = ring::digest::Context::new(&ring::digest::SHA256);
            call.body.iter().for_each(|piece| context.update(piece));
            context.finish()
        });
        let credential = in_time(self.timeout, self.store.credentials().get_credential()).await?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(self.sign_payload)
            .try_authorize(&mut request, digest.as_ref().map(AsRef::as_ref))
            .map_err(|cause| Failure::other("the request can't be signed", Some(Box::new(cause))))?;
        Ok(request)
    }

    fn url(&self, key: &str, query: &[(&'static str, Cow<'_, str>)]) -> String {
        let mut url = self.bucket_url.clone();
        if !key.is_empty() {
            url.push('/');
            encode(key, true, &mut url);
        }
        for (n, (name, value)) in query.iter().enumerate() {
            url.push(if n == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            encode(value, false, &mut url);
        }
        url
    }

    /// A whole body that is a document.
    async fn document(&self, body: HttpResponseBody) -> Result<Bytes, Failure> {
        self.read_all(body, MAX_DOCUMENT).await
    }

    async fn read_all(&self, body: HttpResponseBody, most: u64) -> Result<Bytes, Failure> {
        let mut stream = body.bytes_stream();
        let mut document = Vec::new();
        loop {
            match tokio::time::timeout(self.timeout, stream.next()).await {
                Err(_) => return Err(Failure::timed_out()),
                Ok(None) => return Ok(document.into()),
                Ok(Some(piece)) => document.extend_from_slice(&piece.map_err(Failure::unanswered)?),
            }
            if document.len() as u64 > most {
                return Err(Failure::other("the answer is too long", None));
            }
        }
    }
}

/// What is to be had with credentials alone. Whoever gives them may not answer.
pub(super) async fn in_time<T>(
    timeout: Duration,
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, asked).await {
        // object_store's errors tell their causes themselves.
        Ok(told) => told.map_err(Failure::no_credentials),
        Err(_) => Err(Failure::no_credentials("none came in time")),
    }
}

/// A body of one piece as such: its length is then known to the HTTP client.
fn body(payload: &PutPayload) -> HttpRequestBody {
    match payload.as_ref() {
        [] => HttpRequestBody::empty(),
        [one] => one.clone().into(),
        _ => payload.clone().into(),
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3), as signatures demand.
pub(super) fn encode(text: &str, keep_slash: bool, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if keep_slash => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// The pause before another try, after `tries` others.
pub(super) async fn pause(tries: u32) {
    let longest = 50u64.saturating_mul(1 << tries.min(7)).min(5_000);
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let pause = longest / 2 + ((longest / 2 * u64::from(random)) >> 32);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Pauses between tries: up to 50 ms, doubling up to 5 s, each cut at random so that clients don't march in step.
pub(super) struct Backoff {
    tries: u32,
    max: u32,
}

impl Backoff {
    pub(super) fn new(max: u32) -> Self {
        Self { tries: 0, max }
    }

    /// It goes on: what failed before doesn't count any more.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Waits; `false` if there were tries enough.
    pub(super) async fn wait(&mut self) -> bool {
        if self.tries >= self.max {
            return false;
        }
        pause(self.tries).await;
        self.tries += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use object_store::aws::{AmazonS3Builder, AwsCredential};
    use object_store::client::{HttpConnector, HttpError, HttpService};
    use object_store::{ClientOptions, CredentialProvider};

    use super::*;
    use crate::error::Error;

    /// Gives no credentials: it never answers, or says so.
    #[derive(Clone, Debug)]
    struct Nobody {
        answers: bool,
    }

    #[async_trait]
    impl CredentialProvider for Nobody {
        type Credential = AwsCredential;

        async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
            let source = "no role".into();
            match self.answers {
                true => Err(object_store::Error::Unauthenticated { path: String::new(), source }),
                false => std::future::pending().await,
            }
        }
    }

    #[async_trait]
    impl HttpService for Nobody {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            panic!("nothing is to be sent");
        }
    }

    impl HttpConnector for Nobody {
        fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
            Ok(HttpClient::new(self.clone()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_credentials_a_request_ends_and_never_began() {
        for answers in [false, true] {
            let nobody = Nobody { answers };
            let store = AmazonS3Builder::new().with_bucket_name("b").with_http_connector(nobody.clone());
            let transport = Transport {
                http: HttpClient::new(nobody.clone()),
                store: store.with_credentials(Arc::new(nobody)).build().unwrap(),
                region: "us-east-1".to_owned(),
                bucket: "b".to_owned(),
                bucket_url: "http://s3.test/b".to_owned(),
                sign_payload: true,
                timeout: Duration::from_secs(30),
                max_retries: 8,
            };
            let call = Call::new(Method::PUT, "a");
            let exchange = transport.exchange(&call, Again::IfNotBegun);
            let ended = tokio::time::timeout(Duration::from_secs(3600), exchange).await;
            let failure = ended.expect("it ends").unwrap_err();
            assert!(failure.is_not_begun() && !failure.is_lost(), "{failure:?}");
            assert!(failure.to_string().contains("no credentials"), "{failure}");
            assert!(Error::from(failure).is_temporary());
        }
    }

    #[test]
    fn only_unreserved_characters_stay() {
        let mut out = String::new();
        encode("a/~b c+ß?&=%", true, &mut out);
        assert_eq!(out, "a/~b%20c%2B%C3%9F%3F%26%3D%25");
        out.clear();
        encode("a/b", false, &mut out);
        assert_eq!(out, "a%2Fb");
    }
}
