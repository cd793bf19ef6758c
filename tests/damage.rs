//! Damage × command: whatever becomes of any one object, nothing panics, what is said names it, what is not hit comes back,
//! and the next run is not stopped by it nor records anything that depends on damage which it has met.

use crate::common;
use crate::forgotten::{lose_page, tree_at};
use crate::mount;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Known, Random, TestArchive, album, contents, contents_of, flip, restore_at};
use snapkeep::archive::Parameters;
use snapkeep::error::Kind;
use snapkeep::format::Tree;
use snapkeep::id::{ChunkKind, SnapshotId};

/// Damage × command: nothing panics, what is said names the object, and whatever is not hit comes back.
#[test]
fn no_damage_of_any_object_stops_a_command_that_does_not_need_it() {
    let known = Known::new();
    for (name, path) in known.archive.objects() {
        let bytes = fs::read(&path).unwrap();
        for (how, bytes) in [
            ("gone", None),
            ("empty", Some(vec![])),
            ("cut", Some(bytes[..bytes.len() / 2].to_vec())),
            ("garbage", Some(Random(9).bytes(bytes.len()))),
        ] {
            let known = known.copy();
            let path = known.archive.path().join(&name);
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            if how != "cut" {
                fs::remove_dir_all(known.archive.cache()).unwrap();
            }
            let about = format!("{name} is {how}");
            let opened = known.archive.try_open().unwrap_or_else(|error| panic!("{about}: {error}"));
            let found = known.archive.verify(true);
            let costs = |id: SnapshotId, path: &[u8]| {
                let path = [b"source/", path].concat();
                let above = |lost: &[u8]| {
                    lost.is_empty()
                        || path == lost
                        || path.strip_prefix(lost).is_some_and(|rest| rest.starts_with(b"/"))
                };
                found.affected.iter().any(|file| file.snapshot == id && above(&file.path))
            };
            let target = common::quick();
            for (number, (id, held)) in known.held.iter().enumerate() {
                let target = target.path().join(number.to_string());
                let shown = opened.snapshots().iter().any(|(other, _)| other == id);
                let restored = match restore_at(&opened, Some(*id), &target) {
                    Ok(done) => {
                        let names_it = |(_, why): &(PathBuf, String)| {
                            why.contains(&name) || why.contains("part of it") || why.contains("directory")
                        };
                        assert!(done.failed.iter().all(names_it), "{about}: {:?}", done.failed);
                        assert!(done.failed.is_empty() || done.damaged, "{about}: {:?}", done.failed);
                        contents(&target.join("source"))
                    }
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::NotFound),
                            "{about}: {error:?}"
                        );
                        assert!(!shown || !found.affected.is_empty(), "{about}: {error}");
                        continue;
                    }
                };
                for (path, bytes) in held {
                    assert_eq!(
                        restored.get(path) == Some(bytes),
                        !costs(*id, path),
                        "{about}: {}",
                        String::from_utf8_lossy(path)
                    );
                }
            }
            // Backing up goes on, and what it records is whole, unless it lies in a pack whose damage nobody has met yet.
            drop(opened);
            for turn in 0..2 {
                let done = known.archive.try_backup().unwrap_or_else(|error| panic!("{about}, turn {turn}: {error}"));
                assert!(done.unread.is_empty(), "{about}");
                if how != "garbage" {
                    let held = contents_of(&known.archive.open(), done.id.unwrap());
                    assert!(held.unwrap_or_else(|error| panic!("{about}: {error}")) == known.held[1].1, "{about}");
                }
            }
        }
    }
}

/// A run that met a damaged directory stored its pages "again" by finding them known: in the damaged pack. And where it
/// did write them, the pack was the same as the damaged one, byte for byte, which was in its way in this and every later run.
#[test]
fn a_run_that_meets_damage_stores_anew_what_it_has_at_hand() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("empty", |bytes| bytes.clear()),
        ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("garbage", |bytes| *bytes = Random(1).bytes(bytes.len())),
        ("bitten", |bytes| bytes[80] ^= 1),
    ];
    for (how, damage) in damages {
        for variant in 0..8 {
            let (metadata, keep_index, edit) = (variant & 1 == 0, variant & 2 == 0, variant & 4 == 0);
            let about = format!("{how}, metadata {metadata}, index kept {keep_index}, edited {edit}");
            let archive = TestArchive::new(&Parameters::default());
            album(&archive.source(), 1);
            archive.backup();
            let packs = archive.objects_in("packs/");
            let is_metadata = |path: &PathBuf| fs::read(path).unwrap()[10] == 1;
            let (_, path) = packs.iter().find(|(_, path)| is_metadata(path) == metadata).unwrap();
            let mut bytes = fs::read(path).unwrap();
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
            if !keep_index {
                fs::remove_dir_all(archive.cache()).unwrap();
            }
            if edit {
                fs::write(archive.source().join("2019/more"), "one more").unwrap();
            }
            for turn in 0..3 {
                let done = archive.try_backup().unwrap_or_else(|error| panic!("{about}, turn {turn}: {error}"));
                assert!(done.unread.is_empty(), "{about}");
                // Damage in a photo that keeps the pack's length is met only by who reads the photo.
                if metadata || how == "empty" || how == "cut" {
                    let held = contents_of(&archive.open(), done.id.unwrap());
                    let held = held.unwrap_or_else(|error| panic!("{about}, turn {turn}: {error}"));
                    assert!(held == contents(&archive.source()), "{about}, turn {turn}");
                }
            }
        }
    }
}

