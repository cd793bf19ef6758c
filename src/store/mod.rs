//! Where an archive's objects lie.
//!
//! A store keeps named objects that are written once. An object appears whole or not at all, and when [`Store::put_new`]
//! has returned, it stays through a power cut. Names are opaque here. One suite of tests (`tests/store_contract.rs`)
//! asks every store the same questions.

mod at;
mod fs;
mod held;
mod identity;
mod local;
mod memory;

pub use fs::{Fs, FsFile, FsItem, Os, Tried};
pub use held::Held;
pub use local::Local;
pub use memory::Memory;

use crate::error::{Error, Kind, Result};

/// What [`Store::put_new`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// The object was written and is durable.
    Written,
    /// An object of that name and length was there already and is durable now; nothing was written.
    Existed,
}

/// An object in a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its full name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// What a listing does with what interrupted writes left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leftovers {
    /// Nothing.
    Leave,
    /// They are removed. Only right while no other process writes.
    Remove,
    /// They are listed as well. Some may be of writes that are under way.
    Show,
}

/// How an archive is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// Together with others who only add.
    Shared,
    /// Alone, as whoever removes objects must.
    Exclusive,
}

/// Holds a store until it is dropped or the process ends, however it ends; or, where the place has no locks, only says so.
pub struct Lock {
    held: Option<Box<dyn FsFile>>,
    certain: bool,
}

/// A place for objects. Every error names the object. What lies under an object's name and is no file is an object without
/// bytes: it is listed, its length is 0, and reading it is an error of [`Kind::Damaged`] that says what it is. An error of
/// [`Kind::Store`] tells of the place; so does one of writing to a place that is gone, or in which another one lies.
pub trait Store: Send + Sync {
    /// Makes the place itself, durably, unless it is there. Nothing else ever makes it.
    ///
    /// # Errors
    /// The store's error.
    fn make_place(&self) -> Result<()> {
        Ok(())
    }

    /// From now on the place is the one that is found there now: nothing is written to another one that may have taken its
    /// place by then.
    fn remember(&self) {}

    /// Writes the concatenation of `parts` as a new object, durably. An existing object is never changed.
    ///
    /// # Errors
    /// If an object of another length has that name ([`Kind::Exists`]), or if writing or any sync fails; then no object
    /// of that name has appeared, or it is complete but not known to be durable.
    fn put_new(&self, name: &str, parts: &[&[u8]]) -> Result<Put>;

    /// Writes the concatenation of `parts` in place of whatever has this name and is no folder, durably. Only for an object that is damaged,
    /// by bytes that are right by its name; every other object is written once. A reader sees the old object or the new one.
    /// Only where a file system does not replace at once (FAT), a power cut in that moment may leave neither.
    ///
    /// # Errors
    /// [`Kind::Exists`] if a folder has the name. If writing or any sync fails; then the old object is there, or the new one is
    /// and is not known to be durable.
    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()>;

    /// The whole object.
    ///
    /// # Errors
    /// [`Kind::Missing`] if it is not there, [`Kind::Damaged`] if it is longer than `limit` bytes.
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`Kind::Missing`] if the object is not there, [`Kind::Damaged`] if it ends before the buffer is full.
    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Exactly `len` bytes from `offset`; errors as [`Store::read_range`].
    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_range(name, offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The object's length, or `None` if it is not there.
    fn len(&self, name: &str) -> Result<Option<u64>>;

    /// All objects below a folder at any depth, ascending by name. A folder that is not there is empty. Of the folder
    /// without a name, which holds the others, only its own objects: what else lies there may be anybody's.
    fn list(&self, folder: &str, leftovers: Leftovers) -> Result<Vec<Object>>;

    /// Makes an object durable that another process may have just written.
    fn confirm(&self, name: &str) -> Result<()>;

    /// Gives an object another name, durably, without reading it.
    ///
    /// # Errors
    /// [`Kind::Exists`] if that name is taken, [`Kind::Missing`] if the object is not there.
    fn rename(&self, name: &str, to: &str) -> Result<()>;

    /// Whether the place still answers: whether this object, which is always there, can be read from it now and is not
    /// only remembered.
    fn answers(&self, name: &str) -> bool {
        self.get_range(name, 0, 1).is_ok()
    }

    /// Removes an object, durably.
    fn delete(&self, name: &str) -> Result<()>;

    /// Holds the store, if that is possible at once; `name` is an object that is always there. Where the place has no locks
    /// nobody is kept out, and the lock says so ([`Lock::is_certain`]).
    ///
    /// # Errors
    /// [`Kind::InUse`] if another process holds it in a way that does not go together.
    fn lock(&self, name: &str, mode: LockMode) -> Result<Lock>;

    /// What tells the object of this name from every other, a copy of it in another place among them, and stays the same
    /// for as long as it lies here, also while the drive is away for a time. The name of nothing means the place itself.
    /// None where that cannot be told.
    fn identity(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    /// Where it is, for people.
    fn place(&self) -> String;

    /// How many bytes there is room for, if the place says.
    fn free(&self) -> Option<u64> {
        None
    }

    /// Whether the place has so far confirmed every write; `false` once a sync was not supported.
    fn confirms_writes(&self) -> bool;
}

/// Refuses names that are not made of plain components, which would be a fault of this program.
fn check_name(name: &str) -> Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if name.split('/').all(plain) {
        Ok(())
    } else {
        Err(Error::new(Kind::Internal, format!("naming the object {name:?}"), "the name is not allowed"))
    }
}
