//! The real pictures beside the project, where they are present.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::{Format, RegionKind, facts, format};
use super::cut;
use super::hostile::read_all;

/// Path, length, and number and digest of the regions of each picture: a change of these is a change of the cuts.
const KNOWN: &str = include_str!("../../../tests/golden/media-regions.txt");

fn photos() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/photos");
    path.is_dir().then_some(path)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder and the folders in it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn cuts_of_real_pictures_stay_where_they_were() {
    let Some(photos) = photos() else { return };
    let mut now = String::new();
    for folder in ["heic", "jpeg", "raw", "tiff", "video"] {
        for path in files(&photos.join(folder)) {
            let file = read(&path);
            let regions = cut(&file);
            let list = regions.iter().fold(String::new(), |mut list, region| {
                writeln!(list, "{} {:?}", region.start, region.kind).unwrap();
                list
            });
            let digest = &blake3::hash(list.as_bytes()).to_hex()[..16];
            let name = path.strip_prefix(&photos).unwrap().display();
            writeln!(now, "{name}\t{}\t{}\t{digest}", file.len(), regions.len()).unwrap();
        }
    }
    let changed: Vec<_> = now.lines().filter(|line| !KNOWN.lines().any(|known| known == *line)).collect();
    assert!(changed.is_empty(), "cuts have moved:\n{}", changed.join("\n"));
}

#[test]
fn every_fuzzed_file_is_read_calmly() {
    let Some(photos) = photos() else { return };
    let fuzzed = files(&photos.join("fuzzed"));
    assert_eq!(fuzzed.len(), 372);
    for path in fuzzed.iter().chain(&files(&photos.join("png"))) {
        read_all(&read(path));
    }
}

#[test]
fn camera_jpegs_have_an_image_a_camera_and_a_date() {
    let Some(photos) = photos() else { return };
    let (mut pictures, mut images, mut cameras, mut dates) = (0, 0, 0, 0);
    for path in files(&photos.join("jpeg")).iter().filter(|path| !path.to_string_lossy().contains("TestSuite")) {
        let file = read(path);
        assert_eq!(format(&file.as_slice()).unwrap(), Format::Jpeg);
        let told = facts(&file.as_slice(), Format::Jpeg).unwrap_or_default();
        pictures += 1;
        images += usize::from(cut(&file).iter().any(|region| region.kind == RegionKind::JpegImage));
        cameras += usize::from(told.make.is_some() && told.width.is_some());
        dates += usize::from(told.taken.is_some());
    }
    assert_eq!((pictures, images, cameras, dates), (70, 70, 61, 60));
}
