//! What counts for whom: nothing that a copy of the archive, a segment or a directory says, and be it whole, costs a photo.

use crate::common;
use crate::common::hooked;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Heard, Known, Random, SMALL, TestArchive, album, contents, contents_of, options, plain_copy, restore_at};
use hooked::{At, Hook};
use snapkeep::archive::{Archive, Filter, Notice, Parameters, read_directory};
use snapkeep::error::Result;
use snapkeep::format::{PackContent, Segment, SegmentPack, encode_pack_end};
use snapkeep::id::{ChunkId, ChunkKind, PackId};
use snapkeep::op::{BackupOptions, Remedy, RepairOptions, backup, has, repair};
use snapkeep::store::{Leftovers, Local, Store};

/// A photo of one chunk.
fn photo(seed: u64) -> Vec<u8> {
    Random(seed).bytes(200)
}

fn id_of(bytes: &[u8]) -> ChunkId {
    ChunkId::of(ChunkKind::Data, bytes)
}

/// The longest pack of photo data below this archive, its file, and its directory.
fn data_pack(root: &Path) -> (PathBuf, SegmentPack) {
    let archive = Archive::open(Arc::new(Local::new(root)), None, Arc::new(|_| {})).unwrap();
    let packs = archive.present_packs(Leftovers::Leave).unwrap();
    let all = packs.iter().map(|(id, len)| read_directory(&**archive.store(), id, *len).unwrap());
    let data =
        all.filter(|pack| pack.content == PackContent::Data).max_by_key(|pack| (pack.rows.len(), pack.id)).unwrap();
    (root.join(name_of(&data.id)), data)
}

fn name_of(id: &PackId) -> String {
    format!("packs/{}/{}", &id.to_hex()[..2], id.to_hex())
}

/// Lets the directory of a pack say that its first frame is this chunk.
fn rewrite_directory(root: &Path, chunk: ChunkId) -> PathBuf {
    let (path, mut pack) = data_pack(root);
    let mut bytes = fs::read(&path).unwrap();
    let end = pack.rows.last().map(|row| row.offset as usize + row.frame_len() as usize).unwrap();
    bytes.truncate(end);
    pack.rows[0].frame.id = chunk;
    encode_pack_end(&pack.rows, end as u32, &mut bytes);
    fs::write(&path, bytes).unwrap();
    path
}

/// Puts a segment, whole by its name, that says of a pack that its first frame is this chunk.
fn lying_segment(root: &Path, chunk: ChunkId) -> String {
    let (_, mut pack) = data_pack(root);
    pack.rows[0].frame.id = chunk;
    let bytes = Segment::encode_of(&[pack]);
    let name = format!("segments/{}", blake3::hash(&bytes).to_hex());
    fs::write(root.join(&name), bytes).unwrap();
    name
}

fn remove_segments(root: &Path) {
    fs::remove_dir_all(root.join("segments")).unwrap();
}

/// Opens what lies there with this cache, as `ls` does.
fn look(path: &Path, cache: &Path) -> Archive {
    Archive::open(Arc::new(Local::new(path)), Some(cache), Arc::new(|_| {})).unwrap()
}

/// After somebody had looked at a copy whose pack had another directory, a backup into the good archive took a new photo for
/// known and stored nothing of it, with exit code 0.
#[test]
fn a_look_at_another_copy_says_nothing_of_this_one() {
    let archive = TestArchive::on_disk(&SMALL);
    album(&archive.source(), 1);
    archive.backup();
    let (new, copy, away) = (photo(77), archive.beside("copy"), archive.beside("away"));
    for same_path in [false, true] {
        plain_copy(&archive.path(), &copy);
        rewrite_directory(&copy, id_of(&new));
        remove_segments(&copy);
        if same_path {
            // Another drive under the same mount point.
            fs::rename(archive.path(), &away).unwrap();
            fs::rename(&copy, archive.path()).unwrap();
            let poisoned = look(&archive.path(), &archive.cache());
            poisoned.refill("a chunk was not where it said").unwrap();
            assert!(!poisoned.locate(&id_of(&new)).unwrap().is_empty(), "the copy says so");
            drop(poisoned);
            fs::rename(archive.path(), &copy).unwrap();
            fs::rename(&away, archive.path()).unwrap();
        } else {
            let poisoned = look(&copy, &archive.cache());
            poisoned.refill("a chunk was not where it said").unwrap();
            assert!(!poisoned.locate(&id_of(&new)).unwrap().is_empty(), "the copy says so");
        }
        let here = look(&archive.path(), &archive.cache());
        assert!(here.locate(&id_of(&new)).unwrap().is_empty(), "and nobody else");
        fs::remove_dir_all(&copy).unwrap();
    }
    fs::write(archive.source().join("new.jpg"), &new).unwrap();
    let id = archive.backup();
    let fresh = Archive::open(Arc::new(Local::new(archive.path())), None, Arc::new(|_| {})).unwrap();
    assert!(contents_of(&fresh, id).unwrap() == contents(&archive.source()));
    assert!(archive.verify(true).affected.is_empty());
}

