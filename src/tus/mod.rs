//! Resumable uploads over HTTP: the tus protocol 1.0.0, as tower services over an
//! [`UploadStore`](crate::upload::UploadStore).
//!
//! [`TusService`] speaks the protocol: the core, and the extensions `creation`, `creation-with-upload`,
//! `creation-defer-length` and `termination`. Beside it, a GET reads a finished upload, also in part and on conditions. It
//! brings no HTTP server, and takes requests with any body of [`Bytes`](bytes::Bytes).
//!
//! Where the specification is strict, so is the service; beyond it:
//! - A metadata header that is empty counts as none, parameters and the case of a `Content-Type` are ignored, and a POST
//!   without a body may have any `Content-Type`: clients send all that.
//! - Errors are a line of text that says what was wrong with what. What the storage said goes to the log, by `tracing`.
//! - A 409 tells the current `Upload-Offset`, and a creation that failed after the upload was there tells its `Location`.
//! - A body that can't fit is refused before any of it is read where its size is announced, and else at the limit.
//! - What is left of a refused HTTP/1 body is read and thrown away for a few seconds, since closing the connection before
//!   could take the answer away from the client. A client that sent `Expect: 100-continue` is answered at once.
//!
//! # In axum
//! ```
//! use std::sync::Arc;
//!
//! use holdall::drivers::InMemoryDriver;
//! use holdall::tus::TusService;
//! use holdall::upload::UploadStore;
//!
//! let store = UploadStore::new(Arc::new(InMemoryDriver::new()));
//! // `nest_service` takes the prefix off the URL; `Location` needs it all the same.
//! let tus = TusService::builder(store).base_path("/files/")?.nested().build();
//! let app: axum::Router = axum::Router::new().nest_service("/files", tus);
//! # Ok::<(), holdall::tus::InvalidBasePath>(())
//! ```
//!
//! # In bare hyper
//! ```
//! use holdall::tus::TusService;
//! use hyper::service::service_fn;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto::Builder;
//! use tower::Service;
//!
//! async fn serve(listener: tokio::net::TcpListener, tus: TusService) -> std::io::Result<()> {
//!     loop {
//!         let (connection, _) = listener.accept().await?;
//!         let tus = tus.clone();
//!         let service = service_fn(move |request| tus.clone().call(request));
//!         tokio::spawn(async move {
//!             if let Err(error) =
//!                 Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service).await
//!             {
//!                 eprintln!("{error}");
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! # Other verbs in place of these
//! Each verb is a service of its own, [`TusService::verb`], and [`TusBuilder::without`] leaves one out, so that an
//! application can put its own in its place:
//! ```
//! # use std::sync::Arc;
//! # use holdall::drivers::InMemoryDriver;
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::routing::MethodRouter;
//! use holdall::tus::{TusService, Verb};
//! # use holdall::upload::UploadStore;
//!
//! async fn download(Path(id): Path<String>) -> String {
//!     format!("{id} is not for everyone")
//! }
//!
//! # let store = UploadStore::new(Arc::new(InMemoryDriver::new()));
//! let tus = TusService::builder(store).without(Verb::Get).build();
//! let upload = MethodRouter::new().get(download).head_service(tus.verb(Verb::Head)).fallback_service(tus.clone());
//! let app: Router = Router::new().route_service("/files/", tus).route("/files/{id}", upload);
//! ```

mod body;
mod conditional;
mod config;
mod content;
mod delete;
mod error;
mod get;
mod head;
pub mod headers;
mod options;
mod patch;
mod post;
mod request_body;
mod service;

pub use self::body::Body;
pub use self::config::{InvalidBasePath, Verb};
pub use self::service::{ResponseFuture, TusBuilder, TusService, effective_method};
