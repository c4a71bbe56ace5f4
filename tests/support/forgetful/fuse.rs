//! The calls of the kernel, carried out on [`Disk`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::disk::{Content, Disk, Inode};

/// Nobody but the kernel changes anything, so what it knows stays true.
const TTL: Duration = Duration::from_secs(3600);
const BLOCK: u32 = 4096;
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

type Names = Vec<(u64, FileType, OsString)>;

pub(super) struct Fuse {
    disk: Arc<Mutex<Disk>>,
    /// What each open directory listed when its reading began.
    listings: Mutex<HashMap<u64, Names>>,
    next_handle: AtomicU64,
}

impl Fuse {
    pub(super) fn new(disk: Arc<Mutex<Disk>>) -> Self {
        Self { disk, listings: Mutex::default(), next_handle: AtomicU64::new(1) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn attr(&self, number: u64) -> Result<FileAttr, Errno> {
        Ok(attr(number, self.disk().inode(number)?))
    }

    fn create(&self, parent: INodeNo, name: &OsStr, new: Inode) -> Result<FileAttr, Errno> {
        let number = self.disk().create(parent.0, name, new)?;
        self.attr(number)
    }

    fn set(&self, number: u64, change: impl FnOnce(&mut Inode)) -> Result<FileAttr, Errno> {
        let mut disk = self.disk();
        let inode = disk.inode(number)?;
        change(inode);
        inode.meta.changed = SystemTime::now();
        Ok(attr(number, inode))
    }

    fn listing(&self, number: u64) -> Result<Names, Errno> {
        let mut disk = self.disk();
        let names: Vec<_> = disk.directory(number)?.live.iter().map(|(name, at)| (name.clone(), *at)).collect();
        let mut listing = vec![(number, FileType::Directory, ".".into()), (number, FileType::Directory, "..".into())];
        for (name, at) in names {
            listing.push((at, kind(disk.inode(at)?), name));
        }
        Ok(listing)
    }

    fn attribute(&self, number: u64, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.disk().inode(number)?.meta.attributes.get(name).cloned().ok_or(Errno::ENODATA)
    }
}

fn kind(inode: &Inode) -> FileType {
    match inode.content {
        Content::File(_) => FileType::RegularFile,
        Content::Directory(_) => FileType::Directory,
        Content::Symlink(_) => FileType::Symlink,
    }
}

fn attr(number: u64, inode: &Inode) -> FileAttr {
    let meta = &inode.meta;
    FileAttr {
        ino: INodeNo(number),
        size: inode.size(),
        blocks: inode.size().div_ceil(512),
        atime: meta.accessed,
        mtime: meta.modified,
        ctime: meta.changed,
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(inode),
        perm: meta.mode,
        nlink: inode.links,
        uid: meta.uid,
        gid: meta.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

/// Sends a result in the way that its kind of reply has.
macro_rules! answer {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(()) => $reply.ok(),
            Err(error) => $reply.error(error),
        }
    };
    ($reply:ident, $result:expr, $value:ident => $send:expr) => {
        match $result {
            Ok($value) => $send,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Fuse {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.disk().lookup(parent.0, name);
        let found = found.and_then(|number| self.attr(number));
        answer!(reply, found, attr => reply.entry(&TTL, &attr, Generation(0)));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attr(number.0), attr => reply.attr(&TTL, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            match self.disk().file(number.0) {
                Ok(file) => file.resize(size),
                Err(error) => return reply.error(error),
            }
        }
        let changed = self.set(number.0, |inode| {
            if size.is_some() {
                inode.touch();
            }
            let meta = &mut inode.meta;
            meta.mode = mode.map_or(meta.mode, |mode| (mode & 0o7777) as u16);
            meta.uid = uid.unwrap_or(meta.uid);
            meta.gid = gid.unwrap_or(meta.gid);
            meta.accessed = accessed.map_or(meta.accessed, time);
            meta.modified = modified.map_or(meta.modified, time);
        });
        answer!(reply, changed, attr => reply.attr(&TTL, &attr));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.disk().inode(number.0).map(|inode| &inode.content) {
            Ok(Content::Symlink(target)) => reply.data(target.as_os_str().as_encoded_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let new = Inode::directory(mode & !umask, request.uid(), request.gid());
        answer!(reply, self.create(parent, name, new), attr => reply.entry(&TTL, &attr, Generation(0)));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let new = Inode::symlink(target, request.uid(), request.gid());
        answer!(reply, self.create(parent, name, new), attr => reply.entry(&TTL, &attr, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.disk().unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.disk().rmdir(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let replace = flags.is_empty();
        answer!(reply, self.disk().rename((parent.0, name), (new_parent.0, new_name), replace));
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.disk().link(number.0, parent.0, name);
        let linked = linked.and_then(|()| self.attr(number.0));
        answer!(reply, linked, attr => reply.entry(&TTL, &attr, Generation(0)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let new = Inode::file(mode & !umask, request.uid(), request.gid());
        answer!(reply, self.create(parent, name, new), attr => {
            reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty())
        });
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, self.disk().file(number.0), file => {
            let start = file.live.len().min(offset as usize);
            let end = file.live.len().min(start + size as usize);
            reply.data(&file.live[start..end]);
        });
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = self.disk();
        let written = disk.file(number.0).map(|file| file.write(offset, data));
        let written = written.and_then(|()| disk.inode(number.0)).map(Inode::touch);
        answer!(reply, written, _unit => reply.written(data.len() as u32));
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, only_data: bool, reply: ReplyEmpty) {
        answer!(reply, self.disk().sync_file(number.0, only_data));
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(self.next_handle.fetch_add(1, Ordering::Relaxed)), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut listings = self.listings.lock().unwrap();
        if offset == 0 {
            match self.listing(number.0) {
                Ok(listing) => listings.insert(handle.0, listing),
                Err(error) => return reply.error(error),
            };
        }
        let rest = listings.get(&handle.0).into_iter().flatten().enumerate().skip(offset as usize);
        for (index, (number, kind, name)) in rest {
            if reply.add(INodeNo(*number), index as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().unwrap().remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.disk().sync_directory(number.0));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 24;
        reply.statfs(blocks, blocks, blocks, blocks, blocks, BLOCK, 255, BLOCK);
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let there = self.attribute(number.0, name).is_ok();
        let set = match flags {
            XATTR_CREATE if there => Err(Errno::EEXIST),
            XATTR_REPLACE if !there => Err(Errno::ENODATA),
            _ => self.set(number.0, |inode| {
                inode.meta.attributes.insert(name.to_owned(), value.to_vec());
            }),
        };
        answer!(reply, set.map(drop));
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        send_attribute(self.attribute(number.0, name), size, reply);
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let mut disk = self.disk();
        let names = disk.inode(number.0).map(|inode| {
            inode.meta.attributes.keys().flat_map(|name| [name.as_encoded_bytes(), b"\0"].concat()).collect()
        });
        send_attribute(names, size, reply);
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let there = self.attribute(number.0, name);
        let removed = there.and_then(|_| self.set(number.0, |inode| drop(inode.meta.attributes.remove(name))));
        answer!(reply, removed.map(drop));
    }
}

fn send_attribute(value: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(error),
    }
}
