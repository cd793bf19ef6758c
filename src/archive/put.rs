//! Putting objects whose bytes follow from their names, or are recovery data of what does.
//!
//! Why it is safe: what has such a name already is left alone if it is whole, and else it is damaged, and gets its own
//! bytes back.

use super::aside::put_or_replace;
use crate::error::Result;
use crate::format::names;
use crate::parity;
use crate::store::Store;

/// Puts an object named by the hash of its bytes. If one of that name is there already and is damaged, these take its
/// place: they are what it was.
pub(crate) fn put_checked(store: &dyn Store, name: &str, id: &[u8; 32], bytes: &[u8]) -> Result<()> {
    debug_assert_eq!(blake3::hash(bytes).as_bytes(), id, "the caller has just named these bytes so");
    put_or_replace(store, name, bytes)
}

/// Puts the recovery data of an object, of so many thousandths of its length, in place of damaged ones. Returns how many
/// bytes that took.
pub(crate) fn put_parity(store: &dyn Store, id: &[u8; 32], bytes: &[u8], permille: u16) -> Result<u64> {
    let parity = parity::make(bytes, u32::from(permille))?.to_bytes();
    put_or_replace(store, &names::parity(id), &parity)?;
    Ok(parity.len() as u64)
}
