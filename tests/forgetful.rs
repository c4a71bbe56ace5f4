//! The forgetful file system of the power cut tests forgets what it should, and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags};

use crate::support::forgetful::{ForgetfulFs, Loss};

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn write_synced(path: &Path, content: &[u8]) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    sync(path.parent().unwrap());
    file
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_synced_stays_and_what_was_not_is_gone() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let root = forgetful.path().to_owned();
    let mut file = write_synced(&root.join("kept"), b"synced");
    file.write_all(b", not synced").unwrap();
    let mut other = write_synced(&root.join("overwritten"), b"before");
    other.seek(SeekFrom::Start(0)).unwrap();
    other.write_all(b"behind").unwrap();
    other.set_len(3).unwrap();
    let mut data_only = write_synced(&root.join("data-only"), b"");
    data_only.write_all(b"data").unwrap();
    data_only.sync_data().unwrap();
    assert_eq!(fs::read(root.join("kept")).unwrap(), b"synced, not synced");
    assert_eq!(fs::read(root.join("overwritten")).unwrap(), b"beh");
    forgetful.power_cut(Loss::All);
    assert_eq!(fs::read(root.join("kept")).unwrap(), b"synced");
    assert_eq!(fs::read(root.join("overwritten")).unwrap(), b"before");
    assert_eq!(fs::read(root.join("data-only")).unwrap(), b"data");
    assert!(file.write_all(b"from the past").is_err(), "a file open across the cut is dead");
}

#[test]
fn a_name_needs_the_sync_of_its_directory_and_bytes_that_of_their_file() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let root = forgetful.path().to_owned();
    File::create(root.join("nameless")).unwrap().sync_all().unwrap();
    fs::create_dir(root.join("directory")).unwrap();
    fs::write(root.join("directory/inside"), b"x").unwrap();
    fs::write(root.join("empty"), b"bytes that nobody synced").unwrap();
    fs::create_dir(root.join("lost")).unwrap();
    fs::remove_dir(root.join("lost")).unwrap();
    sync(&root);
    fs::remove_file(root.join("nameless")).unwrap();
    fs::create_dir(root.join("late")).unwrap();
    File::create(root.join("late/deep")).unwrap().sync_all().unwrap();
    sync(&root.join("late"));
    forgetful.power_cut(Loss::All);
    assert_eq!(names(&root), ["directory", "empty", "nameless"], "an unlink that was not synced is undone");
    assert_eq!(fs::read(root.join("empty")).unwrap(), b"");
    assert_eq!(names(&root.join("directory")), [""; 0]);
}

#[test]
fn a_rename_lasts_with_the_sync_of_its_directories() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let root = forgetful.path().to_owned();
    for directory in ["a", "b"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    sync(&root);
    for name in ["a/undone", "a/both", "a/moved", "a/only-source", "b/target"] {
        write_synced(&root.join(name), name.as_bytes());
    }
    fs::rename(root.join("a/both"), root.join("b/both")).unwrap();
    sync(&root.join("b"));
    forgetful.power_cut(Loss::All);
    assert_eq!(fs::read(root.join("a/both")).unwrap(), b"a/both", "the old name was not synced away");
    assert_eq!(fs::read(root.join("b/both")).unwrap(), b"a/both");
    assert_eq!(fs::metadata(root.join("b/both")).unwrap().nlink(), 2);

    fs::rename(root.join("a/only-source"), root.join("b/target")).unwrap();
    sync(&root.join("a"));
    fs::rename(root.join("a/undone"), root.join("b/undone")).unwrap();
    forgetful.power_cut(Loss::All);
    assert_eq!(fs::read(root.join("b/target")).unwrap(), b"a/only-source", "a rename never loses the file");
    assert_eq!(names(&root.join("a")), ["both", "moved", "undone"]);
    assert_eq!(names(&root.join("b")), ["both", "target"]);

    fs::rename(root.join("a"), root.join("b/a")).unwrap();
    sync(&root.join("b"));
    forgetful.power_cut(Loss::All);
    assert_eq!(names(&root), ["b"], "a directory is never in two places");
    assert_eq!(names(&root.join("b/a")), ["both", "moved", "undone"]);
}

