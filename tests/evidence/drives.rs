//! A file system in a file, mounted by way of a loop device.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::common::{quick, run};

/// A mounted file system. Dropped, it is unmounted and gone.
pub struct Drive {
    dir: TempDir,
}

impl Drive {
    /// A new one of so many MiB; none where there are no loop devices.
    pub fn new(mkfs: &str, arguments: &[&str], mib: u64) -> Option<Self> {
        let drive = Self { dir: quick() };
        let image = drive.dir.path().join("image");
        File::create_new(&image).unwrap().set_len(mib << 20).unwrap();
        run(Command::new(mkfs).args(arguments).arg(&image));
        fs::create_dir(drive.path()).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(drive.path()).output().unwrap();
        mounted.status.success().then_some(drive)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("drive")
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}
