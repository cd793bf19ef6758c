//! The past against brute force: random changes to a library, a snapshot after each, and every answer compared with
//! plain lists of what was there.

use crate::common;
use crate::common::picture;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{Heard, Random, SMALL, TestArchive, options};
use picture::{photo, tag};
use snapkeep::archive::{
    Archive, Began, Comparison, Ended, Filter, Packing, PastState, Selector, entries_of, store_entries,
};
use snapkeep::format::Snapshot;
use snapkeep::id::{FileHash, SnapshotId};
use snapkeep::op::{Verdict, backup, has};
use snapkeep::view::{History, Past, Sources, Span, View};

/// What lies at each path below the source.
type Listing = BTreeMap<Vec<u8>, (u64, FileHash)>;

fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                let hash = FileHash::from_bytes(*blake3::hash(&bytes).as_bytes());
                let below = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes().to_vec();
                found.insert(below, (bytes.len() as u64, hash));
            }
        }
    }
    found
}

/// A library that changes at random.
struct Library {
    root: PathBuf,
    random: Random,
    photos: Vec<Vec<u8>>,
}

impl Library {
    fn new(root: PathBuf, seed: u64) -> Self {
        let photos = (0..6).map(|photo_seed| photo(seed * 10 + photo_seed, 32, 24)).collect();
        Self { root, random: Random(seed), photos }
    }

    fn pick(&mut self, dirs: bool) -> Option<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.root.clone()];
        while let Some(folder) = todo.pop() {
            for item in fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    todo.push(path.clone());
                }
                if path.is_dir() == dirs {
                    found.push(path);
                }
            }
        }
        found.sort();
        if found.is_empty() { None } else { Some(found.swap_remove(self.random.below(found.len() as u64) as usize)) }
    }

    /// A path that may be taken, or may be below a file.
    fn somewhere(&mut self) -> PathBuf {
        let names = ["a", "b", "2019", "2019 Ostsee", "c.jpg", "d.jpg", "e!", "f"];
        let mut path = self.root.clone();
        for _ in 0..=self.random.below(3) {
            path.push(names[self.random.below(names.len() as u64) as usize]);
        }
        path
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.random.below(6) {
            0 => Vec::new(),
            1 | 2 => self.photos[self.random.below(6) as usize].clone(),
            _ => {
                let len = 1 + self.random.below(3000) as usize;
                self.random.bytes(len)
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => {
                let (path, bytes) = (self.somewhere(), self.bytes());
                // Some places cannot be had, since a file or a folder is there.
                let _ = fs::create_dir_all(path.parent().unwrap()).and_then(|()| fs::write(&path, bytes));
            }
            4 => {
                if let Some(path) = self.pick(false) {
                    let bytes = fs::read(&path).unwrap();
                    let rating = self.random.below(5) as u32 + 1;
                    if bytes.starts_with(&[0xff, 0xd8]) {
                        fs::write(&path, tag(&bytes, rating, "caption")).unwrap();
                    }
                }
            }
            5 => {
                if let Some(path) = self.pick(false) {
                    fs::remove_file(path).unwrap();
                }
            }
            6 | 7 => {
                let dirs = self.random.below(2) == 0;
                if let Some(path) = self.pick(dirs) {
                    let to = self.somewhere();
                    if to.parent().unwrap().is_dir() && !to.is_dir() {
                        let _ = fs::rename(path, to);
                    }
                }
            }
            8 => {
                if let Some(path) = self.pick(true) {
                    fs::remove_dir_all(path).unwrap();
                }
            }
            _ => {
                if let Some(path) = self.pick(false) {
                    let to = self.somewhere();
                    if to.parent().unwrap().is_dir() && !to.is_dir() {
                        let bytes = fs::read(path).unwrap();
                        fs::write(to, bytes).unwrap();
                    }
                }
            }
        }
    }
}

fn lasts(state: &PastState, at: usize) -> bool {
    state.from as usize <= at && state.ended.as_ref().is_none_or(|(end, _)| at < *end as usize)
}

