//! The power goes at any moment: nothing that was acknowledged is lost, nothing half is shown, nobody has to help.
//!
//! Runs are recorded on a drive in memory (`disk`). From each record every state is worked out that the drive may be in
//! after a power cut at any call, under several models of what a drive keeps (`models`), and each is given to the real
//! program and asked what must be true (`oracles`). Then each sort of sync is left out in turn, and that must be noticed
//! (`mutants`).
//!
//! In short form this is a part of `cargo test`. The long form also cuts the power during each recovery, and prints a
//! table:
//!
//! ```text
//! SNAPKEEP_SIM=long cargo test --release --test suite sim:: -- --nocapture
//! ```

use crate::common;
mod disk;
mod models;
mod mutants;
mod oracles;
use crate::common::picture;
mod scenes;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use disk::{Blob, Disk, Name, Op, promises};
use models::{Effort, Model, each_state};
use oracles::{Depth, Judge};
use scenes::{Scene, Scenes};

/// How much is looked at.
#[derive(Clone, Copy)]
struct Plan {
    effort: Effort,
    /// Every so manyeth state that differs from all others is asked the dear questions, and the dearest.
    dear: u64,
    dearest: u64,
}

/// What was looked at.
#[derive(Clone, Default)]
struct Tally {
    moments: usize,
    explored: usize,
    distinct: usize,
    judged: usize,
    dear: usize,
    dearest: usize,
    violations: Vec<Violation>,
}

/// A state that is not as it must be.
#[derive(Clone)]
struct Violation {
    sort: String,
    what: String,
}

impl Tally {
    fn add(&mut self, more: &Self) {
        self.moments += more.moments;
        self.explored += more.explored;
        self.distinct += more.distinct;
        self.judged += more.judged;
        self.dear += more.dear;
        self.dearest += more.dearest;
        self.violations.extend(more.violations.iter().cloned());
    }
}

/// By operation and model.
type Table = BTreeMap<(usize, String, usize), Tally>;

/// Looks at every state of a scene. States that differ in nothing but what interrupted writes hold, which nobody reads, are
/// judged once. `keep` is handed each state that was judged.
fn explore(scene: &Scene, plan: &Plan, keep: &mut dyn FnMut(&Disk, usize)) -> Vec<Tally> {
    let mut judged = HashSet::new();
    let promises = promises(&scene.start, &scene.log);
    Model::ALL.map(|model| explore_model(scene, model, plan, &promises, &mut judged, keep)).into()
}

fn explore_model(
    scene: &Scene,
    model: Model,
    plan: &Plan,
    promises: &[Arc<BTreeMap<Name, Option<Blob>>>],
    judged: &mut HashSet<(u64, usize, usize, Model)>,
    keep: &mut dyn FnMut(&Disk, usize),
) -> Tally {
    let mut tally = Tally::default();
    let mut seen = HashSet::new();
    let lying = model == Model::Lying;
    tally.moments = scene.log.len() + 1 - scene.from;
    each_state(&scene.start, &scene.log, scene.from, model, plan.effort, &mut |moment, state| {
        tally.explored += 1;
        let (full, plain) = state.hashes();
        tally.distinct += usize::from(seen.insert(full));
        // What is allowed differs on FAT and on a drive that lies.
        let sort = if matches!(model, Model::Vfat | Model::Lying) { model } else { Model::Strict };
        if !judged.insert((plain, Arc::as_ptr(&promises[moment.calls]) as usize, moment.told, sort)) {
            return true;
        }
        let depth = Depth { dear: plain % plan.dear == 0, dearest: plain % plan.dearest == 0 };
        tally.judged += 1;
        tally.dear += usize::from(depth.dear);
        tally.dearest += usize::from(depth.dearest);
        let judge = Judge { scene, moment, model, promises: &promises[moment.calls], promise: true };
        if let Err(fault) = judge.judge(&state, depth) {
            let last = moment.calls.checked_sub(1).map(|at| &scene.log[at]);
            let last = format!("{last:?}").chars().take(120).collect::<String>();
            tally.violations.push(Violation {
                sort: format!("{}, {}: {}", scene.name, model.name(), fault.oracle),
                what: format!("after call {} {last}: {}", moment.calls, fault.what),
            });
        } else if !lying && !judge.only_in_quarantine(&state) {
            keep(&state, moment.told);
        }
        tally.violations.len() < 20
    });
    tally
}

