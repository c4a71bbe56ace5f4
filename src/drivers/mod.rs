//! One backend each.

#[cfg(feature = "filesystem")]
mod filesystem;
mod inmemory;
#[cfg(feature = "s3")]
mod s3;

#[cfg(feature = "filesystem")]
#[cfg_attr(docsrs, doc(cfg(feature = "filesystem")))]
pub use self::filesystem::{Durability, FilesystemBuilder, FilesystemDriver};
pub use self::inmemory::InMemoryDriver;
#[cfg(feature = "s3")]
#[cfg_attr(docsrs, doc(cfg(feature = "s3")))]
pub use self::s3::{InvalidS3Config, S3Config, S3Credentials, S3Driver, S3Encryption};
