//! One backend each.

mod inmemory;

pub use self::inmemory::InMemoryDriver;