/// The same folder was filled anew from another copy.
#[test]
fn a_folder_that_was_filled_from_another_copy_begins_with_nothing() {
    let archive = TestArchive::on_disk(&SMALL);
    album(&archive.source(), 1);
    archive.backup();
    archive.verify(true);
    assert!(!archive.open().verified().is_empty());
    let copy = archive.beside("copy");
    plain_copy(&archive.path(), &copy);
    for item in fs::read_dir(archive.path()).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    for item in fs::read_dir(&copy).unwrap() {
        plain_copy(&item.unwrap().path(), &archive.path());
    }
    archive.notices.lock().unwrap().clear();
    assert!(archive.open().verified().is_empty(), "nobody has read these packs yet");
    let told = archive.notices.lock().unwrap().clone();
    assert!(matches!(&told[..], [Notice::IndexRebuilt(why)] if why.contains("another copy")), "{told:?}");
    archive.notices.lock().unwrap().clear();
    archive.open();
    assert!(archive.notices.lock().unwrap().is_empty(), "it is told once");
}

/// `status` said of a copy made with `cp -a` that it had been verified.
#[test]
fn a_copy_was_never_verified() {
    let archive = TestArchive::on_disk(&SMALL);
    album(&archive.source(), 1);
    archive.backup();
    archive.verify(true);
    let packs = archive.objects_in("packs/").len();
    assert_eq!(archive.open().verified().len(), packs);
    let copy = archive.beside("copy");
    plain_copy(&archive.path(), &copy);
    assert!(look(&copy, &archive.cache()).verified().is_empty());
    assert_eq!(archive.open().verified().len(), packs, "the other one still was");
    // A drive that is away for a time, and a header that is made anew, change nothing.
    fs::rename(archive.path(), archive.beside("away")).unwrap();
    fs::rename(archive.beside("away"), archive.path()).unwrap();
    archive.notices.lock().unwrap().clear();
    assert_eq!(archive.open().verified().len(), packs);
    assert!(archive.notices.lock().unwrap().is_empty(), "the index was not filled again");
    for header in ["header", "header.copy"] {
        fs::remove_file(archive.path().join(header)).unwrap();
        repair(&archive.open(), &RepairOptions::default(), &Heard::default()).unwrap();
        assert_eq!(archive.open().verified().len(), packs, "{header}");
    }
}

/// What a segment or a directory says, and be it the only one that there is, keeps no photo from being stored.
#[test]
fn a_new_photo_is_stored_whatever_is_said_of_it() {
    type Lie = fn(&Path, ChunkId);
    let lies: [(&str, Lie); 3] = [
        ("a segment, beside the right one", |root, id| drop(lying_segment(root, id))),
        ("a segment alone", |root, id| {
            let name = lying_segment(root, id);
            let lie = fs::read(root.join(&name)).unwrap();
            remove_segments(root);
            fs::create_dir(root.join("segments")).unwrap();
            fs::write(root.join(name), lie).unwrap();
        }),
        ("a directory", |root, id| {
            rewrite_directory(root, id);
            remove_segments(root);
        }),
    ];
    for (what, lie) in lies {
        for keep_cache in [true, false] {
            let known = Known::new();
            let new = photo(5);
            lie(&known.archive.path(), id_of(&new));
            if !keep_cache {
                fs::remove_dir_all(known.archive.cache()).unwrap();
            }
            let source = known.archive.beside("more");
            fs::create_dir(&source).unwrap();
            fs::write(source.join("new.jpg"), &new).unwrap();
            let done = backup(&known.archive.open(), &options(&[&source]), &Heard::default()).unwrap();
            let fresh = Archive::open(Arc::new(Local::new(known.archive.path())), None, Arc::new(|_| {})).unwrap();
            let target = common::quick();
            let restored = restore_at(&fresh, done.id, target.path()).unwrap();
            assert!(restored.failed.is_empty(), "{what}, cache kept {keep_cache}: {:?}", restored.failed);
            assert_eq!(fs::read(target.path().join("more/new.jpg")).unwrap(), new, "{what}, cache kept {keep_cache}");
        }
    }
}

