//! Archives of every version that was ever released, as they were written then: opened, verified and restored by this
//! program, and by a reader that shares no code with it and was written from `format-spec.md` alone.
//!
//! `SNAPKEEP_MAKE_GOLDEN=1 cargo test --test suite golden::` makes the archive of the present version anew; see
//! `tests/golden/README.md` for when that is allowed.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Once};

use common::{Heard, Random, copy_tree, has_tool, options, os, restore_at, touch};
use snapkeep::archive::{Archive, Packing, Parameters};
use snapkeep::format::{Chunker, Content, EntryKind, List, Time, Tree};
use snapkeep::id::ChunkKind;
use snapkeep::op::{VerifyOptions, backup, verify};
use snapkeep::store::Local;
use snapkeep::view::View;
use tempfile::TempDir;

/// The version that is written now.
const PRESENT: &str = "v0";
/// The one file that a reader may be unable to restore, since codec 2 is optional.
const SQUEEZED: &str = "squeezed.jpg";

/// A JPEG of 24 by 16 grey pixels.
const JPEG: &str = include_str!("golden/jpeg.hex");

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A folder on a drive that keeps extended attributes.
fn room() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(path: &Path) -> Archive {
    Archive::open(Arc::new(Local::new(path)), None, Arc::new(|notice| panic!("{notice:?}"))).unwrap()
}

/// The folders of versions, each with its archive and what is in it.
fn versions() -> BTreeMap<String, (PathBuf, Vec<Expected>)> {
    static MADE: Once = Once::new();
    if std::env::var_os("SNAPKEEP_MAKE_GOLDEN").is_some() {
        MADE.call_once(|| make::archive(&golden().join(PRESENT)));
    }
    let names = fs::read_dir(golden()).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap());
    let versions = names.filter(|name| name.starts_with('v')).map(|name| {
        let folder = golden().join(&name);
        let text = fs::read_to_string(folder.join("expected.txt")).unwrap();
        (name, (folder.join("archive"), Expected::read(&text)))
    });
    versions.collect()
}

/// What a snapshot holds: its id, and a line for each entry.
#[derive(PartialEq, Eq, Debug)]
struct Expected {
    id: String,
    lines: Vec<String>,
}

impl Expected {
    fn read(text: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match (line.strip_prefix("snapshot "), all.last_mut()) {
                (Some(id), _) => all.push(Self { id: id.to_owned(), lines: Vec::new() }),
                (None, Some(last)) => last.lines.push(line.to_owned()),
                (None, None) => panic!("a line before the first snapshot: {line}"),
            }
        }
        all
    }

    fn write(all: &[Self]) -> String {
        let head = "# type, mode, names, length, modification time, BLAKE3, path, target of a link; by tabs";
        let mut text = format!("{head}\n");
        for Self { id, lines } in all {
            text += &format!("snapshot {id}\n{}\n", lines.join("\n"));
        }
        text
    }
}

/// A line for each entry below a folder, as [`Expected`] has them.
fn listing(root: &Path) -> Vec<String> {
    let (mut lines, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
            let name = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes().escape_ascii();
            let mode = meta.mode() & 0o7777;
            lines.push(if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                format!("l\t-\t-\t-\t{time}\t-\t{name}\t{}", target.escape_ascii())
            } else if meta.is_dir() {
                format!("d\t{mode:o}\t-\t-\t{time}\t-\t{name}\t-")
            } else {
                let hash = blake3::hash(&fs::read(&path).unwrap()).to_hex();
                format!("f\t{mode:o}\t{}\t{}\t{time}\t{hash}\t{name}\t-", meta.nlink(), meta.len())
            });
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    lines.sort_unstable();
    lines
}

