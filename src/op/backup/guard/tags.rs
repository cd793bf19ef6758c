//! Which changed files are photos that only got other tags: what a program for organising does to a whole library at once,
//! and what no program that locks photos does.
//!
//! Some of the files are read, and nothing of them is stored.

use rayon::prelude::*;

use super::survey::Changed;
use crate::archive::Archive;
use crate::error::Result;
use crate::op::file::{self, Looked};
use crate::op::{Observer, Quiet, check_stop};
use crate::source::SourceFile;

/// Longer files are not read for this: they count as changed, in bytes.
const LONGEST: u64 = 256 << 20;
/// What programs keep beside photos instead of writing it into them; all of it is tags, and all of it is text.
const SIDECARS: [&str; 4] = ["xmp", "pp3", "dop", "arp"];

/// Those of the files that are really changed.
pub(super) fn really_changed(archive: &Archive, files: Vec<Changed>, observer: &dyn Observer) -> Result<Vec<Changed>> {
    let quiet = Quiet(observer);
    let each = files.into_par_iter().map(|file| {
        check_stop(observer)?;
        let harmless = file.stat.size <= LONGEST && is_harmless(archive, &file, &quiet)?;
        Ok((!harmless).then_some(file))
    });
    each.filter_map(Result::transpose).collect()
}

fn is_harmless(archive: &Archive, file: &Changed, observer: &dyn Observer) -> Result<bool> {
    let extension = file.path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    if extension.is_some_and(|extension| SIDECARS.contains(&extension.as_str())) {
        return Ok(is_text(file));
    }
    let Ok(Looked { hash, picture, .. }) = file::look(archive, &file.path, &file.stat, observer)? else {
        return Ok(false);
    };
    let before = archive.facts(&file.hash).and_then(|facts| facts.picture);
    Ok(hash == file.hash || (picture.is_some() && picture == before))
}

/// Whether a file begins with text.
fn is_text(file: &Changed) -> bool {
    let mut start = [0; 512];
    let Ok(mut opened) = SourceFile::open(&file.path, &file.stat) else { return false };
    let Ok(len) = opened.read(&mut start) else { return false };
    let start = start[..len].utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let plain = |sign: char| !sign.is_control() || sign.is_whitespace() || sign == '\u{feff}';
    // A character may be cut in two at the end.
    start.len() + 3 >= len && start.chars().all(plain)
}
