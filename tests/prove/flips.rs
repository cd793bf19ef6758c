//! Bit rot: single bits of every sort of object are flipped, and runs of bytes up to and past what recovery data mends. In
//! one process, so that ten thousand of them take minutes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use snapkeep::archive::{Filter, Selector, chunks_of, read_directory};
use snapkeep::error::Kind;
use snapkeep::format::{EntryKind, Row};
use snapkeep::id::{ChunkId, PackId, SnapshotId};
use snapkeep::op::{AffectedFile, Repair, RepairOptions, repair};
use snapkeep::store::Local;
use snapkeep::view::{Node, View};

use super::picture;
use super::rig::{Tally, Verdict, form, hold};
use crate::common::{Heard, Known, Random, TestArchive, contents, quick, restore_at};

/// An archive that is damaged and mended over and over, as it was.
struct Bench {
    known: Known,
    objects: BTreeMap<String, Vec<u8>>,
}

/// What an object is, as far as flips are concerned.
fn sort(name: &str, bytes: &[u8]) -> &'static str {
    match name.split('/').next().unwrap() {
        "packs" if bytes[10] == 0 => "data pack",
        "packs" => "metadata pack",
        "parity" => "recovery data",
        "segments" => "segment",
        "snapshots" => "snapshot",
        "derived" => "facts",
        "header" => "header",
        "header.copy" => "second header",
        other => panic!("{other}"),
    }
}

impl Bench {
    fn new() -> Self {
        let mut known = Known::new();
        // Real photos too, so that there are facts about them.
        for number in 0..6 {
            let path = known.archive.source().join(format!("photo{number}.jpg"));
            fs::write(path, picture::photo(number, 96, 64)).unwrap();
        }
        known.held.push((known.archive.backup(), contents(&known.archive.source())));
        let objects = known.archive.objects().into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect();
        Self { known, objects }
    }

    fn archive(&self) -> &TestArchive {
        &self.known.archive
    }

    /// The objects of each sort.
    fn sorts(&self) -> BTreeMap<&'static str, Vec<&String>> {
        let mut sorts = BTreeMap::<_, Vec<_>>::new();
        for (name, bytes) in &self.objects {
            sorts.entry(sort(name, bytes)).or_default().push(name);
        }
        sorts
    }

    fn path(&self, name: &str) -> PathBuf {
        self.archive().path().join(name)
    }

    /// Puts everything back as it was.
    fn put_back(&self) {
        let _ = fs::remove_dir_all(self.path("quarantine"));
        for (name, path) in self.archive().objects() {
            if !self.objects.contains_key(&name) {
                fs::remove_file(path).unwrap();
            }
        }
        for (name, bytes) in &self.objects {
            if fs::read(self.path(name)).ok().as_ref() != Some(bytes) {
                fs::write(self.path(name), bytes).unwrap();
            }
        }
    }

    fn repair(&self) -> Repair {
        loop {
            match repair(&self.archive().open(), &RepairOptions::default(), &Heard::default()) {
                // A program that another test is just starting holds our locks for a moment.
                Err(error) if error.kind() == Kind::InUse => thread::sleep(Duration::from_millis(5)),
                done => return done.unwrap(),
            }
        }
    }

    /// Damages one object, which must be found, and mended to the bytes that it had.
    fn is_found_and_mended(&self, name: &str, damaged: &[u8]) -> Verdict {
        fs::write(self.path(name), damaged).unwrap();
        let found = self.archive().verify(true);
        hold(found.damage.iter().any(|damage| damage.object == name), || format!("not found: {:?}", found.damage))?;
        hold(found.damage.iter().all(|damage| damage.object == name), || format!("others named: {:?}", found.damage))?;
        hold(found.affected.is_empty(), || format!("files named that can be restored: {:?}", found.affected))?;
        let done = self.repair();
        hold(done.is_whole(), || format!("not mended: {done:?}"))?;
        for (other, bytes) in &self.objects {
            // Facts are derived and a segment is retold: they count as mended when nothing lacks them.
            let retold = other == name && matches!(sort(other, bytes), "facts" | "segment");
            let now = fs::read(self.path(other)).ok();
            hold(retold && now.is_none() || now.as_ref() == Some(bytes), || format!("{other} has other bytes"))?;
        }
        let left = self.archive().verify(true);
        hold(left.damage.is_empty() && left.affected.is_empty(), || format!("still damaged: {:?}", left.damage))
    }

    /// One case, from the archive as it was to the archive as it was.
    fn case(&self, tally: &Tally, about: &str, name: &str, damaged: &[u8]) {
        let verdict = self.is_found_and_mended(name, damaged);
        tally.add(&format!("{about} of {name}"), verdict, None);
        self.put_back();
    }
}

