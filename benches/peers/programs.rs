//! The programs and how each is told to do the same work.
//!
//! Each is run as it comes: its own defaults, its own cache, a home of its own, and no encryption where it can do
//! without. What is recorded in one folder is recorded under one path, so that a program that compares with its last
//! snapshot finds it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::first_line;
use crate::measure::{Meter, Step};

/// Which program it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Snap,
    Cp,
    Restic,
    Rustic,
    Borg,
    Bupstash,
    Conserve,
}

use Kind::{Borg, Bupstash, Conserve, Cp, Restic, Rustic, Snap};

macro_rules! args {
    ($($arg:expr),*) => { &[$(OsStr::new(&$arg)),*] };
}

const ALL: [(Kind, &str); 7] = [
    (Snap, "snap"),
    (Cp, "cp"),
    (Restic, "restic"),
    (Rustic, "rustic"),
    (Borg, "borg"),
    (Bupstash, "bupstash"),
    (Conserve, "conserve"),
];

/// A program that is installed.
pub struct Program {
    pub kind: Kind,
    pub name: &'static str,
    /// What it says of itself.
    pub version: String,
    exe: PathBuf,
}

/// Where one program works.
pub struct Place {
    /// What it backs up.
    pub source: PathBuf,
    /// Its home, with its cache.
    pub home: PathBuf,
    /// What it makes.
    pub repo: PathBuf,
    /// What it restores into.
    pub target: PathBuf,
}

/// The programs that are there, of those that were asked for; `snap` is the one that was just built.
pub fn installed(only: &[String]) -> Result<Vec<Program>, String> {
    if let Some(unknown) = only.iter().find(|name| ALL.iter().all(|(_, known)| known != name)) {
        return Err(format!("no program is known by the name \"{unknown}\""));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let found = ALL.into_iter().filter(|(_, name)| wanted(name)).filter_map(|(kind, name)| {
        let exe = if kind == Snap { Some(PathBuf::from(env!("CARGO_BIN_EXE_snap"))) } else { find(name) };
        let Some(exe) = exe else {
            eprintln!("{name}: not installed");
            return None;
        };
        let flag = if kind == Restic { "version" } else { "--version" };
        let version = first_line(Command::new(&exe).arg(flag)).unwrap_or_else(|| name.to_owned());
        Some(Program { kind, name, version, exe })
    });
    Ok(found.collect())
}

/// Where a program lies.
pub fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn search_path() -> OsString {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let both: Vec<OsString> = [of("SNAPKEEP_PEERS_BIN"), of("PATH")].into_iter().flatten().collect();
    both.join(":".as_ref())
}

impl Program {
    /// Whether it keeps what was there before; a plain copy does not, so its growth says nothing.
    pub fn keeps_the_past(&self) -> bool {
        self.kind != Cp
    }

    /// What must be done once, untimed.
    pub fn prepare(&self, meter: &Meter, place: &Place) -> Vec<Command> {
        match self.kind {
            Cp => vec![command(meter, "mkdir".as_ref(), place, args![place.repo])],
            Snap | Conserve => vec![self.command(meter, place, args!["init", place.repo])],
            Restic | Rustic => vec![self.command(meter, place, args!["init"])],
            Borg => vec![self.command(meter, place, args!["init", "-e", "none"])],
            Bupstash => {
                vec![
                    self.command(meter, place, args!["init"]),
                    self.command(meter, place, args!["new-key", "-o", place.home.join("key")]),
                ]
            }
        }
    }

    /// A backup.
    pub fn backup(&self, meter: &Meter, place: &Place, step: Step) -> Command {
        let Place { source, repo, .. } = place;
        let name = step.name();
        match self.kind {
            Cp if step == Step::First => self.command(meter, place, args!["-a", source.join("."), repo]),
            Cp => self.command(meter, place, args!["-au", source.join("."), repo]),
            Snap => self.command(meter, place, args!["-q", "-a", repo, "create", "--max-loss", "100", source]),
            Restic => self.command(meter, place, args!["-q", "backup", source]),
            Rustic => self.command(meter, place, args!["backup", source]),
            Borg => self.command(meter, place, args!["create", format!("::{name}"), source]),
            Bupstash => self.command(meter, place, args!["put", "-q", format!("step={name}"), source]),
            Conserve => self.command(meter, place, args!["backup", "--no-progress", repo, source]),
        }
    }

    /// The restore of what was backed up when nothing had changed.
    pub fn restore(&self, meter: &Meter, place: &Place) -> Command {
        let Place { repo, target, .. } = place;
        let name = Step::Unchanged.name();
        let mut command = match self.kind {
            Cp => self.command(meter, place, args!["-a", repo.join("."), target]),
            Snap => self.command(meter, place, args!["-q", "-a", repo, "restore", "latest", "-t", target]),
            Restic => self.command(meter, place, args!["-q", "restore", "latest", "--target", target]),
            Rustic => self.command(meter, place, args!["restore", "latest", target]),
            Borg => self.command(meter, place, args!["extract", format!("::{name}")]),
            Bupstash => self.command(meter, place, args!["restore", "-q", "--into", target, format!("step={name}")]),
            Conserve => self.command(meter, place, args!["restore", "--no-progress", repo, target]),
        };
        command.current_dir(target); // borg restores into where it is
        command
    }

    fn command(&self, meter: &Meter, place: &Place, args: &[&OsStr]) -> Command {
        command(meter, self.exe.as_os_str(), place, args)
    }
}

/// A command at home in this place, with nothing of the environment but what the programs need.
fn command(meter: &Meter, exe: &OsStr, place: &Place, args: &[&OsStr]) -> Command {
    let Place { home, repo, .. } = place;
    let mut command = meter.command(exe);
    command.args(args).current_dir(home).env_clear();
    command.env("PATH", search_path()).env("LC_ALL", "C.UTF-8").env("HOME", home);
    command.env("SNAPKEEP_CACHE_DIR", home.join(".cache/snapkeep"));
    command.env("RESTIC_REPOSITORY", repo).env("RESTIC_PASSWORD", "password");
    command.env("RUSTIC_REPOSITORY", repo).env("RUSTIC_PASSWORD", "password");
    command.env("BORG_REPO", repo).env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    command.env("BUPSTASH_REPOSITORY", repo).env("BUPSTASH_KEY", home.join("key"));
    command
}

/// Where the source came to lie below the target: some programs restore its full path, some its name, some its content.
pub fn restored(place: &Place) -> PathBuf {
    let full = place.source.strip_prefix("/").map(|path| place.target.join(path)).ok();
    let name = place.source.file_name().map(|name| place.target.join(name));
    let found = [full, name].into_iter().flatten().find(|path: &PathBuf| Path::is_dir(path));
    found.unwrap_or_else(|| place.target.clone())
}
