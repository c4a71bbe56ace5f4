//! The services: of the whole protocol, and of one verb each.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderValue, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tower_service::Service;

use super::body::Body;
use super::config::{Config, InvalidBasePath, Target, Verb};
use super::error::TusError;
use super::headers::{InvalidHeader, MethodOverride, SingleHeader, TusResumable};
use super::request_body::RequestBody;
use super::{delete, get, head, options, patch, post};
use crate::error::BoxError;
use crate::upload::UploadStore;

/// The tus protocol over an [`UploadStore`], as a tower service: takes a request with any body of [`Bytes`], and never
/// fails. A clone costs a reference count.
///
/// It reads, and awaits the store, within a tokio runtime with time enabled.
#[derive(Clone, Debug)]
pub struct TusService {
    config: Arc<Config>,
    /// Each request is one of this verb.
    only: Option<Verb>,
}

/// Sets up a [`TusService`].
#[derive(Debug)]
pub struct TusBuilder {
    config: Config,
}

impl TusBuilder {
    /// The path of the URL at which uploads are created, and below which they are; `/files/` by default. A slash at its
    /// end is added if it is missing.
    ///
    /// # Errors
    /// [`InvalidBasePath`] if it is not the path of a URL.
    pub fn base_path(mut self, path: &str) -> Result<Self, InvalidBasePath> {
        self.config.base_path = path.parse()?;
        Ok(self)
    }

    /// Says that the router in front takes the base path off the URLs of requests, as axum's `nest_service` does. The base
    /// path is then what clients see, and is only sent.
    pub fn nested(mut self) -> Self {
        self.config.nested = true;
        self
    }

    /// Names new uploads by absolute URLs, of this scheme and the host that the request is for. By default, and where a
    /// request names no host, `Location` is a path, which holds behind any proxy that keeps paths.
    pub fn absolute_locations(mut self, scheme: Scheme) -> Self {
        self.config.scheme = Some(scheme);
        self
    }

    /// Leaves this verb out: [`TusService`] answers 405 to it, also by `X-HTTP-Method-Override`, and
    /// does not announce what needs it. For applications that put their own in its place, or want none.
    pub fn without(mut self, verb: Verb) -> Self {
        self.config.without.push(verb);
        self
    }

    /// The service.
    pub fn build(self) -> TusService {
        TusService { config: Arc::new(self.config), only: None }
    }
}

impl TusService {
    /// The service with all defaults.
    pub fn new(store: UploadStore) -> Self {
        Self::builder(store).build()
    }

    /// Sets up a service.
    pub fn builder(store: UploadStore) -> TusBuilder {
        TusBuilder { config: Config::new(store) }
    }

    /// The uploads that it serves.
    pub fn store(&self) -> &UploadStore {
        &self.config.store
    }

    /// A service of this verb alone, which takes each request as one of it, whatever its method: for applications that
    /// route the verbs themselves.
    pub fn verb(&self, verb: Verb) -> Self {
        Self { config: self.config.clone(), only: Some(verb) }
    }
}

/// The method that counts: that of `X-HTTP-Method-Override`, or else the request's own. For applications that route the
/// verbs themselves.
///
/// # Errors
/// [`InvalidHeader`] if the header is not a method, or comes twice.
pub fn effective_method(method: &Method, headers: &HeaderMap) -> Result<Method, InvalidHeader> {
    Ok(MethodOverride::find(headers)?.map_or_else(|| method.clone(), |MethodOverride(method)| method))
}

/// The answer to come, which is never an error.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<B> Service<Request<B>> for TusService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let verb = match self.only {
            Some(verb) => Ok(Some(verb)),
            None => effective_method(request.method(), request.headers())
                .map(|method| Verb::of(&method).filter(|verb| self.config.serves(*verb))),
        };
        respond(self.config.clone(), verb, request)
    }
}

fn respond<B>(config: Arc<Config>, verb: Result<Option<Verb>, InvalidHeader>, request: Request<B>) -> ResponseFuture
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (request, body) = request.into_parts();
    let body = RequestBody::new(&request, body);
    Box::pin(async move {
        let is = |wanted| verb == Ok(Some(wanted));
        let (is_head, is_options) = (is(Verb::Head), is(Verb::Options));
        let answer = match verb {
            Ok(verb) => answer(&config, verb, &request, body).await,
            Err(error) => Err(error.into()),
        };
        let failed = answer.is_err();
        let mut response = answer.unwrap_or_else(TusError::into_response);
        if is_head && failed {
            *response.body_mut() = Body::empty();
        }
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !is_options {
            headers.insert(TusResumable::NAME, TusResumable::VERSION);
        }
        Ok(response)
    })
}

async fn answer(
    config: &Config,
    verb: Option<Verb>,
    request: &Parts,
    body: RequestBody,
) -> Result<Response<Body>, TusError> {
    match verb {
        Some(Verb::Options) => return Ok(options::answer(config)),
        // Browsers and other readers know nothing of the protocol.
        Some(Verb::Get) => {}
        _ => check_version(&request.headers)?,
    }
    check_transfer_coding(&request.headers)?;
    match (config.target(request.uri.path())?, verb) {
        (Target::Collection, Some(Verb::Post)) => post::answer(config, request, body).await,
        (Target::Collection, _) => Err(config.method_not_allowed(&[Verb::Post])),
        (Target::Upload(id), Some(Verb::Head)) => head::answer(config, &id).await,
        (Target::Upload(id), Some(Verb::Patch)) => patch::answer(config, request, &id, body).await,
        (Target::Upload(id), Some(Verb::Delete)) => delete::answer(config, &id).await,
        (Target::Upload(id), Some(Verb::Get)) => get::answer(config, request, &id).await,
        (Target::Upload(_), _) => Err(config.method_not_allowed(&[Verb::Head, Verb::Patch, Verb::Delete, Verb::Get])),
    }
}

/// 412 unless the client speaks a version that this server speaks (tus 1.0.0, "Headers").
fn check_version(headers: &HeaderMap) -> Result<(), TusError> {
    TusResumable::require(headers).map(drop).map_err(|error| {
        TusError::new(StatusCode::PRECONDITION_FAILED, error.into_message())
            .with_header(options::TUS_VERSION, TusResumable::VERSION)
    })
}

/// 501 for a body that is more than chunked (RFC 9112, section 6.1): HTTP servers take the chunks apart, and what they
/// held, compressed, would be taken for the content.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), TusError> {
    if headers.get_all(TRANSFER_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Ok(());
    }
    Err(TusError::new(StatusCode::NOT_IMPLEMENTED, "the only Transfer-Encoding that is understood is chunked"))
}
