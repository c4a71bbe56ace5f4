//! What is known of an upload, and the file that keeps it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Metadata, UploadError, UploadErrorKind, UploadId};
use crate::StoragePath;

/// What is known of an upload since its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadInfo {
    /// Its name.
    pub id: UploadId,
    /// How many bytes it will have; `None` until that is declared.
    pub length: Option<u64>,
    /// What the client said of it, as it said it.
    pub metadata: Metadata,
    /// Whether it is a part of another, or made of others.
    pub kind: UploadKind,
    /// When it was created, to the millisecond.
    pub created: SystemTime,
    /// How long after its last change it expires if it is not finished, to the millisecond; `None` for never.
    pub expires_after: Option<Duration>,
    /// Where its data are.
    pub path: StoragePath,
}

/// The part that an upload plays in a concatenation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UploadKind {
    /// None.
    #[default]
    Regular,
    /// It may become a part of another upload.
    Partial,
    /// It was made of these, in this order, and takes no bytes of its own.
    Final(Box<[UploadId]>),
}

impl UploadInfo {
    /// When the upload expires if it is not finished and its data changed last at `modified`; a time before its creation
    /// counts as that.
    pub fn expires(&self, modified: Option<SystemTime>) -> Option<SystemTime> {
        modified.map_or(self.created, |modified| modified.max(self.created)).checked_add(self.expires_after?)
    }

    /// Reads an info file: that of upload `id`, whose data are at `path` unless it names another.
    ///
    /// # Errors
    /// [`InvalidInfo`](UploadErrorKind::InvalidInfo), which says what is wrong with it;
    /// [`NotFound`](UploadErrorKind::NotFound) if it says that the upload was terminated.
    pub fn from_json(json: &[u8], id: &UploadId, path: StoragePath) -> Result<Self, UploadError> {
        match InfoFile::from_json(json, id, path)? {
            InfoFile { info, terminated: false } => Ok(info),
            InfoFile { terminated: true, .. } => Err(terminated(id)),
        }
    }
}

/// What one hears of an upload that was terminated and is not gone yet.
#[cold]
pub(super) fn terminated(id: &UploadId) -> UploadError {
    UploadError::new(UploadErrorKind::NotFound).of(id).with_detail("it was terminated")
}

/// What an info file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InfoFile {
    pub(super) info: UploadInfo,
    /// The upload is gone, though some of its files may not be yet.
    pub(super) terminated: bool,
}

/// The version of the format: it rises when an older reader would go wrong by what is new.
const VERSION: u32 = 1;

