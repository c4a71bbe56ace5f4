//! All integration tests, in one binary.
#![cfg(test)]

mod broken_drivers;
#[cfg(target_os = "linux")]
mod filesystem;
#[cfg(target_os = "linux")]
mod forgetful;
mod fuzz_finds;
mod inmemory;
mod model;
#[cfg(target_os = "linux")]
mod power_cut;
mod s3;
mod s3_server;
mod server;
pub mod support;
mod third_party;
mod tus;
mod upload;