/// Every answer against the lists.
fn check(archive: &Archive, listings: &[(SnapshotId, Listing)]) {
    let past = Past::open(archive, &Filter::default()).unwrap();
    let all: Vec<_> = past.episodes(&past.roots(), Span::All).unwrap();
    for (at, (_, listing)) in listings.iter().enumerate() {
        let told: Listing = all
            .iter()
            .filter(|one| lasts(&one.state, at))
            .map(|one| (one.state.path.clone(), (one.state.size, one.state.hash)))
            .collect();
        let count = all.iter().filter(|one| lasts(&one.state, at)).count();
        assert_eq!(told.len(), count, "a path has one state at a time");
        assert!(told == *listing, "snapshot {at}: {told:?} is not {listing:?}");
    }
    moves(&all.iter().map(|one| one.state.clone()).collect::<Vec<_>>(), listings);

    let (_, newest) = listings.last().unwrap();
    let ever: BTreeSet<&Vec<u8>> = listings.iter().flat_map(|(_, listing)| listing.keys()).collect();
    let deleted: BTreeSet<Vec<u8>> =
        past.episodes(&past.roots(), Span::Deleted).unwrap().into_iter().map(|one| one.state.path).collect();
    let newest_states = past.episodes(&past.roots(), Span::Newest).unwrap();
    assert_eq!(newest_states.len(), newest.len());
    for path in ever {
        let last = all.iter().rfind(|one| one.state.path == *path).unwrap();
        let ended_by_deletion = matches!(last.state.ended, Some((_, Ended::Deleted)));
        assert_eq!(deleted.contains(path), ended_by_deletion);
        assert_eq!(newest.contains_key(path), last.state.ended.is_none());
        // Whoever asks for a path is shown the newest snapshot that had it.
        let spot = &past.spots(&last.path).unwrap()[0];
        let (id, _, still) = past.newest_with(spot).unwrap().unwrap();
        let had = |listing: &Listing| {
            let below = [path.as_slice(), b"/"].concat();
            listing.contains_key(path) || listing.keys().any(|other| other.starts_with(&below))
        };
        let expected = listings.iter().rfind(|(_, listing)| had(listing)).unwrap();
        assert_eq!((id, still), (expected.0, expected.0 == listings.last().unwrap().0));
        if let History::File(episodes) = past.history(spot).unwrap() {
            assert!(episodes.windows(2).all(|pair| pair[0].state.from <= pair[1].state.from));
            assert!(episodes.iter().any(|one| one.state.path == *path));
        }
    }
    let hashes: BTreeSet<FileHash> = listings.iter().flat_map(|(_, list)| list.values().map(|each| each.1)).collect();
    let hashes: Vec<_> = hashes.into_iter().collect();
    for (hash, found) in hashes.iter().zip(past.with_content(&hashes).unwrap()) {
        let expected = all.iter().filter(|one| one.state.hash == *hash).count();
        assert_eq!(found.len(), expected);
    }
}

/// Moves are what brute force finds: content that is gone from one path and new at another.
fn moves(states: &[PastState], listings: &[(SnapshotId, Listing)]) {
    for (at, pair) in listings.windows(2).enumerate() {
        let (before, after) = (&pair[0].1, &pair[1].1);
        let mut expected = 0;
        let contents: BTreeSet<FileHash> =
            before.values().filter(|(size, _)| *size > 0).map(|(_, hash)| *hash).collect();
        for hash in contents {
            let gone = before.iter().filter(|(path, each)| each.1 == hash && after.get(*path) != Some(*each)).count();
            let new = after.iter().filter(|(path, each)| each.1 == hash && before.get(*path) != Some(*each)).count();
            expected += gone.min(new);
        }
        let mut exact = 0;
        for state in states.iter().filter(|state| state.from as usize == at + 1) {
            let Began::Moved(origin) = &state.began else { continue };
            let was = before.get(origin).expect("its origin was there");
            assert_ne!(after.get(origin), Some(was), "its origin is gone");
            exact += usize::from(was.1 == state.hash);
            let ended = |other: &&PastState| {
                other.path == *origin && other.ended.as_ref().is_some_and(|(end, _)| *end == state.from)
            };
            let left = states.iter().find(ended).unwrap();
            assert_eq!(left.ended, Some((state.from, Ended::Moved(state.path.clone()))));
        }
        assert_eq!(exact, expected, "moves between snapshots {at} and {}", at + 1);
    }
}