/// An info file as it is. Times are milliseconds (since the Unix epoch), sizes bytes.
///
/// A field that is not known here is skipped, and lost when the file is written anew: one that must not be skipped comes
/// with a new version.
#[derive(Serialize, Deserialize)]
struct Json<'a> {
    version: u32,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    metadata: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_false")]
    partial: bool,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<Cow<'a, str>>>,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_after: Option<u64>,
    /// Where the data are, if not beside this file.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    terminated: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl InfoFile {
    /// The largest info file, in bytes.
    pub(super) const MAX_LEN: usize = 1 << 20;

    /// The file, of an upload whose data are at `path` unless it names another.
    pub(super) fn to_json(&self, path: &StoragePath) -> Result<Vec<u8>, UploadError> {
        let UploadInfo { id, length, metadata, kind, created, expires_after, path: own_path } = &self.info;
        let file = Json {
            version: VERSION,
            id: id.as_str().into(),
            length: *length,
            metadata: metadata.as_str().into(),
            partial: *kind == UploadKind::Partial,
            parts: match kind {
                UploadKind::Final(parts) => Some(parts.iter().map(|part| part.as_str().into()).collect()),
                UploadKind::Regular | UploadKind::Partial => None,
            },
            created: millis(created.duration_since(UNIX_EPOCH).unwrap_or_default()),
            expires_after: expires_after.map(millis),
            path: (own_path != path).then(|| own_path.as_str().into()),
            terminated: self.terminated,
        };
        let mut json = Vec::with_capacity(192 + metadata.as_str().len());
        let written = serde_json::to_writer(&mut json, &file);
        let invalid = || UploadError::new(UploadErrorKind::InvalidInfo).of(id);
        written.map_err(|error| invalid().with_source(error))?;
        if json.len() > Self::MAX_LEN {
            return Err(invalid().with_detail(format!("it would have more than {} bytes", Self::MAX_LEN)));
        }
        Ok(json)
    }

    /// Reads the file of upload `id`, whose data are at `path` unless it names another.
    pub(super) fn from_json(json: &[u8], id: &UploadId, path: StoragePath) -> Result<Self, UploadError> {
        let invalid = || UploadError::new(UploadErrorKind::InvalidInfo).of(id);
        let of_version = |version| invalid().with_detail(format!("it has version {version}, not {VERSION}"));
        let file: Json<'_> = serde_json::from_slice(json).map_err(|error| {
            /// All that is sure to be in the file of another version.
            #[derive(Deserialize)]
            struct Versioned {
                version: u32,
            }
            match serde_json::from_slice(json) {
                Ok(Versioned { version }) if version != VERSION => of_version(version),
                _ => invalid().with_detail("it is torn, or not one of ours").with_source(error),
            }
        })?;
        if file.version != VERSION {
            return Err(of_version(file.version));
        }
        if file.id != id.as_str() {
            return Err(invalid().with_detail("it names another upload"));
        }
        let kind = match file.parts {
            Some(_) if file.partial => return Err(invalid().with_detail("it is of a partial and of a final upload")),
            Some(parts) => {
                let parts: Result<_, _> = parts.iter().map(|part| UploadId::parse(part)).collect();
                UploadKind::Final(parts.map_err(|error| invalid().with_detail("'parts'").with_source(error))?)
            }
            None if file.partial => UploadKind::Partial,
            None => UploadKind::Regular,
        };
        let metadata = Metadata::parse(&file.metadata);
        let created = UNIX_EPOCH.checked_add(Duration::from_millis(file.created));
        let info = UploadInfo {
            id: id.clone(),
            length: file.length,
            metadata: metadata.map_err(|error| invalid().with_detail("'metadata'").with_source(error))?,
            kind,
            created: created.ok_or_else(|| invalid().with_detail("'created' is too far off"))?,
            expires_after: file.expires_after.map(Duration::from_millis),
            path: match file.path {
                Some(own) => {
                    StoragePath::parse(&own).map_err(|error| invalid().with_detail("'path'").with_source(error))?
                }
                None => path,
            },
        };
        Ok(Self { info, terminated: file.terminated })
    }
}

/// A duration as whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An upload as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// What is known of it since its creation.
    pub info: Arc<UploadInfo>,
    /// How many bytes are there, for good: where the next chunk begins.
    pub offset: u64,
    /// When it expires if nothing more arrives; a finished upload never does.
    pub expires: Option<SystemTime>,
}

impl Upload {
    /// An upload whose data have `offset` bytes and changed last at `modified`.
    pub(super) fn new(info: Arc<UploadInfo>, offset: u64, modified: Option<SystemTime>) -> Self {
        let expires = if info.length == Some(offset) { None } else { info.expires(modified) };
        Self { info, offset, expires }
    }

