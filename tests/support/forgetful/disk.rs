//! What the forgetful file system holds: each inode as programs see it, and what a power cut leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fuser::Errno;

use super::Loss;
use crate::support::rng::Rng;

pub(super) const ROOT: u64 = 1;
const PAGE: usize = 4096;

/// All inodes by number. A number is never given twice.
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    next_rename: u64,
    /// The next sync of a file fails.
    pub(super) next_sync_fails: bool,
    /// The next sync of a directory fails.
    pub(super) next_directory_sync_fails: bool,
}

pub(super) struct Inode {
    pub(super) meta: Meta,
    synced_meta: Meta,
    pub(super) links: u32,
    pub(super) content: Content,
}

#[derive(Clone)]
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
    pub(super) attributes: BTreeMap<OsString, Vec<u8>>,
}

pub(super) enum Content {
    File(FileContent),
    Directory(Directory),
    Symlink(PathBuf),
}

#[derive(Default)]
pub(super) struct FileContent {
    pub(super) live: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Default)]
pub(super) struct Directory {
    pub(super) live: BTreeMap<OsString, u64>,
    synced: BTreeMap<OsString, u64>,
    pending: Vec<Edit>,
}

/// A name that came (`inode`) or went.
struct Edit {
    name: OsString,
    inode: Option<u64>,
    rename: Option<Rename>,
}

/// Joins the two edits of a rename. The new name lasts if the loss of the old one does, so a file is never without both;
/// the loss of a file's old name needs its own sync. A directory changes its place in one step.
#[derive(Clone, Copy)]
struct Rename {
    id: u64,
    of_directory: bool,
}

