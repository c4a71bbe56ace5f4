//! The little XML that S3 speaks.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// Reads a document: `leaf` is called at the end of each element with the names of the elements it is in, outermost
/// first, and the text it holds itself. Namespaces and attributes don't matter.
///
/// # Errors
/// Where it is not XML, or ends too early.
pub(super) fn read(document: &[u8], mut leaf: impl FnMut(&[&str], &str)) -> Result<(), quick_xml::Error> {
    let text = String::from_utf8_lossy(document);
    let mut reader = Reader::from_str(&text);
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    let mut content = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                names.push(Cow::Owned(String::from_utf8_lossy(start.local_name().as_ref()).into_owned()));
                content.clear();
            }
            Event::Empty(start) => {
                names.push(Cow::Owned(String::from_utf8_lossy(start.local_name().as_ref()).into_owned()));
                end(&mut names, "", &mut leaf);
            }
            Event::End(_) => {
                end(&mut names, &content, &mut leaf);
                content.clear();
            }
            Event::Text(text) => content.push_str(&text.decode()?),
            Event::CData(data) => content.push_str(&data.decode()?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => content.push(character),
                _ => match quick_xml::escape::resolve_predefined_entity(&reference.decode()?) {
                    Some(text) => content.push_str(text),
                    None => content.push(char::REPLACEMENT_CHARACTER),
                },
            },
            Event::Eof if names.is_empty() => return Ok(()),
            Event::Eof => return Err(quick_xml::errors::SyntaxError::UnclosedTag.into()),
            _ => {}
        }
    }
}

fn end(names: &mut Vec<Cow<'_, str>>, content: &str, leaf: &mut impl FnMut(&[&str], &str)) {
    let path: Vec<&str> = names.iter().map(|name| &**name).collect();
    leaf(&path, content);
    names.pop();
}

/// The code and the message of an error document; `None` if it is another one.
pub(super) fn read_error(document: &[u8]) -> Option<(String, String)> {
    let (mut code, mut message) = (None, String::new());
    read(document, |names, text| match names {
        ["Error", "Code"] => code = Some(text.to_owned()),
        ["Error", "Message"] => message = text.to_owned(),
        _ => {}
    })
    .ok()?;
    Some((code?, message))
}

/// The body of CompleteMultipartUpload.
pub(super) fn complete<'a>(parts: impl Iterator<Item = (u32, Cow<'a, str>)>) -> String {
    let mut out = String::from(r#"<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#);
    for (number, etag) in parts {
        out.push_str("<Part><PartNumber>");
        out.push_str(&number.to_string());
        out.push_str("</PartNumber><ETag>");
        out.push_str(&escape(etag));
        out.push_str("</ETag></Part>");
    }
    out.push_str("</CompleteMultipartUpload>");
    out
}

/// The body of DeleteObjects. It says which keys went as well, since some engines answer an empty document otherwise.
pub(super) fn delete<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::from(r#"<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#);
    for key in keys {
        out.push_str("<Object><Key>");
        out.push_str(&escape(key));
        out.push_str("</Key></Object>");
    }
    out.push_str("</Delete>");
    out
}

/// A time as S3 writes it in documents: `2026-01-31T12:59:59.000Z`. In whole seconds, as headers have it: some engines tell
/// milliseconds here only.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let (date, clock) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.splitn(3, '-').map(|field| field.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split('.').next()?.splitn(3, ':').map(|field| field.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    // A leap second is the 60th.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = u64::try_from(days).ok()? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_with_their_names_and_unescaped_text() {
        let document =
            br#"<?xml version="1.0"?><s:A xmlns:s="x"><B>1 &amp; &#x32;</B><C/><B><D><![CDATA[<]]></D></B></s:A>"#;
        let mut seen = Vec::new();
        read(document, |names, text| seen.push((names.join("/"), text.to_owned()))).unwrap();
        let expected = [("A/B", "1 & 2"), ("A/C", ""), ("A/B/D", "<"), ("A/B", ""), ("A", "")];
        assert_eq!(seen, expected.map(|(names, text)| (names.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_an_error_or_nothing() {
        assert!(read(b"<A><B>", |_, _| {}).is_err());
        assert!(read(b"<A></B>", |_, _| {}).is_err());
        assert_eq!(read_error(b"<html>no</html>"), None);
        assert_eq!(read_error(b"no"), None);
        let error = read_error(b"<Error><Code>SlowDown</Code><Message>Please.</Message></Error>");
        assert_eq!(error, Some(("SlowDown".into(), "Please.".into())));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let seconds = |text| time(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64());
        assert_eq!(seconds("1970-01-01T00:00:00.000Z"), Some(0.0));
        assert_eq!(seconds("2000-02-29T23:59:59Z"), Some(951_868_799.0));
        assert_eq!(seconds("2026-11-21T04:00:27.920Z"), Some(1_795_233_627.0));
        assert_eq!(seconds("2016-12-31T23:59:60Z"), Some(1_483_228_800.0));
        for text in ["", "2026", "2026-13-01T00:00:00Z", "2026-01-01", "1969-12-31T00:00:00Z", "-1-1-1T1:1:1"] {
            assert_eq!(time(text), None, "{text}");
        }
        let most = u64::MAX;
        for clock in ["24:00:00", "00:60:00", "00:00:61"].map(str::to_owned).into_iter().chain([
            format!("{most}:00:00"),
            format!("00:{most}:00"),
            format!("00:00:{most}"),
        ]) {
            assert_eq!(time(&format!("2026-01-01T{clock}Z")), None, "{clock}");
        }
    }
}
