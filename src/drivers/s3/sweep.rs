//! Ending what crashes left behind.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::complete::can_never_complete;
use super::head::State;
use super::keys::Id;
use super::listing::{Listed, Listing, Upload};
use super::store::Store;
use crate::error::{ErrorKind, Result};
use crate::path::StoragePath;

/// What was found, and may go unless a head names it.
struct Leftovers {
    /// Key, file and name of each.
    segments: Vec<(String, Id, Id)>,
    uploads: Vec<(StoragePath, Upload)>,
    spared_files: HashSet<Id>,
    spared_segments: HashSet<Id>,
    spared_paths: HashSet<StoragePath>,
    spared_uploads: HashSet<Box<str>>,
    /// Whether a head could not be read: then nobody knows what it names.
    unsure: bool,
}

impl Leftovers {
    /// All of this file may be in use.
    fn spare(&mut self, path: &StoragePath, file: Id) {
        self.spared_files.insert(file);
        self.spared_paths.insert(path.clone());
    }
}

impl Store {
    /// See [`sweep`](crate::StorageDriver::sweep). What is older than `older_than` goes, so that must be longer than any
    /// request can take.
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<u64> {
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let old = |time: Option<SystemTime>| time.is_some_and(|time| time <= limit);
        // First what may go, then the heads: what a head comes to name later is younger than this list.
        let mut left = self.leftovers(old).await?;
        let mut swept = 0;
        let mut heads = Listing::of(self.keys.heads_below(&StoragePath::root()));
        while let Some(page) = self.client.page(&mut heads).await? {
            for listed in page.objects {
                let Some(path) = self.keys.path_of_head(&listed.key) else { continue };
                let uploads = left.uploads.iter().any(|(of, _)| *of == path);
                if old(listed.modified) || uploads || !left.segments.is_empty() {
                    swept += u64::from(self.sweep_head(&path, &mut left, old).await?);
                }
            }
        }
        let Leftovers { segments, uploads, spared_files, spared_segments, spared_paths, spared_uploads, unsure } = left;
        for (path, upload) in uploads {
            if !unsure && !spared_paths.contains(&path) && !spared_uploads.contains(&*upload.id) {
                self.client.abort(&upload.key, &upload.id).await?;
                swept += 1;
            }
        }
        let gone = |(_, file, name): &(String, Id, Id)| {
            !unsure && !spared_files.contains(file) && !spared_segments.contains(name)
        };
        let mut gone: Vec<String> = segments.into_iter().filter(gone).map(|(key, ..)| key).collect();
        let probes = self.list_all(&self.keys.probes()).await?;
        gone.extend(probes.into_iter().filter(|probe| old(probe.modified)).map(|probe| probe.key));
        if !gone.is_empty() {
            self.client.delete_all(&gone).await?;
        }
        Ok(swept + gone.len() as u64)
    }

    async fn leftovers(&self, old: impl Fn(Option<SystemTime>) -> bool) -> Result<Leftovers> {
        let segments = self.list_all(&self.keys.segments()).await?;
        let segments = segments.into_iter().filter(|segment| old(segment.modified)).filter_map(|segment| {
            let (file, name) = self.keys.parse_segment(&segment.key)?;
            Some((segment.key, file, name))
        });
        let segments = segments.collect();
        let mut uploads = Vec::new();
        for upload in self.client.uploads(self.keys.root()).await? {
            let Some(path) = self.keys.path_of_object(&upload.key) else {
                if upload.key.starts_with(&self.keys.probes()) && old(upload.initiated) {
                    self.client.abort(&upload.key, &upload.id).await?;
                }
                continue;
            };
            // An upload that goes on for days is judged by its youngest part, not by its beginning.
            if old(upload.initiated) {
                let youngest = self.client.youngest_part(&upload.key, &upload.id).await?;
                if youngest.is_none() || old(youngest) {
                    uploads.push((path, upload));
                }
            }
        }
        Ok(Leftovers {
            segments,
            uploads,
            spared_files: HashSet::new(),
            spared_segments: HashSet::new(),
            spared_paths: HashSet::new(),
            spared_uploads: HashSet::new(),
            unsure: false,
        })
    }

    /// Ends the file of an old head; of a young one it finds out what it names. `true` if the head went.
    async fn sweep_head(
        &self,
        path: &StoragePath,
        left: &mut Leftovers,
        old: impl Fn(Option<SystemTime>) -> bool,
    ) -> Result<bool> {
        let (held, modified) = match self.read_head_at(path).await {
            Ok(Some(there)) => there,
            Ok(None) => return Ok(false),
            Err(error) => {
                tracing::warn!(%path, %error, "a head can't be read; nothing that it may name is swept");
                left.unsure = true;
                return Ok(false);
            }
        };
        let file = held.head.file;
        if !old(modified) {
            let has =
                left.segments.iter().any(|(_, of, _)| *of == file) || left.uploads.iter().any(|(of, _)| of == path);
            if !has {
                return Ok(false);
            }
            if held.head.state == State::Dead {
                left.spare(path, file);
                return Ok(false);
            }
            // A slow writer that is about to record one of these loses now, instead of being acknowledged.
            let mut head = held.head;
            match self.put_head(path, &mut head, Some(&held.etag)).await {
                Ok(_) => {
                    left.spared_segments.extend(head.segments.iter().map(|segment| segment.name));
                    left.spared_uploads.extend(head.upload);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => left.spare(path, file),
                Err(error) => return Err(error),
            }
            return Ok(false);
        }
        if held.head.state == State::Sealed && self.object(path).await?.is_none() {
            match self.complete(path, held.clone()).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) if can_never_complete(&error) => {
                    tracing::warn!(%path, %error, "a sealed file can never be completed, and goes");
                }
                Err(error) => {
                    tracing::warn!(%path, %error, "a sealed file can't be completed now, and stays");
                    left.spare(path, file);
                    return Ok(false);
                }
            }
        }
        let stayed = held.head.state == State::Dead && self.keeps_dead_heads();
        match self.kill(path, held).await {
            // It is older than any request of those who knew it can take, and was won just now.
            Ok(_) if stayed => self.client.delete_once(&self.keys.head(path)).await?,
            Ok(killed) => self.drop_head(path, killed).await,
            Err(error) if error.kind() == ErrorKind::Conflict => {
                left.spare(path, file);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// All keys that begin with `prefix`.
    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>> {
        let (mut all, mut listing) = (Vec::new(), Listing::of(prefix));
        while let Some(page) = self.client.page(&mut listing).await? {
            all.extend(page.objects);
        }
        Ok(all)
    }
}
