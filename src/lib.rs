#![cfg_attr(docsrs, feature(doc_cfg))]
//! Blobs under paths, in any backend, and uploads that survive a cut connection.

#[cfg(feature = "conformance")]
pub mod conformance;
mod driver;
pub mod drivers;
mod error;
mod info;
mod open;
mod path;
#[cfg(feature = "tus")]
pub mod tus;
#[cfg(feature = "upload")]
pub mod upload;

pub use driver::*;
#[cfg(feature = "filesystem")]
#[cfg_attr(docsrs, doc(cfg(feature = "filesystem")))]
pub use drivers::{Durability, FilesystemBuilder, FilesystemDriver};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use info::{Capabilities, FileInfo, Version};
pub use open::{InvalidStoreUrl, StoreUrl, open};
pub use path::{InvalidPath, InvalidPathReason, StoragePath};

#[cfg(doctest)]
#[cfg(all(feature = "filesystem", feature = "upload"))]
#[doc = include_str!("../README.md")]
struct Readme;
