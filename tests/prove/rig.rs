//! A user with a source, an archive and the real program, and what must hold after whatever happened to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use snapkeep::archive::{Archive, Parameters};
use snapkeep::format::Chunker;
use snapkeep::store::Local;
use tempfile::TempDir;

use super::picture;
use crate::common::{self, Random, run};

/// Small packs, so that little data makes many of them.
const PARAMETERS: Parameters =
    Parameters { chunker: Chunker { min: 256, average: 1024, max: 4096 }, pack_size: 1 << 16, parity_permille: 30 };

/// How many photos a source begins with.
const PHOTOS: u64 = 200;

/// What is wrong; `Ok` if nothing is.
pub type Verdict = Result<(), String>;

/// Whether the long form is asked for.
pub fn is_long() -> bool {
    std::env::var("SNAPKEEP_PROVE").is_ok_and(|form| form == "long")
}

/// A number for the short form, and one for the long one.
pub fn form<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Fails with what is wrong unless this is true.
pub fn hold(holds: bool, wrong: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// What the program said and ended with.
#[derive(Debug)]
pub struct Said {
    /// -1 if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The beginning of the id in what `create` says at its end.
pub fn saved(out: &str) -> Option<String> {
    let line = out.lines().find(|line| line.starts_with("snapshot ") && line.contains(" saved:"))?;
    line.split(' ').nth(1).map(str::to_owned)
}

/// A snapshot that was reported complete, and a copy of what it holds.
#[derive(Clone)]
pub struct Kept {
    pub id: String,
    pub held: PathBuf,
}

/// A user: a home of their own, a source and an archive.
pub struct Rig {
    dir: TempDir,
    /// The folder that is backed up; several rigs may share it.
    pub source: PathBuf,
    pub archive: PathBuf,
    /// Nobody tells the program where the archive is.
    pub unnamed: bool,
    pub kept: Vec<Kept>,
    /// Snapshots that are not of the source as it is now.
    seen: Mutex<Vec<String>>,
    /// How often the source has changed.
    rounds: AtomicU64,
    /// Copies of the source as it was after each change.
    states: Mutex<Vec<PathBuf>>,
}

impl Rig {
    /// A user without any snapshot, whose archive is not there yet.
    pub fn new(dir: TempDir) -> Self {
        let (source, archive) = (dir.path().join("Pictures"), dir.path().join("archive"));
        fs::create_dir(dir.path().join("home")).unwrap();
        fs::create_dir(&source).unwrap();
        Self {
            dir,
            source,
            archive,
            unnamed: false,
            kept: Vec::new(),
            seen: Mutex::default(),
            rounds: AtomicU64::new(0),
            states: Mutex::default(),
        }
    }

    /// Makes the archive, with small packs.
    pub fn init(&self) {
        Archive::create(&Local::new(&self.archive), &PARAMETERS, 1_700_000_000).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder of indexes.
    pub fn cache(&self) -> PathBuf {
        self.path("home/.cache/snapkeep")
    }

    /// A copy of archive and home, to be harmed; the source is shared.
    pub fn copy(&self, dir: TempDir) -> Self {
        for name in ["home", "archive"] {
            if self.path(name).exists() {
                common::plain_copy(&self.path(name), dir.path());
            }
        }
        let archive = dir.path().join(self.archive.strip_prefix(self.dir.path()).unwrap());
        let (kept, seen) = (self.kept.clone(), Mutex::new(self.seen.lock().unwrap().clone()));
        let rounds = AtomicU64::new(self.rounds.load(Ordering::Relaxed));
        let states = Mutex::new(self.states.lock().unwrap().clone());
        Self { dir, source: self.source.clone(), archive, unnamed: self.unnamed, kept, seen, rounds, states }
    }

    /// Keeps everything as it is, for who wants to look, and says where.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// A program, as this user would start it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("TZ", "UTC").env("USER", "anna").env("SNAPKEEP_HOST", "laptop");
        if !self.unnamed {
            command.env("SNAPKEEP_ARCHIVE", &self.archive);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn snap_command(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_snap"))
    }

    pub fn snap(&self, arguments: &[&str]) -> Said {
        self.snap_command().args(arguments).output().unwrap().into()
    }

    /// Runs it, which must end well.
    pub fn done(&self, arguments: &[&str]) -> Result<Said, String> {
        let said = self.snap(arguments);
        hold(said.code == 0, || format!("snap {arguments:?} ended with {}: {}{}", said.code, said.out, said.err))?;
        Ok(said)
    }

    /// Backs up, which must work without help, and remembers a copy of the source.
    pub fn backup(&mut self) -> Result<Kept, String> {
        let said = self.create()?;
        let kept = Kept { held: self.hold_state(&said), id: said };
        self.kept.push(kept.clone());
        Ok(kept)
    }

    /// Backs up, which must work without help.
    pub fn create(&self) -> Result<String, String> {
        let source = self.source.to_str().unwrap();
        let said = self.done(&["create", source])?;
        saved(&said.out).ok_or_else(|| format!("it names no snapshot: {}", said.out))
    }

    /// Copies the source as it is now.
    pub fn hold_state(&self, name: &str) -> PathBuf {
        let held = self.path(&format!("held-{name}"));
        common::plain_copy(&self.source, &held);
        held
    }

    /// The ids of all snapshots, oldest first.
    pub fn ids(&self) -> Result<Vec<String>, String> {
        let said = self.done(&["list", "--json"])?;
        let list: serde_json::Value =
            serde_json::from_str(&said.out).map_err(|error| format!("{error}: {}", said.out))?;
        let ids = list.as_array().into_iter().flatten().filter_map(|snapshot| snapshot["id"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// Restores a snapshot and compares it with a folder by other tools than ours, times and modes too.
    pub fn restores(&self, id: &str, held: &Path) -> Verdict {
        let target = self.path("restored");
        let _ = fs::remove_dir_all(&target);
        self.done(&["restore", id, "-t", target.to_str().unwrap()])?;
        let restored = target.join(self.source.file_name().unwrap());
        let differences = differences(held, &restored);
        hold(differences.is_empty(), || format!("snapshot {id} restores, but not as it was:\n{differences}"))?;
        fs::remove_dir_all(&target).map_err(|error| error.to_string())
    }

    /// Every snapshot that was reported complete is listed and restores; whatever else is listed is whole as well, and of
    /// the source as it was at some time (a run was killed between the commit and the report; or between a snapshot's
    /// recovery data and the snapshot, and a repair took it for one that was lost); and nothing is found to be damaged.
    pub fn all_kept(&self) -> Verdict {
        let ids = self.ids()?;
        for kept in &self.kept {
            hold(ids.iter().any(|id| id.starts_with(&kept.id)), || format!("snapshot {} is gone: {ids:?}", kept.id))?;
            self.restores(&kept.id, &kept.held)?;
        }
        let seen = self.seen.lock().unwrap();
        let is_new = |id: &&String| !self.kept.iter().any(|kept| id.starts_with(&kept.id)) && !seen.contains(id);
        for id in ids.iter().filter(is_new) {
            if let Err(why) = self.restores(id, &self.source) {
                let states = self.states.lock().unwrap();
                let earlier = states.iter().any(|state| self.restores(id, state).is_ok());
                hold(earlier, || format!("a half snapshot is listed: {why}"))?;
            }
        }
        self.done(&["verify", "--read-data"]).map(drop)
    }

    /// What was kept is there; the next run works without help, restores, and tidies up.
    pub fn recovers(&self) -> Verdict {
        self.all_kept()?;
        self.goes_on()
    }

    /// The next run works without help, restores, and tidies up; and none of it needs the index of this computer.
    pub fn goes_on(&self) -> Verdict {
        let id = self.create()?;
        self.restores(&id, &self.source)?;
        self.no_litter()?;
        self.done(&["verify", "--read-data"])?;
        let ids = self.ids()?;
        let _ = fs::remove_dir_all(self.cache());
        hold(self.ids()? == ids, || "another list without the index".to_owned())
    }

    /// Changes the source, unless the archive cannot be read just now.
    pub fn change_source(&self) {
        if let Ok(ids) = self.ids() {
            *self.seen.lock().unwrap() = ids;
            let round = self.rounds.fetch_add(1, Ordering::Relaxed);
            change(&self.source, round);
            let state = self.hold_state(&format!("round{round}"));
            self.states.lock().unwrap().push(state);
        }
    }

    /// Keeps watching no more than the first and so many of the newest of the snapshots that were kept.
    pub fn watch(&mut self, newest: usize) {
        while self.kept.len() > newest + 1 {
            let kept = self.kept.remove(1);
            fs::remove_dir_all(kept.held).unwrap();
        }
    }

    /// No write under way or interrupted has left anything in the archive.
    pub fn no_litter(&self) -> Verdict {
        let found = run(Command::new("find").arg(&self.archive).args(["-name", ".tmp-*"]));
        hold(found.is_empty(), || format!("left behind: {}", String::from_utf8_lossy(&found)))
    }
}

/// In what two folders differ by the word of `rsync`, bytes, times and modes; empty if in nothing. Without it `diff` tells
/// of bytes.
pub fn differences(one: &Path, other: &Path) -> String {
    let mut compare = if common::has_tool("rsync") {
        let slash = |path: &Path| path.join("").into_os_string();
        let mut rsync = Command::new("rsync");
        rsync.args(["-naic", "--delete"]).arg(slash(one)).arg(slash(other));
        rsync
    } else {
        let mut diff = Command::new("diff");
        diff.args(["-r", "--no-dereference"]).args([one, other]);
        diff
    };
    let compared = compare.output().unwrap();
    String::from_utf8_lossy(&[compared.stdout, compared.stderr].concat()).into_owned()
}

/// Fills a source with albums of small photos, all different and all real.
pub fn photos(source: &Path) {
    for number in 0..PHOTOS {
        let folder = source.join(format!("20{}", 10 + number % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("img{number:04}.jpg")), picture::photo(number, 56, 48)).unwrap();
    }
}

/// What happens to a source between two backups: photos are added, tagged, renamed and deleted, and an album gets
/// another name. Nothing is written in place.
fn change(source: &Path, round: u64) {
    let mut random = Random(round + 1);
    let folder = source.join(format!("new{round}"));
    fs::create_dir(&folder).unwrap();
    for number in 0..12 {
        fs::write(folder.join(format!("img{number}.jpg")), picture::photo(1000 + round * 100 + number, 56, 48))
            .unwrap();
    }
    fs::write(folder.join("notes.txt"), format!("what happened in round {round}\n").repeat(9)).unwrap();
    let mut all = Vec::new();
    for album in fs::read_dir(source).unwrap() {
        let photos = fs::read_dir(album.unwrap().path()).unwrap();
        all.extend(photos.map(|photo| photo.unwrap().path()).filter(|path| path.extension().unwrap() == "jpg"));
    }
    all.sort();
    let chosen: BTreeSet<usize> = (0..12).map(|_| random.below(all.len() as u64) as usize).collect();
    for (number, path) in chosen.into_iter().map(|at| &all[at]).enumerate() {
        if number < 6 {
            let tagged = picture::tag(&fs::read(path).unwrap(), 5, &format!("round {round}"));
            fs::remove_file(path).unwrap();
            fs::write(path, tagged).unwrap();
        } else if number < 9 {
            fs::rename(path, path.with_extension(format!("{round}.jpg"))).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    if round > 0 {
        let before = source.join(format!("new{}", round - 1));
        if before.exists() {
            fs::rename(before, source.join(format!("album{round}"))).unwrap();
        }
    }
}

/// A user with photos and a new archive.
pub fn first(dir: TempDir) -> Rig {
    let rig = Rig::new(dir);
    photos(&rig.source);
    rig.init();
    rig
}

/// A user whose archive has one snapshot, and whose source has changed since.
pub fn second(dir: TempDir) -> Rig {
    let mut rig = first(dir);
    rig.backup().unwrap();
    rig.change_source();
    rig
}

/// What a proof has come to: how often something was done, and what was wrong after it.
#[derive(Default)]
pub struct Tally {
    pub count: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a case. What is wrong is told at once, and the rig is kept.
    pub fn add(&self, about: &str, verdict: Verdict, rig: Option<Rig>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = verdict {
            let place = rig.map(|rig| format!(" (kept in {})", rig.keep().display())).unwrap_or_default();
            eprintln!("WRONG: {about}: {why}{place}");
            self.wrong.lock().unwrap().push(format!("{about}: {why}"));
        }
    }

    /// Prints the line, and fails if anything was wrong or nothing was done.
    pub fn tell(self, claim: &str, method: &str) {
        let (count, wrong) = (self.count.into_inner(), self.wrong.into_inner().unwrap());
        println!("{claim} | {method} | {count} | {}", wrong.len());
        assert!(count > 0, "nothing was done");
        assert!(wrong.is_empty(), "{claim}: {} of {count} went wrong, the first: {}", wrong.len(), wrong[0]);
    }
}