#[test]
fn every_flipped_bit_is_found_and_mended() {
    let flips = form(200, 10_000);
    let tally = Tally::default();
    let next = AtomicUsize::new(0);
    let sorts = Bench::new().sorts().len();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bench = Bench::new();
                let sorts: Vec<Vec<&String>> = bench.sorts().into_values().collect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= flips {
                        return;
                    }
                    let mut random = Random(number as u64 ^ 0xF11B);
                    let names = &sorts[number % sorts.len()];
                    let name = names[random.below(names.len() as u64) as usize];
                    let mut bytes = bench.objects[name].clone();
                    let bit = random.below(bytes.len() as u64 * 8);
                    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
                    bench.case(&tally, &format!("bit {bit}"), name, &bytes);
                }
            });
        }
    });
    tally.tell(
        "every flipped bit is found, and mended to identical bytes",
        &format!("random bits of all {sorts} sorts of objects, verify and repair"),
    );
}

/// A run of this many bytes from there on, every one of them wrong.
fn burst(bytes: &[u8], start: usize, len: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[start..start + len].iter_mut().for_each(|byte| *byte = !*byte);
    bytes
}

#[test]
fn every_burst_up_to_the_limit_is_mended() {
    let bench = Bench::new();
    let tally = Tally::default();
    let mut random = Random(5);
    let cases = form(12, 400);
    for (sort, names) in bench.sorts() {
        for case in 0..cases {
            let name = names[random.below(names.len() as u64) as usize];
            let bytes = &bench.objects[name];
            // Data packs have recovery data for a part of their length, everything else for all of it.
            let limit = match sort {
                "data pack" => bench.limit(name).min(bytes.len()),
                _ => bytes.len(),
            };
            let len = if case % 2 == 0 { limit } else { 1 + random.below(limit as u64) as usize };
            let start = match case % 3 {
                0 => bytes.len() - len, // the directory and the trailer are in it
                _ => random.below((bytes.len() - len + 1) as u64) as usize,
            };
            let damaged = burst(bytes, start, len);
            bench.case(&tally, &format!("burst of {len} at {start}"), name, &damaged);
        }
    }
    tally.tell(
        "every burst up to the limit is mended to identical bytes",
        "runs of wrong bytes up to the limit, anywhere in packs and their directories, up to the whole of anything else",
    );
}

/// A file or directory of a snapshot.
type Place = (SnapshotId, Vec<u8>);

impl Bench {
    /// How many shards of recovery data a pack has, and how long each is (format-spec.md, §9).
    fn shards(&self, pack: &str) -> (usize, usize) {
        let parity = &self.objects[&pack.replace("packs", "parity")];
        let number = |at: usize| u32::from_le_bytes(parity[at..at + 4].try_into().unwrap()) as usize;
        (number(24), number(16))
    }

    /// How long a run of wrong bytes is always mended.
    fn limit(&self, pack: &str) -> usize {
        let (shards, len) = self.shards(pack);
        (shards - 1) * len + 1
    }