/// A comparison of any two snapshots says what differs between their lists.
fn compare(
    archive: &Archive,
    snapshots: &[(SnapshotId, Snapshot)],
    listings: &[(SnapshotId, Listing)],
    random: &mut Random,
) {
    let source = |id: &SnapshotId| {
        let (_, snapshot) = snapshots.iter().find(|(other, _)| other == id).unwrap();
        View::new(archive, *id, snapshot.clone()).find(b"source").unwrap().entry.unwrap()
    };
    for _ in 0..4 {
        let pick = |random: &mut Random| &listings[random.below(listings.len() as u64) as usize];
        let ((one, before), (other, after)) = (pick(random), pick(random));
        let found = Comparison::of(archive, b"", Some(&source(one)), Some(&source(other))).unwrap();
        let mut applied: BTreeMap<Vec<u8>, FileHash> =
            before.iter().map(|(path, each)| (path.clone(), each.1)).collect();
        let hash = |entry: &snapkeep::format::Entry| match entry.kind {
            snapkeep::format::EntryKind::File { hash, .. } => hash,
            _ => panic!("the library has only files"),
        };
        let gone = found.removed.iter().chain(&found.replaced).chain(found.moved.iter().map(|moved| &moved.from));
        for place in gone {
            assert_eq!(applied.remove(&place.path), Some(hash(&place.entry)));
        }
        let come = found.added.iter().chain(found.moved.iter().map(|moved| &moved.to));
        let come = come.map(|place| (place.path.clone(), hash(&place.entry)));
        for altered in &found.changed {
            assert_eq!(applied.remove(&altered.path), Some(hash(&altered.old)));
        }
        let come: Vec<_> = come.chain(found.changed.iter().map(|each| (each.path.clone(), hash(&each.new)))).collect();
        for (path, hash) in come {
            assert_eq!(applied.insert(path, hash), None, "a path is told of once");
        }
        let expected: BTreeMap<Vec<u8>, FileHash> = after.iter().map(|(path, each)| (path.clone(), each.1)).collect();
        assert_eq!(applied, expected);
        assert!(found.moved.iter().all(|moved| moved.from.path != moved.to.path));
    }
}

