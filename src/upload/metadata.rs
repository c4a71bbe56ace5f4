//! What a client says of its file.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a client says of its file: keys with values of any bytes, in the encoding of the `Upload-Metadata` header of tus
/// 1.0.0 (section "Upload-Metadata"), which is kept byte for byte. A clone costs a reference count.
///
/// The encoding is a list of pairs with commas between them, of which spaces and tabs around a pair are no part. A pair is a
/// key, one space, and the value in standard base64 with its padding; a key alone, with or without the space, has an empty value.
/// Keys are visible ASCII without a comma, and none comes twice. Nothing at all is an empty list.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Metadata(Arc<str>);

impl Metadata {
    /// The longest encoded text, in bytes.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Checks the encoded `text` and keeps it.
    ///
    /// # Errors
    /// [`InvalidMetadata`], which says which pair broke which rule.
    pub fn parse(text: &str) -> Result<Self, InvalidMetadata> {
        use InvalidMetadataReason as Reason;
        if text.len() > Self::MAX_LEN {
            return Err(InvalidMetadata { pair: 0, reason: Reason::TooLong });
        }
        let mut keys = std::collections::HashSet::new();
        for (index, (key, value)) in pairs(text).enumerate() {
            let invalid = |reason| Err(InvalidMetadata { pair: index + 1, reason });
            if key.is_empty() {
                return invalid(Reason::EmptyKey);
            }
            if let Some(c) = key.chars().find(|c| !c.is_ascii_graphic()) {
                return invalid(Reason::KeyCharacter(c));
            }
            if STANDARD.decode(value).is_err() {
                return invalid(Reason::Base64);
            }
            if !keys.insert(key) {
                return invalid(Reason::RepeatedKey);
            }
        }
        Ok(Self(text.into()))
    }

    /// Encodes these pairs.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); a key with a space or a comma is a [`KeyCharacter`](InvalidMetadataReason::KeyCharacter).
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, InvalidMetadata>
    where
        K: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut text = String::new();
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            let key = key.as_ref();
            if let Some(c) = key.chars().find(|c| !c.is_ascii_graphic() || *c == ',') {
                return Err(InvalidMetadata { pair: index + 1, reason: InvalidMetadataReason::KeyCharacter(c) });
            }
            if index > 0 {
                text.push(',');
            }
            text.push_str(key);
            if !value.as_ref().is_empty() {
                text.push(' ');
                STANDARD.encode_string(value, &mut text);
            }
        }
        Self::parse(&text)
    }

    /// The encoded text, as it was handed in.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The keys with their decoded values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        // The text was checked when it came in.
        pairs(&self.0).map(|(key, value)| (key, STANDARD.decode(value).unwrap_or_default()))
    }

    /// The decoded value of a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let (_, value) = pairs(&self.0).find(|(name, _)| *name == key)?;
        STANDARD.decode(value).ok()
    }
}

/// The keys and encoded values, unchecked.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let blank = |c| matches!(c, ' ' | '\t');
    let list = if text.trim_matches(blank).is_empty() { None } else { Some(text.split(',')) };
    list.into_iter().flatten().map(move |pair| {
        let pair = pair.trim_matches(blank);
        pair.split_once(' ').unwrap_or((pair, ""))
    })
}

impl Default for Metadata {
    fn default() -> Self {
        Self("".into())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(key, value)| (key, Cow::into_owned(String::from_utf8_lossy(&value)))))
            .finish()
    }
}

/// Why a text is not [`Metadata`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pair {pair} of the metadata: {reason}")]
pub struct InvalidMetadata {
    pair: usize,
    reason: InvalidMetadataReason,
}

impl InvalidMetadata {
    /// Which pair broke the rule, counted from 1; 0 for the text as a whole.
    pub fn pair(&self) -> usize {
        self.pair
    }

    /// The rule that was broken.
    pub fn reason(&self) -> InvalidMetadataReason {
        self.reason
    }
}