#[test]
fn every_version_that_was_ever_written_is_read() {
    let versions = versions();
    assert!(versions.contains_key(PRESENT), "the present version has an archive");
    for (version, (archive, expected)) in versions {
        let room = room();
        copy_tree(&archive, &room.path().join("archive"));
        let opened = open(&room.path().join("archive"));
        let ids: Vec<String> = opened.snapshots().iter().map(|(id, _)| id.to_hex()).collect();
        assert_eq!(ids, expected.iter().map(|snapshot| snapshot.id.clone()).collect::<Vec<_>>(), "{version}");
        let found =
            verify(&opened, &VerifyOptions { read_data: true, ..VerifyOptions::default() }, &Heard::default()).unwrap();
        assert!(found.damage.is_empty() && found.affected.is_empty(), "{version}: {found:?}");
        assert!(found.bytes_read > 0 && found.snapshots == expected.len() as u64);
        for ((id, _), expected) in opened.snapshots().into_iter().zip(expected) {
            let target = room.path().join(id.to_hex());
            let done = restore_at(&opened, Some(id), &target).unwrap();
            assert!(done.failed.is_empty(), "{version}: {:?}", done.failed);
            assert_eq!(listing(&target), expected.lines, "{version}");
        }
    }
}

#[test]
fn a_golden_archive_has_what_the_format_has() {
    let (path, expected) = versions().remove(PRESENT).unwrap();
    let [first, second] = &expected[..] else { panic!("two snapshots") };
    let album = |snapshot: &Expected| snapshot.lines.iter().any(|line| line.contains("Pictures/2019"));
    assert!(album(first) && !album(second), "an album is deleted in between");
    let opened = open(&path);
    let mut codecs = std::collections::BTreeSet::new();
    for pack in opened.present_packs(snapkeep::store::Leftovers::Leave).unwrap() {
        let rows = snapkeep::archive::read_directory(&**opened.store(), &pack.0, pack.1).unwrap().rows;
        codecs.extend(rows.iter().map(|row| (row.frame.kind.number(), row.frame.codec)));
    }
    for wanted in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 1)] {
        assert!(codecs.contains(&wanted), "a chunk of kind and codec {wanted:?}: {codecs:?}");
    }
    let (id, snapshot) = opened.snapshots().remove(0);
    let view = View::new(&opened, id, snapshot);
    let find = |path: &str| view.find(path.as_bytes()).unwrap().entry.unwrap().kind;
    let EntryKind::Dir { tree, .. } = find("Pictures/2020/many") else { panic!("a folder") };
    let page = Tree::decode(&view.reader().get(ChunkKind::Tree, &tree).unwrap()).unwrap();
    assert!(matches!(page, Tree::Pages { level: 1, .. }), "a directory in pages");
    let list = |path: &str| {
        let EntryKind::File { content: Content::List(id), .. } = find(path) else { panic!("{path} has a list") };
        List::decode(&view.reader().get(ChunkKind::List, &id).unwrap()).unwrap()
    };
    assert!(matches!(list("Pictures/2020/long"), List::Chunks(_)));
    assert!(matches!(list("Pictures/2020/sparse"), List::Pages { level: 1, .. }));
    for (name, there) in [("sparse", true), ("long", false)] {
        let EntryKind::File { sparse, .. } = find(&format!("Pictures/2020/{name}")) else { panic!("{name} is a file") };
        assert_eq!(sparse, there);
    }
    let long = view.find(b"Pictures/2020/long").unwrap().entry.unwrap().meta;
    assert_eq!((long.links, long.xattrs), (2, vec![(b"user.stars".to_vec(), b"5\0".to_vec())]));
}

