//! What is backed up comes back: bytes, names, links, holes, modes, times and attributes, compared by other tools than ours.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use common::{Random, SMALL, TestArchive, assert_same, differences, is_root, jpeg, os, plain_copy, png, touch};
use rustix::fs::{XattrFlags, setxattr};
use snapkeep::archive::Parameters;
use snapkeep::format::EntryKind;
use snapkeep::view::{Node, View};

fn write(root: &Path, name: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = root.join(os(name.as_ref()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An access control list as Linux stores it: the owner, one user more, the group, the mask, all others.
fn acl() -> Vec<u8> {
    let nobody = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, nobody), (2, 4, 1234), (4, 4, nobody), (0x10, 4, nobody), (0x20, 0, nobody)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, may, who) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&may.to_le_bytes());
        bytes.extend_from_slice(&who.to_le_bytes());
    }
    bytes
}

/// One of everything that a file system can hold and we keep.
fn zoo(root: &Path) {
    let mut random = Random(1);
    write(root, "empty file", "");
    fs::create_dir_all(root.join("empty folder")).unwrap();
    fs::create_dir_all(root.join("d/".repeat(60)).join("deep")).unwrap();
    write(root, "photos/a.jpg", jpeg(&mut random, 50_000));
    write(root, "photos/again.jpg", fs::read(root.join("photos/a.jpg")).unwrap());
    write(root, "photos/b.png", png(&mut random, 20_000));
    for photo in 0..700 {
        write(root, format!("many/{photo}"), photo.to_string());
    }
    let long = write(root, "film.mov", random.bytes(17 << 20));
    touch(&long, 1_600_000_000, 0);

    let names: [&[u8]; 14] = [
        b"\xff\xfe.jpg",
        b"m\xfcnchen",
        b"new\nline",
        b"-rf",
        b" ",
        b"a ",
        b"a.",
        b"A",
        b"a",
        b"C:\\x",
        b"*?[a]",
        b"$(x)`y`",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
    ];
    for name in names {
        write(&root.join("names"), name, name);
    }
    write(&root.join("names"), [b'x'; 255], "255 bytes");
    write(&root.join("names"), "語".repeat(85), "85 signs");
    fs::create_dir_all(root.join(os(b"names/\x80\x81")).join(os(&[b'y'; 255]))).unwrap();

    let links = root.join("links");
    fs::create_dir_all(&links).unwrap();
    for (name, target) in [
        ("dangling", "no/where"),
        ("absolute", "/etc/hostname"),
        ("folder", "../photos"),
        ("self", "self"),
        ("out", "../../../.."),
    ] {
        symlink(target, links.join(name)).unwrap();
        touch(&links.join(name), 1_234_567_890, 987_654_321);
    }
    symlink(os(b"\xff\n"), links.join("odd")).unwrap();
    fs::hard_link(root.join("photos/a.jpg"), root.join("photos/name two.jpg")).unwrap();
    fs::hard_link(root.join("photos/a.jpg"), links.join("name three.jpg")).unwrap();
    fs::hard_link(root.join("empty file"), links.join("empty too")).unwrap();

    let holes = write(root, "holes/middle", "begin");
    let file = fs::OpenOptions::new().write(true).open(holes).unwrap();
    file.write_all_at(b"in between", 2 << 20).unwrap();
    file.set_len(5 << 20).unwrap();
    let nothing = fs::File::create(root.join("holes/nothing but")).unwrap();
    nothing.set_len(3 << 20).unwrap();

    let noted = write(root, "attributes/noted", "x");
    setxattr(&noted, "user.note", b"Anna's birthday\0\xff", XattrFlags::empty()).unwrap();
    setxattr(&noted, "user.empty", b"", XattrFlags::empty()).unwrap();
    setxattr(noted.parent().unwrap(), "user.album", b"2019", XattrFlags::empty()).unwrap();
    let shared = write(root, "attributes/shared/file", "x");
    setxattr(&shared, "system.posix_acl_access", &acl(), XattrFlags::empty()).unwrap();
    setxattr(shared.parent().unwrap(), "system.posix_acl_default", &acl(), XattrFlags::empty()).unwrap();

    for mode in [0o644, 0o600, 0o444, 0o777, 0o4755, 0o2711, 0o6755, 0o1644] {
        chmod(&write(root, format!("modes/{mode:o}"), "x"), mode);
        let folder = root.join(format!("modes/folder {mode:o}"));
        fs::create_dir(&folder).unwrap();
        write(&folder, "inside", "x");
        chmod(&folder, mode | 0o500);
    }
    if is_root("what nobody may read, and other owners") {
        chmod(&write(root, "modes/nobody's", "x"), 0);
        let closed = root.join("modes/closed");
        write(&closed, "inside", "x");
        chmod(&closed, 0);
        let foreign = write(root, "owners/file", "x");
        chown(&foreign, Some(1234), Some(5678)).unwrap();
        chmod(&foreign, 0o4750); // changing the owner takes this away, so it must come after it
        chown(root.join("owners"), Some(4321), None).unwrap();
        symlink("file", root.join("owners/link")).unwrap();
        lchown(root.join("owners/link"), Some(1), Some(2)).unwrap();
    }

    for (name, secs, nanos) in [
        ("before", -1, 500_000_000),
        ("1901", -2_000_000_000, 1),
        ("zero", 0, 0),
        ("2100", 4_102_444_800, 999_999_999),
        ("fine", 1_700_000_000, 123_456_789),
    ] {
        touch(&write(root, format!("times/{name}"), name), secs, nanos);
        let folder = root.join(format!("times/folder {name}"));
        fs::create_dir(&folder).unwrap();
        touch(&folder, secs, nanos);
    }
    touch(&root.join("times"), -5, 7);
}