/// The rules of [`Metadata`], each as the way to break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMetadataReason {
    /// The text is longer than [`Metadata::MAX_LEN`].
    #[error("it is longer than {} bytes", Metadata::MAX_LEN)]
    TooLong,
    /// A pair without a key, or a comma too many.
    #[error("the key is empty")]
    EmptyKey,
    /// A key with something other than visible ASCII, or with a comma.
    #[error("character {0:?} is not allowed in a key")]
    KeyCharacter(char),
    /// A key that came before.
    #[error("the key is repeated")]
    RepeatedKey,
    /// A value that is not standard base64 with padding.
    #[error("the value is not valid base64")]
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<(String, Vec<u8>)> {
        Metadata::parse(text).unwrap().iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn pair(key: &str, value: &[u8]) -> (String, Vec<u8>) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_decode_and_the_text_stays_as_it_came() {
        for (text, decoded) in [
            ("", vec![]),
            (" \t", vec![]),
            ("filename d29ybGQucGRm", vec![pair("filename", b"world.pdf")]),
            (
                "filename d29ybGQucGRm,is_confidential",
                vec![pair("filename", b"world.pdf"), pair("is_confidential", b"")],
            ),
            ("a ,b YQ==", vec![pair("a", b""), pair("b", b"a")]),
            ("a YQ== , \tb YWI=\t,c YWJj", vec![pair("a", b"a"), pair("b", b"ab"), pair("c", b"abc")]),
            ("bytes /wD+,Bytes ", vec![pair("bytes", &[255, 0, 254]), pair("Bytes", b"")]),
        ] {
            assert_eq!(pairs_of(text), decoded, "{text:?}");
            let metadata = Metadata::parse(text).unwrap();
            assert_eq!(metadata.as_str(), text);
            assert_eq!(metadata.is_empty(), decoded.is_empty());
        }
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let metadata = Metadata::parse("a YQ==,b,c /w==").unwrap();
        assert_eq!(metadata.get("a").unwrap(), b"a");
        assert_eq!(metadata.get("b").unwrap(), b"");
        assert_eq!(metadata.get("c").unwrap(), [255]);
        assert_eq!(metadata.get("A"), None);
    }

    #[test]
    fn refuses_each_broken_rule_by_its_name_and_pair() {
        use InvalidMetadataReason as Reason;
        let long = format!("a {}", "YWFh".repeat(Metadata::MAX_LEN / 4));
        for (text, pair, reason) in [
            (",", 1, Reason::EmptyKey),
            ("a YQ==,", 2, Reason::EmptyKey),
            ("a,,b", 2, Reason::EmptyKey),
            ("a,a YQ==", 2, Reason::RepeatedKey),
            ("ä YQ==", 1, Reason::KeyCharacter('ä')),
            ("a\tYQ==", 1, Reason::KeyCharacter('\t')),
            ("a\u{7f}", 1, Reason::KeyCharacter('\u{7f}')),
            ("b,a YQ", 2, Reason::Base64),
            ("a YQ=", 1, Reason::Base64),
            ("a YR==", 1, Reason::Base64),
            ("a  YQ==", 1, Reason::Base64),
            ("a YQ== YQ==", 1, Reason::Base64),
            ("a _wD-", 1, Reason::Base64),
            ("a ß", 1, Reason::Base64),
            (&long, 0, Reason::TooLong),
        ] {
            let error = Metadata::parse(text).unwrap_err();
            assert_eq!((error.pair(), error.reason()), (pair, reason), "{text:.20}");
        }
        assert!(Metadata::parse(&long[..Metadata::MAX_LEN - 2]).is_ok());
    }

    #[test]
    fn pairs_encode_as_the_protocol_has_them() {
        let metadata = Metadata::from_pairs([("filename", &b"world.pdf"[..]), ("flag", b""), ("raw", &[255])]).unwrap();
        assert_eq!(metadata.as_str(), "filename d29ybGQucGRm,flag,raw /w==");
        assert_eq!(Metadata::from_pairs([("", ""); 0]).unwrap(), Metadata::default());
        for (key, reason) in [
            ("", InvalidMetadataReason::EmptyKey),
            ("a b", InvalidMetadataReason::KeyCharacter(' ')),
            ("a,b", InvalidMetadataReason::KeyCharacter(',')),
        ] {
            assert_eq!(Metadata::from_pairs([("x", ""), (key, "")]).unwrap_err().reason(), reason, "{key:?}");
        }
    }
}
