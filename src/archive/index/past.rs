//! The past of every path, as rows: from which snapshot to which a path held what.
//!
//! One source of one machine is a track. Its snapshots have positions 0, 1, 2, … in their order, and a state of a path
//! lasts from one position to the one before another. What never changed is one row, so the rows grow with what happened
//! and not with the number of snapshots.
#![allow(clippy::big_endian_bytes)] // keys sort by their bytes

use std::ops::ControlFlow;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{DOING, Index, caught};
use crate::error::{Error, Kind, Result};
use crate::format::{CaptureFacts, Carried};
use crate::id::{FileHash, ID_LEN, PictureHash, SnapshotId};

/// A source of a machine, by its number.
const TRACKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("tracks");
/// Its snapshots by their positions.
const POSITIONS: TableDefinition<'_, (u32, u32), &[u8; ID_LEN]> = TableDefinition::new("positions");
/// States by track, path and the position from which they last.
const PAST: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("past");
/// The same keys behind the hash of what was there.
const CONTENTS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("contents");
/// Files that differ in nothing but tags: what names their picture, and each one's hash.
const PICTURES: TableDefinition<'_, &[u8; 2 * ID_LEN], ()> = TableDefinition::new("pictures");

/// Bytes of a row before the paths that it tells of, and where the hash begins among them.
const FIXED: usize = HASH_AT + ID_LEN + 4;
const HASH_AT: usize = 4 + 8 + 8 + 8;
const NOT_ENDED: u8 = 0;
const DELETED: u8 = 1;
/// A state that lasts to this position lasts still.
const STILL: u32 = u32::MAX;
/// Keys tell a state of a path from what is below the path by a first byte that no name begins with, so there are no more
/// positions than three bytes count.
const MAX_POSITION: u32 = (1 << 24) - 1;

/// One source of one machine, and the snapshots that have it, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Its number in this index.
    pub number: u32,
    /// The machine.
    pub host: String,
    /// Where the source lies on it.
    pub path: Vec<u8>,
    /// Snapshots that have been merged, by position.
    pub snapshots: Vec<SnapshotId>,
}

/// How a state came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Began {
    /// Nothing was there before.
    Added,
    /// Something else was there before.
    Changed,
    /// The same photo with other tags was there before.
    Tags,
    /// Its bytes were others before, and nothing else had changed: it may have decayed.
    Decayed,
    /// It was under this other path before.
    Moved(Vec<u8>),
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Nothing is there any more, and it went nowhere else.
    Deleted,
    /// Something else took its place.
    Changed,
    /// It is under this other path now.
    Moved(Vec<u8>),
}

/// What a path held from one snapshot to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The path below the source, names joined by `/`; empty for a source that is a file itself.
    pub path: Vec<u8>,
    /// The position of the first snapshot that has it.
    pub from: u32,
    /// How it came about.
    pub began: Began,
    /// The position of the first snapshot that no longer has it, and how it ended; none if the newest has it.
    pub ended: Option<(u32, Ended)>,
    /// The position of the first snapshot since which it was not read, and why; none if the last that has it read it.
    pub carried: Option<(u32, Carried)>,
    /// A link and not a file.
    pub symlink: bool,
    /// Bytes of the file.
    pub size: u64,
    /// When it was last modified, in seconds since 1970, as the first snapshot that has it says.
    pub mtime: i64,
    /// The hash of the file, or of what the link points to.
    pub hash: FileHash,
}