#[test]
fn one_of_everything_comes_back_as_it_was() {
    for parameters in [SMALL, Parameters::default()] {
        let archive = TestArchive::on_disk(&parameters);
        zoo(&archive.source());
        let id = archive.backup();
        assert_same(&archive.source(), &archive.restore_to(id, "restored"));
        // A second look at the same source finds everything there, and what it records is as whole.
        let again = archive.backup();
        assert_same(&archive.source(), &archive.restore_to(again, "restored again"));
        let found = archive.verify(true);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "{:?}", found.damage);
        holes_are_holes(&archive.beside("restored/source/holes"));
    }
}

fn holes_are_holes(folder: &Path) {
    use std::os::unix::fs::MetadataExt;
    for name in ["middle", "nothing but"] {
        let meta = fs::metadata(folder.join(name)).unwrap();
        assert!(meta.blocks() * 512 < meta.len() / 4, "{name} takes {} blocks", meta.blocks());
    }
}

/// The comparison sees what it is there to see. (kopia's test of a killed backup computed a difference and never looked
/// whether there was one.)
#[test]
fn the_comparison_sees_the_least_difference() {
    let archive = TestArchive::on_disk(&SMALL);
    let source = archive.source();
    zoo(&source);
    let keep_time = |path: &Path, change: &dyn Fn()| {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::symlink_metadata(path).unwrap();
        change();
        touch(path, meta.mtime(), meta.mtime_nsec());
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let changes: [(&str, Change<'_>); 11] = [
        ("a byte", &|root| keep_time(&root.join("film.mov"), &|| common::flip(&root.join("film.mov"), 80_000_001))),
        ("a mode", &|root| chmod(&root.join("modes/644"), 0o645)),
        ("a mode of a folder", &|root| chmod(&root.join("empty folder"), 0o711)),
        ("a nanosecond", &|root| touch(&root.join("times/fine"), 1_700_000_000, 123_456_788)),
        ("a time of a link", &|root| touch(&root.join("links/dangling"), 1_234_567_890, 0)),
        ("a file less", &|root| keep_time(&root.join("many"), &|| fs::remove_file(root.join("many/7")).unwrap())),
        ("a file more", &|root| keep_time(&root.join("empty folder"), &|| drop(write(root, "empty folder/x", "")))),
        ("an attribute", &|root| {
            setxattr(root.join("attributes/noted"), "user.note", b"other", XattrFlags::empty()).unwrap()
        }),
        ("an access list", &|root| {
            rustix::fs::removexattr(root.join("attributes/shared"), "system.posix_acl_default").unwrap()
        }),
        ("a target", &|root| {
            keep_time(&root.join("links"), &|| {
                fs::remove_file(root.join("links/dangling")).unwrap();
                symlink("no/place", root.join("links/dangling")).unwrap();
                touch(&root.join("links/dangling"), 1_234_567_890, 987_654_321);
            })
        }),
        ("a hard link", &|root| {
            keep_time(&root.join("links"), &|| {
                let path = root.join("links/name three.jpg");
                plain_copy(&path, &root.join("links/copy"));
                fs::rename(root.join("links/copy"), path).unwrap();
            })
        }),
    ];
    if !common::has_tool("rsync") {
        return; // without it, attributes are not compared
    }
    for (what, change) in changes {
        let copy = archive.beside("copy");
        plain_copy(&source, &copy);
        assert_eq!(differences(&source, &copy), "");
        change(&copy);
        assert_ne!(differences(&source, &copy), "", "{what} is not seen");
        common::run(std::process::Command::new("rm").arg("-rf").arg(copy));
    }
}

/// Changes a tree at random.
fn edit(root: &Path, random: &mut Random) {
    for _ in 0..30 {
        let mut paths: Vec<PathBuf> = common::contents(root).into_keys().map(|name| root.join(os(&name))).collect();
        paths.push(root.to_owned());
        let any = paths[random.below(paths.len() as u64) as usize].clone();
        let meta = fs::symlink_metadata(&any).unwrap();
        let folder = if meta.is_dir() { any.clone() } else { any.parent().unwrap().to_owned() };
        let new = folder.join(format!("{:x}", random.below(1 << 20)));
        if new.symlink_metadata().is_ok() {
            continue;
        }
        let magnitude = random.below(17);
        let len = random.below(1 << magnitude) as usize;
        match random.below(12) {
            0..=2 => fs::write(new, random.bytes(len)).unwrap(),
            3 => fs::write(new, jpeg(random, len)).unwrap(),
            4 => fs::create_dir(new).unwrap(),
            5 => symlink(random.below(100).to_string(), new).unwrap(),
            6 if meta.is_file() => fs::hard_link(any, new).unwrap(),
            7 if meta.is_file() && meta.len() > 0 => {
                let file = fs::OpenOptions::new().write(true).open(any).unwrap();
                file.write_all_at(&random.bytes(1), random.below(meta.len())).unwrap();
            }
            8 if meta.is_file() => fs::OpenOptions::new().write(true).open(any).unwrap().set_len(len as u64).unwrap(),
            9 if any != root && !new.starts_with(&any) => fs::rename(any, new).unwrap(),
            10 if meta.is_dir() && any != root && random.below(3) == 0 => fs::remove_dir_all(any).unwrap(),
            10 if !meta.is_dir() => fs::remove_file(any).unwrap(),
            11 if meta.is_file() => chmod(&any, 0o400 | random.below(0o400) as u32),
            _ => touch(&any, random.below(2_000_000_000) as i64 - 5_000, random.below(1_000_000_000) as i64),
        }
    }
}

#[test]
fn every_snapshot_of_a_changing_tree_stays_what_it_was() {
    for seed in 0..6 {
        let archive = TestArchive::on_disk(&SMALL);
        let mut random = Random(seed);
        let mut taken = Vec::new();
        for turn in 0..5 {
            edit(&archive.source(), &mut random);
            let copy = archive.beside(&format!("copy {turn}"));
            plain_copy(&archive.source(), &copy);
            taken.push((archive.backup(), copy));
        }
        for (turn, (id, copy)) in taken.iter().enumerate() {
            let restored = archive.restore_to(*id, &format!("restored {turn}"));
            let found = differences(copy, &restored);
            assert!(found.is_empty(), "seed {seed}, snapshot {turn}:\n{found}");
        }
        let found = archive.verify(true);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "seed {seed}: {:?}", found.damage);
    }
}

/// Every file of a snapshot with its recorded hash.
fn hashes(archive: &TestArchive) -> BTreeMap<Vec<u8>, [u8; 32]> {
    let opened = archive.open();
    let (id, snapshot) = opened.snapshots().pop().unwrap();
    let mut found = BTreeMap::new();
    let view = View::new(&opened, id, snapshot);
    let mut visit = |node: &Node| {
        if let Some(EntryKind::File { hash, .. }) = node.entry.as_ref().map(|entry| &entry.kind) {
            found.insert(node.path.clone(), *hash.as_bytes());
        }
        Ok(true)
    };
    view.walk(&Node { path: Vec::new(), entry: None }, &mut visit).unwrap();
    found
}

#[test]
fn the_recorded_hash_is_what_b3sum_prints() {
    let archive = TestArchive::on_disk(&SMALL);
    write(&archive.source(), "short", "photo");
    write(&archive.source(), "none", "");
    write(&archive.source(), "a.jpg", jpeg(&mut Random(2), 30_000));
    write(&archive.source(), "long", Random(3).bytes(17 << 20));
    archive.backup();
    let found = hashes(&archive);
    assert_eq!(found.len(), 4);
    for (path, hash) in found {
        let bytes = fs::read(archive.source().parent().unwrap().join(os(&path))).unwrap();
        assert_eq!(blake3::hash(&bytes), hash, "{}", path.escape_ascii());
    }
}

#[test]
fn real_photos_come_back_as_they_were() {
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/photos");
    let Ok(photos) = photos.canonicalize() else {
        eprintln!("SKIPPED: there are no photos at {}, so real ones were NOT tested", photos.display());
        return;
    };
    let archive = TestArchive::on_disk(&Parameters::default());
    fs::remove_dir(archive.source()).unwrap();
    plain_copy(&photos, &archive.source());
    let id = archive.backup();
    assert_same(&archive.source(), &archive.restore_to(id, "restored"));
    for (path, hash) in hashes(&archive) {
        let bytes = fs::read(archive.beside(".").join(os(&path))).unwrap();
        assert_eq!(blake3::hash(&bytes), hash, "{}", path.escape_ascii());
    }
}
