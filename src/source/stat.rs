//! What the file system says about one file, in our own words and independent of the platform's.

use rustix::fs::FileType;

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
    /// When it was made; none where the file system does not say.
    pub born: Option<Time>,
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
    /// mtime, ctime, time of birth, device and inode are equal.
    pub fn same_as(&self, earlier: &Stat) -> bool {
        self.kind == earlier.kind
            && self.size == earlier.size
            && self.mtime == earlier.mtime
            && self.ctime == earlier.ctime
            && self.born == earlier.born
            && self.dev == earlier.dev
            && self.ino == earlier.ino
    }
}

/// What both of the system's calls say, by which this is known of a file.
struct Raw {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    blocks: u64,
    mtime: Time,
    ctime: Time,
    born: Option<Time>,
    dev: u64,
    ino: u64,
    nlink: u64,
}

impl From<FileType> for Kind {
    fn from(told: FileType) -> Self {
        match told {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Symlink,
            FileType::Socket => Self::Other("socket"),
            FileType::Fifo => Self::Other("fifo"),
            FileType::BlockDevice => Self::Other("block device"),
            FileType::CharacterDevice => Self::Other("character device"),
            FileType::Unknown => Self::Other("unknown kind"),
        }
    }
}

impl From<Raw> for Stat {
    fn from(raw: Raw) -> Self {
        let kind = Kind::from(FileType::from_raw_mode(raw.mode));
        let Raw { mode, uid, gid, size, blocks, mtime, ctime, born, dev, ino, nlink } = raw;
        let sparse = kind == Kind::File && blocks.saturating_mul(512) < size;
        Self { kind, mode: mode & 0o7777, uid, gid, size, mtime, ctime, born, dev, ino, nlink, sparse }
    }
}

impl From<rustix::fs::Statx> for Stat {
    fn from(raw: rustix::fs::Statx) -> Self {
        use rustix::fs::{StatxFlags, StatxTimestamp, makedev};
        let time = |time: StatxTimestamp| Time { secs: time.tv_sec, nanos: nanos(time.tv_nsec.into()) };
        // The very beginning of time is what a file system says that has the field and nothing in it.
        let told = StatxFlags::from_bits_retain(raw.stx_mask).contains(StatxFlags::BTIME)
            && (raw.stx_btime.tv_sec, raw.stx_btime.tv_nsec) != (0, 0);
        Self::from(Raw {
            mode: raw.stx_mode.into(),
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            mtime: time(raw.stx_mtime),
            ctime: time(raw.stx_ctime),
            born: told.then(|| time(raw.stx_btime)),
            dev: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            ino: raw.stx_ino,
            nlink: raw.stx_nlink.into(),
        })
    }
}

// The fields of the system's structure differ in width between platforms, so some casts are needed only on some.
#[allow(clippy::unnecessary_cast)]
impl From<rustix::fs::Stat> for Stat {
    fn from(raw: rustix::fs::Stat) -> Self {
        Self::from(Raw {
            mode: raw.st_mode as u32,
            uid: raw.st_uid,
            gid: raw.st_gid,
            size: u64::try_from(raw.st_size).unwrap_or(0),
            blocks: u64::try_from(raw.st_blocks).unwrap_or(0),
            mtime: Time { secs: raw.st_mtime as i64, nanos: nanos(raw.st_mtime_nsec as i64) },
            ctime: Time { secs: raw.st_ctime as i64, nanos: nanos(raw.st_ctime_nsec as i64) },
            born: None,
            dev: raw.st_dev as u64,
            ino: raw.st_ino as u64,
            nlink: raw.st_nlink as u64,
        })
    }
}

/// A file system that hands out nonsense (FUSE passes on whatever it is given) must not break what [`Time`] promises.
fn nanos(raw: i64) -> u32 {
    u32::try_from(raw).ok().filter(|&n| n < 1_000_000_000).unwrap_or(0)
}
