//! How a finished upload is shown: its type and name, as far as they are safe to tell a browser.
//!
//! Both come from whoever made the upload, who may mean harm to whoever opens it.

use std::fmt::Write as _;

use http::header::HeaderValue;

use super::headers::checked_value;
use crate::upload::Metadata;

/// The types that a browser may show in place: none of them runs anything.
const INLINE: [&str; 17] = [
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/webm",
];

/// The longest name that is told, in characters.
const MAX_NAME: usize = 200;

/// The `Content-Type` and the `Content-Disposition` (RFC 6266) of an upload with this metadata: of the keys `filetype` or
/// `type`, and `filename` or `name`, which is what clients send.
pub(super) fn describe(metadata: &Metadata) -> (HeaderValue, HeaderValue) {
    let first = |keys: [&str; 2]| keys.into_iter().find_map(|key| metadata.get(key).filter(|value| !value.is_empty()));
    let media_type = first(["filetype", "type"]).and_then(|value| MediaType::parse(&value));
    let inline = media_type.as_ref().is_some_and(MediaType::is_inline);
    let mut disposition = String::from(if inline { "inline" } else { "attachment" });
    if let Some(name) = first(["filename", "name"]) {
        push_filename(&mut disposition, &String::from_utf8_lossy(&name));
    }
    let media_type = media_type.map_or_else(|| "application/octet-stream".to_owned(), |media_type| media_type.0);
    (checked_value(media_type), checked_value(disposition))
}

/// A media type (RFC 9110, section 8.3.1), with parameters that are plain tokens. Anything looser is refused: browsers
/// would split it at commas, and take what they find.
struct MediaType(String);

impl MediaType {
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut whole = format!("{kind}/{subtype}").to_ascii_lowercase();
        for parameter in parts {
            let (name, value) = parameter.split_once('=')?;
            if !is_token(name) || !is_token(value) {
                return None;
            }
            write!(whole, "; {name}={value}").ok()?;
        }
        Some(Self(whole))
    }

    fn is_inline(&self) -> bool {
        INLINE.contains(&self.0.split(';').next().unwrap_or_default())
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Control characters, and those that turn the direction of text, which make `exe.jpg` out of `gpj.exe`.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends the name: what every client reads, and where that isn't all, the whole in UTF-8 (RFC 6266, section 4.3, and
/// RFC 8187). Only its last component counts, and what nobody would see becomes `_`.
fn push_filename(disposition: &mut String, name: &str) {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().take(MAX_NAME).map(|c| if is_invisible(c) { '_' } else { c }).collect();
    if matches!(name.as_str(), "" | "." | "..") {
        return;
    }
    // Quotes would need escapes, and some clients decode %xx here, so both are kept out.
    let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '%');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let _ = write!(disposition, "; filename=\"{plain}\"");
    if plain != name {
        disposition.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // The attr-char of RFC 8187.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                disposition.push(char::from(byte));
            } else {
                let _ = write!(disposition, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(pairs: &[(&str, &[u8])]) -> (String, String) {
        let (media_type, disposition) = describe(&Metadata::from_pairs(pairs.iter().copied()).unwrap());
        (media_type.to_str().unwrap().to_owned(), disposition.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_types_that_run_nothing_are_inline() {
        for (given, media_type, inline) in [
            ("image/png", "image/png", true),
            ("Text/Plain ; charset=UTF-8", "text/plain; charset=UTF-8", true),
            ("text/html", "text/html", false),
            ("image/svg+xml", "image/svg+xml", false),
            ("application/pdf", "application/pdf", false),
            ("image/png, text/html", "application/octet-stream", false),
            ("image/png; x=y, text/html", "application/octet-stream", false),
            ("image/png; x=\"a\"", "application/octet-stream", false),
            ("image/png\r\nX-Evil: 1", "application/octet-stream", false),
            ("image/png;", "application/octet-stream", false),
            ("image", "application/octet-stream", false),
            ("", "application/octet-stream", false),
            ("ímage/png", "application/octet-stream", false),
        ] {
            let disposition = if inline { "inline" } else { "attachment" };
            for key in ["filetype", "type"] {
                assert_eq!(described(&[(key, given.as_bytes())]), (media_type.into(), disposition.into()), "{given}");
            }
        }
        assert_eq!(described(&[("type", b"text/html"), ("filetype", b"image/png")]).1, "inline");
    }

    #[test]
    fn names_are_told_without_a_way_to_end_the_header_or_to_leave_the_directory() {
        let long = "x".repeat(40_000);
        let long_told = format!("; filename=\"{}\"", "x".repeat(200));
        for (given, told) in [
            ("cat.png", "; filename=\"cat.png\""),
            ("my cat.png", "; filename=\"my cat.png\""),
            ("käse €.txt", "; filename=\"k_se _.txt\"; filename*=UTF-8''k%C3%A4se%20%E2%82%AC.txt"),
            ("a\r\nX-Evil: 1", "; filename=\"a__X-Evil: 1\""),
            ("a\u{202e}gpj.exe", "; filename=\"a_gpj.exe\""),
            (
                "a\"; filename=\"b.exe",
                "; filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe",
            ),
            ("100%41.txt", "; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
            ("../../etc/passwd", "; filename=\"passwd\""),
            ("C:\\autoexec.bat", "; filename=\"autoexec.bat\""),
            ("a/..", ""),
            ("dir/", ""),
            (&long, &long_told),
        ] {
            assert_eq!(described(&[("filename", given.as_bytes())]).1, format!("attachment{told}"), "{given}");
        }
        assert_eq!(
            described(&[("name", b"\xff.bin")]).1,
            "attachment; filename=\"_.bin\"; filename*=UTF-8''%EF%BF%BD.bin"
        );
    }
}
