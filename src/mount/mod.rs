//! An archive as a folder: the newest state of every source, every snapshot by its date, and what was deleted.
//!
//! It shows the archive as it was when it was mounted, and nothing can be changed through it: the file system has no
//! operation that writes, the kernel is told that it is read-only, and this room knows nothing but views. Every byte is
//! checked against its chunk's name on the way. What cannot be read is an I/O error for whoever asked, and is told by
//! name to whoever mounted.
//!
//! Memory is bounded whatever is browsed. An inode costs a few dozen bytes for as long as the kernel remembers it;
//! directories and decoded chunks are kept in caches of fixed size.

mod chunks;
mod deleted;
mod files;
mod fs;
mod listing;
mod nodes;
mod session;
mod tops;

pub use session::{Access, Mounted, Refused, mount};

/// Something that cannot be shown.
#[derive(Clone, Copy, Debug)]
pub enum Trouble<'a> {
    /// A file or folder cannot be read: its path below the mount, and why. Everything else may be as it should.
    Unreadable(&'a [u8], &'a crate::error::Error),
    /// The archive does not answer any more: why. This is told once until it does again.
    Unreachable(&'a crate::error::Error),
}

/// Hears of troubles, from any thread.
pub type Tell = Box<dyn Fn(Trouble<'_>) + Send + Sync>;

/// How a moment is written in a name: to the minute, and to the second. No `/` may be in it.
pub type Clock<'a> = &'a dyn Fn(crate::view::Time) -> (String, String);
