//! What the tests share.

#[cfg(target_os = "linux")]
pub(crate) mod forgetful;
pub(crate) mod http;
#[cfg(target_os = "linux")]
pub(crate) mod program;
pub(crate) mod rng;
pub mod s3;
pub(crate) mod tls;
