//! What is asked of many equal photos costs no more than reading each folder once. Reads are counted, and no time.

use crate::common;
use crate::common::watched;

use std::fs;
use std::sync::Arc;

use common::{Heard, SMALL, TestArchive};
use snapkeep::archive::{Archive, Filter};
use snapkeep::op::{duplicates, has};
use watched::{Call, Record};

/// So many photos twice each, in one folder, and as many folders of one photo that is the same in all.
fn library(pairs: usize) -> TestArchive {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    fs::create_dir(source.join("all")).unwrap();
    for number in 0..pairs {
        for copy in ["a", "b"] {
            fs::write(source.join(format!("all/{copy}{number:04}.jpg")), format!("photo {number}")).unwrap();
        }
        let album = source.join(format!("albums/{number:04}"));
        fs::create_dir_all(&album).unwrap();
        fs::write(album.join("same.jpg"), "the same in every album").unwrap();
    }
    archive.backup();
    // The index knows of it from now on.
    duplicates(&archive.open(), &Filter::default(), "", &Heard::default()).unwrap();
    archive
}

/// How often the archive is read while this is done to it.
fn reads(archive: &TestArchive, act: impl FnOnce(&Archive)) -> usize {
    let record = Record::new(None);
    let opened = archive.open_through(record.store(archive.path()), &archive.cache()).unwrap();
    let count = || record.done().iter().filter(|call| matches!(call, Call::Read(_))).count();
    let before = count();
    act(&opened);
    count() - before
}

/// `duplicates` read a folder of 40,000 photos 40,000 times.
#[test]
fn duplicates_reads_each_folder_once() {
    for pairs in [20, 400] {
        let archive = library(pairs);
        let count = reads(&archive, |opened| {
            let found = duplicates(opened, &Filter::default(), "", &Heard::default()).unwrap();
            assert_eq!(found.groups.len(), pairs + 1);
        });
        // A folder for each album, those above them, and a page or two for each of the large ones.
        assert!(count <= 2 * pairs + 40, "{pairs} pairs, {count} reads");
    }
}

/// `has` looked for each of many equal photos anew in all the places of all the others.
#[test]
fn has_asks_for_equal_photos_once() {
    for pairs in [20, 400] {
        let archive = library(pairs);
        let asked = [archive.source().join("albums")];
        let count = reads(&archive, |opened| {
            let found = has(opened, &asked, &Filter::default(), false, &Heard::default()).unwrap();
            assert!(found.all() && found.files.len() == pairs);
            let snapkeep::op::Verdict::Here(first) = &found.files[0].verdict else { panic!("it is here") };
            let snapkeep::op::Verdict::Here(last) = &found.files[pairs - 1].verdict else { panic!("it is here") };
            assert!(
                Arc::ptr_eq(first, last) && first.len() == pairs,
                "their places are looked up once for all of them"
            );
        });
        assert!(count <= 2 * pairs + 40, "{pairs} pairs, {count} reads");
    }
}