#[test]
fn the_past_is_what_was_there() {
    for seed in 1..=6 {
        let archive = TestArchive::new(&SMALL);
        let mut library = Library::new(archive.source(), seed);
        let mut listings: Vec<(SnapshotId, Listing)> = Vec::new();
        for round in 0..14 {
            for _ in 0..library.random.below(9) {
                library.step();
            }
            let done = backup(&archive.open(), &options(&[&archive.source()]), &Heard::default()).unwrap();
            // A snapshot of the very same state at the very same moment would be the same snapshot.
            listings.push((done.id.unwrap(), listing(&archive.source())));
            if round % 5 == 3 {
                check(&archive.open(), &listings);
            }
            if round == 8 {
                fs::remove_dir_all(archive.cache()).unwrap();
            }
            if round == 10 {
                // One in the middle is forgotten.
                let (id, _) = listings.remove(4);
                for (_, path) in archive.objects().iter().filter(|(name, _)| name.contains(&id.to_hex())) {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        let open = archive.open();
        check(&open, &listings);
        compare(&open, &open.snapshots(), &listings, &mut library.random);
    }
}

#[test]
fn a_photo_is_followed_through_tags_and_names() {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    let picture = photo(1, 64, 48);
    fs::create_dir_all(source.join("2019")).unwrap();
    fs::write(source.join("2019/a.jpg"), &picture).unwrap();
    fs::write(source.join("2019/b.jpg"), photo(2, 64, 48)).unwrap();
    archive.backup();
    fs::write(source.join("2019/a.jpg"), tag(&picture, 5, "the sea")).unwrap();
    archive.backup();
    // Renamed, and tagged once more before anybody looked.
    fs::remove_file(source.join("2019/a.jpg")).unwrap();
    fs::write(source.join("best.jpg"), tag(&picture, 4, "the sea at night")).unwrap();
    archive.backup();
    fs::write(source.join("best.jpg"), b"something else").unwrap();
    archive.backup();
    fs::remove_file(source.join("best.jpg")).unwrap();
    archive.backup();

    let open = archive.open();
    let past = Past::open(&open, &Filter::default()).unwrap();
    let spots = past.spots(b"source/best.jpg").unwrap();
    let History::File(found) = past.history(&spots[0]).unwrap() else { panic!("it is a file") };
    let told: Vec<_> = found.iter().map(|one| (one.path.as_slice(), &one.state.began, &one.state.ended)).collect();
    let best = b"best.jpg".to_vec();
    assert_eq!(
        told,
        [
            (&b"source/2019/a.jpg"[..], &Began::Added, &Some((1, Ended::Changed))),
            (b"source/2019/a.jpg", &Began::Tags, &Some((2, Ended::Moved(best)))),
            (b"source/best.jpg", &Began::Moved(b"2019/a.jpg".to_vec()), &Some((3, Ended::Changed))),
            (b"source/best.jpg", &Began::Changed, &Some((4, Ended::Deleted))),
        ]
    );
    let old = past.spots(b"source/2019/a.jpg").unwrap();
    let History::File(same) = past.history(&old[0]).unwrap() else { panic!("it is a file") };
    assert_eq!(same.len(), 4, "the same from its old name");

    // Bit for bit, the same picture with other tags, and neither.
    let beside = archive.beside("beside");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("1.jpg"), &picture).unwrap();
    fs::write(beside.join("2.jpg"), tag(&picture, 1, "never backed up like this")).unwrap();
    fs::write(beside.join("3.jpg"), photo(3, 64, 48)).unwrap();
    let done = has(&open, &[beside], &Filter::default(), false, &Heard::default()).unwrap();
    assert!(!done.all());
    let [one, two, three] = done.files.as_slice() else { panic!("three files: {done:?}") };
    assert!(matches!(&one.verdict, Verdict::Here(names) if names[0].path == b"source/2019/a.jpg"), "{one:?}");
    assert!(matches!(&two.verdict, Verdict::SamePicture(names) if names.len() == 3), "{two:?}");
    assert!(matches!(three.verdict, Verdict::Missing), "{three:?}");
    assert!(has(&open, &[source.join("2019")], &Filter::default(), false, &Heard::default()).unwrap().all());

    // What is in a pack that is gone is not in the archive.
    for (_, path) in archive.objects_in("packs") {
        fs::remove_file(path).unwrap();
    }
    assert!(!has(&open, &[source.join("2019")], &Filter::default(), false, &Heard::default()).unwrap().all());
}

#[test]
fn of_an_album_and_its_copy_the_one_that_was_renamed_has_moved() {
    // The album that was deleted counted as moved, and its copy, which was only renamed, as deleted: whoever looked for what
    // they had lost was given the wrong name.
    for (deleted, renamed) in [("a", "b"), ("b", "a")] {
        let archive = TestArchive::new(&SMALL);
        let source = archive.source();
        for album in ["a", "b"] {
            fs::create_dir(source.join(album)).unwrap();
            for number in 0..4_u8 {
                fs::write(source.join(album).join(format!("{number}.jpg")), [number; 500]).unwrap();
            }
        }
        archive.backup();
        fs::remove_dir_all(source.join(deleted)).unwrap();
        fs::rename(source.join(renamed), source.join("c")).unwrap();
        let done = archive.try_backup().unwrap();
        assert_eq!((done.summary.new, done.summary.moved, done.summary.gone), (0, 4, 4));
        let open = archive.open();
        let past = Past::open(&open, &Filter::default()).unwrap();
        let gone: Vec<Vec<u8>> =
            past.episodes(&past.roots(), Span::Deleted).unwrap().into_iter().map(|one| one.state.path).collect();
        let expected: Vec<Vec<u8>> = (0..4).map(|number| format!("{deleted}/{number}.jpg").into_bytes()).collect();
        assert_eq!(gone, expected);
        let History::File(found) = past.history(&past.spots(b"source/c/0.jpg").unwrap()[0]).unwrap() else {
            panic!("it is a file")
        };
        assert_eq!(found[0].state.path, format!("{renamed}/0.jpg").into_bytes());
    }
}

#[test]
fn a_source_that_could_not_be_read_is_not_deleted() {
    // One drive of two was not there when the other was backed up, and everything on it was told as deleted.
    let archive = TestArchive::new(&SMALL);
    let (one, other) = (archive.source(), archive.beside("other"));
    for folder in [&one, &other] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("a.jpg"), folder.as_os_str().as_encoded_bytes()).unwrap();
    }
    backup(&archive.open(), &options(&[&one, &other]), &Heard::default()).unwrap();
    let open = archive.open();
    let (_, newest) = open.snapshots().remove(0);
    let mut entries = entries_of(&open.reader(), &newest.tree).unwrap();
    entries.retain(|entry| entry.name != b"other");
    let writer = open.writer(Packing::default()).unwrap();
    let tree = store_entries(&writer, entries).unwrap();
    let written = writer.finish().unwrap();
    open.commit(&Snapshot { sequence: 2, tree, ..newest }).unwrap();
    drop(written);

    for open in [&open, &archive.open()] {
        let past = Past::open(open, &Filter::default()).unwrap();
        assert!(past.episodes(&past.roots(), Span::Deleted).unwrap().is_empty());
        assert_eq!(past.episodes(&past.roots(), Span::Newest).unwrap().len(), 2);
        let sources = Sources::of(open, &Filter::default()).unwrap();
        let found = sources.locate(&Selector::Latest(0), b"other/a.jpg", "here").unwrap();
        assert_eq!((found.path.as_slice(), found.newest), (&b"other/a.jpg"[..], false));
        assert!(sources.locate(&Selector::Latest(0), b"source/a.jpg", "here").unwrap().newest);
    }
}
