//! Resumable uploads over HTTP: the tus protocol 1.0.0, as tower services over an
//! [`UploadStore`](crate::upload::UploadStore).

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
pub use self::config::InvalidBasePath;
pub use self::service::{ResponseFuture, TusBuilder, TusService, Verb, VerbService, effective_method};
