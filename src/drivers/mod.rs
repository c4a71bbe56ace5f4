//! One backend each.
