//! A cheap look at chunks whose bytes are not read: whether a pack has a hole where they lie.
//!
//! A drive that lost what it had promised to keep, or a file system after a power cut, leaves zeros under a right
//! name with a right length, and seldom fewer than a few blocks. So one block is looked at in each stretch of a pack,
//! once in a run. What is found is only ever a suspicion, since a photo may have zeros of its own, and what is not
//! found is no proof: whoever needs one reads the chunk and hashes it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Location;
use crate::error::Result;
use crate::format::names;
use crate::id::PackId;
use crate::store::Store;

/// In every such part of a pack, in bytes, one block is looked at.
const STRETCH: u64 = 512 << 10;
/// What is looked at at once, in bytes.
const BLOCK: u64 = 4096;

/// Looks, and remembers what it saw.
pub struct Probes {
    state: Mutex<State>,
}

struct State {
    /// Stretches that were looked at, and whether there are zeros in them.
    seen: HashMap<(PackId, u64), bool>,
    /// How many may still be looked at.
    left: usize,
}

impl Probes {
    /// It looks at no more than so many stretches: each may cost a drive with a moving head ten milliseconds.
    pub fn new(most: usize) -> Self {
        Self { state: Mutex::new(State { seen: HashMap::new(), left: most }) }
    }

    /// Whether there are zeros in one of the stretches of a pack in which this frame lies, its last block among them.
    ///
    /// # Errors
    /// Missing if the pack is not there, damaged if it cannot be read, or the store's error.
    pub fn see_zeros(&self, store: &dyn Store, place: &Location) -> Result<bool> {
        let begin = u64::from(place.row.offset);
        let end = begin + place.row.frame_len();
        for number in begin / STRETCH..=(end - 1) / STRETCH {
            let stretch = (place.pack, number);
            let known = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let known = state.seen.get(&stretch).copied();
                if known.is_none() {
                    let Some(left) = state.left.checked_sub(1) else { return Ok(false) };
                    state.left = left;
                }
                known
            };
            let zeros = match known {
                Some(zeros) => zeros,
                None => {
                    let last = end.min((number + 1) * STRETCH);
                    let first = last.saturating_sub(BLOCK).max(begin);
                    let block = store.get_range(&names::pack(&place.pack), first, (last - first) as usize)?;
                    let zeros = block.iter().all(|byte| *byte == 0);
                    self.state.lock().unwrap_or_else(PoisonError::into_inner).seen.insert(stretch, zeros);
                    zeros
                }
            };
            if zeros {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
