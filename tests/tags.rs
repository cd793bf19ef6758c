//! What a tag costs: a rating and a caption written into a photo add the tag to the archive, and not the photo.

use crate::common;
use crate::common::picture;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Heard, TestArchive, contents, contents_of, options};
use picture::{photo, tag};
use snapkeep::archive::{Archive, Parameters};
use snapkeep::op::backup;
use snapkeep::store::Local;

/// The most that a tag may cost, in bytes a photo, tree included.
const MOST: u64 = 10_000;

/// JPEGs below a folder.
fn jpegs(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(root).into_iter().flatten() {
        let path = item.unwrap().path();
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        if path.is_dir() {
            found.extend(jpegs(&path));
        } else if ending.is_some_and(|ending| ending == "jpg" || ending == "jpeg")
            && fs::read(&path).unwrap().starts_with(&[0xff, 0xd8, 0xff])
        {
            found.push(path);
        }
    }
    found
}

fn stored(archive: &TestArchive) -> u64 {
    archive.objects().values().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// Backs up, tags every photo and backs up again, twice.
fn tagging_costs_tags(fill: impl Fn(&Path)) {
    let archive = TestArchive::unmade();
    Archive::create(&Local::new(archive.path()), &Parameters::default(), 1_700_000_000).unwrap();
    fill(&archive.source());
    archive.backup();
    let photos = jpegs(&archive.source());
    assert!(photos.len() > 10);
    for (round, words) in [(1, 12), (2, 40)] {
        for (number, path) in photos.iter().enumerate() {
            let caption = format!("photo {number} of the {round}. round ").repeat(words / 6);
            let tagged = tag(&fs::read(path).unwrap(), number as u32 % 5 + 1, &caption);
            // As programs that manage photos do: a new file, put in the old one's place.
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, tagged).unwrap();
            fs::rename(&temporary, path).unwrap();
        }
        let before = stored(&archive);
        let mut asked = options(&[&archive.source()]);
        asked.time = common::after(std::time::Duration::from_secs(round * 60));
        let done = backup(&archive.open(), &asked, &Heard::default()).unwrap();
        assert_eq!(done.summary.changed, photos.len() as u64);
        let cost = (stored(&archive) - before) / photos.len() as u64;
        eprintln!("round {round}: {cost} bytes a photo of {}", photos.len());
        assert!(cost <= MOST, "round {round}: {cost} bytes a photo");
        assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&archive.source()));
    }
}

#[test]
fn tagging_photos_adds_the_tags() {
    tagging_costs_tags(|source| {
        for number in 0..20 {
            fs::write(source.join(format!("{number}.jpg")), photo(number, 320, 240)).unwrap();
        }
    });
}

#[test]
fn tagging_real_photos_adds_the_tags() {
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/photos/jpeg");
    if !photos.is_dir() {
        eprintln!("SKIPPED: the real photos are not there, so tagging them was NOT tested");
        return;
    }
    tagging_costs_tags(|source| common::copy_tree(&photos, source));
}
