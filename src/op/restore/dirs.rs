//! The directories of a restore: made before anything goes into them, finished after everything is in them.
//!
//! A directory that this run made, or one that was killed, gets the metadata that the archive has of it, however the run
//! ends. One that was there before keeps what it had. No two directories of the archive become one: where the target takes
//! two names for the same, the second one gets another.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Overwrite;
use super::files::metadata;
use super::log::{Log, is_hopeless, pass_over};
use super::plan::{Item, Plan};
use super::there::{Names, Shadows, escaped, nameless};
use crate::error::{Error, Kind, Result};
use crate::format::Meta;
use crate::op::check_stop;
use crate::source::{Stat, Time};
use crate::target::{Dir, is_same_time};

/// How many names are tried for what cannot have its own.
pub(super) const NAMES: usize = 100;

#[derive(Default)]
pub(super) struct Dirs {
    root: Option<Dir>,
    /// In the order of the plan; none for one that could not be made.
    made: Vec<Option<Made>>,
    /// Device and number of those.
    ours: HashSet<(u64, u64)>,
}

struct Made {
    dir: Dir,
    /// This run made it.
    now: bool,
    /// Marks of earlier runs that made it and did not finish it.
    marks: Vec<Box<[u8]>>,
    /// It was there, and its time was the one that the archive has of it.
    kept: Option<Time>,
    /// Things that are still to come into it.
    open: AtomicU64,
}

impl Made {
    fn is_new(&self) -> bool {
        self.now || !self.marks.is_empty()
    }
}

impl Dirs {
    /// Makes them, parents first, and tidies those that are there.
    pub(super) fn make(&mut self, plan: &mut Plan, root: Dir, log: &Log<'_>) -> Result<()> {
        let _ = root.tidy();
        self.root = Some(root);
        let (mut names, mut shadows) = (Names::default(), Shadows::default());
        let mut open = vec![0; plan.dirs.len()];
        plan.items().filter_map(|item| item.dir).for_each(|at| open[at] += 1);
        for (at, open) in open.into_iter().enumerate() {
            check_stop(log.observer)?;
            // If the directory above failed, that was told.
            let made = match self.dir(&plan.dirs[at]) {
                Some(above) => self.make_one(above, at, plan, (&mut names, &mut shadows), log),
                None => {
                    self.made.push(None);
                    continue;
                }
            };
            match made {
                Ok((mut made, id)) => {
                    *made.open.get_mut() = open;
                    self.ours.insert(id);
                    log.outcome().dirs += u64::from(made.now);
                    self.made.push(Some(made));
                }
                Err(error) => {
                    self.made.push(None);
                    let item = &plan.dirs[at];
                    pass_over(is_hopeless(&error, || true), error, |error| log.failed(plan, item, error))?;
                }
            }
        }
        Ok(())
    }

    fn make_one(
        &self,
        above: &Dir,
        at: usize,
        plan: &mut Plan,
        (names, shadows): (&mut Names, &mut Shadows),
        log: &Log<'_>,
    ) -> Result<(Made, (u64, u64))> {
        let (item, meta) = (&plan.dirs[at], plan.dirs[at].entry.meta.clone());
        let (name, inside) = (item.entry.name.clone(), item.dir);
        let made_now = inside.is_some_and(|at| self.made[at].as_ref().is_some_and(|made| made.now));
        let (dir, now) = above.make_dir(&name)?;
        let stat = dir.stat()?;
        let shadowed = !now && shadows.has(plan, above, inside, &name)?;
        if now || !shadowed && !self.is_taken(above, &name, made_now, &stat)? {
            return Ok(Self::describe(dir, now, &stat, &meta));
        }
        let wanted = log.path(plan, &plan.dirs[at]);
        for number in 2..NAMES {
            let name = escaped(&name, number);
            if names.of(plan).contains(&(inside, name.clone())) {
                continue;
            }
            let (dir, now) = match above.make_dir(&name) {
                Err(error) if error.kind() == Kind::Exists => continue,
                made => made?,
            };
            let stat = dir.stat()?;
            if !now && self.is_taken(above, &name, false, &stat)? {
                continue;
            }
            plan.dirs[at].entry.name = name;
            log.renamed(wanted, log.path(plan, &plan.dirs[at]));
            return Ok(Self::describe(dir, now, &stat, &meta));
        }
        Err(nameless())
    }

