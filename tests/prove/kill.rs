//! `kill -9`: at every call that changes something, and at random times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use snapkeep::target::is_temp_name;

use super::rig::{Kept, Rig, Tally, Verdict, differences, first, form, hold, photos, saved, second};
use super::strace::{self, Fate, Site, Threads};
use crate::common::{Random, flip, quick};

/// A command on an archive, and what must hold after it was killed.
struct Scene {
    rig: Rig,
    arguments: Vec<String>,
    after: fn(&Rig, &Scene) -> Verdict,
}

impl Scene {
    fn new(rig: Rig, arguments: &[&str], after: fn(&Rig, &Scene) -> Verdict) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { rig, arguments, after }
    }

    fn arguments(&self, threads: Threads) -> Vec<&str> {
        let no_cache = (threads == Threads::Each).then_some("--no-cache");
        no_cache.into_iter().chain(self.arguments.iter().map(String::as_str)).collect()
    }
}

/// How often the calls of all threads are gone through again for one that was never hit: which thread comes first to its
/// Nth call is chance.
const AGAIN: usize = 20;

/// Kills the command at every call of the main thread in the first scene, and of each thread in the last one; in the short
/// form, at every so manieth.
fn at_every_call(claim: &str, scenes: [&Scene; 2], every: usize) {
    if !strace::works() {
        return;
    }
    let sweep = Sweep { every: form(every, 1), tally: Tally::default(), hit: Mutex::default() };
    let mut met = BTreeSet::new();
    for (scene, threads) in scenes.into_iter().zip([Threads::Main, Threads::Each]) {
        let plain = strace::run(&scene.rig.copy(quick()), &scene.arguments(threads), threads, None);
        for (call, times) in strace::calls(&plain.sites) {
            sweep.kill(scene, threads, &call, times);
        }
        met.extend(plain.sites);
    }
    for turn in 0..form(0, AGAIN) {
        let missed: Vec<_> = met.difference(&sweep.hit.lock().unwrap()).cloned().collect();
        assert!(missed.is_empty() || turn + 1 < AGAIN, "never killed at {missed:?}");
        for call in strace::calls(&missed).keys() {
            sweep.kill(scenes[1], Threads::Each, call, 0);
        }
    }
    let sorts = sweep.hit.into_inner().unwrap().len();
    let method = format!("kill -9 at every call that writes, syncs, renames or removes ({sorts} sorts)");
    sweep.tally.tell(claim, &method);
}

struct Sweep {
    every: usize,
    tally: Tally,
    /// The sorts of calls at which it was killed.
    hit: Mutex<BTreeSet<Site>>,
}

impl Sweep {
    /// Kills the scene's command at its first, second… call of this name until that does not come any more, which must not
    /// be before the main thread has made it so many times.
    fn kill(&self, scene: &Scene, threads: Threads, call: &str, times: usize) {
        let (next, ended) = (AtomicUsize::new(1), AtomicBool::new(false));
        let arguments = scene.arguments(threads);
        let work = || {
            while !ended.load(Ordering::Relaxed) {
                let when = next.fetch_add(self.every, Ordering::Relaxed);
                let rig = scene.rig.copy(quick());
                let done = strace::run(&rig, &arguments, threads, Some((call, when, Fate::Kill)));
                if !done.killed {
                    let far = when > times || threads == Threads::Each;
                    assert!(far && done.said.code >= 0, "{call} {when}: not killed, but {:?}", done.said);
                    return ended.store(true, Ordering::Relaxed);
                }
                let site = done.sites.last().cloned().unwrap_or_default();
                let about = format!("{} killed at {site}, {threads:?} {when}", scene.arguments[0]);
                self.hit.lock().unwrap().insert(site);
                self.tally.add(&about, (scene.after)(&rig, scene), Some(rig));
            }
        };
        thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
        });
    }
}

#[test]
fn at_every_call_of_a_first_backup() {
    let after = |rig: &Rig, _: &Scene| if rig.archive.join("header").exists() { rig.recovers() } else { rig.goes_on() };
    let create = |rig: Rig| {
        let source = rig.source.to_str().unwrap().to_owned();
        Scene::new(rig, &["create", &source], after)
    };
    // The unnamed archive, so that making it is among the calls. All of that is the main thread's, which would come first
    // in every count of each thread's calls.
    let mut rig = Rig::new(quick());
    rig.archive = rig.path("home/.local/share/snapkeep/archive");
    rig.unnamed = true;
    photos(&rig.source);
    at_every_call("a killed first backup is no loss", [&create(rig), &create(first(quick()))], 25);
}

