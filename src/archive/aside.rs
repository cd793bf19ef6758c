//! What takes the place of an object whose bytes follow from its name, and where what lay there goes.
//!
//! Bytes make way for the right ones. A folder holds who knows what, and no file can take its place: it is moved into
//! quarantine as it is, and nothing in it is touched.

use crate::error::{Error, Kind, Result};
use crate::format::names;
use crate::store::{Put, Store};

/// Puts an object whose bytes follow from its name, in place of one with other bytes.
pub(crate) fn put_or_replace(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    let whole = match store.put_new(name, &[bytes]) {
        Ok(Put::Written) => return Ok(()),
        Ok(Put::Existed) => match store.get(name, bytes.len() as u64) {
            Err(error) if error.kind() == Kind::Damaged => false,
            read => read? == bytes,
        },
        Err(error) if error.kind() == Kind::Exists => false,
        Err(error) => return Err(error),
    };
    if whole { Ok(()) } else { put_over(store, name, bytes) }
}

/// Puts these bytes in place of whatever has this name.
pub(super) fn put_over(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<()> {
    match store.replace(name, &[bytes]) {
        Err(error) if error.kind() == Kind::Exists => {
            move_aside(store, name)?;
            store.put_new(name, &[bytes]).map(drop)
        }
        done => done,
    }
}

/// Moves what has this name into quarantine as it is, with its bad sectors if it has some, so that nothing new is written onto
/// them.
pub(super) fn move_aside(store: &dyn Store, name: &str) -> Result<()> {
    store.rename(name, &free_place(store, name)?)
}

/// A name in quarantine that is not taken.
pub(super) fn free_place(store: &dyn Store, name: &str) -> Result<String> {
    let place = names::quarantine(name);
    let (mut free, mut number) = (place.clone(), 0);
    while store.len(&free)?.is_some() {
        number += 1;
        free = format!("{place}.{number}");
    }
    Ok(free)
}

/// Whether an object that was written just now is there, as long as it was written. A snapshot tells of nothing that is not.
///
/// # Errors
/// [`Kind::Store`] if it is not.
pub(super) fn look_once_more(store: &dyn Store, name: &str, len: u64) -> Result<()> {
    if store.len(name)? == Some(len) {
        return Ok(());
    }
    let why = "it was written a moment ago, and is no longer there as it was written";
    let why = std::io::Error::new(std::io::ErrorKind::NotConnected, why);
    Err(Error::caused(Kind::Store, format!("looking once more at {name}"), why))
}
