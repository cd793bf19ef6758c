//! The programs that keep the photos: snap, and beside it restic and borg.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folder;

/// One program and its archive.
pub struct Keeper {
    pub name: &'static str,
    archive: PathBuf,
    home: PathBuf,
}

impl Keeper {
    /// snap, and if asked for those of its peers that are there.
    pub fn installed(peers: bool) -> Vec<Self> {
        let there = |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
        let names = ["snap", "restic", "borg"].into_iter();
        let wanted = names.filter(|name| *name == "snap" || peers && there(name));
        wanted.map(|name| Self { name, archive: PathBuf::new(), home: PathBuf::new() }).collect()
    }

    /// A fresh archive.
    pub fn begin(&mut self, area: &Path) -> Result<(), String> {
        let folder = area.join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        (self.archive, self.home) = (folder.join("archive"), folder.join("home"));
        fs::create_dir_all(&self.home).map_err(|error| format!("{}: {error}", folder.display()))?;
        match self.name {
            "snap" => self.run(&["init", &self.path()]),
            "restic" => self.run(&["init", "-r", &self.path()]),
            _ => self.run(&["init", "-e", "none", &self.path()]),
        }
    }

    /// Backs the folder up; by how many bytes the archive grew.
    pub fn backup(&mut self, source: &Path) -> Result<u64, String> {
        let before = self.bytes()?;
        let (archive, from) = (self.path(), source.to_string_lossy());
        match self.name {
            "snap" => self.run(&["-q", "-a", &archive, "create", "--max-loss", "100", &from])?,
            "restic" => self.run(&["backup", "-q", "-r", &archive, &from])?,
            _ => self.run(&["create", &format!("{archive}::{{now:%Y-%m-%dT%H:%M:%S.%f}}"), &from])?,
        }
        Ok(self.bytes()?.saturating_sub(before))
    }

    fn path(&self) -> String {
        self.archive.to_string_lossy().into_owned()
    }

    fn bytes(&self) -> Result<u64, String> {
        let files = folder::files(&self.archive).map_err(|error| format!("{}: {error}", self.archive.display()))?;
        Ok(files.iter().map(|(_, len)| len).sum())
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let program = if self.name == "snap" { env!("CARGO_BIN_EXE_snap") } else { self.name };
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", &self.home).env("SNAPKEEP_CACHE_DIR", self.home.join("cache"));
        command.env("RESTIC_PASSWORD", "none").env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        let done = command.output().map_err(|error| format!("{program}: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("{} {}: {}", self.name, arguments.join(" "), String::from_utf8_lossy(&done.stderr)))
    }
}
