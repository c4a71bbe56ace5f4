//! Requests with any headers: each gets an answer that the protocol knows, none is a failure of the server, and what was
//! accepted comes back as it came.
//!
//! The input is lines. The first names the method; each other is a number that picks a header, then its value.

use std::sync::Arc;

use futures::executor::block_on;
use holdall::drivers::InMemoryDriver;
use holdall::tus::{Body, TusService};
use holdall::upload::{NewUpload, UploadId, UploadStore};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

const HEADERS: [&str; 16] = [
    "tus-resumable",
    "upload-length",
    "upload-defer-length",
    "upload-offset",
    "upload-metadata",
    "upload-concat",
    "content-type",
    "content-length",
    "x-http-method-override",
    "range",
    "if-none-match",
    "if-match",
    "if-range",
    "if-modified-since",
    "host",
    "upload-checksum",
];

pub fn check(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let Ok(method) = Method::from_bytes(lines.next().unwrap_or_default()) else { return };
    let uri = if method == Method::POST { "/files/" } else { "/files/there" };
    let mut request = Request::builder().method(method.clone()).uri(uri).header("tus-resumable", "1.0.0");
    for line in lines.take(64) {
        let Some((&pick, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        let name = HeaderName::from_static(HEADERS[pick as usize % HEADERS.len()]);
        let headers = request.headers_mut().expect("valid so far");
        // Only the version is there already; others may come twice.
        match name.as_str() {
            "tus-resumable" => drop(headers.insert(name, value)),
            _ => drop(headers.append(name, value)),
        }
    }
    let request = request.body(Body::empty()).expect("valid parts");
    let metadata = request.headers().get("upload-metadata").cloned();

    block_on(async {
        let store = UploadStore::new(Arc::new(InMemoryDriver::new()));
        let id = UploadId::parse("there").expect("an id");
        let there = NewUpload { id: Some(id), length: Some(10), ..NewUpload::default() };
        store.create(there).await.expect("created");
        let mut service = TusService::new(store);
        let response = send(&mut service, request).await;
        let status = response.status();
        assert!(!status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED, "{status}");
        assert!(!status.is_informational());
        if status == StatusCode::CREATED {
            let location = response.headers()["location"].to_str().expect("text").to_owned();
            let head = Request::head(location).header("tus-resumable", "1.0.0");
            let head = send(&mut service, head.body(Body::empty()).expect("valid parts")).await;
            assert_eq!(head.status(), StatusCode::OK);
            let empty = HeaderValue::from_static("");
            assert_eq!(head.headers().get("upload-metadata").unwrap_or(&empty), metadata.as_ref().unwrap_or(&empty));
        }
    });
}

async fn send(service: &mut TusService, request: Request<Body>) -> Response<Body> {
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
