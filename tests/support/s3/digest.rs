//! Digests: entity tags, the signature's hashes, the checksums a request may bring.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use ring::{digest, hmac};

use super::answer::{Code, Refusal};

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The bytes of hex digits; what is none is left out.
pub fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2));
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// The MD5 digest.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// The SHA-256 digest in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// HMAC-SHA256.
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

/// The headers that carry a checksum of the body, beside `Content-MD5`.
pub const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// Checks every checksum that the headers bring. Tells if there was any.
///
/// # Errors
/// `InvalidDigest` if one is not base64 of the right length, `BadDigest` if it is not the body's.
pub fn verify(headers: &HeaderMap, body: &[u8]) -> Result<bool, Refusal> {
    let mut any = false;
    for name in CHECKSUMS.into_iter().chain(["content-md5"]) {
        let Some(value) = headers.get(name) else { continue };
        any = true;
        let right = compute(name, body);
        match BASE64_STANDARD.decode(value) {
            Ok(given) if given == right => {}
            Ok(given) if given.len() == right.len() => {
                return Err(Refusal::new(
                    Code::BadDigest,
                    format!("The {name} you specified did not match the body's."),
                ));
            }
            _ => return Err(Refusal::new(Code::InvalidDigest, format!("The {name} you specified is not valid."))),
        }
    }
    Ok(any)
}

fn compute(name: &str, body: &[u8]) -> Vec<u8> {
    let crc32 = |algorithm| (crc_fast::checksum(algorithm, body) as u32).to_be_bytes().to_vec();
    match name {
        "x-amz-checksum-crc32" => crc32(CrcAlgorithm::Crc32IsoHdlc),
        "x-amz-checksum-crc32c" => crc32(CrcAlgorithm::Crc32Iscsi),
        "x-amz-checksum-crc64nvme" => crc_fast::checksum(CrcAlgorithm::Crc64Nvme, body).to_be_bytes().to_vec(),
        "x-amz-checksum-sha1" => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body).as_ref().to_vec(),
        "x-amz-checksum-sha256" => digest::digest(&digest::SHA256, body).as_ref().to_vec(),
        _ => md5(body).to_vec(),
    }
}
