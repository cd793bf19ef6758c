//! Mounting and unmounting.

use std::io;
use std::path::{Path, PathBuf};

use fuser::{BackgroundSession, Config, MountOption, SessionACL};

use super::fs::Shown;
use super::{Clock, Tell};
use crate::view::Window;

/// Who may look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only whoever mounts, and he may look at everything.
    Owner,
    /// Everybody on this machine, as far as the recorded permissions go.
    Everybody,
}

/// Why an archive cannot be mounted.
#[derive(Debug)]
pub enum Refused {
    /// The system does not offer FUSE: there is no `/dev/fuse`.
    NoFuse,
    /// The program by which users mount, `fusermount3`, is not there.
    NoHelper,
    /// The system does not let this user use FUSE.
    NotAllowed,
    /// The system lets nobody but root show a mount to everybody.
    NotForEverybody,
    /// Anything else.
    Other(io::Error),
}

/// An archive that is mounted.
pub struct Mounted {
    session: BackgroundSession,
    dir: PathBuf,
}

/// Shows an archive in a folder, until it is unmounted by anybody. `ended` is called once when it is.
///
/// # Errors
/// What keeps it from being mounted.
pub fn mount(
    window: Window,
    dir: &Path,
    access: Access,
    clock: Clock<'_>,
    tell: Tell,
    ended: Box<dyn Fn() + Send + Sync>,
) -> Result<Mounted, Refused> {
    let shown = Shown::new(window, clock, tell, ended, access == Access::Everybody);
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("snapkeep".to_owned()),
        MountOption::Subtype("snapkeep".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
    ];
    if access == Access::Everybody {
        config.acl = SessionACL::All;
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    // Drives are waited for more than computed on.
    config.n_threads = Some(std::thread::available_parallelism().map_or(4, |cores| cores.get().clamp(4, 8)));
    if !Path::new("/dev/fuse").exists() {
        return Err(Refused::NoFuse);
    }
    let session = fuser::spawn_mount(shown, dir, &config).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refused::NoHelper,
        io::ErrorKind::PermissionDenied if error.to_string().contains("user_allow_other") => Refused::NotForEverybody,
        io::ErrorKind::PermissionDenied => Refused::NotAllowed,
        _ => Refused::Other(error),
    })?;
    Ok(Mounted { session, dir: dir.to_owned() })
}

impl Mounted {
    /// Takes it out of its folder at once. Programs that have something of it open may go on; it ends when they have
    /// done, and that is told as ever.
    ///
    /// # Errors
    /// If the system does not let go.
    pub fn unmount(self) -> io::Result<()> {
        use rustix::mount::{UnmountFlags, unmount};
        match unmount(&self.dir, UnmountFlags::DETACH) {
            Ok(()) => {
                self.forget();
                Ok(())
            }
            // Only root may; others have a program for it, which this calls.
            Err(rustix::io::Errno::PERM) => {
                let ended = std::thread::Builder::new().spawn(move || self.session.umount_and_join());
                ended.map(|_| ())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves it to itself, as is right once it has ended.
    pub fn forget(self) {
        // Dropped, it would unmount what is in its folder, and that may be something else by now.
        std::mem::forget(self.session);
    }
}
