//! Names of uploads.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{UploadError, UploadErrorKind};

/// The name of an upload: 1 to 128 of `A-Z a-z 0-9 _ -`.
///
/// It has no dot, so that the data of one upload never lies where the info of another does. A clone costs a reference
/// count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// 128 random bits, as 32 lower-case hexadecimal digits: nobody guesses it, and it never comes twice.
    ///
    /// # Errors
    /// [`Storage`](UploadErrorKind::Storage) if the system has no random numbers to give.
    pub fn random() -> Result<Self, UploadError> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| {
            UploadError::new(UploadErrorKind::Storage).with_detail("no random numbers for an id").with_source(error)
        })?;
        let digits =
            bits.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)]));
        Ok(Self(digits.collect::<String>().into()))
    }

    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    /// [`InvalidId`](UploadErrorKind::InvalidId), which says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, UploadError> {
        let invalid = |detail: String| Err(UploadError::new(UploadErrorKind::InvalidId).with_detail(detail));
        if text.is_empty() {
            return invalid("it is empty".into());
        }
        if text.len() > Self::MAX_LEN {
            return invalid(format!("it is longer than {} bytes", Self::MAX_LEN));
        }
        match text.chars().find(|c| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-')) {
            Some(c) => invalid(format!("character {c:?} is not allowed")),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for UploadId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for UploadId {
    type Err = UploadError;

    fn from_str(text: &str) -> Result<Self, UploadError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_32_hex_digits_and_differ() {
        let (one, two) = (UploadId::random().unwrap(), UploadId::random().unwrap());
        assert_ne!(one, two);
        for id in [one, two] {
            assert_eq!(id.as_str().len(), 32);
            assert!(id.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
            assert_eq!(UploadId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn refuses_what_is_not_in_the_alphabet() {
        for text in ["", ".", "..", "a.info", "a/b", "a b", "a~", "ß", "a\0", &"a".repeat(129)] {
            assert_eq!(UploadId::parse(text).unwrap_err().kind(), UploadErrorKind::InvalidId, "{text:?}");
        }
        assert!(UploadId::parse(&"a".repeat(128)).is_ok());
        assert!(UploadId::parse("-_09azAZ").is_ok());
    }
}