/// Runs each job on one of two threads.
fn in_parallel<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = job(number);
                    done.lock().expect("nobody panics here").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panics here");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn enter(table: &mut Table, row: usize, name: &str, tallies: &[Tally]) {
    for (model, tally) in tallies.iter().enumerate() {
        table.entry((row, name.to_owned(), model)).or_default().add(tally);
    }
}

fn print(table: &Table) -> Tally {
    let mut all = Tally::default();
    println!(
        "{:22} {:9} {:>8} {:>9} {:>9} {:>8} {:>7} {:>7} {:>5}",
        "operation", "model", "moments", "explored", "distinct", "judged", "dear", "dearest", "bad"
    );
    for ((_, name, model), tally) in table {
        all.add(tally);
        println!(
            "{name:22} {:9} {:8} {:9} {:9} {:8} {:7} {:7} {:5}",
            Model::ALL[*model].name(),
            tally.moments,
            tally.explored,
            tally.distinct,
            tally.judged,
            tally.dear,
            tally.dearest,
            tally.violations.len()
        );
    }
    println!(
        "{:22} {:9} {:8} {:9} {:9} {:8} {:7} {:7} {:5}",
        "all",
        "",
        all.moments,
        all.explored,
        all.distinct,
        all.judged,
        all.dear,
        all.dearest,
        all.violations.len()
    );
    all
}

fn is_long() -> bool {
    std::env::var("SNAPKEEP_SIM").is_ok_and(|form| form == "long")
}

#[test]
fn whenever_the_power_goes_nothing_is_lost() {
    let begun = Instant::now();
    let scenes = Scenes::record();
    let long = is_long();
    let plan = if long {
        Plan { effort: Effort { all: 512, random: 48 }, dear: 1, dearest: 8 }
    } else {
        Plan { effort: Effort { all: 128, random: 6 }, dear: 16, dearest: 128 }
    };
    let mut table = Table::new();
    let mut crashed: Vec<(usize, Disk, usize)> = Vec::new();
    let one_in = if long { 24 } else { 400 };
    let looked = in_parallel(scenes.all.len(), |number| {
        let mut kept = Vec::new();
        let tallies = explore(&scenes.all[number], &plan, &mut |state, told| {
            if state.hashes().1 % one_in == 0 {
                kept.push((number, state.clone(), told));
            }
        });
        (tallies, kept)
    });
    for (number, (tallies, kept)) in looked.into_iter().enumerate() {
        enter(&mut table, number, &scenes.all[number].name, &tallies);
        crashed.extend(kept);
    }

    // The power goes again while the next run goes on, and after a run that was only killed.
    let again = if long {
        Plan { effort: Effort { all: 64, random: 6 }, dear: 16, dearest: 256 }
    } else {
        Plan { effort: Effort { all: 8, random: 1 }, dear: 64, dearest: 1024 }
    };
    let looked = in_parallel(crashed.len(), |number| {
        let (scene, state, told) = &crashed[number];
        explore(&scenes.all[*scene].after_crash(state, *told), &again, &mut |_, _| {})
    });
    looked.iter().for_each(|tallies| enter(&mut table, 100, "create after a crash", tallies));
    let mut kills: Vec<(usize, usize)> = Vec::new();
    for (number, scene) in scenes.all.iter().enumerate() {
        kills.extend((0..scene.log.len()).step_by(if long { 1 } else { 23 }).map(|calls| (number, calls)));
    }
    let looked = in_parallel(kills.len(), |number| {
        let (scene, calls) = kills[number];
        explore(&scenes.all[scene].after_kill(calls), &again, &mut |_, _| {})
    });
    looked.iter().for_each(|tallies| enter(&mut table, 101, "create after a kill", tallies));

    let all = print(&table);
    println!("{} states in {:.0} s", all.explored, begun.elapsed().as_secs_f64());
    let mut sorts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for violation in &all.violations {
        sorts.entry(&violation.sort).or_default().push(&violation.what);
    }
    for (sort, found) in sorts {
        println!("VIOLATION {sort}: {} times, for instance", found.len());
        found.iter().take(3).for_each(|what| println!("    {what}"));
    }
    assert!(all.violations.is_empty(), "{} states are not as they must be", all.violations.len());
    assert!(!long || all.explored >= 1_000_000, "only {} states", all.explored);
}