impl FileContent {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        write_at(&mut self.live, offset, bytes);
        match self.pending.last_mut() {
            // The kernel may cut one write into several, not always at the same places.
            Some(Change::Write(start, before)) if *start + before.len() as u64 == offset => before.extend(bytes),
            _ => self.pending.push(Change::Write(offset, bytes.to_vec())),
        }
    }

    pub(super) fn resize(&mut self, size: u64) {
        self.live.resize(size as usize, 0);
        self.pending.push(Change::Resize(size));
    }

    fn sync(&mut self) {
        for change in mem::take(&mut self.pending) {
            match change {
                Change::Write(offset, bytes) => write_at(&mut self.synced, offset, &bytes),
                Change::Resize(size) => self.synced.resize(size as usize, 0),
            }
        }
    }

    /// Each page of each write survives by itself. Where `holes` may come to be, lost pages below a surviving one are zeros;
    /// else the file ends before the first lost page past its synced end. A change of the size comes before the writes
    /// after it, as the journal of a real file system has it.
    fn cut(&mut self, holes: bool, survives: &mut impl FnMut() -> bool) {
        let mut held = Vec::new();
        for change in mem::take(&mut self.pending) {
            match change {
                Change::Write(offset, bytes) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let position = offset as usize + at;
                        let end = bytes.len().min(at + PAGE - position % PAGE);
                        if survives() && (holes || held.last().map_or(self.synced.len(), |size| *size) >= position) {
                            held.drain(..).for_each(|size| self.synced.resize(size, 0));
                            write_at(&mut self.synced, position as u64, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
                Change::Resize(size) => {
                    held.push(size as usize);
                    if survives() {
                        held.drain(..).for_each(|size| self.synced.resize(size, 0));
                    }
                }
            }
        }
        self.live = self.synced.clone();
    }
}

fn write_at(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = offset as usize;
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Directory {
    fn edit(&mut self, name: &OsStr, inode: Option<u64>, rename: Option<Rename>) {
        apply(&mut self.live, name, inode);
        self.pending.push(Edit { name: name.to_owned(), inode, rename });
    }

    /// Makes one edit last, with what came before it of the same name.
    fn sync_rename(&mut self, id: u64, names_that_come: bool) {
        let is_it =
            |edit: &Edit| edit.inode.is_some() == names_that_come && edit.rename.is_some_and(|rename| rename.id == id);
        let Some(last) = self.pending.iter().position(is_it) else { return };
        let Edit { name, inode, .. } = self.pending.remove(last);
        apply(&mut self.synced, &name, inode);
        let mut index = 0;
        self.pending.retain(|edit| {
            index += 1;
            index > last || edit.name != name
        });
    }
}

fn apply(names: &mut BTreeMap<OsString, u64>, name: &OsStr, inode: Option<u64>) {
    match inode {
        Some(inode) => names.insert(name.to_owned(), inode),
        None => names.remove(name),
    };
}

impl Disk {
    pub(super) fn new() -> Self {
        let root = Inode::new(Content::Directory(Directory::default()), 0o755, 0, 0);
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_inode: ROOT + 1,
            next_rename: 0,
            next_sync_fails: false,
            next_directory_sync_fails: false,
        }
    }

    pub(super) fn inode(&mut self, inode: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&inode).ok_or(Errno::ESTALE)
    }

    pub(super) fn file(&mut self, inode: u64) -> Result<&mut FileContent, Errno> {
        match &mut self.inode(inode)?.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(Errno::EISDIR),
            Content::Symlink(_) => Err(Errno::EINVAL),
        }
    }

    pub(super) fn directory(&mut self, inode: u64) -> Result<&mut Directory, Errno> {
        match &mut self.inode(inode)?.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn lookup(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.directory(parent)?.live.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn is_directory(&mut self, inode: u64) -> Result<bool, Errno> {
        Ok(matches!(self.inode(inode)?.content, Content::Directory(_)))
    }

    fn edit(&mut self, parent: u64, name: &OsStr, inode: Option<u64>, rename: Option<Rename>) -> Result<(), Errno> {
        self.directory(parent)?.edit(name, inode, rename);
        self.inode(parent)?.touch();
        Ok(())
    }

    pub(super) fn create(&mut self, parent: u64, name: &OsStr, new: Inode) -> Result<u64, Errno> {
        if self.directory(parent)?.live.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, new);
        self.edit(parent, name, Some(inode), None)?;
        Ok(inode)
    }

    pub(super) fn link(&mut self, inode: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if self.directory(parent)?.live.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.inode(inode)?.links += 1;
        self.edit(parent, name, Some(inode), None)
    }

    pub(super) fn unlink(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let inode = self.lookup(parent, name)?;
        if self.is_directory(inode)? {
            return Err(Errno::EISDIR);
        }
        self.inode(inode)?.links -= 1;
        self.edit(parent, name, None, None)
    }

    pub(super) fn rmdir(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let inode = self.lookup(parent, name)?;
        if !self.directory(inode)?.live.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.inode(inode)?.links = 0;
        self.edit(parent, name, None, None)
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Result<(), Errno> {
        let inode = self.lookup(from.0, from.1)?;
        let of_directory = self.is_directory(inode)?;
        if let Ok(replaced) = self.lookup(to.0, to.1) {
            if !replace {
                return Err(Errno::EEXIST);
            }
            if replaced == inode {
                return Ok(());
            }
            match (of_directory, self.is_directory(replaced)?) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) if !self.directory(replaced)?.live.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => self.inode(replaced)?.links -= 1,
            }
        }
        self.next_rename += 1;
        let rename = Some(Rename { id: self.next_rename, of_directory });
        self.edit(from.0, from.1, None, rename)?;
        self.edit(to.0, to.1, Some(inode), rename)
    }

    pub(super) fn sync_file(&mut self, inode: u64, only_data: bool) -> Result<(), Errno> {
        if mem::take(&mut self.next_sync_fails) {
            // It is told once. What was to be written shows on, and no later sync writes it.
            self.file(inode)?.pending.clear();
            return Err(Errno::EIO);
        }
        self.file(inode)?.sync();
        if !only_data {
            let inode = self.inode(inode)?;
            inode.synced_meta = inode.meta.clone();
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, inode: u64) -> Result<(), Errno> {
        if mem::take(&mut self.next_directory_sync_fails) {
            return Err(Errno::EIO);
        }
        let directory = self.directory(inode)?;
        directory.synced = directory.live.clone();
        let edits = mem::take(&mut directory.pending);
        let node = self.inode(inode)?;
        node.synced_meta = node.meta.clone();
        for (edit, rename) in edits.iter().filter_map(|edit| Some((edit, edit.rename?))) {
            if edit.inode.is_none() || rename.of_directory {
                for other in self.directories() {
                    other.sync_rename(rename.id, edit.inode.is_none());
                }
            }
        }
        Ok(())
    }

    fn directories(&mut self) -> impl Iterator<Item = &mut Directory> {
        self.inodes.values_mut().filter_map(|inode| match &mut inode.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        })
    }

    pub(super) fn cut(&mut self, loss: Loss) {
        let (seed, holes) = match loss {
            Loss::All => (0, false),
            Loss::Some(seed) => (seed, false),
            Loss::SomeWithHoles(seed) => (seed, true),
        };
        let mut rng = Rng::new(seed);
        let share = if matches!(loss, Loss::All) { 0 } else { [10, 50, 90, 100][rng.below(4) as usize] };
        let mut survives = || rng.percent(share);

        let mut lasting = BTreeSet::new();
        let mut chances = Vec::new();
        for edit in self.directories().flat_map(|directory| &directory.pending) {
            let survives = survives();
            chances.push(survives);
            if let Some(rename) = edit.rename
                && survives
                && (edit.inode.is_none() || rename.of_directory)
            {
                lasting.insert(rename.id);
            }
        }
        let mut chances = chances.into_iter();
        for directory in self.directories() {
            for edit in mem::take(&mut directory.pending) {
                let survives = chances.next() == Some(true);
                let with_other = edit.rename.is_some_and(|rename| {
                    (edit.inode.is_some() || rename.of_directory) && lasting.contains(&rename.id)
                });
                if survives || with_other {
                    apply(&mut directory.synced, &edit.name, edit.inode);
                }
            }
            directory.live = directory.synced.clone();
        }
        for inode in self.inodes.values_mut() {
            if let Content::File(file) = &mut inode.content {
                file.cut(holes, &mut survives);
            }
            if survives() {
                inode.synced_meta = inode.meta.clone();
            } else {
                inode.meta = inode.synced_meta.clone();
            }
            inode.links = 0;
        }
        self.drop_unreachable();
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::new();
        let mut to_visit = vec![ROOT];
        while let Some(number) = to_visit.pop() {
            let Some(inode) = self.inodes.get_mut(&number) else { continue };
            inode.links += 1;
            if reached.insert(number)
                && let Content::Directory(directory) = &inode.content
            {
                to_visit.extend(directory.live.values());
            }
        }
        self.inodes.retain(|number, _| reached.contains(number));
    }
}

impl Inode {
    fn new(content: Content, mode: u32, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        let mode = (mode & 0o7777) as u16;
        let meta = Meta { mode, uid, gid, accessed: now, modified: now, changed: now, attributes: BTreeMap::default() };
        Self { synced_meta: meta.clone(), meta, links: 1, content }
    }

    pub(super) fn file(mode: u32, uid: u32, gid: u32) -> Self {
        Self::new(Content::File(FileContent::default()), mode, uid, gid)
    }

    pub(super) fn directory(mode: u32, uid: u32, gid: u32) -> Self {
        Self::new(Content::Directory(Directory::default()), mode, uid, gid)
    }

    pub(super) fn symlink(target: &Path, uid: u32, gid: u32) -> Self {
        Self::new(Content::Symlink(target.to_owned()), 0o777, uid, gid)
    }

    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::File(file) => file.live.len() as u64,
            Content::Directory(_) => 0,
            Content::Symlink(target) => target.as_os_str().len() as u64,
        }
    }

    /// The content changed.
    pub(super) fn touch(&mut self) {
        self.meta.modified = SystemTime::now();
        self.meta.changed = self.meta.modified;
    }
}