/// A state as it lies in the index, so that many can be passed over for little.
#[derive(Clone, Copy)]
pub struct PastRow<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> PastRow<'a> {
    fn new(key: &'a [u8], value: &'a [u8]) -> Option<Self> {
        (key.len() >= 8 && value.len() >= FIXED).then_some(Self { key, value })
    }

    /// The path below the source, with a zero byte behind each name.
    fn names(&self) -> &'a [u8] {
        &self.key[4..self.key.len() - 4]
    }

    /// Whether both are states of one path.
    pub fn has_path_of(&self, other: &PastRow<'_>) -> bool {
        self.names() == other.names()
    }

    /// Writes its path below the source behind what is in `out`.
    pub fn push_path(&self, out: &mut Vec<u8>) {
        let names = self.names();
        let names = names.split_last().map_or(names, |(_, names)| names);
        out.extend(names.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }));
    }

    /// Whether the newest snapshot has it.
    pub fn lasts(&self) -> bool {
        self.value[5] == NOT_ENDED
    }

    /// Whether it ended by being deleted.
    pub fn is_deleted(&self) -> bool {
        self.value[5] == DELETED
    }

    /// Whether it is a link and not a file.
    pub fn is_symlink(&self) -> bool {
        self.value[6] != 0
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.value[12..].first_chunk().map_or(0, |size| u64::from_le_bytes(*size))
    }

    /// The hash of the file, or of what the link points to.
    pub fn hash(&self) -> FileHash {
        FileHash::from_bytes(self.value[HASH_AT..].first_chunk().copied().unwrap_or_default())
    }

    /// All of it; nothing if it makes no sense.
    pub fn state(&self) -> Option<State> {
        state_of(self.key, self.value)
    }

    /// Its bytes, to be looked at later.
    pub fn parts(&self) -> (&'a [u8], &'a [u8]) {
        (self.key, self.value)
    }

    /// A row of bytes that [`PastRow::parts`] gave.
    pub fn of_parts(key: &'a [u8], value: &'a [u8]) -> Option<Self> {
        Self::new(key, value)
    }
}

/// One thing that happened between two snapshots of a track. What ends comes before what begins at the same path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PastStep {
    /// The state of this path that lasts still ends at this position.
    End(Vec<u8>, u32, Ended),
    /// The state of this path that lasts still was not read from this position on, for this reason, or is read again.
    Mark(Vec<u8>, u32, Option<Carried>),
    /// This state begins.
    Begin(State),
}

/// What is to be known of a track from now on.
#[derive(Clone, Copy, Debug)]
pub struct PastChange<'a> {
    /// Its number.
    pub track: u32,
    /// The machine and the source, if the track is new, or is told again from its beginning.
    pub anew: Option<(&'a str, &'a [u8])>,
    /// Snapshots that follow those that are known.
    pub snapshots: &'a [SnapshotId],
    /// What happened, in order.
    pub steps: &'a [PastStep],
}

pub(super) fn make(write: &WriteTransaction) -> std::result::Result<(), redb::Error> {
    write.open_table(TRACKS)?;
    write.open_table(POSITIONS)?;
    write.open_table(PAST)?;
    write.open_table(CONTENTS)?;
    write.open_table(PICTURES)?;
    Ok(())
}

/// Remembers which files are one picture.
pub(super) fn note_pictures(
    write: &WriteTransaction,
    facts: &[(FileHash, u32, CaptureFacts)],
) -> std::result::Result<(), redb::Error> {
    let keys = facts.iter().filter_map(|(hash, _, facts)| {
        let mut key = [0; 2 * ID_LEN];
        key[..ID_LEN].copy_from_slice(facts.picture.as_ref()?.as_bytes());
        key[ID_LEN..].copy_from_slice(hash.as_bytes());
        Some(key)
    });
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    let mut table = write.open_table(PICTURES)?;
    for key in keys {
        table.insert(&key, ())?;
    }
    Ok(())
}

impl Index {
    /// The tracks whose past is known.
    ///
    /// # Errors
    /// As for all of these: if the file of the index turns out to be damaged; then [`Index::start_over`] is next.
    pub fn tracks(&self) -> Result<Vec<Track>> {
        self.read_past(|read| {
            let mut tracks = Vec::new();
            for item in read.open_table(TRACKS)?.iter()? {
                let (number, value) = item?;
                let (host, path) = track_of(value.value()).ok_or_else(nonsense)?;
                tracks.push(Track { number: number.value(), host, path, snapshots: Vec::new() });
            }
            let positions = read.open_table(POSITIONS)?;
            for track in &mut tracks {
                for item in positions.range((track.number, 0)..=(track.number, STILL))? {
                    track.snapshots.push(SnapshotId::from_bytes(*item?.1.value()));
                }
            }
            Ok(tracks)
        })
    }