    /// Whether a directory that has the name is another one of this restore.
    fn is_taken(&self, above: &Dir, name: &[u8], made_now: bool, stat: &Stat) -> Result<bool> {
        Ok(self.ours.contains(&(stat.dev, stat.ino)) || (made_now && !above.names()?.contains(name)))
    }

    fn describe(dir: Dir, now: bool, stat: &Stat, meta: &Meta) -> (Made, (u64, u64)) {
        let marks = if now { Vec::new() } else { dir.tidy().unwrap_or_default().marks };
        let recorded = Time { secs: meta.mtime.secs, nanos: meta.mtime.nanos };
        let kept = (!now && is_same_time(stat.mtime, recorded)).then_some(recorded);
        (Made { dir, now, marks, kept, open: AtomicU64::new(0) }, (stat.dev, stat.ino))
    }

    /// The directory that an item goes into.
    pub(super) fn dir(&self, item: &Item) -> Option<&Dir> {
        match item.dir {
            None => self.root.as_ref(),
            Some(at) => self.made.get(at)?.as_ref().map(|made| &made.dir),
        }
    }

    /// The same, or why there is none.
    pub(super) fn dir_of(&self, item: &Item) -> Result<&Dir> {
        let unmade = || Error::new(Kind::Target, "restoring", "its directory could not be made");
        self.dir(item).ok_or_else(unmade)
    }

    /// Whether something may have been in the item's directory before this run.
    pub(super) fn was_there(&self, item: &Item) -> bool {
        item.dir.is_none_or(|at| self.made.get(at).is_some_and(|made| made.as_ref().is_some_and(|made| !made.now)))
    }

    /// Whether this is a directory of this restore.
    pub(super) fn is_ours(&self, stat: &Stat) -> bool {
        self.ours.contains(&(stat.dev, stat.ino))
    }

    /// An item came to its end, good or bad.
    pub(super) fn settled(&self, item: &Item) {
        if let Some(Some(made)) = item.dir.and_then(|at| self.made.get(at)) {
            made.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sets what is kept of directories, the innermost first, since writing into one changes its times. In a run that
    /// `ended` early, those that lack something may be written to, so that the next run goes on. It knows them by the time
    /// that they were given, and keeps that; only one that may not be written to in the end keeps its mark until then.
    pub(super) fn finish(&self, plan: &Plan, log: &Log<'_>, ended: bool) -> Result<()> {
        let mut lacking = vec![false; plan.dirs.len()];
        for above in plan.dirs.iter().skip(self.made.len()).filter_map(|item| item.dir) {
            lacking[above] = true;
        }
        for (at, (item, made)) in plan.dirs.iter().zip(&self.made).enumerate().rev() {
            let lacks = made.as_ref().is_none_or(|made| lacking[at] || made.open.load(Ordering::Relaxed) > 0);
            if let Some(above) = item.dir.filter(|_| lacks) {
                lacking[above] = true;
            }
            let Some(made) = made else { continue };
            let mut wanted = metadata(&item.entry.meta);
            let done = if made.is_new() && lacks && ended && wanted.mode & 0o700 != 0o700 {
                wanted.mode |= 0o700;
                made.dir.set_metadata(&wanted)
            } else if made.is_new() {
                made.dir.finish(&wanted, &made.marks)
            } else if log.options.overwrite == Overwrite::Always {
                made.dir.set_metadata(&wanted)
            } else {
                made.kept.map_or(Ok(Default::default()), |mtime| made.dir.put_back_time(mtime))
            };
            match done {
                Ok(notes) => log.outcome().notes += notes,
                Err(error) => {
                    let hopeless = !ended && is_hopeless(&error, || true);
                    pass_over(hopeless, error, |error| log.failed(plan, item, error))?;
                }
            }
        }
        Ok(())
    }
}
