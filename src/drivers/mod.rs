//! One backend each.

#[cfg(feature = "filesystem")]
mod filesystem;
mod inmemory;

#[cfg(feature = "filesystem")]
#[cfg_attr(docsrs, doc(cfg(feature = "filesystem")))]
pub use self::filesystem::{Durability, FilesystemBuilder, FilesystemDriver};
pub use self::inmemory::InMemoryDriver;
#[cfg(feature = "s3")]
pub mod s3;
