//! Programs that write tags, and what each is asked to write.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folder;

/// One tag.
pub struct Step {
    /// For people.
    pub name: &'static str,
    /// What the program is told, before the files.
    arguments: &'static [&'static str],
}

/// A program that writes tags.
pub struct Writer {
    pub name: &'static str,
    program: &'static str,
    endings: &'static [&'static str],
    pub steps: &'static [Step],
}

const JPEG: &[&str] = &["jpg", "jpeg"];
const OTHERS: &[&str] = &["heic", "heif", "avif", "mov", "mp4"];

macro_rules! step {
    ($name:literal, $($argument:literal),*) => { Step { name: $name, arguments: &[$($argument),*] } };
}

pub const WRITERS: &[Writer] = &[
    Writer {
        name: "tag-photos.py",
        program: "python3",
        endings: JPEG,
        steps: &[step!("rating and caption", "1"), step!("both again", "2")],
    },
    Writer {
        name: "exiftool",
        program: "exiftool",
        endings: JPEG,
        steps: &[
            step!("rating", "-Rating=4"),
            step!("rating again", "-Rating=2"),
            step!("caption", "-XMP:Description=a day at the lake with Anna and Tom"),
            step!("caption again", "-XMP:Description=another day"),
            step!("dates an hour on", "-AllDates+=1:00"),
            step!("dates again", "-AllDates+=1:00"),
            step!("place", "-GPSLatitude=47.37", "-GPSLatitudeRef=N", "-GPSLongitude=8.54", "-GPSLongitudeRef=E"),
            step!("place again", "-GPSLatitude=46.2", "-GPSLatitudeRef=N", "-GPSLongitude=6.14", "-GPSLongitudeRef=E"),
        ],
    },
    Writer {
        name: "exiv2",
        program: "exiv2",
        endings: JPEG,
        steps: &[
            step!("rating", "-Mset Xmp.xmp.Rating 4"),
            step!("rating again", "-Mset Xmp.xmp.Rating 2"),
            step!("caption", "-Mset Exif.Image.ImageDescription a day at the lake"),
            step!("caption again", "-Mset Exif.Image.ImageDescription another day"),
        ],
    },
    Writer {
        name: "exiftool",
        program: "exiftool",
        endings: OTHERS,
        steps: &[
            step!("rating", "-XMP:Rating=4"),
            step!("rating again", "-XMP:Rating=2"),
            step!("caption", "-XMP:Description=a day at the lake with Anna and Tom"),
            step!("dates an hour on", "-AllDates+=1:00"),
        ],
    },
];

impl Writer {
    pub fn is_installed(&self) -> bool {
        let there = Command::new(self.program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.is_ok()
    }

    pub fn takes(&self, file: &Path) -> bool {
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        ending.is_some_and(|ending| self.endings.contains(&ending.as_str()))
    }

    /// Writes a tag into those files that it can be written into; how many changed.
    pub fn write(&self, step: &str, source: &Path, files: &[PathBuf]) -> Result<usize, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.program);
        let arguments = self.steps.iter().find(|found| found.name == step).map_or(&[][..], |step| step.arguments);
        let mine: Vec<&PathBuf> = files.iter().filter(|file| self.takes(file)).collect();
        let before = hashes(&mine).map_err(failed)?;
        let mut command = Command::new(self.program);
        match self.program {
            "python3" => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bench/tag-photos.py");
                command.arg(script).arg(source).args(arguments);
            }
            "exiftool" => _ = command.args(["-q", "-q", "-m", "-overwrite_original"]).args(arguments).args(&mine),
            _ => _ = command.args(arguments).args(&mine),
        }
        // A file that a program cannot write into is no reason to stop; it does not count.
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(failed)?;
        let after = hashes(&mine).map_err(failed)?;
        Ok(after.iter().filter(|(file, hash)| before.get(*file) != Some(hash)).count())
    }
}

fn hashes<'a>(files: &[&'a PathBuf]) -> io::Result<HashMap<&'a PathBuf, blake3::Hash>> {
    files.iter().map(|file| Ok((*file, blake3::hash(&fs::read(file)?)))).collect()
}

/// Copies a folder's files, or so many of them, spread over it.
pub fn copy(from: &Path, to: &Path, most: Option<usize>) -> io::Result<Vec<PathBuf>> {
    let files = folder::files(from)?;
    let every = most.map_or(1, |most| files.len().div_ceil(most.max(1)).max(1));
    let mut copied = Vec::new();
    for (path, _) in files.into_iter().step_by(every) {
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(&path, &target)?;
        copied.push(target);
    }
    Ok(copied)
}