    /// Takes over what is to be known of tracks, all of it or nothing.
    pub fn apply_past(&self, changes: &[PastChange<'_>]) -> Result<()> {
        let state = self.write();
        let parts = state.parts().ok_or_else(|| Error::new(Kind::Internal, DOING, "there is none"))?;
        caught(|| {
            let write = parts.database.begin_write()?;
            for change in changes {
                record(&write, change)?;
            }
            write.commit()?;
            Ok(())
        })
    }

    /// Goes through the states of a path of a track and of everything below it, by path and then by time.
    pub fn states(&self, track: u32, path: &[u8], visit: &mut dyn FnMut(PastRow<'_>) -> ControlFlow<()>) -> Result<()> {
        let (low, high) = (key_front(track, path), key_end(track, path));
        self.read_past(|read| {
            for item in read.open_table(PAST)?.range(low.as_slice()..high.as_slice())? {
                let (key, value) = item?;
                if visit(PastRow::new(key.value(), value.value()).ok_or_else(nonsense)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Where files with this hash were, in any track and at any time.
    pub fn states_with(&self, hashes: &[FileHash]) -> Result<Vec<Vec<(u32, State)>>> {
        self.read_past(|read| {
            let (contents, past) = (read.open_table(CONTENTS)?, read.open_table(PAST)?);
            let mut all = Vec::with_capacity(hashes.len());
            for hash in hashes {
                let mut found = Vec::new();
                let end = [hash.as_bytes(), [0xFF; 5].as_slice()].concat();
                for item in contents.range(hash.as_bytes().as_slice()..end.as_slice())? {
                    let key = item?.0;
                    let key = key.value().get(ID_LEN..).ok_or_else(nonsense)?;
                    let value = past.get(key)?.ok_or_else(nonsense)?;
                    let state = state_of(key, value.value()).ok_or_else(nonsense)?;
                    found.push((track_number(key).ok_or_else(nonsense)?, state));
                }
                all.push(found);
            }
            Ok(all)
        })
    }

    /// Files that differ in nothing but tags.
    pub fn files_of_picture(&self, picture: &PictureHash) -> Result<Vec<FileHash>> {
        let (mut low, mut high) = ([0; 2 * ID_LEN], [0xFF; 2 * ID_LEN]);
        low[..ID_LEN].copy_from_slice(picture.as_bytes());
        high[..ID_LEN].copy_from_slice(picture.as_bytes());
        self.read_past(|read| {
            let mut files = Vec::new();
            for item in read.open_table(PICTURES)?.range::<&[u8; 2 * ID_LEN]>(&low..=&high)? {
                let key = item?.0;
                files.extend(key.value()[ID_LEN..].first_chunk().map(|hash| FileHash::from_bytes(*hash)));
            }
            Ok(files)
        })
    }

    fn read_past<T: Default>(
        &self,
        run: impl FnOnce(&redb::ReadTransaction) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let state = self.read();
        caught(|| match state.parts() {
            Some(parts) => run(&parts.database.begin_read()?),
            None => Ok(T::default()),
        })
    }
}

fn record(write: &WriteTransaction, change: &PastChange<'_>) -> std::result::Result<(), redb::Error> {
    let track = change.track;
    let mut positions = write.open_table(POSITIONS)?;
    let mut past = write.open_table(PAST)?;
    let mut contents = write.open_table(CONTENTS)?;
    if let Some((host, path)) = change.anew {
        write.open_table(TRACKS)?.insert(track, track_value(host, path).as_slice())?;
        positions.retain_in((track, 0)..=(track, STILL), |_, _| false)?;
        let (low, high) = (key_front(track, b""), key_end(track, b""));
        let mut stale = Vec::new();
        for item in past.range(low.as_slice()..high.as_slice())? {
            let (key, value) = item?;
            let state = state_of(key.value(), value.value()).ok_or_else(nonsense)?;
            stale.push(content_key(&state.hash, key.value()));
        }
        for key in stale {
            contents.remove(key.as_slice())?;
        }
        past.retain_in(low.as_slice()..high.as_slice(), |_, _| false)?;
    }
    let next = positions.range((track, 0)..=(track, STILL))?.next_back().transpose()?;
    let next = next.map_or(0, |(key, _)| key.value().1 + 1);
    for (position, id) in (next..).zip(change.snapshots) {
        if position > MAX_POSITION {
            return Err(redb::Error::Corrupted("a source has more snapshots than can be told apart".to_owned()));
        }
        positions.insert((track, position), id.as_bytes())?;
    }
    let mut new_contents = Vec::new();
    for step in change.steps {
        match step {
            PastStep::Begin(state) => {
                let key = state_key(track, &state.path, state.from);
                past.insert(key.as_slice(), state_value(state).as_slice())?;
                if !state.symlink {
                    new_contents.push(content_key(&state.hash, &key));
                }
            }
            PastStep::End(path, at, how) => {
                change_last(&mut past, track, path, |state| state.ended = Some((*at, how.clone())))?;
            }
            PastStep::Mark(path, at, why) => {
                change_last(&mut past, track, path, |state| state.carried = why.map(|why| (*at, why)))?;
            }
        }
    }
    new_contents.sort_unstable();
    for key in new_contents {
        contents.insert(key.as_slice(), ())?;
    }
    Ok(())
}

/// Changes the newest state of a path.
fn change_last(
    past: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    track: u32,
    path: &[u8],
    change: impl FnOnce(&mut State),
) -> std::result::Result<(), redb::Error> {
    let (low, high) = (state_key(track, path, 0), state_key(track, path, MAX_POSITION));
    let last = past.range(low.as_slice()..=high.as_slice())?.next_back().transpose()?;
    let (key, mut state) = last
        .and_then(|(key, value)| Some((key.value().to_vec(), state_of(key.value(), value.value())?)))
        .ok_or_else(nonsense)?;
    change(&mut state);
    past.insert(key.as_slice(), state_value(&state).as_slice())?;
    Ok(())
}

fn nonsense() -> redb::Error {
    redb::Error::Corrupted("a row of the past makes no sense".to_owned())
}

/// What all keys of a path and of what is below it begin with: each name ends with a zero byte, which none contains.
fn key_front(track: u32, path: &[u8]) -> Vec<u8> {
    let mut key = track.to_be_bytes().to_vec();
    if !path.is_empty() {
        key.extend(path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }));
        key.push(0);
    }
    key
}

/// What comes after all of them.
fn key_end(track: u32, path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return track.checked_add(1).map_or_else(|| vec![0xFF; 5], |next| next.to_be_bytes().to_vec());
    }
    let mut key = key_front(track, path);
    key.pop();
    key.push(1);
    key
}

fn state_key(track: u32, path: &[u8], from: u32) -> Vec<u8> {
    let mut key = key_front(track, path);
    key.extend_from_slice(&from.to_be_bytes());
    key
}

fn content_key(hash: &FileHash, key: &[u8]) -> Vec<u8> {
    [hash.as_bytes(), key].concat()
}

fn track_number(key: &[u8]) -> Option<u32> {
    key.first_chunk().map(|number| u32::from_be_bytes(*number))
}

fn track_value(host: &str, path: &[u8]) -> Vec<u8> {
    [&(host.len() as u32).to_le_bytes(), host.as_bytes(), path].concat()
}

fn track_of(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (len, rest) = value.split_first_chunk::<4>()?;
    let (host, path) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((String::from_utf8(host.to_vec()).ok()?, path.to_vec()))
}

fn state_value(state: &State) -> Vec<u8> {
    let (began, origin): (u8, &[u8]) = match &state.began {
        Began::Added => (0, b""),
        Began::Changed => (1, b""),
        Began::Tags => (2, b""),
        Began::Moved(origin) => (3, origin),
        Began::Decayed => (4, b""),
    };
    let (until, ended, went): (u32, u8, &[u8]) = match &state.ended {
        None => (STILL, NOT_ENDED, b""),
        Some((at, Ended::Deleted)) => (*at, DELETED, b""),
        Some((at, Ended::Changed)) => (*at, 2, b""),
        Some((at, Ended::Moved(went))) => (*at, 3, went),
    };
    let mut value = Vec::with_capacity(64 + origin.len() + went.len());
    value.extend_from_slice(&until.to_le_bytes());
    let (since, carried) = match state.carried {
        None => (0, 0),
        Some((since, Carried::Unread)) => (since, 1),
        Some((since, Carried::Excluded)) => (since, 2),
    };
    value.extend_from_slice(&[began, ended, u8::from(state.symlink), carried]);
    value.extend_from_slice(&since.to_le_bytes());
    value.extend_from_slice(&state.size.to_le_bytes());
    value.extend_from_slice(&state.mtime.to_le_bytes());
    value.extend_from_slice(state.hash.as_bytes());
    value.extend_from_slice(&(origin.len() as u32).to_le_bytes());
    value.extend_from_slice(origin);
    value.extend_from_slice(went);
    value
}

fn state_of(key: &[u8], value: &[u8]) -> Option<State> {
    let (path, from) = key.get(4..)?.split_last_chunk::<4>()?;
    let mut path: Vec<u8> = path.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
    path.pop();
    let (until, value) = value.split_first_chunk::<4>()?;
    let ([began, ended, symlink, carried], value) = value.split_first_chunk::<4>()?;
    let (since, value) = value.split_first_chunk::<4>()?;
    let (size, value) = value.split_first_chunk::<8>()?;
    let (mtime, value) = value.split_first_chunk::<8>()?;
    let (hash, value) = value.split_first_chunk::<ID_LEN>()?;
    let (len, value) = value.split_first_chunk::<4>()?;
    let (origin, went) = value.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let until = u32::from_le_bytes(*until);
    Some(State {
        path,
        from: u32::from_be_bytes(*from),
        began: match began {
            0 => Began::Added,
            1 => Began::Changed,
            2 => Began::Tags,
            3 => Began::Moved(origin.to_vec()),
            4 => Began::Decayed,
            _ => return None,
        },
        ended: match *ended {
            NOT_ENDED => None,
            DELETED => Some((until, Ended::Deleted)),
            2 => Some((until, Ended::Changed)),
            3 => Some((until, Ended::Moved(went.to_vec()))),
            _ => return None,
        },
        carried: match *carried {
            0 => None,
            1 => Some((u32::from_le_bytes(*since), Carried::Unread)),
            2 => Some((u32::from_le_bytes(*since), Carried::Excluded)),
            _ => return None,
        },
        symlink: *symlink != 0,
        size: u64::from_le_bytes(*size),
        mtime: i64::from_le_bytes(*mtime),
        hash: FileHash::from_bytes(*hash),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(path: &[u8], from: u32, seed: u8) -> State {
        State {
            path: path.to_vec(),
            from,
            began: Began::Added,
            ended: None,
            carried: None,
            symlink: false,
            size: u64::from(seed),
            mtime: -5,
            hash: FileHash::from_bytes([seed; 32]),
        }
    }

    #[test]
    fn a_row_says_what_was_written() {
        let all = [
            state(b"", 0, 1),
            State { began: Began::Changed, ended: Some((7, Ended::Deleted)), ..state(b"a", 3, 2) },
            State { carried: Some((6, Carried::Unread)), ended: Some((7, Ended::Deleted)), ..state(b"b", 3, 2) },
            State { carried: Some((3, Carried::Excluded)), ..state(b"c", 3, 2) },
            State { began: Began::Tags, ended: Some((7, Ended::Changed)), symlink: true, ..state(b"a/b c", 3, 2) },
            State {
                began: Began::Moved(b"x/y".to_vec()),
                ended: Some((9, Ended::Moved(b"z".to_vec()))),
                ..state(b"a/\xff", MAX_POSITION, 2)
            },
        ];
        for state in all {
            let key = state_key(5, &state.path, state.from);
            assert_eq!((track_number(&key), state_of(&key, &state_value(&state))), (Some(5), Some(state)));
        }
        let value = state_value(&state(b"a", 0, 1));
        for len in 0..value.len() {
            assert_eq!(state_of(&state_key(0, b"a", 0), &value[..len]), None);
        }
    }

    #[test]
    fn a_path_covers_what_is_below_it_and_nothing_else() {
        let index = Index::in_memory(crate::id::ArchiveId::from_bytes([1; 16]));
        let paths: [&[u8]; 7] = [b"a", b"a!", b"a/b", b"a/b/c", b"a/b\x01", b"ab", b"b"];
        let steps: Vec<_> = (1..).zip(paths).map(|(seed, path)| PastStep::Begin(state(path, 0, seed))).collect();
        let first = SnapshotId::from_bytes([1; 32]);
        for track in [0, 1] {
            let anew = Some(("host", b"/source".as_slice()));
            index.apply_past(&[PastChange { track, anew, snapshots: &[first], steps: &steps }]).unwrap();
        }
        let below = |path: &[u8]| {
            let mut found = Vec::new();
            index
                .states(0, path, &mut |row| {
                    let mut path = Vec::new();
                    row.push_path(&mut path);
                    assert_eq!(row.state().unwrap().path, path);
                    found.push(path);
                    ControlFlow::Continue(())
                })
                .unwrap();
            found
        };
        assert_eq!(below(b"").len(), 7);
        assert_eq!(below(b"a"), [b"a".as_slice(), b"a/b", b"a/b/c", b"a/b\x01"]);
        assert_eq!(below(b"a/b"), [b"a/b".as_slice(), b"a/b/c"]);
        assert!(below(b"c").is_empty());

        let second = SnapshotId::from_bytes([2; 32]);
        let steps = [
            PastStep::End(b"a/b/c".to_vec(), 1, Ended::Moved(b"c".to_vec())),
            PastStep::Begin(State { began: Began::Moved(b"a/b/c".to_vec()), ..state(b"c", 1, 4) }),
        ];
        index.apply_past(&[PastChange { track: 1, anew: None, snapshots: &[second], steps: &steps }]).unwrap();
        let tracks = index.tracks().unwrap();
        assert_eq!(tracks[1].snapshots, [first, second]);
        assert_eq!((tracks[0].snapshots.len(), tracks[0].host.as_str()), (1, "host"));
        let found = index.states_with(&[FileHash::from_bytes([4; 32]), FileHash::from_bytes([99; 32])]).unwrap();
        let names: Vec<_> = found[0].iter().map(|(track, state)| (*track, state.path.as_slice())).collect();
        assert_eq!(names, [(0, b"a/b/c".as_slice()), (1, b"a/b/c"), (1, b"c")]);
        assert_eq!(found[0][1].1.ended, Some((1, Ended::Moved(b"c".to_vec()))));
        assert!(found[1].is_empty());

        let third = SnapshotId::from_bytes([3; 32]);
        let mark = |why| [PastStep::Mark(b"c".to_vec(), 2, why)];
        let carried = || index.states_with(&[FileHash::from_bytes([4; 32])]).unwrap()[0][2].1.carried;
        for why in [Some(Carried::Unread), Some(Carried::Excluded), None] {
            let change = PastChange { track: 1, anew: None, snapshots: &[third], steps: &mark(why) };
            index.apply_past(&[change]).unwrap();
            assert_eq!(carried(), why.map(|why| (2, why)));
        }

        let anew = Some(("host", b"/source".as_slice()));
        index.apply_past(&[PastChange { track: 1, anew, snapshots: &[], steps: &[] }]).unwrap();
        assert!(index.tracks().unwrap()[1].snapshots.is_empty());
        assert_eq!(index.states_with(&[FileHash::from_bytes([4; 32])]).unwrap()[0].len(), 1, "told anew");
        let ends_nothing = [PastStep::End(b"c".to_vec(), 1, Ended::Deleted)];
        let change = PastChange { track: 1, anew: None, snapshots: &[], steps: &ends_nothing };
        assert_eq!(index.apply_past(&[change]).map_err(|error| error.kind()), Err(Kind::Internal));
    }
}
