//! A drive that can lose its power or be pulled out: a file system in a file, mounted by way of a loop device.
//!
//! The cut is the kernel's own: after `FS_IOC_SHUTDOWN` without flushing the log, nothing that was not durable reaches the
//! drive any more and every call answers with an I/O error. Mounted again, the file system replays its journal as after a
//! power cut.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{has_tool, is_root, run};

/// What a drive is formatted with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Ext4,
    Xfs,
}

/// What becomes of the file system's log at a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    /// It is lost as far as it is not on the drive, as in a power cut.
    Lost,
    /// It still gets there.
    Flushed,
}

/// A mounted drive. Dropped, it is unmounted and gone.
pub struct Drive {
    dir: TempDir,
    image: PathBuf,
}

/// Whether drives can be made here: by root, with loop devices. If not, that is said loudly, and it is the one thing that
/// may be left out in CI.
pub fn is_possible(what: &str) -> bool {
    if !is_root(what) || !["mkfs.ext4", "mkfs.xfs", "xfs_io", "losetup"].into_iter().all(has_tool) {
        return false;
    }
    let free = Command::new("losetup").arg("-f").output().is_ok_and(|output| output.status.success());
    if !free {
        eprintln!("SKIPPED: there are no loop devices here, so {what} was NOT tested");
    }
    free
}

impl Drive {
    /// A new drive of so many MiB.
    pub fn new(format: Format, mib: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let image = dir.path().join("image");
        Self::at(dir, image, format, mib)
    }

    /// The same, its bytes in this file.
    pub fn at(dir: TempDir, image: PathBuf, format: Format, mib: u64) -> Self {
        File::create_new(&image).unwrap().set_len(mib << 20).unwrap();
        match format {
            Format::Ext4 => run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-b", "4096"]).arg(&image)),
            Format::Xfs => run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(&image)),
        };
        fs::create_dir(dir.path().join("drive")).unwrap();
        let drive = Self { dir, image };
        drive.mount();
        drive
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("drive")
    }

    pub fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(self.path()));
    }

    pub fn unmount(&self) {
        // Others may still be looking at it for a moment.
        for _ in 0..100 {
            if Command::new("umount").arg(self.path()).output().unwrap().status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{} cannot be unmounted", self.path().display());
    }

    /// Takes the drive away.
    pub fn cut(&self, log: Log) {
        let command = if log == Log::Lost { "shutdown" } else { "shutdown -f" };
        run(Command::new("xfs_io").args(["-x", "-c", command]).arg(self.path()));
    }

    /// The drive comes back as it was at the cut.
    pub fn come_back(&self) {
        self.unmount();
        self.mount();
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        }
    }
}

/// A folder in memory that holds so many bytes and no more.
pub struct Memory {
    dir: TempDir,
}

impl Memory {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(dir.path()));
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn resize(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        run(Command::new("mount").args(["-o", &size]).arg(self.dir.path()));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).output();
    }
}

/// How many bytes lie on the file system of a folder, and how many more it takes.
pub fn used_and_free(folder: &Path) -> (u64, u64) {
    let room = rustix::fs::statvfs(folder).unwrap();
    ((room.f_blocks - room.f_bfree) * room.f_frsize, room.f_bfree * room.f_frsize)
}
