//! Chunks: runs of a file's original bytes with their names, and where content is cut.
//!
//! A chunk's id and its bytes are made together, so they cannot disagree. Cuts are the writer's business: a reader
//! needs none of this. They decide what deduplicates, so a test pins where the cuts of known bytes lie.

use crate::id::{ChunkId, ChunkKind};

/// A run of original bytes and its name.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    id: ChunkId,
    kind: ChunkKind,
    bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Names these bytes.
    pub fn new(kind: ChunkKind, bytes: &'a [u8]) -> Self {
        Self { id: ChunkId::of(kind, bytes), kind, bytes }
    }

    /// Its name.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// What it holds.
    pub fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Cuts by content: FastCDC as of 2020 (Xia et al., <https://ieeexplore.ieee.org/document/9055082>), normalisation
/// level 1.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    min: usize,
    average: usize,
    max: usize,
}

impl Cutter {
    /// A cutter with these lengths in bytes, within the bounds that the format gives them.
    pub fn new(min: u32, average: u32, max: u32) -> Self {
        Self { min: min as usize, average: average as usize, max: max as usize }
    }

    /// The length of the chunk at the front of `window`, or `None` if more bytes are needed to know it. `last` says that
    /// no bytes follow the window. The answer depends only on the bytes from the previous cut on.
    pub fn cut(&self, window: &[u8], last: bool) -> Option<usize> {
        if window.is_empty() || (window.len() < self.max && !last) {
            return None;
        }
        if window.len() <= self.min {
            return Some(window.len());
        }
        let cutter = fastcdc::v2020::FastCDC::new(window, self.min, self.average, self.max);
        Some(cutter.cut(0, window.len()).1)
    }

    /// The longest chunk it cuts, in bytes.
    pub fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that every version must cut alike: BLAKE3's output stream over a fixed word.
    fn bytes(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"cuts").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cuts(cutter: &Cutter, bytes: &[u8], window: usize) -> Vec<usize> {
        let (mut cuts, mut start) = (Vec::new(), 0);
        while start < bytes.len() {
            let end = (start + window).min(bytes.len());
            let len = cutter.cut(&bytes[start..end], end == bytes.len()).unwrap();
            start += len;
            cuts.push(start);
        }
        cuts
    }

    #[test]
    fn cut_points_never_move() {
        // The chunking library has moved its cut points between versions; then every photo would be stored once more.
        let cutter = Cutter::new(1 << 18, 1 << 20, 1 << 22);
        let bytes = bytes(12 << 20);
        let pinned = [1353216, 2942082, 3341221, 4673978, 5866722, 6408917, 7086869, 9838271, 12132375, 12582912];
        assert_eq!(cuts(&cutter, &bytes, bytes.len()), pinned);
    }

    #[test]
    fn a_window_cuts_as_the_whole_does() {
        let cutter = Cutter::new(1 << 12, 1 << 14, 1 << 16);
        let bytes = bytes(3 << 20);
        let whole = cuts(&cutter, &bytes, bytes.len());
        for window in [1 << 16, (1 << 16) + 1, 1 << 18] {
            assert_eq!(cuts(&cutter, &bytes, window), whole);
        }
        assert!(cutter.cut(&bytes[..(1 << 16) - 1], false).is_none(), "too little to know");
        let lens = whole.iter().scan(0, |last, end| Some(end - std::mem::replace(last, *end)));
        assert!(lens.clone().take(whole.len() - 1).all(|len| (1 << 12..=1 << 16).contains(&len)));
        assert!(lens.clone().max() > lens.min());
    }
}
