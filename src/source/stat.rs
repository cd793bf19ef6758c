//! What the file system says about one file, in our own words and independent of the platform's.

/// A point in time: `secs` seconds and `nanos` nanoseconds after the Unix epoch. `nanos` is below 1,000,000,000, also
/// before the epoch, where `secs` is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, rounded towards the past.
    pub secs: i64,
    /// Nanoseconds after `secs`.
    pub nanos: u32,
}

/// What sort of thing a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// What is not backed up: "socket", "fifo", "block device", "character device" or "unknown kind".
    Other(&'static str),
}

/// What the file system knows of a file, a directory or a link, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: the bits of `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// When the content last changed.
    pub mtime: Time,
    /// When content or metadata last changed.
    pub ctime: Time,
    /// The device it lies on.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// A file for which less room is taken than its size asks for: it may have holes. Compressing file systems say so of
    /// files without any.
    pub sparse: bool,
}

impl Stat {
    /// Whether this is the same file with the same content as `earlier`, as far as the file system can say: kind, size,
    /// mtime, ctime, device and inode are equal.
    pub fn same_as(&self, earlier: &Stat) -> bool {
        self.kind == earlier.kind
            && self.size == earlier.size
            && self.mtime == earlier.mtime
            && self.ctime == earlier.ctime
            && self.dev == earlier.dev
            && self.ino == earlier.ino
    }
}

// The fields of the system's structure differ in width between platforms, so some casts are needed only on some.
#[allow(clippy::unnecessary_cast)]
impl From<rustix::fs::Stat> for Stat {
    fn from(raw: rustix::fs::Stat) -> Self {
        use rustix::fs::FileType;
        let kind = match FileType::from_raw_mode(raw.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::Socket => Kind::Other("socket"),
            FileType::Fifo => Kind::Other("fifo"),
            FileType::BlockDevice => Kind::Other("block device"),
            FileType::CharacterDevice => Kind::Other("character device"),
            _ => Kind::Other("unknown kind"),
        };
        let size = u64::try_from(raw.st_size).unwrap_or(0);
        let allocated = u64::try_from(raw.st_blocks).unwrap_or(0).saturating_mul(512);
        Self {
            kind,
            mode: raw.st_mode as u32 & 0o7777,
            uid: raw.st_uid,
            gid: raw.st_gid,
            size,
            mtime: Time { secs: raw.st_mtime as i64, nanos: nanos(raw.st_mtime_nsec as i64) },
            ctime: Time { secs: raw.st_ctime as i64, nanos: nanos(raw.st_ctime_nsec as i64) },
            dev: raw.st_dev as u64,
            ino: raw.st_ino as u64,
            nlink: raw.st_nlink as u64,
            sparse: kind == Kind::File && allocated < size,
        }
    }
}

/// A file system that hands out nonsense (FUSE passes on whatever it is given) must not break what [`Time`] promises.
fn nanos(raw: i64) -> u32 {
    u32::try_from(raw).ok().filter(|&n| n < 1_000_000_000).unwrap_or(0)
}
