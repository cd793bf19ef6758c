//! The list of regions while it is being made. It can only grow from the front, so it covers the file by construction.

use super::{Region, RegionKind};

/// More parts than this are not worth naming; the rest of such a file is one region.
const MAX_REGIONS: usize = 1 << 14;

/// Regions from the first byte up to [`Cuts::at`].
pub(super) struct Cuts {
    len: u64,
    at: u64,
    regions: Vec<Region>,
}

impl Cuts {
    /// No regions yet, of a file of `len` bytes.
    pub(super) fn new(len: u64) -> Self {
        Self { len, at: 0, regions: Vec::new() }
    }

    /// The first byte that is in no region yet.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Makes what lies between [`Cuts::at`] and `end` a region. Does nothing if that is no bytes, lies outside the file,
    /// or would be one region too many.
    pub(super) fn to(&mut self, end: u64, kind: RegionKind) {
        if end > self.at && end <= self.len && self.regions.len() < MAX_REGIONS {
            self.regions.push(Region { start: self.at, len: end - self.at, kind });
            self.at = end;
        }
    }

    /// The regions, what is left at the end being one to be cut by content; `None` if that is all there is.
    pub(super) fn finish(mut self) -> Option<Vec<Region>> {
        if self.at < self.len {
            self.regions.push(Region { start: self.at, len: self.len - self.at, kind: RegionKind::Content });
        }
        match self.regions.as_slice() {
            [] | [Region { kind: RegionKind::Content, .. }] => None,
            _ => Some(self.regions),
        }
    }
}
