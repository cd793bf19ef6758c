//! What damage costs, in photos and albums, as people count them.

use std::collections::{BTreeMap, BTreeSet};

use crate::op::AffectedFile;

use super::{names, words};

/// At most so many albums are named, unless more is asked for.
const NAMED: usize = 12;

/// What photos and videos are called.
const PHOTOS: [&str; 24] = [
    "jpg", "jpeg", "jpe", "heic", "heif", "avif", "png", "gif", "webp", "tif", "tiff", "bmp", "dng", "cr2", "cr3",
    "nef", "arw", "orf", "rw2", "raf", "mp4", "mov", "m4v", "avi",
];

/// `12 photos in 3 albums: Pictures/2019/Ostsee (10), Pictures (1), Pictures/2020 (1)`; each is counted once, however
/// many snapshots have it and under however many names.
pub fn told(files: &[AffectedFile], all: bool) -> String {
    // A photo that has another name, or lies in another album, in the next snapshot is still one photo.
    let mut each: BTreeMap<_, bool> = BTreeMap::new();
    let mut albums: BTreeMap<&[u8], BTreeSet<_>> = BTreeMap::new();
    for file in files {
        *each.entry(file.what()).or_default() |= is_photo(&file.path);
        albums.entry(album(&file.path)).or_default().insert(file.what());
    }
    let photos = each.values().filter(|photo| **photo).count() as u64;
    let others = each.len() as u64 - photos;
    let albums: BTreeMap<&[u8], u64> = albums.into_iter().map(|(album, files)| (album, files.len() as u64)).collect();
    let what = match (photos, others) {
        (photos, 0) => words::things(photos, "photo", "photos"),
        (0, others) => words::things(others, "file", "files"),
        (photos, others) => format!(
            "{} and {}",
            words::things(photos, "photo", "photos"),
            words::things(others, "other file", "other files")
        ),
    };
    let (one, many) = if photos > 0 { ("album", "albums") } else { ("folder", "folders") };
    let count = albums.len();
    let mut albums: Vec<(&[u8], u64)> = albums.into_iter().collect();
    albums.sort_by_key(|(album, files)| (std::cmp::Reverse(*files), *album));
    let named = if all { albums.len() } else { NAMED };
    let mut list: Vec<String> = albums
        .iter()
        .take(named)
        .map(|(album, files)| format!("{} ({})", names::escape(album), words::count(*files)))
        .collect();
    if count > named {
        list.push(format!("and {} more (-v names all)", words::count((count - named) as u64)));
    }
    format!("{what} in {}: {}", words::things(count as u64, one, many), list.join(", "))
}

fn album(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => &path[..at],
        None if path.is_empty() => b"everything",
        None => path,
    }
}

fn is_photo(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let end = name.rsplit(|byte| *byte == b'.').next().filter(|end| end.len() < name.len());
    let end = end.map(|end| String::from_utf8_lossy(end).to_ascii_lowercase());
    end.is_some_and(|end| PHOTOS.contains(&end.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{FileHash, SnapshotId};

    fn files(paths: &[&str]) -> Vec<AffectedFile> {
        let snapshots = [[1; 32], [2; 32]].map(SnapshotId::from_bytes);
        let each = |path: &&str| {
            snapshots.map(|snapshot| AffectedFile { snapshot, path: path.as_bytes().to_vec(), size: 1, content: None })
        };
        paths.iter().flat_map(each).collect()
    }

    #[test]
    fn photos_are_counted_once_and_by_album() {
        let lost = files(&["P/2019/a.JPG", "P/2019/b.heic", "P/c.jpg"]);
        assert_eq!(told(&lost, false), "3 photos in 2 albums: P/2019 (2), P (1)");
        assert_eq!(told(&files(&["P/a.jpg"]), false), "1 photo in 1 album: P (1)");
        assert_eq!(told(&files(&["P/a.jpg", "P/notes"]), false), "1 photo and 1 other file in 1 album: P (2)");
        assert_eq!(told(&files(&["P/notes", "Q/jpg"]), false), "2 files in 2 folders: P (1), Q (1)");
        assert_eq!(told(&files(&[""]), false), "1 file in 1 folder: everything (1)");
    }

    /// An album of 52 photos was renamed twice, and 171 files were told as lost.
    #[test]
    fn a_photo_that_was_renamed_is_one_photo() {
        let mut lost = files(&["P/2019/a.jpg", "P/Ostsee/a.jpg", "P/Ostsee/b.jpg"]);
        for file in &mut lost {
            let name = *file.path.iter().rev().nth(4).unwrap();
            file.content = Some(FileHash::from_bytes([name; 32]));
        }
        assert_eq!(told(&lost, false), "2 photos in 2 albums: P/Ostsee (2), P/2019 (1)");
        assert_eq!(crate::op::distinct_files(&lost), 2);
    }

    #[test]
    fn many_albums_are_not_all_named_unless_that_is_asked_for() {
        let paths: Vec<String> = (0..20).map(|number| format!("P/{number:02}/a.jpg")).collect();
        let lost = files(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let said = told(&lost, false);
        assert!(said.starts_with("20 photos in 20 albums: P/00 (1)") && said.ends_with("and 8 more (-v names all)"));
        assert!(told(&lost, true).ends_with("P/19 (1)"));
    }
}
