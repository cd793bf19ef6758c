//! The past: what every path held from one snapshot to another, across all snapshots of a source.
//!
//! It is answered from the index alone; no tree is read once the index is up to date. A path is written as it stands in
//! a snapshot (`Pictures/2019`) or as it is at the source (`/home/anna/Pictures/2019`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::join;
use super::present::below;
use crate::archive::{Archive, Began, Ended, Filter, PastRow, PastState, Renames, SourceOrder, Track};
use crate::error::{Error, Kind, Result};
use crate::format::{Carried, Snapshot, Time};
use crate::id::{FileHash, SnapshotId};
use crate::normal;

/// The past of the sources that count.
pub struct Past<'a> {
    archive: &'a Archive,
    tracks: Vec<Source>,
    snapshots: HashMap<SnapshotId, Snapshot>,
    renames: Renames,
    /// For each of the snapshots, by which its sources are found.
    orders: HashMap<SnapshotId, SourceOrder>,
}

/// A source of a machine, under the name that its newest snapshot gives it.
struct Source {
    track: Track,
    name: Vec<u8>,
    /// Its other names in earlier ones.
    names: Vec<Vec<u8>>,
    /// Paths that it had before.
    was: Vec<Vec<u8>>,
    retired: bool,
}

/// A path of one source, below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    /// Which source: its place in the order in which sources were first met.
    source: usize,
    /// Names below the source, joined by `/`.
    below: Vec<u8>,
}

/// A state of a path with its moments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Episode {
    /// The path as it stands in snapshots.
    pub path: Vec<u8>,
    /// What was there, and how it came and went.
    pub state: PastState,
    source: usize,
}

/// A state that may be wanted.
pub struct Candidate<'a> {
    /// Its path as it stands in snapshots.
    pub path: &'a [u8],
    /// What is known of it.
    pub row: PastRow<'a>,
}

/// What happened to an album from one snapshot to the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlbumChange {
    /// Files that were added, and their bytes.
    pub added: Tally,
    /// Files with new content.
    pub changed: Tally,
    /// Photos with other tags.
    pub tags: Tally,
    /// Files that came from elsewhere.
    pub moved_in: Tally,
    /// Files that went elsewhere.
    pub moved_out: Tally,
    /// Files that have another path within it.
    pub moved_within: Tally,
    /// Files that could not be read from then on.
    pub unread: Tally,
    /// Files that a rule leaves out from then on.
    pub excluded: Tally,
    /// Files that are gone.
    pub deleted: Tally,
    /// What the album holds after it.
    pub holds: Tally,
}

/// Files and their bytes. Symbolic links are no files, and are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many files.
    pub files: u64,
    /// How many symbolic links.
    pub links: u64,
    /// The bytes of the files.
    pub bytes: u64,
}

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.files == 0 && self.links == 0
    }

    /// One state more.
    pub fn add(&mut self, state: &PastState) {
        if state.symlink {
            self.links += 1;
        } else {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(state.size);
        }
    }

    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            links: self.links + other.links,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn take(&mut self, state: &PastState) {
        if state.symlink {
            self.links = self.links.saturating_sub(1);
        } else {
            self.files = self.files.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(state.size);
        }
    }
}

/// What a path is about.
#[derive(Debug)]
pub enum History<'a> {
    /// A file: its states, oldest first, under whatever names it had.
    File(Vec<Episode>),
    /// An album: what happened to it, and in which snapshot that was seen first.
    Album(Vec<(SnapshotId, &'a Snapshot, AlbumChange)>),
}

/// Which states are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// Those that the newest snapshot of their source has.
    Newest,
    /// Every state that there ever was.
    All,
    /// The last state of what is no longer in the source.
    Deleted,
}

impl<'a> Past<'a> {
    /// The past of the snapshots that count, brought up to the newest.
    ///
    /// # Errors
    /// The archive's error.
    pub fn open(archive: &'a Archive, filter: &Filter) -> Result<Self> {
        let tracks = archive.past()?;
        let renames = archive.renames()?;
        let snapshots: HashMap<SnapshotId, Snapshot> = archive.snapshots().into_iter().collect();
        let orders: HashMap<SnapshotId, SourceOrder> =
            snapshots.iter().map(|(id, snapshot)| (*id, renames.order(snapshot))).collect();
        let mut sources = Vec::new();
        for track in tracks {
            let own = || track.snapshots.iter().filter_map(|id| Some((snapshots.get(id)?, orders.get(id)?)));
            let Some((newest, order)) =
                track.snapshots.last().and_then(|id| Some((snapshots.get(id)?, orders.get(id)?)))
            else {
                continue;
            };
            let Some(source) = renames.source_by(order, newest, &track.path) else { continue };
            if own().any(|(snapshot, _)| filter.admits(snapshot)) {
                let all = || own().filter_map(|(snapshot, order)| renames.source_by(order, snapshot, &track.path));
                let was: HashSet<&Vec<u8>> = all().map(|one| &one.path).filter(|path| **path != track.path).collect();
                let names: HashSet<&Vec<u8>> =
                    all().map(|one| &one.name).filter(|name| **name != source.name).collect();
                let (was, names) = (was.into_iter().cloned().collect(), names.into_iter().cloned().collect());
                let retired = renames.is_retired(&track.host, &track.path, newest.sequence);
                sources.push(Source { name: source.name.clone(), names, was, retired, track });
            }
        }
        Ok(Self { archive, tracks: sources, snapshots, renames, orders })
    }