/// A segment that was whole and wrong hid every photo of the pack that it told of: the reader called them lost.
#[test]
fn what_a_segment_hides_is_found_in_the_pack() {
    for (what, rewrite_pack, lose_parity) in [
        ("a segment", false, false),
        ("a segment and a directory", true, false),
        ("both, without recovery data", true, true),
    ] {
        let known = Known::new();
        let (root, cache) = (known.archive.path(), known.archive.cache());
        let name = lying_segment(&root, id_of(b"nothing"));
        let lie = fs::read(root.join(&name)).unwrap();
        let (path, pack) = data_pack(&root);
        let hidden = pack.rows[0].frame.id;
        remove_segments(&root);
        fs::create_dir(root.join("segments")).unwrap();
        fs::write(root.join(&name), lie).unwrap();
        if rewrite_pack {
            assert_eq!(rewrite_directory(&root, id_of(b"something else")), path);
        }
        if lose_parity {
            fs::remove_file(root.join(name_of(&pack.id).replace("packs", "parity"))).unwrap();
        }
        fs::remove_dir_all(&cache).unwrap();
        let archive = known.archive.open();
        assert!(archive.locate(&hidden).unwrap().is_empty(), "{what}: nobody tells of it");
        assert!(archive.reader().get(ChunkKind::Data, &hidden).is_ok(), "{what}: and it is found");
        assert!(archive.reader().get(ChunkKind::Data, &id_of(b"nothing")).is_err());
        for (id, held) in &known.held {
            assert!(contents_of(&archive, *id).unwrap() == *held, "{what}");
        }
        drop(archive);
        // Verifying calls nothing lost either, and a repair puts right who was wrong.
        for read_data in [false, true] {
            let found = known.archive.verify(read_data);
            assert_eq!(found.affected, [], "{what}");
            assert!(!found.damage.is_empty(), "{what}");
            let wrong: Vec<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
            assert!(rewrite_pack || wrong == [name.as_str()], "{what}: {wrong:?}");
        }
        let done = repair(&known.archive.open(), &RepairOptions::default(), &Heard::default()).unwrap();
        assert!(done.is_whole(), "{what}: {done:?}");
        assert_eq!(known.archive.verify(true).damage, [], "{what}");
        for (id, held) in &known.held {
            assert!(contents_of(&known.archive.open(), *id).unwrap() == *held, "{what}: repaired");
        }
        if !rewrite_pack {
            assert!(done.steps.contains(&(name.clone(), Remedy::Remake)), "{what}: {:?}", done.steps);
        }
    }
}

/// Counts the bytes that are read of packs.
fn counting(path: &Path) -> (Arc<dyn Store>, Arc<AtomicU64>) {
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = bytes.clone();
    let hook: Hook = Arc::new(move |at| {
        if let At::Read(path, range) = at
            && path.to_string_lossy().contains("/packs/")
        {
            counted.fetch_add(range.end - range.start, Ordering::Relaxed);
        }
        Ok(())
    });
    (hooked::store(path, hook), bytes)
}

fn backed_up(archive: &TestArchive) -> Result<(snapkeep::op::Backup, u64)> {
    let (store, bytes) = counting(&archive.path());
    let opened = archive.open_through(store, &archive.cache())?;
    let done = backup(&opened, &options(&[&archive.source()]), &Heard::default())?;
    Ok((done, bytes.load(Ordering::Relaxed)))
}