#[test]
fn chance_keeps_some_of_what_was_not_synced_and_the_same_with_the_same_seed() {
    const PAGES: usize = 64;
    let outcome = |loss: Loss| {
        let mut forgetful = ForgetfulFs::mount()?;
        let root = forgetful.path().to_owned();
        let mut file = write_synced(&root.join("file"), &[1; 4096]);
        file.write_all(&[2; PAGES * 4096]).unwrap();
        for index in 0..16 {
            fs::write(root.join(format!("name-{index}")), b"x").unwrap();
        }
        forgetful.power_cut(loss);
        let content = fs::read(root.join("file")).unwrap();
        assert!(content[..4096] == [1; 4096], "what was synced is never touched");
        assert!(content[4096..].iter().all(|byte| [0, 2].contains(byte)));
        Some((content, names(&root)))
    };
    let Some(first) = outcome(Loss::Some(1)) else { return };
    assert!(Some(first) == outcome(Loss::Some(1)), "one seed, two outcomes");
    let outcomes: Vec<_> = (1..20).map(Loss::Some).filter_map(outcome).collect();
    assert!(outcomes.iter().all(|(content, _)| !content.contains(&0)), "a file ends before what it lost");
    assert!(
        outcomes.iter().any(|(content, _)| (8192..(PAGES + 1) * 4096).contains(&content.len())),
        "some of it stays"
    );
    assert!(outcomes.iter().any(|(content, _)| content.len() == (PAGES + 1) * 4096), "or all of it");
    assert!(outcomes.iter().any(|(_, names)| (2..16).contains(&names.len())), "or some of the names");
    let outcomes: Vec<_> = (1..20).map(Loss::SomeWithHoles).filter_map(outcome).collect();
    assert!(outcomes.iter().any(|(content, _)| content[4096..].contains(&0)), "zeros before a page that stayed");
}

#[test]
fn mode_and_attributes_follow_fsync_and_not_fdatasync() {
    let Some(mut forgetful) = ForgetfulFs::mount() else { return };
    let path = forgetful.path().join("file");
    let file = write_synced(&path, b"x");
    file.set_permissions(fs::Permissions::from_mode(0o1640)).unwrap();
    rustix::fs::setxattr(&path, "user.tag", b"value", XattrFlags::CREATE).unwrap();
    let mut value = [0; 16];
    assert_eq!(rustix::fs::getxattr(&path, "user.tag", &mut value).unwrap(), 5);
    assert_eq!(rustix::fs::listxattr(&path, &mut value).unwrap(), "user.tag\0".len());
    file.sync_data().unwrap();
    forgetful.power_cut(Loss::All);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    assert!(rustix::fs::getxattr(&path, "user.tag", &mut value).is_err());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1640)).unwrap();
    sync(&path);
    forgetful.power_cut(Loss::All);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o1640);
}

#[test]
fn it_does_what_a_file_system_does() {
    let Some(forgetful) = ForgetfulFs::mount() else { return };
    let root = forgetful.path().to_owned();
    let exclusive = || OpenOptions::new().write(true).create_new(true).open(root.join("one"));
    let mut one = exclusive().unwrap();
    assert_eq!(exclusive().unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    one.write_all(&[7; 300_000]).unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    let (one_info, two_info) = (fs::metadata(root.join("one")).unwrap(), fs::metadata(root.join("two")).unwrap());
    assert_eq!((one_info.ino(), one_info.nlink(), one_info.size()), (two_info.ino(), 2, 300_000));
    let refused = rustix::fs::renameat_with(CWD, root.join("one"), CWD, root.join("two"), RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(rustix::io::Errno::EXIST));
    fs::write(root.join("three"), b"short").unwrap();
    fs::rename(root.join("three"), root.join("two")).unwrap();
    assert_eq!((fs::read(root.join("two")).unwrap(), one.metadata().unwrap().nlink()), (b"short".to_vec(), 1));

    let mut copy = File::create(root.join("copy")).unwrap();
    assert_eq!(std::io::copy(&mut File::open(root.join("one")).unwrap(), &mut copy).unwrap(), 300_000);
    fs::remove_file(root.join("one")).unwrap();
    one.write_all(b"after the unlink").unwrap();
    assert_eq!(one.metadata().unwrap().len(), 300_016);

    let (first, second) = (File::open(root.join("copy")).unwrap(), File::open(root.join("copy")).unwrap());
    first.try_lock().unwrap();
    assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
    drop(first);
    second.try_lock().unwrap();

    fs::create_dir_all(root.join("deep/er")).unwrap();
    symlink("/etc", root.join("deep/out")).unwrap();
    let directory = File::open(root.join("deep")).unwrap();
    let beneath = |path: &str| {
        rustix::fs::openat2(&directory, path, OFlags::RDONLY, Mode::empty(), ResolveFlags::BENEATH).map(drop)
    };
    assert_eq!(beneath("er"), Ok(()));
    assert_eq!((beneath("out"), beneath("../copy")), (Err(rustix::io::Errno::XDEV), Err(rustix::io::Errno::XDEV)));
    assert_eq!(fs::remove_dir(root.join("deep")).unwrap_err().kind(), std::io::ErrorKind::DirectoryNotEmpty);
    fs::remove_dir_all(root.join("deep")).unwrap();

    for index in 0..2000 {
        File::create(root.join(format!("many-{index:04}"))).unwrap();
    }
    let mut seen = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("many-") {
            fs::remove_file(entry.path()).unwrap();
            seen += 1;
        }
    }
    assert_eq!((seen, names(&root)), (2000, vec!["copy".to_owned(), "two".to_owned()]));
    assert!(rustix::fs::statvfs(&root).unwrap().f_bavail > 0);
    let mut content = Vec::new();
    File::open(root.join("copy")).unwrap().read_to_end(&mut content).unwrap();
    assert!(content == [7; 300_000]);
}
