//! A file system in memory that forgets, at a power cut, all that was not synced: the bytes and size of a file since its
//! last fsync or fdatasync, its mode and attributes since its last fsync, and the names of a directory since the fsync
//! of that directory. The sync of a file does not save its name, so a name can come back with no byte behind it.
//!
//! It is mounted by FUSE, which takes root and `/dev/fuse`.

mod disk;
mod fuse;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fuser::{BackgroundSession, Config, MountOption};
use rustix::mount::UnmountFlags;
use tempfile::TempDir;

use self::disk::Disk;
use self::fuse::Fuse;

pub(crate) struct ForgetfulFs {
    disk: Arc<Mutex<Disk>>,
    mount_point: TempDir,
    session: Option<BackgroundSession>,
}

/// What becomes of a change that was not synced: a page of a write, a size, a name, a mode.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// All are gone.
    All,
    /// By chance, of this seed, some are gone. A file never ends past bytes that it lost, as if it got its new size once the
    /// bytes below were written.
    Some(u64),
    /// As `Some`, but a file can end past bytes that it lost, which are zeros then: its size and its pages were written in
    /// any order.
    SomeWithHoles(u64),
}

impl ForgetfulFs {
    /// An empty one, or `None` where FUSE can't be had; that is said on stderr, past the capture of the test runner.
    ///
    /// `HOLDALL_TEST_POWER_CUT=require` makes that a failure, `skip` leaves these tests out.
    pub(crate) fn mount() -> Option<Self> {
        let wish = std::env::var("HOLDALL_TEST_POWER_CUT").unwrap_or_default();
        let obstacle = match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
            _ if wish == "skip" => Some("HOLDALL_TEST_POWER_CUT=skip".to_owned()),
            _ if !rustix::process::geteuid().is_root() => Some("mounting takes root".to_owned()),
            Err(error) => Some(format!("/dev/fuse: {error}")),
            Ok(_) => None,
        };
        if let Some(obstacle) = obstacle {
            assert_ne!(wish, "require", "power cuts can't be tested: {obstacle}");
            let name = std::thread::current().name().unwrap_or("a power cut test").to_owned();
            writeln!(std::io::stderr(), "SKIPPED {name}: {obstacle}").unwrap();
            return None;
        }
        let mut new = Self {
            disk: Arc::new(Mutex::new(Disk::new())),
            mount_point: tempfile::Builder::new().prefix("forgetful-").tempdir().unwrap(),
            session: None,
        };
        new.start();
        Some(new)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.mount_point.path()
    }

    /// Forgets what was not synced. Files that are still open fail from now on.
    pub(crate) fn power_cut(&mut self, loss: Loss) {
        self.stop();
        self.disk.lock().unwrap().cut(loss);
        self.start();
    }

    /// Lets the next sync of a file fail, as on a disk that is broken.
    pub(crate) fn fail_next_sync(&self) {
        self.disk.lock().unwrap().next_sync_fails = true;
    }

    /// Lets the next sync of a directory fail.
    pub(crate) fn fail_next_directory_sync(&self) {
        self.disk.lock().unwrap().next_directory_sync_fails = true;
    }

    fn start(&mut self) {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".into()), MountOption::NoAtime];
        let fuse = Fuse::new(self.disk.clone());
        self.session = Some(fuser::spawn_mount(fuse, self.mount_point.path(), &config).unwrap());
    }

    fn stop(&mut self) {
        if let Some(session) = self.session.take() {
            // FORCE ends the connection, so that nobody waits for an answer; DETACH lets files stay open.
            rustix::mount::unmount(self.mount_point.path(), UnmountFlags::FORCE | UnmountFlags::DETACH).unwrap();
            match session.join() {
                Err(error) if error.kind() != std::io::ErrorKind::ConnectionAborted => panic!("{error}"),
                _ => {}
            }
        }
    }
}

impl Drop for ForgetfulFs {
    fn drop(&mut self) {
        self.stop();
    }
}
