//! One folder, every program, in turn.
//!
//! In each run the programs take turns in another order, each with a fresh archive, cache and home. Before anything is
//! timed, what others wrote is synced and the folder is in the page cache. What was restored is compared with the folder
//! byte by byte, so a program cannot win by restoring something else. Nothing is removed until the run is over, because a
//! file system may be slow at making files where it has just removed many. A program that fails is out for the rest of the
//! run; the others go on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::{difference, files, megabytes, rename_albums, tag_photos, warm};
use crate::measure::{Cost, Meter, Step, sync};
use crate::programs::{Place, Program, restored};

/// What came of a contest.
pub struct Outcome {
    /// What was backed up, for people.
    pub name: String,
    pub files: usize,
    pub megabytes: f64,
    /// The costs of each program (by its place in the list of programs) and step, one for each run.
    pub costs: BTreeMap<(usize, Step), Vec<Cost>>,
    /// What went wrong: the program, where, and what it said.
    pub failures: Vec<(usize, Step, String)>,
}

impl Outcome {
    /// The median cost.
    pub fn cost(&self, program: usize, step: Step) -> Option<Cost> {
        Cost::median(self.costs.get(&(program, step))?)
    }
}

/// Where a contest takes place.
pub struct Ring<'a> {
    pub meter: &'a Meter,
    pub programs: &'a [Program],
    /// A folder of our own.
    pub area: &'a Path,
    /// The folder that is backed up; it is renamed and tagged.
    pub source: PathBuf,
}

impl Ring<'_> {
    /// Has it out, so many times.
    pub fn contest(&self, name: String, runs: u32) -> io::Result<Outcome> {
        let found = files(&self.source)?.len();
        let megabytes = megabytes(&self.source)?;
        let mut outcome = Outcome { name, files: found, megabytes, costs: BTreeMap::new(), failures: Vec::new() };
        for run in 0..runs {
            eprintln!("{}: run {} of {runs}", outcome.name, run + 1);
            let last = run + 1 == runs;
            self.run(run as usize, last, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn run(&self, run: usize, last: bool, outcome: &mut Outcome) -> io::Result<()> {
        let count = self.programs.len();
        let mut order: Vec<usize> = (0..count).map(|turn| (turn + run) % count).collect();
        warm(&self.source)?;
        for program in order.clone() {
            for step in [Step::First, Step::Unchanged, Step::Restore] {
                if !self.step(program, step, outcome)? {
                    order.retain(|other| *other != program);
                    break;
                }
            }
        }
        order.retain(|program| self.programs[*program].keeps_the_past());
        rename_albums(&self.source)?;
        for program in order.clone() {
            if !self.step(program, Step::Renamed, outcome)? {
                order.retain(|other| *other != program);
            }
        }
        if last && tag_photos(&self.source)? {
            for program in order {
                self.step(program, Step::Tagged, outcome)?;
            }
        }
        (0..count).try_for_each(|program| remove(&self.place(program).home))
    }

    fn place(&self, program: usize) -> Place {
        let home = self.area.join(self.programs[program].name);
        Place { source: self.source.clone(), repo: home.join("archive"), target: home.join("restored"), home }
    }

    /// One program's step; false if it failed.
    fn step(&self, program: usize, step: Step, outcome: &mut Outcome) -> io::Result<bool> {
        let name = self.programs[program].name;
        match self.measure(&self.programs[program], &self.place(program), step) {
            Ok(cost) => {
                eprintln!("  {name} {}: {:.2} s", step.name(), cost.wall);
                outcome.costs.entry((program, step)).or_default().push(cost);
                Ok(true)
            }
            Err(why) => {
                eprintln!("  {name} {} failed: {why}", step.name());
                outcome.failures.push((program, step, why));
                Ok(false)
            }
        }
    }

    fn measure(&self, program: &Program, place: &Place, step: Step) -> Result<Cost, String> {
        let failed = |error: io::Error| error.to_string();
        match step {
            Step::First => {
                fs::create_dir_all(&place.home).map_err(failed)?;
                for mut command in program.prepare(self.meter, place) {
                    self.meter.run(&mut command, None)?;
                }
            }
            Step::Restore => fs::create_dir_all(&place.target).map_err(failed)?,
            _ => {}
        }
        let before = megabytes(&place.repo).map_err(failed)?;
        sync(self.area)?;
        let mut cost = match step {
            Step::Restore => self.meter.run(&mut program.restore(self.meter, place), Some(&place.target))?,
            Step::First => self.meter.run(&mut program.backup(self.meter, place, step), Some(&place.repo))?,
            _ => self.meter.run(&mut program.backup(self.meter, place, step), None)?,
        };
        cost.grown = megabytes(&place.repo).map_err(failed)? - before;
        if step == Step::First {
            cost.grown += before;
        }
        if step == Step::Restore {
            let difference = difference(&place.source, &restored(place)).map_err(failed)?;
            if let Some(difference) = difference {
                return Err(difference);
            }
        }
        Ok(cost)
    }
}

/// Removes a folder, if it is there.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
