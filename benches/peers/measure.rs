//! One timed command: wall time by our own clock, processor time and peak memory by GNU time, which asks the kernel when
//! the command has ended (so helpers that it waited for are counted, and nothing is sampled).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::programs::find;

/// What is measured of each program, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    First,
    Unchanged,
    Restore,
    Renamed,
    Tagged,
}

impl Step {
    pub const ALL: [Self; 5] = [Self::First, Self::Unchanged, Self::Restore, Self::Renamed, Self::Tagged];

    /// Its name in results and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first-backup",
            Self::Unchanged => "nothing-changed",
            Self::Restore => "restore",
            Self::Renamed => "albums-renamed",
            Self::Tagged => "jpegs-tagged",
        }
    }
}

/// What a command cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds from start to end, and until what it wrote was synced where that counts.
    pub wall: f64,
    /// Seconds of all processors, in the program and in the kernel on its behalf.
    pub cpu: f64,
    /// The most memory that one process of it held, in megabytes.
    pub memory: f64,
    /// Megabytes by which what it keeps has grown.
    pub grown: f64,
}

impl Cost {
    /// The median of each figure.
    pub fn median(all: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = all.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            let middle = figures.len() / 2;
            match figures.len() {
                0 => None,
                len if len % 2 == 1 => Some(figures[middle]),
                _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
            }
        };
        let (wall, cpu, memory) = (of(|cost| cost.wall)?, of(|cost| cost.cpu)?, of(|cost| cost.memory)?);
        Some(Self { wall, cpu, memory, grown: of(|cost| cost.grown)? })
    }
}

/// The file that GNU time writes.
const NOTES: &str = "time";

/// Runs commands and keeps what they say.
pub struct Meter {
    time: PathBuf,
    folder: PathBuf,
}

impl Meter {
    /// A meter that keeps its notes in this folder.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let time = find("time").ok_or("GNU time is not installed (Debian: apt install time)")?;
        let meter = Self { time, folder: folder.to_owned() };
        meter
            .run(&mut meter.command("true".as_ref()), None)
            .map_err(|why| format!("{} is not GNU time: {why}", meter.time.display()))?;
        Ok(meter)
    }

    /// A command that runs this program and can be measured.
    pub fn command(&self, exe: &OsStr) -> Command {
        let mut command = Command::new(&self.time);
        command.args(["-f", "%U %S %M", "-o"]).arg(self.folder.join(NOTES)).arg("--").arg(exe);
        command
    }

    /// Runs such a command to its end. The time until everything written to `synced` is on the drive counts, if that is given.
    /// If it fails, the error is what it said last.
    pub fn run(&self, command: &mut Command, synced: Option<&Path>) -> Result<Cost, String> {
        let said = self.folder.join("output");
        let failed = |error: io::Error| format!("{}: {error}", self.folder.display());
        let output = File::create(&said).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);

        let start = Instant::now();
        let status = command.status().map_err(|error| format!("{}: {error}", self.time.display()))?;
        if let Some(dir) = synced {
            sync(dir)?;
        }
        let wall = start.elapsed().as_secs_f64();
        if !status.success() {
            let said = fs::read(&said).map_err(failed)?;
            let said = String::from_utf8_lossy(&said).into_owned();
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
            return Err(format!("{last} ({status})"));
        }
        let notes = fs::read_to_string(self.folder.join(NOTES)).map_err(failed)?;
        let figures: Option<Vec<f64>> = notes.split_whitespace().map(|figure| figure.parse().ok()).collect();
        match figures.as_deref() {
            Some(&[user, system, kib]) => Ok(Cost { wall, cpu: user + system, memory: kib * 1024.0 / 1e6, grown: 0.0 }),
            _ => Err(format!("its notes make no sense: {notes}")),
        }
    }
}

/// Writes out everything that waits for the drive on which `dir` lies.
pub fn sync(dir: &Path) -> Result<(), String> {
    let synced = Command::new("sync").arg("-f").arg(dir).status();
    let done = synced.map_err(|error| format!("sync: {error}"))?;
    if done.success() { Ok(()) } else { Err(format!("sync -f {}: {done}", dir.display())) }
}
