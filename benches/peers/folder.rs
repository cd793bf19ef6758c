//! The folder that is backed up: a copy, and what is done to it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

const RENAMED: &str = " renamed";

/// The regular files below a folder, in order, with their lengths.
pub fn files(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for item in fs::read_dir(&dir)? {
            let item = item?;
            let kind = item.file_type()?;
            if kind.is_dir() {
                todo.push(item.path());
            } else if kind.is_file() {
                found.push((item.path(), item.metadata()?.len()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The lengths of all files below a folder, together, in megabytes.
pub fn megabytes(dir: &Path) -> io::Result<f64> {
    Ok(files(dir)?.iter().map(|(_, len)| *len as f64).sum::<f64>() / 1e6)
}

/// Copies the regular files of a folder with their times, until `limit` bytes are reached.
pub fn copy(from: &Path, to: &Path, limit: u64) -> io::Result<()> {
    let mut copied = 0;
    for (path, len) in files(from)? {
        copied += len;
        if copied > limit {
            break;
        }
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        if let Some(above) = target.parent() {
            fs::create_dir_all(above)?;
        }
        fs::copy(&path, &target)?;
        fs::File::options().write(true).open(&target)?.set_modified(fs::metadata(&path)?.modified()?)?;
    }
    Ok(())
}

/// Reads every file once, so that none of the programs pays for the drive.
pub fn warm(dir: &Path) -> io::Result<()> {
    for (path, _) in files(dir)? {
        io::copy(&mut fs::File::open(path)?, &mut io::sink())?;
    }
    Ok(())
}

/// Says where two folders differ, or nothing if the files in them are the same, byte by byte.
pub fn difference(one: &Path, other: &Path) -> io::Result<Option<String>> {
    let (ours, theirs) = (files(one)?, files(other)?);
    if ours.len() != theirs.len() {
        return Ok(Some(format!("{} files were restored of {}", theirs.len(), ours.len())));
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (path, _) in &ours {
        let name = path.strip_prefix(one).map_err(io::Error::other)?;
        left.clear();
        right.clear();
        fs::File::open(path)?.read_to_end(&mut left)?;
        let restored = fs::File::open(other.join(name)).and_then(|mut file| file.read_to_end(&mut right));
        if restored.is_err() || left != right {
            return Ok(Some(format!("{} was not restored as it was", name.display())));
        }
    }
    Ok(None)
}

/// Renames every folder that holds files, or gives it its name back.
pub fn rename_albums(dir: &Path) -> io::Result<()> {
    let above = |(path, _): &(PathBuf, u64)| path.parent().map(Path::to_owned);
    let albums: BTreeSet<PathBuf> = files(dir)?.iter().filter_map(above).filter(|album| album != dir).collect();
    // Those inside others first, while their paths still hold.
    let mut albums: Vec<PathBuf> = albums.into_iter().collect();
    albums.sort_by_key(|album| Reverse(album.components().count()));
    for album in albums {
        let name = album.file_name().unwrap_or(OsStr::new("album")).to_string_lossy().into_owned();
        let new = name.strip_suffix(RENAMED).map_or_else(|| format!("{name}{RENAMED}"), str::to_owned);
        fs::rename(&album, album.with_file_name(new))?;
    }
    Ok(())
}

/// Writes a rating and a caption into every JPEG, if the script and Python are there; whether that was done.
pub fn tag_photos(dir: &Path) -> io::Result<bool> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bench/tag-photos.py");
    let is_jpeg = |path: &Path| {
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jpg") || end.eq_ignore_ascii_case("jpeg"))
    };
    if !script.is_file() || !files(dir)?.iter().any(|(path, _)| is_jpeg(path)) {
        return Ok(false);
    }
    let tagged = Command::new("python3").arg(script).arg(dir).output();
    Ok(tagged.is_ok_and(|tagged| tagged.status.success()))
}