#[test]
fn at_every_call_of_a_second_backup() {
    let rig = second(quick());
    let source = rig.source.to_str().unwrap().to_owned();
    let scene = Scene::new(rig, &["create", &source], |rig, _| rig.recovers());
    at_every_call("a killed backup loses no earlier snapshot", [&scene, &scene], 35);
}

#[test]
fn at_every_call_of_a_repair() {
    let mut rig = second(quick());
    rig.backup().unwrap();
    harm(&rig, 1);
    let scene = Scene::new(rig, &["repair"], |rig, _| repairs(rig));
    at_every_call("a killed repair makes nothing worse", [&scene, &scene], 35);
}

#[test]
fn at_every_call_of_squeezing() {
    let mut rig = second(quick());
    rig.backup().unwrap();
    let scene = Scene::new(rig, &["squeeze"], |rig, _| {
        rig.all_kept()?;
        rig.done(&["squeeze"])?;
        rig.recovers()
    });
    at_every_call("killed squeezing loses no snapshot", [&scene, &scene], 45);
}

/// A damaged archive of which every snapshot restores, by recovery data: still so; and the next repair makes it whole.
fn repairs(rig: &Rig) -> Verdict {
    for kept in &rig.kept {
        rig.restores(&kept.id, &kept.held)?;
    }
    rig.done(&["repair"])?;
    rig.no_litter()?;
    rig.recovers()
}

/// Damages a data pack, a metadata pack, a snapshot, recovery data and a header, all of it mendably.
fn harm(rig: &Rig, seed: u64) {
    let mut random = Random(seed);
    let mut packs = objects(rig, "packs");
    packs.sort_by_key(|path| (fs::read(path).unwrap()[10], path.clone()));
    for pack in [&packs[0], &packs[packs.len() - 1]] {
        flip(pack, random.below(fs::metadata(pack).unwrap().len() * 8));
    }
    let snapshots = objects(rig, "snapshots");
    fs::write(&snapshots[random.below(snapshots.len() as u64) as usize], "").unwrap();
    let name = packs[1].file_name().unwrap().to_str().unwrap();
    fs::write(rig.archive.join("parity").join(&name[..2]).join(name), "gone").unwrap();
    fs::remove_file(rig.archive.join("header.copy")).unwrap();
}