/// A pack of one frame cannot be put together in another order.
#[test]
fn a_pack_of_one_photo_is_stored_anew_as_well() {
    let archive = TestArchive::new(&Parameters::default());
    fs::write(archive.source().join("photo"), Random(1).bytes(100_000)).unwrap();
    archive.backup();
    for (_, path) in archive.objects_in("packs/") {
        fs::write(path, "").unwrap();
    }
    let id = archive.backup();
    assert!(contents_of(&archive.open(), id).unwrap() == contents(&archive.source()));
}

#[test]
fn damaged_segments_and_recovery_data_are_in_nobodys_way() {
    for turn in 0..8 {
        let archive = TestArchive::new(&Parameters::default());
        album(&archive.source(), 1);
        archive.backup();
        for (_, path) in archive.objects_in("segments/") {
            fs::write(path, "").unwrap();
        }
        for (_, path) in archive.objects_in("parity/") {
            if turn % 2 == 0 {
                fs::write(path, "").unwrap();
            } else {
                flip(&path, 1000);
            }
        }
        if turn % 4 < 2 {
            for (_, path) in archive.objects_in("packs/") {
                fs::remove_file(path).unwrap();
            }
        }
        fs::remove_dir_all(archive.cache()).unwrap();
        for _ in 0..2 {
            let id = archive.backup();
            assert!(contents_of(&archive.open(), id).unwrap() == contents(&archive.source()));
        }
        let found = archive.verify(true);
        assert!(!found.damage.is_empty(), "it is told of, though");
        assert!(found.damage.iter().all(|damage| !damage.object.starts_with("packs/")), "{:?}", found.damage);
    }
}

/// One damaged page of a folder, and nothing of the folder was shown, found or dumped; a folder that is copied from the mount
/// lacked photos, and nothing said so.
#[test]
fn a_damaged_page_hides_only_what_it_holds() {
    let archive = TestArchive::new(&Parameters::default());
    fs::create_dir(archive.source().join("many")).unwrap();
    let names: Vec<String> = (0..1500).map(|number| format!("{number:04}.jpg")).collect();
    for name in &names {
        fs::write(archive.source().join("many").join(name), format!("photo {name}")).unwrap();
    }
    let id = archive.backup();
    let top = tree_at(&archive.open(), id, "source/many");
    let page = archive.open().reader().get(ChunkKind::Tree, &top).unwrap();
    let Tree::Pages { children, .. } = Tree::decode(&page).unwrap() else { panic!("it has one page") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (from, until) = (text(&children[1].first), text(&children[2].first));
    lose_page(&archive, &children[1].id);
    let (lost, left): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| (from.as_str()..until.as_str()).contains(&name.as_str()));
    assert!(!lost.is_empty() && !left.is_empty());

    let home = common::quick();
    let snap = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
        command.args(arguments).env("HOME", home.path()).arg("-a").arg(archive.path()).arg("--no-cache");
        let done = command.output().unwrap();
        (done.status.code(), done.stdout, String::from_utf8(done.stderr).unwrap())
    };
    for arguments in [&["ls", "latest:source/many"][..], &["ls", "latest:source", "--recursive"]] {
        let (code, out, err) = snap(arguments);
        assert_eq!(code, Some(14), "{err}");
        assert!(err.contains("source/many") && err.contains("part of it cannot be read"), "{err}");
        let shown: Vec<String> = text(&out).lines().filter(|line| line.ends_with(".jpg")).map(str::to_owned).collect();
        let shown: Vec<&str> = shown.iter().map(|line| line.strip_prefix("many/").unwrap_or(line)).collect();
        assert_eq!(shown, left);
    }
    let (code, out, err) = snap(&["dump", &format!("latest:source/many/{}", left[0])]);
    assert_eq!((code, text(&out)), (Some(0), format!("photo {}", left[0])), "{err}");
    let (code, _, err) = snap(&["dump", &format!("latest:source/many/{}", lost[0])]);
    assert!(code == Some(14) && !err.contains("there is no"), "it is not known to be missing: {code:?} {err}");
    let tar = home.path().join("many.tar");
    let (code, _, err) = snap(&["dump", "latest:source/many", "-t", tar.to_str().unwrap()]);
    assert!(code == Some(14) && err.contains("many"), "{code:?} {err}");
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    assert_eq!(text(&listed.stdout).lines().filter(|line| line.ends_with(".jpg")).count(), left.len());

    if !mount::can_mount() {
        return;
    }
    let mount = mount::Mount::of(&archive);
    let (mut shown, mut failed) = (Vec::new(), 0);
    for item in fs::read_dir(mount.at("latest/source/many")).unwrap() {
        match item {
            Ok(item) => shown.push(item.file_name().into_string().unwrap()),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
                failed += 1;
            }
        }
    }
    shown.sort();
    assert_eq!((shown, failed), (left, 1));
    let error = fs::read(mount.at("latest/source/many").join(&lost[0])).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{error}");
}
