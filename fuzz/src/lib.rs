//! What each fuzz target asserts of its input: an oracle a target.
//!
//! The test suite includes this file too, and replays the inputs in `finds/` on a stable compiler.

pub mod operations;
pub mod path;
pub mod tus_headers;
pub mod upload_info;
