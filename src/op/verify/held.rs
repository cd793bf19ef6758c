//! Which chunks the packs hold: by name, kind and plain length.
//!
//! Packs are anybody's work, so one may name a chunk with another kind or length than the next. All that was named is
//! kept: a chunk is held only as what a snapshot needs it for.

use std::collections::{HashMap, HashSet};

use crate::format::FrameHeader;
use crate::id::{ChunkId, ChunkKind};

/// What a chunk is held as.
type As = (ChunkKind, u32);

/// Chunks that packs hold.
#[derive(Default)]
pub(super) struct Held {
    chunks: HashMap<ChunkId, As>,
    /// What they are held as besides.
    others: HashSet<(ChunkId, As)>,
}

/// How a chunk is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holding {
    /// As it is needed.
    Yes,
    /// Only as something else: its kind, or its length.
    Otherwise(&'static str),
    /// Nowhere.
    No,
}

impl Held {
    pub(super) fn add(&mut self, frame: &FrameHeader) {
        let what = (frame.kind, frame.plain_len);
        if *self.chunks.entry(frame.id).or_insert(what) != what {
            self.others.insert((frame.id, what));
        }
    }

    /// Whether this chunk is held as `kind` and, if that is known, with this length.
    pub(super) fn holds(&self, id: &ChunkId, kind: ChunkKind, len: Option<u32>) -> Holding {
        let Some(first) = self.chunks.get(id) else { return Holding::No };
        let others = || {
            let kinds = [ChunkKind::Data, ChunkKind::Tree, ChunkKind::List];
            match len {
                Some(len) => self.others.contains(&(*id, (kind, len))),
                None => kinds.contains(&kind) && self.others.iter().any(|(other, what)| other == id && what.0 == kind),
            }
        };
        let fits = |what: &As| what.0 == kind && len.is_none_or(|len| len == what.1);
        if fits(first) || (!self.others.is_empty() && others()) {
            Holding::Yes
        } else if first.0 != kind {
            Holding::Otherwise("a part of it is stored only as something else")
        } else {
            Holding::Otherwise("a part of it has another length than its list says")
        }
    }

    pub(super) fn holds_frame(&self, frame: &FrameHeader) -> bool {
        self.holds(&frame.id, frame.kind, Some(frame.plain_len)) == Holding::Yes
    }

    /// Whether it is held as this kind.
    pub(super) fn has(&self, id: &ChunkId, kind: ChunkKind) -> bool {
        self.holds(id, kind, None) == Holding::Yes
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &ChunkId> {
        self.chunks.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Hint;

    fn frame(kind: ChunkKind, plain_len: u32) -> FrameHeader {
        let id = ChunkId::from_bytes([1; 32]);
        FrameHeader { kind, codec: 0, codec_version: 0, hint: Hint::None, stored_len: 1, plain_len, id }
    }

    #[test]
    fn a_chunk_is_held_only_as_what_it_is_needed_for() {
        let id = ChunkId::from_bytes([1; 32]);
        let mut held = Held::default();
        assert_eq!(held.holds(&id, ChunkKind::Data, Some(5)), Holding::No);
        held.add(&frame(ChunkKind::Tree, 5));
        assert!(matches!(held.holds(&id, ChunkKind::Data, Some(5)), Holding::Otherwise(_)));
        assert!(!held.has(&id, ChunkKind::Data) && held.has(&id, ChunkKind::Tree));
        held.add(&frame(ChunkKind::Data, 6));
        assert!(matches!(held.holds(&id, ChunkKind::Data, Some(5)), Holding::Otherwise(_)));
        assert!(held.has(&id, ChunkKind::Data));
        held.add(&frame(ChunkKind::Data, 5));
        assert!(held.holds_frame(&frame(ChunkKind::Data, 5)) && held.holds_frame(&frame(ChunkKind::Data, 6)));
        assert_eq!(held.ids().count(), 1);
    }
}