/// The other reader.
fn reader(archive: &Path, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/read_archive.py");
    let mut python = Command::new("python3");
    python.env("READ_ARCHIVE_PURE", "1").arg(script).arg(archive).args(words);
    python.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_reader_written_from_the_specification_alone_restores_every_version() {
    if !has_tool("python3") || !has_tool("zstd") {
        return;
    }
    let tested = reader(Path::new("--self-test"), &[]);
    assert!(tested.status.success(), "{}", said(&tested));
    for (version, (archive, expected)) in versions() {
        let listed = reader(&archive, &["list"]);
        let ids: Vec<String> =
            String::from_utf8(listed.stdout).unwrap().lines().map(|line| line[..64].to_owned()).collect();
        assert_eq!(ids, expected.iter().map(|snapshot| snapshot.id.clone()).collect::<Vec<_>>(), "{version}");
        let verified = reader(&archive, &["verify"]);
        assert!(verified.status.success(), "{version}: {}", said(&verified));
        let [first, .., last] = &expected[..] else { panic!("{version} has two snapshots") };
        for (snapshot, how) in [(first, None), (last, None), (last, Some("--no-segments")), (last, Some("--frames"))] {
            let room = room();
            let target = room.path().join("target");
            let words = ["restore", &snapshot.id, target.to_str().unwrap()].into_iter().chain(how);
            let done = reader(&archive, &words.collect::<Vec<_>>());
            let found = listing(&target);
            let missing: Vec<&String> = snapshot.lines.iter().filter(|line| !found.contains(line)).collect();
            assert!(found.iter().all(|line| snapshot.lines.contains(line)), "{version} {how:?}: {}", said(&done));
            let left_out = missing.iter().all(|line| line.contains(SQUEEZED)) && missing.len() <= 1;
            assert!(left_out, "{version} {how:?}: {missing:?}\n{}", said(&done));
            assert_eq!(done.status.success(), missing.is_empty(), "{version} {how:?}: {}", said(&done));
            let told = String::from_utf8_lossy(&done.stderr).matches("not restored").count();
            assert_eq!(told, missing.len(), "{version} {how:?}: {}", said(&done));
        }
    }
}

#[test]
fn the_other_reader_notices_a_flipped_bit() {
    if !has_tool("python3") || !has_tool("zstd") {
        return;
    }
    let (path, expected) = versions().remove(PRESENT).unwrap();
    let room = room();
    for folder in ["packs", "segments", "snapshots", "parity", "header"] {
        let archive = room.path().join(folder);
        copy_tree(&path, &archive);
        let mut object = archive.join(folder);
        while object.is_dir() {
            object = fs::read_dir(&object).unwrap().map(|item| item.unwrap().path()).max().unwrap();
        }
        let len = fs::metadata(&object).unwrap().len();
        common::flip(&object, len / 2 * 8);
        let verified = reader(&archive, &["verify"]);
        assert_eq!(verified.status.code(), Some(1), "{folder}: {}", said(&verified));
        let name = object.file_name().unwrap().to_str().unwrap();
        assert!(String::from_utf8_lossy(&verified.stderr).contains(name), "{folder}: {}", said(&verified));
    }
    // Damage in data costs the files that need it, and nothing wrong is restored.
    let archive = room.path().join("packs");
    let target = room.path().join("target");
    let done = reader(&archive, &["restore", &expected[0].id, target.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(listing(&target).iter().all(|line| expected[0].lines.contains(line)), "{}", said(&done));
}

/// Makes the archive of the present version.
mod make {
    use super::*;

    /// Chunks so small that a little data has lists of them.
    const PARAMETERS: Parameters =
        Parameters { chunker: Chunker { min: 64, average: 256, max: 1024 }, pack_size: 1 << 16, parity_permille: 30 };

    pub(super) fn archive(folder: &Path) {
        // Its path is recorded, so it is no random one.
        let room = std::env::temp_dir().join("snapkeep-golden");
        _ = fs::remove_dir_all(&room);
        let (pictures, notes) = (room.join("Pictures"), room.join("notes.txt"));
        source(&pictures, &notes);
        _ = fs::remove_dir_all(folder);
        let path = folder.join("archive");
        fs::create_dir_all(&path).unwrap();
        Archive::create(&Local::new(&path), &PARAMETERS, 1_700_000_000).unwrap();
        let mut expected = Vec::new();
        for secs in [1_700_000_000, 1_700_086_400] {
            let mut options = options(&[&pictures, &notes]);
            options.time = Time { secs, nanos: 5 };
            (options.offset_minutes, options.program) = (-90, "snapkeep 0.1.0".to_owned());
            options.packing = Packing { images: true, ..Packing::default() };
            options.pinned = expected.is_empty(); // one is kept for ever
            let done = backup(&open(&path), &options, &Heard::default()).unwrap();
            assert!(done.unread.is_empty(), "{:?}", done.unread);
            let lines = listing(&room);
            expected.push(Expected { id: done.id.unwrap().to_hex(), lines });
            fs::remove_dir_all(pictures.join("2019")).unwrap_or_default();
            fs::rename(pictures.join("2020/many"), pictures.join("2020/all")).unwrap_or_default();
            touch(&pictures, 1_600_000_000, 0);
            touch(&pictures.join("2020"), 1_600_000_000, 0);
        }
        fs::write(folder.join("expected.txt"), Expected::write(&expected)).unwrap();
        fs::remove_dir_all(room).unwrap();
    }

    fn source(pictures: &Path, notes: &Path) {
        let mut random = Random(1);
        for folder in ["2019", "2020/empty", "2020/many"] {
            fs::create_dir_all(pictures.join(folder)).unwrap();
        }
        let put = |name: &[u8], bytes: &[u8]| fs::write(pictures.join(os(name)), bytes).unwrap();
        fs::write(notes, "what was kept, and why\n".repeat(9)).unwrap();
        put(b"2019/noise.raw", &random.bytes(900));
        put(b"2019/text.txt", "a photo is stored once\n".repeat(80).as_bytes());
        put(b"2020/nothing", b"");
        let digits: Vec<u8> = JPEG.chars().filter_map(|hex| Some(hex.to_digit(16)? as u8)).collect();
        let jpeg: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
        put(format!("2020/{SQUEEZED}").as_bytes(), &jpeg);
        // More than 128 chunks, so that they are listed in a page of their own.
        put(b"2020/long", random.bytes(20_000).iter().map(|byte| format!("{byte:02x}")).collect::<String>().as_bytes());
        // More than 1024, so that there is a page of pages.
        let sparse = fs::File::create(pictures.join("2020/sparse")).unwrap();
        sparse.set_len(1_200_000).unwrap();
        sparse.write_all_at(b"between holes", 600_000).unwrap();
        // More than one page of entries: a page ends after one of 512 names, but not before it has 64.
        let ends = |number: &u32| {
            let hash = blake3::hash(format!("img{number:06}").as_bytes());
            u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]).is_multiple_of(512)
        };
        let last = (100..).find(ends).unwrap();
        for number in last - 66..last + 5 {
            put(format!("2020/many/img{number:06}").as_bytes(), &number.to_le_bytes());
        }
        let long = [b'n'; 255];
        for name in
            [&b"-rf"[..], b"a b", b"line\nbreak", b"tab\t\x1b[31m", b"not \xff text", "Ärger 📷".as_bytes(), &long]
        {
            put(&[b"2019/", name].concat(), name);
        }
        fs::hard_link(pictures.join("2020/long"), pictures.join("2020/empty/../also long")).unwrap();
        fs::hard_link(pictures.join("2020/nothing"), pictures.join("nothing, too")).unwrap();
        symlink("2020/nowhere", pictures.join("dangling")).unwrap();
        symlink("..", pictures.join("2020/up")).unwrap();
        let xattr = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(pictures.join("2020/long"), "user.stars", b"5\0", xattr).unwrap();
        fs::set_permissions(pictures.join("2020/long"), fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(pictures.join("2020/empty"), fs::Permissions::from_mode(0o1775)).unwrap();
        touch(notes, -1, 999_999_999);
        times(pictures, &mut 0);
    }

    /// Sets every time to one that is the same on each run; folders after what is in them.
    fn times(path: &Path, count: &mut i64) {
        if fs::symlink_metadata(path).unwrap().is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|item| item.unwrap().path()).collect();
            below.sort();
            below.iter().for_each(|path| times(path, count));
        }
        *count += 1;
        touch(path, 1_500_000_000 + *count * 86_400, if *count % 2 == 0 { 0 } else { 123_456_789 });
    }
}
