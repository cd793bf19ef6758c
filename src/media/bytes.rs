//! Bounded reading: every number that a parser takes from a file comes through here, and none is believed.
//!
//! A [`Window`] holds one block of the file and answers "the `n` bytes at `offset`" or "not there". It counts the blocks
//! it has read; when the budget is used up, everything is "not there", so that no file can make a parser work for long.

#![allow(clippy::big_endian_bytes, reason = "photo formats state their byte order; it is chosen here and nowhere else")]

use std::io;

use super::ReadAt;

/// How much is read at a time; also the most that one [`Window::get`] can return.
const BLOCK: usize = 64 << 10;

/// The least that [`Window::rest`] gives, so that a pattern is never cut in two for long.
pub(super) const AHEAD: u64 = 32;

/// One block of a file, moved along as the parser asks.
pub(super) struct Window<'a> {
    file: &'a dyn ReadAt,
    len: u64,
    start: u64,
    block: Vec<u8>,
    budget: u64,
}

impl<'a> Window<'a> {
    /// A window that reads at most about `budget` bytes in all.
    pub(super) fn new(file: &'a dyn ReadAt, budget: u64) -> Self {
        Self { file, len: file.len(), start: 0, block: Vec::new(), budget }
    }

    /// The length of the file, as it was when the window was made.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The `n` bytes at `offset`, or `None` if the file has not got them or the budget is used up.
    pub(super) fn get(&mut self, offset: u64, n: usize) -> io::Result<Option<&[u8]>> {
        match offset.checked_add(n as u64) {
            Some(end) if end <= self.len && n <= BLOCK => {}
            _ => return Ok(None),
        }
        let held = offset >= self.start && offset + n as u64 <= self.start + self.block.len() as u64;
        if !held && !self.load(offset)? {
            return Ok(None);
        }
        let at = (offset - self.start) as usize;
        Ok(self.block.get(at..at + n))
    }

    /// `N` bytes at `offset`.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.get(offset, N)?.and_then(|bytes| bytes.try_into().ok()))
    }

    /// As many bytes at `offset` as are at hand, at most a block and, but at the end of the file, at least [`AHEAD`];
    /// `None` at the end of the file.
    pub(super) fn rest(&mut self, offset: u64) -> io::Result<Option<&[u8]>> {
        let n = self.len.saturating_sub(offset).min(AHEAD);
        if n == 0 || self.get(offset, n as usize)?.is_none() {
            return Ok(None);
        }
        let at = (offset - self.start) as usize;
        Ok(self.block.get(at..))
    }

    /// Up to `n` bytes at `offset` as a buffer of its own, however many blocks that takes; `None` if they are not all there.
    pub(super) fn copy(&mut self, offset: u64, n: usize) -> io::Result<Option<Vec<u8>>> {
        match offset.checked_add(n as u64) {
            Some(end) if end <= self.len && n as u64 <= self.budget => {}
            _ => return Ok(None),
        }
        self.budget -= n as u64;
        let mut bytes = vec![0; n];
        self.file.read_at(offset, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn load(&mut self, offset: u64) -> io::Result<bool> {
        let n = (self.len - offset).min(BLOCK as u64);
        if n > self.budget {
            return Ok(false);
        }
        self.budget -= n;
        self.block.resize(n as usize, 0);
        self.start = offset;
        // A block that could not be read must not be taken for one that was.
        self.file.read_at(offset, &mut self.block).inspect_err(|_| self.block.clear())?;
        Ok(true)
    }
}

/// The order of the bytes in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }
}

/// The big-endian number in up to eight bytes.
pub(super) fn be(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
}