/// Whether something in a scene is noticed: by which oracle and in which model.
fn noticed(scene: &Scene, promise: bool) -> Option<String> {
    let promises = promises(&scene.start, &scene.log);
    let mut found = None;
    for model in Model::ALL.into_iter().filter(|model| *model != Model::Lying) {
        let mut judged = HashSet::new();
        let effort = Effort { all: 32, random: 2 };
        each_state(&scene.start, &scene.log, scene.from, model, effort, &mut |moment, state| {
            let (_, plain) = state.hashes();
            let promises = &promises[moment.calls];
            if !judged.insert((plain, moment.told, Arc::as_ptr(promises) as usize)) {
                return true;
            }
            let depth = Depth { dear: moment.calls == scene.log.len() || plain % 8 == 0, dearest: false };
            let judge = Judge { scene, moment, model, promises, promise };
            if let Err(fault) = judge.judge(&state, depth) {
                found = Some(format!("{} {} {}: {}", fault.oracle, model.name(), scene.name, fault.what));
            }
            found.is_none()
        });
        if found.is_some() {
            break;
        }
    }
    found
}

/// The same in any of these without a sort of sync.
fn noticed_without(scenes: &[Scene], sort: &str, promise: bool) -> Option<String> {
    let mutants = scenes.iter().filter_map(|scene| mutants::without(scene, &|_, found| found == sort));
    mutants.into_iter().find_map(|mutant| noticed(&mutant, promise))
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let scenes = Scenes::record();
    let mut all = scenes.all.clone();
    // What a run leaves that is killed at the worst moments: when something has its name and is not durable yet.
    for scene in &scenes.all[..3] {
        let moments = scene.log.iter().enumerate().filter(|(_, op)| matches!(op, Op::Rename(..) | Op::MakeDir(_)));
        all.extend(moments.map(|(at, _)| scene.after_kill(at + 1)));
    }
    let sorts: BTreeSet<String> = all.iter().flat_map(mutants::sorts).flatten().collect();
    let sorts: Vec<String> = sorts.into_iter().collect();
    let found = in_parallel(sorts.len(), |number| {
        let loss = is_long().then(|| noticed_without(&all, &sorts[number], false)).flatten();
        let promise = if loss.is_some() { None } else { noticed_without(&all, &sorts[number], true) };
        (loss, promise)
    });
    for (sort, (loss, promise)) in sorts.iter().zip(&found) {
        println!("{sort:48} {}", loss.as_ref().or(promise.as_ref()).map_or("NOT NOTICED", String::as_str));
    }
    let by_loss = found.iter().filter(|(loss, _)| loss.is_some()).count();
    let by_promise = found.iter().filter(|(_, promise)| promise.is_some()).count();
    println!(
        "{} sorts of syncs: {by_loss} noticed by what is lost or wrong, {by_promise} by a broken promise",
        sorts.len()
    );
    assert_eq!(by_loss + by_promise, sorts.len(), "a sync can be left out and nobody notices");
    if is_long() {
        each_call_alone(&all);
    }
}

/// With every sync in its place nothing is noticed; and each single call is left out alone. Where another sync of the same
/// folder follows before anything is promised, one of the two is enough; and what is synced in case a killed run did not may be
/// durable already.
fn each_call_alone(scenes: &[Scene]) {
    let found = in_parallel(scenes.len(), |number| {
        let scene = &scenes[number];
        assert_eq!(noticed(scene, true), None, "with every sync in its place");
        let calls = mutants::sorts(scene).into_iter().enumerate().skip(scene.from);
        let calls = calls.filter_map(|(at, sort)| Some((at, sort?)));
        let look = |(at, sort): (usize, String)| {
            let mutant = mutants::without(scene, &|place, _| place == at).expect("it is there");
            (sort, noticed(&mutant, true).is_some())
        };
        calls.map(look).collect::<Vec<(String, bool)>>()
    });
    let calls: Vec<(String, bool)> = found.into_iter().flatten().collect();
    let mut spare: BTreeMap<&str, usize> = BTreeMap::new();
    for (sort, _) in calls.iter().filter(|(_, noticed)| !noticed) {
        *spare.entry(sort).or_default() += 1;
    }
    let count: usize = spare.values().sum();
    println!(
        "{} single calls left out: {} noticed; for the others another serves, or it was durable: {spare:?}",
        calls.len(),
        calls.len() - count
    );
}