    /// Whether the length is known and reached.
    pub fn is_finished(&self) -> bool {
        self.info.length == Some(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn id() -> UploadId {
        UploadId::parse("a1").unwrap()
    }

    fn beside() -> StoragePath {
        StoragePath::parse("/up/a1").unwrap()
    }

    fn sample() -> UploadInfo {
        UploadInfo {
            id: id(),
            length: Some(u64::MAX),
            metadata: Metadata::parse("filename d29ybGQucGRm, x\",raw /+8=").unwrap(),
            kind: UploadKind::Regular,
            created: UNIX_EPOCH + Duration::from_millis(1_763_696_998_123),
            expires_after: Some(Duration::from_millis(1500)),
            path: beside(),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for (length, kind, path, expires_after, terminated) in [
            (Some(u64::MAX), UploadKind::Regular, beside(), Some(Duration::from_millis(1500)), false),
            (None, UploadKind::Partial, StoragePath::parse("/elsewhere/x").unwrap(), None, true),
            (Some(0), UploadKind::Final([id(), UploadId::parse("b").unwrap(), id()].into()), beside(), None, false),
        ] {
            let file = InfoFile { info: UploadInfo { length, kind, path, expires_after, ..sample() }, terminated };
            let json = file.to_json(&beside()).unwrap();
            assert_eq!(
                InfoFile::from_json(&json, &id(), beside()).unwrap(),
                file,
                "{}",
                String::from_utf8_lossy(&json)
            );
        }
    }

    #[test]
    fn the_file_names_only_what_is_there() {
        let info = UploadInfo { length: None, metadata: Metadata::default(), expires_after: None, ..sample() };
        let json = InfoFile { info, terminated: false }.to_json(&beside()).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"version":1,"id":"a1","created":1763696998123}"#);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_error_or_a_sound_info_and_never_a_panic() {
        let json = InfoFile { info: sample(), terminated: false }.to_json(&beside()).unwrap();
        for end in 0..json.len() {
            let error = UploadInfo::from_json(&json[..end], &id(), beside()).unwrap_err();
            assert_eq!((error.kind(), error.id()), (UploadErrorKind::InvalidInfo, Some(&id())));
            for bit in 0..8 {
                let mut flipped = json.clone();
                flipped[end] ^= 1 << bit;
                if let Err(error) = UploadInfo::from_json(&flipped, &id(), beside()) {
                    assert_eq!(error.kind(), UploadErrorKind::InvalidInfo);
                }
            }
        }
    }

    #[test]
    fn what_is_not_an_info_of_this_upload_is_refused_with_the_reason() {
        for (json, reason) in [
            ("", "torn"),
            ("null", "torn"),
            ("[]", "torn"),
            ("\0\0\0\0", "torn"),
            (r#"{"ID":"a1","Size":5}"#, "torn"),
            (r#"{"version":1,"id":"a1"}"#, "torn"),
            (r#"{"version":1,"id":"a1","created":0}x"#, "torn"),
            (r#"{"version":1,"id":"a1","created":-1}"#, "torn"),
            (r#"{"version":1,"id":"a1","created":0,"length":1.5}"#, "torn"),
            (r#"{"version":1,"id":"a1","created":0,"length":18446744073709551616}"#, "torn"),
            (r#"{"version":1,"id":"a1","created":0,"length":1,"length":2}"#, "torn"),
            (r#"{"version":2,"id":"a1","created":0}"#, "version 2"),
            (r#"{"version":3,"name":"of another shape"}"#, "version 3"),
            (r#"{"version":1,"id":"b1","created":0}"#, "another upload"),
            (r#"{"version":1,"id":"a1","created":0,"metadata":"a ?"}"#, "metadata"),
            (r#"{"version":1,"id":"a1","created":0,"path":"/../etc"}"#, "path"),
            (r#"{"version":1,"id":"a1","created":0,"parts":["."]}"#, "parts"),
            (r#"{"version":1,"id":"a1","created":0,"parts":[],"partial":true}"#, "partial and of a final"),
            (r#"{"version":1,"id":"a1","created":18446744073709551615}"#, ""),
        ] {
            match UploadInfo::from_json(json.as_bytes(), &id(), beside()) {
                Err(error) => {
                    assert_eq!(error.kind(), UploadErrorKind::InvalidInfo, "{json}");
                    assert!(error.detail().unwrap().contains(reason), "{json}: {error}");
                    assert!(error.source().is_none_or(|source| !error.to_string().contains(&source.to_string())));
                }
                Ok(info) => assert_eq!((reason, info.expires(None)), ("", None), "{json}"),
            }
        }
    }

    #[test]
    fn an_unknown_field_is_skipped() {
        let json = br#"{"version":1,"id":"a1","created":0,"color":["green"],"length":7}"#;
        assert_eq!(UploadInfo::from_json(json, &id(), beside()).unwrap().length, Some(7));
    }

    #[test]
    fn one_that_was_terminated_is_not_found() {
        let json = InfoFile { info: sample(), terminated: true }.to_json(&beside()).unwrap();
        let error = UploadInfo::from_json(&json, &id(), beside()).unwrap_err();
        assert_eq!(error.kind(), UploadErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_could_not_be_read_again_is_not_written() {
        let info = UploadInfo { kind: UploadKind::Final(vec![id(); 300_000].into()), ..sample() };
        assert!(InfoFile { info, terminated: false }.to_json(&beside()).is_err());
    }

    #[test]
    fn it_expires_a_while_after_its_last_change() {
        let info = sample();
        let after = Duration::from_millis(1500);
        let later = info.created + Duration::from_secs(60);
        assert_eq!(info.expires(None), Some(info.created + after));
        assert_eq!(info.expires(Some(later)), Some(later + after));
        assert_eq!(info.expires(Some(UNIX_EPOCH)), Some(info.created + after));
        assert_eq!(UploadInfo { expires_after: None, ..info }.expires(Some(later)), None);
    }
}
