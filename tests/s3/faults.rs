//! A fault at every request in turn.
