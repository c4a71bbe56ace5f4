//! What the tests share.

#[cfg(target_os = "linux")]
pub(crate) mod forgetful;
pub(crate) mod rng;