    /// The archive.
    pub fn archive(&self) -> &'a Archive {
        self.archive
    }

    /// Where a path is or was, in each source that may be meant. A path that is written in another form of Unicode is
    /// found where nothing is written just so.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if nothing was ever there.
    pub fn spots(&self, path: &[u8]) -> Result<Vec<Spot>> {
        let mut spots = self.spots_by(path, |source| match path.first() {
            Some(b'/') => std::iter::once(&source.track.path).chain(&source.was).map(Vec::as_slice).collect(),
            _ => vec![&source.name],
        })?;
        if spots.is_empty() {
            // A source that has another name now was called so.
            spots = self.spots_by(path, |source| source.names.iter().map(Vec::as_slice).collect())?;
        }
        if spots.is_empty() {
            let path = String::from_utf8_lossy(path);
            return Err(Error::new(
                Kind::NotFound,
                format!("looking for \"{path}\""),
                "no snapshot has ever had anything there",
            ));
        }
        Ok(spots)
    }

    /// Where a path is or was, in each source that lies at the start of it by one of these names or paths.
    fn spots_by(&self, path: &[u8], names: impl Fn(&Source) -> Vec<&[u8]>) -> Result<Vec<Spot>> {
        let mut spots = Vec::new();
        for (number, source) in self.tracks.iter().enumerate() {
            let above = names(source);
            let whole = path.split(|byte| *byte == b'/').all(|name| name.is_empty() || name == b".");
            let rest = above.into_iter().filter_map(|above| below(path, above)).min_by_key(Vec::len);
            let Some(rest) = rest.or(whole.then(Vec::new)) else { continue };
            if !self.archive.states_from(source.track.number, &rest, 1)?.is_empty() {
                spots.push(Spot { source: number, below: rest });
            } else if !rest.is_ascii() {
                spots.extend(self.written_otherwise(number, &rest)?);
            }
        }
        Ok(spots)
    }

    /// Where a path is or was that means the same.
    fn written_otherwise(&self, source: usize, path: &[u8]) -> Result<Vec<Spot>> {
        let names = path.split(|byte| *byte == b'/').count();
        let wanted = normal::normal(path);
        self.again(|| {
            let (mut found, mut other) = (Vec::<Spot>::new(), Vec::new());
            self.archive.visit_states(self.tracks[source].track.number, b"", &mut |row| {
                other.clear();
                row.push_path(&mut other);
                let end = other.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(names - 1);
                let front = &other[..end.map_or(other.len(), |(at, _)| at)];
                let known = found.last().is_some_and(|spot| spot.below == front);
                if !known && normal::normal(front) == wanted {
                    found.push(Spot { source, below: front.to_vec() });
                }
            })?;
            found.dedup();
            Ok(found)
        })
    }

    /// Every source as a whole that is not retired.
    pub fn roots(&self) -> Vec<Spot> {
        let mut roots = self.all_roots();
        roots.retain(|spot| !self.tracks[spot.source].retired);
        roots
    }

    /// Every source as a whole, also those that are retired.
    pub fn all_roots(&self) -> Vec<Spot> {
        (0..self.tracks.len()).map(|source| Spot { source, below: Vec::new() }).collect()
    }

    /// The path of a spot as it stands in snapshots.
    pub fn path(&self, spot: &Spot) -> Vec<u8> {
        self.shown(spot.source, &spot.below)
    }

    /// The same as a snapshot has it, which may know the source under another name.
    pub fn path_in(&self, spot: &Spot, snapshot: &SnapshotId) -> Option<Vec<u8>> {
        let (order, snapshot) = (self.orders.get(snapshot)?, self.snapshots.get(snapshot)?);
        let source = self.renames.source_by(order, snapshot, &self.tracks[spot.source].track.path)?;
        Some(if spot.below.is_empty() { source.name.clone() } else { join(&source.name, &spot.below) })
    }

    /// The last snapshot that has an episode's state, and the path in it.
    pub fn place(&self, episode: &Episode) -> Option<(SnapshotId, &Snapshot, Vec<u8>)> {
        let (id, snapshot) = self.last(episode)?;
        Some((id, snapshot, self.path_in(&self.spot(episode), &id)?))
    }

    /// The path of a spot as it is at the source, and the machine that it is on.
    pub fn origin(&self, spot: &Spot) -> (&str, Vec<u8>) {
        let track = &self.tracks[spot.source].track;
        let path = if spot.below.is_empty() { track.path.clone() } else { join(&track.path, &spot.below) };
        (&track.host, path)
    }

    /// The spot of an episode.
    pub fn spot(&self, episode: &Episode) -> Spot {
        Spot { source: episode.source, below: episode.state.path.clone() }
    }

    /// Whether the source of an episode was retired: nobody knows what is there now.
    pub fn is_retired(&self, episode: &Episode) -> bool {
        self.tracks[episode.source].retired
    }

    /// The source of an episode as a whole.
    pub fn root(&self, episode: &Episode) -> Spot {
        Spot { source: episode.source, below: Vec::new() }
    }

    /// The newest snapshot of the source of a spot, and how it names it.
    pub fn newest_of(&self, spot: &Spot) -> Option<(SnapshotId, &Snapshot, &crate::format::Source)> {
        let (id, snapshot) = self.newest(spot.source)?;
        let source = self.renames.source_by(self.orders.get(&id)?, snapshot, &self.tracks[spot.source].track.path)?;
        Some((id, snapshot, source))
    }

    /// The snapshot that saw an episode's beginning.
    pub fn since(&self, episode: &Episode) -> Option<(SnapshotId, &Snapshot)> {
        self.moment(episode.source, episode.state.from)
    }

    /// The last snapshot that has an episode's state.
    pub fn last(&self, episode: &Episode) -> Option<(SnapshotId, &Snapshot)> {
        match &episode.state.ended {
            Some((at, _)) => self.moment(episode.source, at.checked_sub(1)?),
            None => self.newest(episode.source),
        }
    }

    /// Why an episode's state was not read any more, and the first snapshot that carried it forward for this reason.
    pub fn unread_since(&self, episode: &Episode) -> Option<(Carried, SnapshotId, &Snapshot)> {
        let (at, why) = episode.state.carried?;
        self.moment(episode.source, at).map(|(id, snapshot)| (why, id, snapshot))
    }

    /// The last snapshot of which the run read an episode's state, or knew it to be unchanged.
    pub fn last_read(&self, episode: &Episode) -> Option<(SnapshotId, &Snapshot)> {
        match episode.state.carried {
            Some((at, _)) => self.moment(episode.source, at.checked_sub(1)?),
            None => self.last(episode),
        }
    }

    /// The snapshot that saw an episode's end, if it has one.
    pub fn ended(&self, episode: &Episode) -> Option<(SnapshotId, &Snapshot)> {
        self.moment(episode.source, episode.state.ended.as_ref()?.0)
    }

    /// Whether this snapshot has an episode's state.
    pub fn is_in(&self, episode: &Episode, snapshot: &SnapshotId) -> bool {
        let snapshots = &self.tracks[episode.source].track.snapshots;
        let at = snapshots.iter().position(|id| id == snapshot);
        at.is_some_and(|at| lasts(&episode.state, at as u32))
    }

    fn newest(&self, source: usize) -> Option<(SnapshotId, &Snapshot)> {
        let id = *self.tracks[source].track.snapshots.last()?;
        Some((id, self.snapshots.get(&id)?))
    }

    fn moment(&self, source: usize, position: u32) -> Option<(SnapshotId, &Snapshot)> {
        let id = *self.tracks[source].track.snapshots.get(position as usize)?;
        Some((id, self.snapshots.get(&id)?))
    }

    fn shown(&self, source: usize, below: &[u8]) -> Vec<u8> {
        if below.is_empty() { self.tracks[source].name.clone() } else { join(&self.tracks[source].name, below) }
    }

    fn states(&self, spot: &Spot) -> Result<Vec<PastState>> {
        self.archive.states(self.tracks[spot.source].track.number, &spot.below)
    }

    /// The states of a path of the same source alone.
    fn own_states(&self, spot: &Spot, path: &[u8]) -> Result<impl Iterator<Item = PastState>> {
        let track = self.tracks[spot.source].track.number;
        let found = self.archive.states_from(track, path, usize::MAX)?;
        let own = path.to_vec();
        Ok(found.into_iter().filter(move |state| state.path == own))
    }

    fn episode(&self, source: usize, state: PastState) -> Episode {
        Episode { path: self.shown(source, &state.path), state, source }
    }

    /// What happened at a spot. A file is followed under all its names.
    ///
    /// # Errors
    /// As for all of these: the archive's error.
    pub fn history(&self, spot: &Spot) -> Result<History<'_>> {
        let states = self.states(spot)?;
        if states.iter().any(|state| state.path != spot.below) {
            return Ok(History::Album(self.album(spot, &states)));
        }
        let mut seen: HashSet<(Vec<u8>, u32)> = HashSet::new();
        let mut todo = states;
        let mut found = Vec::new();
        while let Some(state) = todo.pop() {
            if !seen.insert((state.path.clone(), state.from)) {
                continue;
            }
            // What it was before and what became of it, here or elsewhere.
            let origin = match &state.began {
                Began::Added => None,
                Began::Changed | Began::Tags | Began::Decayed => Some(&state.path),
                Began::Moved(origin) => Some(origin),
            };
            let went = match &state.ended {
                None | Some((_, Ended::Deleted)) => None,
                Some((at, Ended::Changed)) => Some((*at, &state.path)),
                Some((at, Ended::Moved(went))) => Some((*at, went)),
            };
            if let Some(origin) = origin {
                let before = self.own_states(spot, origin)?;
                todo.extend(before.filter(|other| other.ended.as_ref().is_some_and(|(at, _)| *at == state.from)));
            }
            if let Some((at, went)) = went {
                let after = self.own_states(spot, went)?;
                // Another photo that moved into its place is not what became of it.
                let stayed = *went == state.path;
                let follows = |began: &Began| match began {
                    Began::Added => false,
                    Began::Changed | Began::Tags | Began::Decayed => stayed,
                    Began::Moved(_) => !stayed,
                };
                todo.extend(after.filter(|other| other.from == at && follows(&other.began)));
            }
            found.push(self.episode(spot.source, state));
        }
        found.sort_by(|a, b| (a.state.from, &a.path).cmp(&(b.state.from, &b.path)));
        Ok(History::File(found))
    }

    fn album(&self, spot: &Spot, states: &[PastState]) -> Vec<(SnapshotId, &Snapshot, AlbumChange)> {
        let inside = |path: &[u8]| {
            let rest = path.strip_prefix(spot.below.as_slice());
            spot.below.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let mut changes: BTreeMap<u32, AlbumChange> = BTreeMap::new();
        let mut gone: BTreeMap<u32, Vec<&PastState>> = BTreeMap::new();
        let mut come: BTreeMap<u32, Vec<&PastState>> = BTreeMap::new();
        for state in states {
            let change = changes.entry(state.from).or_default();
            come.entry(state.from).or_default().push(state);
            match &state.began {
                Began::Added => change.added.add(state),
                Began::Changed | Began::Decayed => change.changed.add(state),
                Began::Tags => change.tags.add(state),
                Began::Moved(origin) if inside(origin) => change.moved_within.add(state),
                Began::Moved(_) => change.moved_in.add(state),
            }
            if let Some((at, why)) = state.carried {
                let change = changes.entry(at).or_default();
                match why {
                    Carried::Unread => change.unread.add(state),
                    Carried::Excluded => change.excluded.add(state),
                }
            }
            if let Some((at, how)) = &state.ended {
                let change = changes.entry(*at).or_default();
                gone.entry(*at).or_default().push(state);
                match how {
                    Ended::Deleted => change.deleted.add(state),
                    Ended::Moved(went) if !inside(went) => change.moved_out.add(state),
                    Ended::Changed | Ended::Moved(_) => {}
                }
            }
        }
        let mut holds = Tally::default();
        let mut told = Vec::new();
        for (position, mut change) in changes {
            gone.get(&position).into_iter().flatten().for_each(|state| holds.take(state));
            come.get(&position).into_iter().flatten().for_each(|state| holds.add(state));
            change.holds = holds;
            if let Some((id, snapshot)) = self.moment(spot.source, position) {
                told.push((id, snapshot, change));
            }
        }
        told
    }

    /// The states at these spots and below them, by source, path and time.
    ///
    /// # Errors
    /// The archive's error.
    pub fn episodes(&self, spots: &[Spot], span: Span) -> Result<Vec<Episode>> {
        self.select(spots, span, &|_| true)
    }

    /// The same, but only what is wanted; what is not costs little.
    ///
    /// # Errors
    /// The archive's error.
    pub fn select(&self, spots: &[Spot], span: Span, wanted: &dyn Fn(&Candidate<'_>) -> bool) -> Result<Vec<Episode>> {
        self.again(|| {
            let mut found = Vec::new();
            for spot in spots {
                let Source { track, name, .. } = &self.tracks[spot.source];
                let mut path = Vec::new();
                let mut take = |row: PastRow<'_>| {
                    path.clear();
                    path.extend_from_slice(name);
                    path.push(b'/');
                    row.push_path(&mut path);
                    if wanted(&Candidate { path: path.strip_suffix(b"/").unwrap_or(&path), row }) {
                        found.extend(row.state().map(|state| self.episode(spot.source, state)));
                    }
                };
                // A deleted state counts if no other state of the path comes after it.
                let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
                self.archive.visit_states(track.number, &spot.below, &mut |row| {
                    if let Some((key, value)) = held.take()
                        && let Some(last) = PastRow::of_parts(&key, &value)
                        && !last.has_path_of(&row)
                    {
                        take(last);
                    }
                    match span {
                        Span::All => take(row),
                        Span::Newest if row.lasts() => take(row),
                        Span::Deleted if row.is_deleted() => {
                            let (key, value) = row.parts();
                            held = Some((key.to_vec(), value.to_vec()));
                        }
                        Span::Newest | Span::Deleted => {}
                    }
                })?;
                if let Some((key, value)) = held
                    && let Some(last) = PastRow::of_parts(&key, &value)
                {
                    take(last);
                }
            }
            Ok(found)
        })
    }

    /// The hashes of all files that the sources have now.
    ///
    /// # Errors
    /// The archive's error.
    pub fn newest_contents(&self) -> Result<HashSet<FileHash>> {
        self.again(|| {
            let mut found = HashSet::new();
            for source in self.tracks.iter().filter(|source| !source.retired) {
                self.archive.visit_states(source.track.number, b"", &mut |row| {
                    if row.lasts() && !row.is_symlink() {
                        found.insert(row.hash());
                    }
                })?;
            }
            Ok(found)
        })
    }

    /// Asks the index, and once more when it failed and was filled again.
    fn again<T>(&self, ask: impl Fn() -> Result<T>) -> Result<T> {
        match ask() {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.archive.refill_past(&fault.to_string())?;
                ask()
            }
            done => done,
        }
    }

    /// What was there at a moment, at these spots and below them: for each source, in its newest snapshot that is not
    /// later.
    ///
    /// # Errors
    /// The archive's error.
    pub fn as_of(&self, spot: &Spot, time: Time) -> Result<Option<(SnapshotId, &Snapshot)>> {
        let track = &self.tracks[spot.source].track;
        let at = track.snapshots.iter().rposition(|id| self.snapshots.get(id).is_some_and(|one| one.time <= time));
        let Some(at) = at else { return Ok(None) };
        let had = self.states(spot)?.into_iter().any(|state| lasts(&state, at as u32));
        Ok(if had { self.moment(spot.source, at as u32) } else { None })
    }

    /// The newest snapshot that has anything at this spot, and whether the source has something there still.
    ///
    /// # Errors
    /// The archive's error.
    pub fn newest_with(&self, spot: &Spot) -> Result<Option<(SnapshotId, &Snapshot, bool)>> {
        let last = |state: &PastState| state.ended.as_ref().map_or(u32::MAX, |(at, _)| *at);
        let until = self.states(spot)?.iter().map(last).max();
        Ok(match until {
            None => None,
            Some(u32::MAX) => self.newest(spot.source).map(|(id, snapshot)| (id, snapshot, true)),
            Some(until) => {
                self.moment(spot.source, until.saturating_sub(1)).map(|(id, snapshot)| (id, snapshot, false))
            }
        })
    }

    /// For each of these hashes, where files with it are and were.
    ///
    /// # Errors
    /// The archive's error.
    pub fn with_content(&self, hashes: &[FileHash]) -> Result<Vec<Vec<Episode>>> {
        let by_number: HashMap<u32, usize> =
            self.tracks.iter().enumerate().map(|(source, each)| (each.track.number, source)).collect();
        let found = self.archive.states_with(hashes)?;
        let shown = |(track, state): (u32, PastState)| Some(self.episode(*by_number.get(&track)?, state));
        Ok(found.into_iter().map(|states| states.into_iter().filter_map(shown).collect()).collect())
    }
}

fn lasts(state: &PastState, position: u32) -> bool {
    state.from <= position && state.ended.as_ref().is_none_or(|(at, _)| position < *at)
}