    /// The files that need any of these chunks.
    fn costs(&self, hit: &HashSet<ChunkId>) -> BTreeSet<Place> {
        let archive = self.archive().open();
        let mut costs = BTreeSet::new();
        for (id, _) in &self.known.held {
            let (id, snapshot) = archive.find(&Selector::Prefix(id.to_hex()), &Filter::default()).unwrap();
            let view = View::new(&archive, id, snapshot);
            let walk = view.walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
                if let Some(EntryKind::File { content, size, .. }) = node.entry.as_ref().map(|entry| &entry.kind) {
                    let chunks = chunks_of(&archive.reader(), content, *size)?;
                    if chunks.iter().any(|chunk| hit.contains(&chunk.id)) {
                        costs.insert((id, node.path.clone()));
                    }
                }
                Ok(true)
            });
            walk.unwrap();
        }
        costs
    }

    /// Of the archive as it is now, exactly these files cannot be restored, by the word of verify, of restore and of repair.
    fn costs_exactly(&self, costs: &BTreeSet<Place>) -> Verdict {
        let named = |files: &[AffectedFile]| files.iter().map(|file| (file.snapshot, file.path.clone())).collect();
        let found: BTreeSet<Place> = named(&self.archive().verify(true).affected);
        hold(found == *costs, || format!("verify names {found:?}, not {costs:?}"))?;
        let done = self.repair();
        let lost: BTreeSet<Place> = named(&done.lost);
        hold(lost == *costs, || format!("repair names {lost:?}, not {costs:?}"))?;
        let target = quick();
        for (number, (id, held)) in self.known.held.iter().enumerate() {
            let target = target.path().join(number.to_string());
            restore_at(&self.archive().open(), Some(*id), &target).map_err(|error| error.to_string())?;
            let restored = contents(&target.join("source"));
            for (path, bytes) in held {
                let lost = costs.contains(&(*id, [b"source/", path.as_slice()].concat()));
                let right = restored.get(path) == Some(bytes);
                hold(lost != right, || format!("{}: lost {lost}, restored {right}", path.escape_ascii()))?;
            }
        }
        Ok(())
    }
}

/// Where a frame ends.
fn end_of(row: &Row) -> usize {
    row.offset as usize + row.frame_len() as usize
}

/// One byte more than the limit, placed as badly as can be: exactly the photos whose frames were touched are lost.
#[test]
fn past_the_limit_exactly_the_touched_photos_are_named() {
    let tally = Tally::default();
    let bench = Bench::new();
    let mut random = Random(6);
    let packs: Vec<&String> = bench.sorts()["data pack"].clone();
    for case in 0..form(6, 200) {
        let pack = packs[random.below(packs.len() as u64) as usize];
        let bytes = &bench.objects[pack];
        let store = Local::new(bench.archive().path());
        let id = PackId::from_hex(pack.rsplit('/').next().unwrap()).unwrap();
        let rows = read_directory(&store, &id, bytes.len() as u64).unwrap().rows;
        // From the last byte of one shard into the first of another.
        let (_, shard) = bench.shards(pack);
        let len = bench.limit(pack) + 1;
        let frames_end = end_of(rows.last().unwrap());
        let Some(places) = frames_end.checked_sub(len + 2 * shard).map(|room| room / shard) else { continue };
        let start = shard * (1 + random.below(places as u64 + 1) as usize) - 1;
        let is_hit = |row: &&Row| (row.offset as usize) < start + len && start < end_of(row);
        let costs = bench.costs(&rows.iter().filter(is_hit).map(|row| row.frame.id).collect());
        assert!(!costs.is_empty());
        fs::write(bench.path(pack), burst(bytes, start, len)).unwrap();
        let verdict = bench.costs_exactly(&costs);
        tally.add(&format!("case {case}: {len} bytes at {start} of {pack}"), verdict, None);
        bench.put_back();
    }
    tally.tell(
        "past the limit exactly the touched photos are named, and all others restore",
        "bursts of one byte too many",
    );
}
