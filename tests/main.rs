//! All integration tests, in one binary.

#[cfg(target_os = "linux")]
#[cfg(test)]
mod forgetful;
#[cfg(test)]
mod support;
#[cfg(test)]
mod upload;