/// What is relied on is looked at, but no more of it than has to be.
#[test]
fn an_unchanged_run_reads_no_photo_whether_the_index_was_lost_or_not() {
    let archive = TestArchive::on_disk(&SMALL);
    fs::write(archive.source().join("film.mov"), Random(2).bytes(3_000_000)).unwrap();
    common::touch(&archive.source().join("film.mov"), 1_500_000_000, 0);
    std::thread::sleep(std::time::Duration::from_millis(100)); // so that what is recorded is settled
    let (first, read) = backed_up(&archive).unwrap();
    assert!(read < 10_000, "a first backup reads no photo back: {read} bytes of packs");
    let tell = |what: &str| {
        let (done, read) = backed_up(&archive).unwrap();
        assert_eq!((done.summary.new, done.summary.added > 100_000), (0, false), "{what}");
        read
    };
    let usual = tell("as it was");
    assert!(usual < 50_000, "{usual} bytes of packs were read");
    fs::remove_dir_all(archive.cache()).unwrap();
    let directories = tell("the index was lost");
    // A tail of 64 KiB of each pack, which here is all of it; of real packs it is a part in 500.
    let packs = archive.objects_in("packs/").len() as u64;
    assert!(directories <= usual + packs * (1 << 16), "{directories} bytes of {packs} packs were read");
    assert!(tell("and afterwards") <= usual);
    // What is copied, by others, is read here as it is read there, once.
    fs::remove_dir_all(archive.cache()).unwrap();
    fs::copy(archive.source().join("film.mov"), archive.source().join("copy.mov")).unwrap();
    let (done, read) = backed_up(&archive).unwrap();
    assert!(done.summary.added < 100_000, "{} bytes were stored again", done.summary.added);
    assert!((3_000_000..9_000_000).contains(&read), "{read} bytes were read");
    assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&archive.source()));
    assert!(contents_of(&archive.open(), first.id.unwrap()).unwrap().len() == 1);
}

/// Damage of a chunk that was only told of is met by the run that would rely on it, which stores the photo again.
#[test]
fn a_photo_that_is_told_of_and_damaged_is_stored_again() {
    let archive = TestArchive::on_disk(&SMALL);
    let photo = photo(9);
    fs::write(archive.source().join("one.jpg"), &photo).unwrap();
    archive.backup();
    let (path, pack) = data_pack(&archive.path());
    let row = pack.rows.iter().find(|row| row.frame.id == id_of(&photo)).unwrap();
    common::flip(&path, 8 * (u64::from(row.offset) + row.frame_len() - 5));
    fs::remove_dir_all(archive.cache()).unwrap();
    let beside = archive.beside("other");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("two.jpg"), &photo).unwrap();
    let done = backup(&archive.open(), &options(&[&beside]), &Heard::default()).unwrap();
    assert!(done.summary.added >= photo.len() as u64);
    fs::remove_dir_all(archive.path().join("parity")).unwrap();
    let target = common::quick();
    let restored = restore_at(&archive.open(), done.id, target.path()).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!(fs::read(target.path().join("other/two.jpg")).unwrap(), photo);
}

/// Backs up photos, lets the drive lose bytes of a pack that this machine has written, the newest one or an old one, and
/// backs up once more: the same source, or copies of it as another. What is told of the pack, and whether all can be read.
fn after_a_loss(newest: bool, lose: fn(&mut [u8])) {
    let archive = TestArchive::on_disk(&SMALL);
    for number in 0..40 {
        fs::write(archive.source().join(format!("{number}.jpg")), Random(number).bytes(30_000)).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(100)); // so that what is recorded is settled
    archive.backup();
    let mut data = archive.open().known_packs();
    data.retain(|pack| pack.content == PackContent::Data);
    assert!(data.len() > 10, "some packs were not written last: {}", data.len());
    let pack = if newest { data.last() } else { data.first() }.unwrap().id;
    let path = archive.path().join(name_of(&pack));
    let mut bytes = fs::read(&path).unwrap();
    lose(&mut bytes);
    fs::write(path, bytes).unwrap();
    fs::remove_dir_all(archive.path().join("parity")).unwrap();
    archive.notices.lock().unwrap().clear();

    let mut source = archive.source();
    if !newest {
        source = archive.beside("more/source");
        fs::create_dir(archive.beside("more")).unwrap();
        plain_copy(&archive.source(), &source);
    }
    let done = backup(&archive.open(), &options(&[&source]), &Heard::default()).unwrap();
    let told = archive.notices.lock().unwrap().clone();
    let named = |one: &&Notice| matches!(one, Notice::PassedOver(name, _) if *name == name_of(&pack));
    assert_eq!(told.iter().filter(named).count(), 1, "it is named, once: {told:?}");
    assert!(done.unread.is_empty(), "{:?}", done.unread);
    let added = done.summary.added;
    assert!((20_000..600_000).contains(&added), "what it had is stored again, and not everything: {added}");
    assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&source), "all of it can be read");
}