/// The objects in a folder of the archive and those below it.
fn objects(rig: &Rig, folder: &str) -> Vec<PathBuf> {
    let mut todo = vec![rig.archive.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Starts a command and kills it after so long; what it had said by then, and whether it was still running.
fn killed_after(rig: &Rig, arguments: &[&str], wait: Duration) -> (String, bool) {
    let mut child = rig.snap_command().args(arguments).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(wait);
    let running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    (said, running)
}

#[test]
fn at_random_times() {
    let tally = Tally::default();
    let kills = Mutex::new(BTreeMap::<&str, usize>::new());
    thread::scope(|scope| {
        for seed in 0..2 {
            let (tally, kills) = (&tally, &kills);
            scope.spawn(move || kill_at_random(Random(seed), form(10, 1000), tally, kills));
        }
    });
    let kills: Vec<String> =
        kills.into_inner().unwrap().iter().map(|(what, times)| format!("{times} {what}")).collect();
    let method = format!("kill -9 at random times: {}", kills.join(", "));
    tally.tell("killed at any time, no reported snapshot is lost", &method);
}

/// Kills so many commands while they run, all on one archive until that has many snapshots.
fn kill_at_random(mut random: Random, times: usize, tally: &Tally, kills: &Mutex<BTreeMap<&'static str, usize>>) {
    const ROUNDS: usize = 20;
    // How long each command takes about, in microseconds, learnt as it goes.
    let mut usual = BTreeMap::from([("create", 60_000), ("repair", 60_000), ("squeeze", 90_000), ("restore", 30_000)]);
    let mut rig = second(quick());
    let (mut killed, mut round) = (0, 0);
    while killed < times {
        round += 1;
        if round > ROUNDS {
            (rig, round) = (second(quick()), 1);
        }
        rig.change_source();
        let source = rig.source.to_str().unwrap().to_owned();
        let target = rig.path("target").to_str().unwrap().to_owned();
        let _ = fs::remove_dir_all(&target);
        let (what, arguments): (_, &[&str]) = match random.below(10) {
            0..=4 => ("create", &["create", &source]),
            5 => ("repair", &["repair"]),
            6..=7 => ("squeeze", &["squeeze"]),
            _ => ("restore", &["restore", "latest", "-t", &target]),
        };
        if what == "repair" {
            rig.create().unwrap();
            harm(&rig, random.next());
        }
        let micros = usual.get_mut(what).unwrap();
        let wait = Duration::from_micros(random.below(*micros));
        let (said, was_running) = killed_after(&rig, arguments, wait);
        *micros = if was_running { *micros * 21 / 20 } else { *micros * 9 / 10 };
        // What was said before the kill counts, also if the program had not ended.
        if let Some(id) = saved(&said) {
            let held = rig.hold_state(&id);
            rig.kept.push(Kept { id, held });
        }
        if !was_running {
            continue;
        }
        killed += 1;
        *kills.lock().unwrap().entry(what).or_default() += 1;
        let verdict = match what {
            "repair" => repairs(&rig),
            "restore" => restored(&rig, &target).and_then(|()| rig.recovers()),
            _ => rig.recovers(),
        };
        let about = format!("{what} killed after {wait:?}");
        if verdict.is_err() {
            round = 0;
            tally.add(&about, verdict, Some(std::mem::replace(&mut rig, second(quick()))));
        } else {
            tally.add(&about, verdict, None);
            rig.watch(2);
        }
    }
}

/// What a killed restore has given its name is whole, and the next one completes it and leaves nothing else.
fn restored(rig: &Rig, target: &str) -> Verdict {
    let latest = rig.ids()?.pop().ok_or("no snapshot")?;
    let other = rig.path("other");
    let _ = fs::remove_dir_all(&other);
    rig.done(&["restore", &latest, "-t", other.to_str().unwrap()])?;
    for path in walk(target.as_ref()) {
        let name = path.strip_prefix(target).unwrap();
        if is_temp_name(name.file_name().unwrap().as_encoded_bytes()) {
            fs::remove_file(&path).unwrap(); // nobody else tells them from a restore that is under way
            continue;
        }
        hold(same_file(&path, target.as_ref(), &other), || {
            format!("{} has its name and is not whole", name.display())
        })?;
    }
    rig.done(&["restore", &latest, "-t", target])?;
    let incomplete: Vec<_> = walk(&other).into_iter().filter(|path| !same_file(path, &other, target)).collect();
    hold(incomplete.is_empty(), || format!("restored in two goes, and not the same: {incomplete:?}"))?;
    // What is there is left as it is, down to the times of folders, until it is asked to be put right.
    rig.done(&["restore", &latest, "-t", target, "--overwrite", "always"])?;
    let name = rig.source.file_name().unwrap();
    let differences = differences(&other.join(name), &Path::new(target).join(name));
    hold(differences.is_empty(), || format!("restored in two goes, and differs:\n{differences}"))?;
    fs::remove_dir_all(other).map_err(|error| error.to_string())
}

/// Whether a file has the same bytes as the one of its name in another folder.
fn same_file(path: &Path, folder: &Path, other: impl AsRef<Path>) -> bool {
    let other = other.as_ref().join(path.strip_prefix(folder).unwrap());
    fs::read(path).ok() == fs::read(other).ok()
}

/// All files below a folder; none if it is not there.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).into_iter().flatten() {
            let path = item.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found
}

/// A backup had let go of the archive when its packs were written, before there was a snapshot that needs them.
#[test]
fn nobody_takes_the_archive_between_packs_and_snapshot() {
    if !strace::works() {
        return;
    }
    let rig = second(quick());
    let source = rig.source.to_str().unwrap();
    let plain = strace::run(&rig.copy(quick()), &["create", source], Threads::Main, None);
    let renames = strace::calls(&plain.sites)["renameat2"];
    // The main thread's last renaming gives the snapshot its name. It takes longer than an archive in use is tried again.
    let at = Some(("renameat2", renames, Fate::Delay(8_000_000)));
    thread::scope(|scope| {
        let writing = scope.spawn(|| strace::run(&rig, &["create", source], Threads::Main, at));
        let being_written = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        while !objects(&rig, "snapshots").iter().any(being_written) {
            assert!(!writing.is_finished());
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rig.snap(&["repair"]).code, 11);
        let beside = rig.create().unwrap();
        rig.restores(&beside, &rig.source).unwrap();
        assert!(!writing.is_finished(), "all that was while the snapshot was being written");
        assert_eq!(writing.join().unwrap().said.code, 0);
    });
    rig.recovers().unwrap();
}