/// A drive that said too early that bytes were safe keeps a pack's name and length, and zeros in it: a photo that the source
/// still has would be one that nobody can restore.
#[test]
fn what_this_machine_wrote_and_the_drive_lost_is_stored_again() {
    fn half(bytes: &mut [u8]) -> (&mut [u8], &mut [u8]) {
        bytes.split_at_mut((bytes.len() / 2) & !0x3FFF) // drives lose whole blocks
    }
    let losses: [fn(&mut [u8]); 3] =
        [|bytes| bytes.fill(0), |bytes| half(bytes).0.fill(0), |bytes| half(bytes).1.fill(0)];
    for lose in losses {
        after_a_loss(true, lose);
        after_a_loss(false, lose);
    }
}

/// A photo of one long frame in an archive of this computer, whose pack then loses bytes in the middle of that frame:
/// its head, the pack's directory and its end stay right. Returns the archive and the photo's path.
fn a_hole_in_a_frame(about: &str) -> (TestArchive, PathBuf) {
    let archive = TestArchive::on_disk(&Parameters::default());
    fs::create_dir(archive.source().join("2019")).unwrap();
    let photo = archive.source().join("2019/sea.jpg");
    fs::write(&photo, common::jpeg(&mut Random(77), 5_000_000)).unwrap();
    for number in 0..3 {
        fs::write(archive.source().join(format!("{number}.jpg")), Random(number).bytes(30_000)).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(100)); // so that what is recorded is settled
    archive.backup();
    let (path, pack) = data_pack(&archive.path());
    let row = pack.rows.iter().max_by_key(|row| row.frame_len()).unwrap();
    assert!(row.frame_len() > 4_000_000, "{about}: it is one frame: {}", row.frame_len());
    let mut bytes = fs::read(&path).unwrap();
    let begin = row.offset as usize + 700_000;
    bytes[begin..begin + 3_000_000].fill(0);
    fs::write(path, bytes).unwrap();
    fs::remove_dir_all(archive.path().join("parity")).unwrap();
    archive.notices.lock().unwrap().clear();
    (archive, photo)
}

/// What is backed up is stored anew, and can be read; the pack is named so often.
fn stored_anew(about: &str, archive: &TestArchive, source: &Path, force: bool, named: usize) {
    let options = BackupOptions { force, ..options(&[source]) };
    let done = backup(&archive.open(), &options, &Heard::default()).unwrap();
    assert!(done.unread.is_empty(), "{about}: {:?}", done.unread);
    assert!((4_000_000..6_000_000).contains(&done.summary.added), "{about}: {} bytes were added", done.summary.added);
    assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(source), "{about}: it can be read");
    let told = archive.notices.lock().unwrap().clone();
    let told_of = told.iter().filter(|one| matches!(one, Notice::PassedOver(..))).count();
    assert_eq!(told_of, named, "{about}: how often the pack is named: {told:?}");
}

/// The head of a frame vouched for all of it: 3 MB of zeros in the middle of a photo cost it, since every run that
/// read the photo again, or found it under another name, took it for stored, and `has` said that it could be deleted.
#[test]
fn a_hole_in_the_middle_of_a_photo_is_met_before_the_photo_counts_as_stored() {
    let (archive, _) = a_hole_in_a_frame("read again");
    stored_anew("read again", &archive, &archive.source(), true, 1);

    let (archive, photo) = a_hole_in_a_frame("renamed");
    fs::rename(&photo, archive.source().join("2019/ocean.jpg")).unwrap();
    stored_anew("renamed", &archive, &archive.source(), false, 1);

    let (archive, photo) = a_hole_in_a_frame("its folder renamed");
    fs::rename(photo.parent().unwrap(), archive.source().join("2019 sea")).unwrap();
    stored_anew("its folder renamed", &archive, &archive.source(), false, 1);

    let (archive, photo) = a_hole_in_a_frame("copied");
    let card = archive.beside("card/source");
    fs::create_dir_all(&card).unwrap();
    fs::copy(&photo, card.join("IMG_1.jpg")).unwrap();
    let asked =
        has(&archive.open(), std::slice::from_ref(&card), &Filter::default(), false, &Heard::default()).unwrap();
    assert!(!asked.all(), "has says that the card may be deleted");
    // By now the index knows that it is nowhere, and no pack has to be named.
    archive.notices.lock().unwrap().clear();
    stored_anew("copied", &archive, &card, false, 0);
}
