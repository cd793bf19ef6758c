//! The rule in a world of its own, in which every accident happens that a line of the rule is there for, and nothing else
//! gives it away: with all lines nothing is ever recorded with other bytes than it has, and without any one of them something
//! is. (Real file systems, and one of our own making, are in `tests/evidence`.)

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::format::{Carried, Content, Meta};
use crate::id::FileHash;

thread_local! {
    static LEFT_OUT: Cell<Option<Check>> = const { Cell::new(None) };
}

/// Whether this test does without a check at the moment.
pub(super) fn is_left_out(check: Check) -> bool {
    LEFT_OUT.get() == Some(check)
}

const ALL: [Check; 11] = {
    use Check::*;
    [Read, Clock, Tick, Skew, Length, Mtime, Ctime, Born, Inode, Device, Names]
};

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A file as it is: its bytes are a number.
#[derive(Clone)]
struct File {
    bytes: u64,
    stat: Stat,
    /// What it will have become after the next run without another sign: an edit within the tick of the last one.
    soon: Option<u64>,
    /// The next run reads something else than what it is afterwards, and knows that.
    restless: bool,
    /// The next run cannot read it, and lets the last good state stand in.
    shut: bool,
    /// Something has happened to it since the last run.
    touched: bool,
}

/// What a run recorded: the entry and the bytes in it.
type Recorded = BTreeMap<usize, (Entry, u64)>;

/// How far the clock of a server is behind at most.
const BEHIND: i64 = 299_000_000_000;

/// Whose clock sets the times of a file system.
fn clock_of(trust: Trust) -> source::Clock {
    if trust == Trust::Whole { source::Clock::Own } else { source::Clock::Other }
}

/// A source on one file system, and what the last run recorded of it.
struct World {
    random: Random,
    trust: Trust,
    /// This machine's, in nanoseconds; each second it has another value than ever before, unless it is set back. That of the file
    /// system is the same, or is behind it when an edit tells.
    clock: i64,
    fresh: u64,
    device: Option<u64>,
    files: Vec<File>,
    recorded: Recorded,
    since: Time,
    wrong: u64,
    taken_over: u64,
}

fn moment(clock: i64) -> source::Time {
    source::Time { secs: clock.div_euclid(1_000_000_000), nanos: clock.rem_euclid(1_000_000_000) as u32 }
}

impl World {
    fn new(seed: u64, trust: Trust) -> Self {
        let mut world = Self {
            random: Random(seed),
            trust,
            clock: 1_600_000_000_123_456_789,
            fresh: 0,
            device: Some(0),
            files: Vec::new(),
            recorded: Recorded::new(),
            since: Time::default(),
            wrong: 0,
            taken_over: 0,
        };
        for _ in 0..12 {
            let file = world.file();
            world.files.push(file);
        }
        world
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    fn file(&mut self) -> File {
        self.clock += 1_000_000_000;
        let (ino, now) = (self.fresh(), moment(self.clock));
        // Half of the photos were copied with their dates; and a clock without fractions is one as well.
        let mtime = if self.random.below(2) == 0 { moment(1_500_000_000_000_000_000 + ino as i64) } else { now };
        let stat = Stat {
            kind: source::Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 1000,
            mtime,
            ctime: now,
            born: Some(now),
            dev: 7,
            ino,
            nlink: 1,
            sparse: false,
        };
        File { bytes: self.fresh(), stat, soon: None, restless: false, shut: false, touched: true }
    }

    /// Changes the bytes of a file so that one check alone can see it.
    fn accident(&mut self) {
        let at = self.random.below(self.files.len() as u64) as usize;
        let (fresh, now) = (self.fresh(), moment(self.clock));
        let (trust, clock) = (self.trust, self.clock);
        let what = self.random.below(13);
        let behind = self.random.below(BEHIND as u64) as i64;
        let file = &mut self.files[at];
        if std::mem::replace(&mut file.touched, true) {
            return; // two accidents could undo each other's signs, which none of the real ones can
        }
        match what {
            0 => file.stat.size += fresh, // grown while times repeat
            1 => file.stat.mtime = moment(1_500_000_000_000_000_000 - fresh as i64), // other date, while times repeat
            2 => file.stat.ctime = now,   // edited in place, date put back
            3 => file.stat.born = Some(now), // a recycled number
            4 if trust != Trust::Name => file.stat.ino = 1_000_000 + fresh, // folders have changed names
            5 if trust == Trust::Whole => {
                // another drive at the same place: other bytes everywhere
                self.device = None;
                for file in &mut self.files {
                    (file.bytes, file.touched) = (file.bytes + 1_000_000_000, true);
                }
                return;
            }
            6 | 7 => {
                // edited just before the run, and again just after it was read
                (file.stat.ctime, file.soon) = (moment(clock - 10_000_000), Some(fresh));
                if what == 7 {
                    // on a clock without fractions
                    (file.stat.ctime, file.stat.mtime) = (moment(clock / 1_000_000_000 * 1_000_000_000), now);
                }
            }
            8 => {
                // a time from a clock that was ahead
                file.stat.ctime = moment(clock + 3_600_000_000_000);
                file.soon = Some(fresh);
            }
            9 => (file.restless, file.stat.ctime) = (true, now),
            10 => (file.shut, file.stat.ctime) = (true, now),
            11 if trust != Trust::Whole => {
                // The time of change is no good, but the date is young.
                (file.stat.mtime, file.soon) = (moment(clock - 10_000_000), Some(fresh));
                file.stat.ctime = moment(1_400_000_000_000_000_001 + fresh as i64);
            }
            12 if trust != Trust::Whole => {
                // Edited just before the run, and again just after it was read, by a clock that is behind.
                (file.stat.ctime, file.soon) = (moment(clock - behind - 10_000_000), Some(fresh));
            }
            _ => return,
        }
        if file.soon.is_some() {
            self.run();
        } else {
            file.bytes = fresh;
        }
    }

    /// The clock is set back, and stays so for a run: what is edited gets the very times that it had.
    fn set_back(&mut self) {
        let right = self.clock;
        self.clock = self.since.secs * 1_000_000_000 - 20_000_000_000;
        let fresh = self.fresh();
        if let Some(file) = self.files.iter_mut().find(|file| !file.touched) {
            (file.bytes, file.touched) = (fresh, true);
        }
        self.run();
        self.clock = right + 60_000_000_000;
    }

    fn run(&mut self) {
        let start = moment(self.clock);
        let now = time(start);
        let mut next = Recorded::new();
        for (at, file) in self.files.iter_mut().enumerate() {
            let known = self.recorded.get(&at);
            let ground = Ground { trust: self.trust, clock: clock_of(self.trust), device: self.device };
            let unread = known.filter(|(entry, _)| {
                let evidence = Evidence { entry, stat: &file.stat, since: self.since, now, ground };
                let unchanged = evidence.is_unchanged();
                assert!(!evidence.is_moved() || (unchanged && self.trust == Trust::Whole));
                unchanged
            });
            let told = file.shut || file.restless;
            let (entry, bytes) = match unread {
                Some((entry, bytes)) => {
                    self.taken_over += 1;
                    (entry.clone(), *bytes)
                }
                None if file.shut && known.is_some() => {
                    let (mut entry, bytes) = known.cloned().unwrap();
                    entry.meta.carried = Some(Carried::Unread);
                    // The worst case: it looks in every way as what stands in for it.
                    file.stat.ctime = source::Time { secs: entry.meta.ctime.secs, nanos: entry.meta.ctime.nanos };
                    (entry, bytes)
                }
                None => (entry_of(&file.stat, file.restless), file.bytes + u64::from(file.restless)),
            };
            self.wrong += u64::from(bytes != file.bytes && !told);
            next.insert(at, (entry, bytes));
            (file.shut, file.restless, file.touched) = (false, false, false);
            if let Some(soon) = file.soon.take() {
                (file.bytes, file.touched) = (soon, true);
            }
        }
        (self.recorded, self.since, self.device) = (next, now, Some(0));
        // Where a clock may be behind by minutes, runs are further apart, or nothing would be taken over.
        self.clock += if self.trust == Trust::Whole { 60_000_000_000 } else { 900_000_000_000 };
    }

    fn step(&mut self) {
        self.clock += 1_000_000_007;
        match self.random.below(20) {
            0..=3 => self.run(),
            4 if self.since != Time::default() => self.set_back(),
            5 => {
                let file = self.file();
                let at = self.random.below(self.files.len() as u64) as usize;
                self.files[at] = file;
            }
            _ => self.accident(),
        }
    }
}

fn entry_of(stat: &Stat, unsettled: bool) -> Entry {
    let meta = Meta {
        mtime: time(stat.mtime),
        ctime: time(stat.ctime),
        born: stat.born.map(time),
        inode: stat.ino,
        links: stat.nlink,
        ..Meta::default()
    };
    let hash = FileHash::from_bytes([0; 32]);
    let content = Content::Chunks(Vec::new());
    Entry {
        name: b"photo".to_vec(),
        kind: EntryKind::File { size: stat.size, hash, content, sparse: false, unsettled },
        meta,
    }
}

/// How many files were recorded with other bytes than they have, without a check, and how many were not read.
fn wrong_without(check: Option<Check>, trust: Trust, steps: u64) -> (u64, u64) {
    LEFT_OUT.set(check);
    let (mut wrong, mut taken_over) = (0, 0);
    for seed in 0..steps / 1000 {
        let mut world = World::new(seed, trust);
        (0..1000).for_each(|_| world.step());
        (wrong, taken_over) = (wrong + world.wrong, taken_over + world.taken_over);
    }
    LEFT_OUT.set(None);
    (wrong, taken_over)
}

/// A photo that was recorded with another one's bytes is lost, and nobody knows.
#[test]
fn nothing_is_taken_over_wrongly_and_no_check_can_be_spared() {
    for (trust, asked) in [(Trust::Whole, SAME), (Trust::Place, SAME_PLACE), (Trust::Name, SAME_NAME)] {
        let (wrong, taken_over) = wrong_without(None, trust, 30_000);
        assert_eq!(wrong, 0, "{trust:?}");
        assert!(taken_over > 5_000, "{trust:?}: only {taken_over} were not read");
        for check in ALL {
            let (wrong, _) = wrong_without(Some(check), trust, 10_000);
            // Whoever allows for clocks that differ allows for a tick.
            let needed = asked.contains(&check) && !(check == Check::Tick && asked.contains(&Check::Skew));
            assert_eq!(wrong > 0, needed, "{trust:?} without {check:?}: {wrong} wrong");
        }
    }
}

fn file() -> Stat {
    World::new(1, Trust::Whole).files[0].stat
}

/// Each check, for two names of a file: what differs in one thing is another file. Pooled file systems give one number to
/// several.
#[test]
fn a_second_name_is_believed_only_where_everything_is_equal_and_the_kernel_says_so() {
    let one = Stat { nlink: 2, ..file() };
    assert!(is_one_file(Trust::Whole, &one, &one));
    assert!(!is_one_file(Trust::Place, &one, &one) && !is_one_file(Trust::Name, &one, &one));
    let other = source::Time { secs: 5, nanos: 5 };
    let differ = [
        (Check::Length, Stat { size: 1, ..one }),
        (Check::Mtime, Stat { mtime: other, ..one }),
        (Check::Ctime, Stat { ctime: other, ..one }),
        (Check::Born, Stat { born: Some(other), ..one }),
        (Check::Inode, Stat { ino: 5, ..one }),
        (Check::Device, Stat { dev: 5, ..one }),
        (Check::Names, Stat { nlink: 3, ..one }),
    ];
    assert_eq!(differ.map(|(check, _)| check), LINKED);
    for (check, met) in differ {
        assert!(!is_one_file(Trust::Whole, &one, &met), "{check:?}");
        LEFT_OUT.set(Some(check));
        assert!(is_one_file(Trust::Whole, &one, &met), "{check:?} is what tells them apart");
        LEFT_OUT.set(None);
    }
    let unborn = Stat { born: None, ..one };
    assert!(!is_one_file(Trust::Whole, &unborn, &unborn));
    let alone = Stat { nlink: 1, ..one };
    assert!(!is_one_file(Trust::Whole, &alone, &alone));
}

/// A tag that lies in an attribute must not stay what it was, and moved files are believed only with a birth.
#[test]
fn attributes_and_moved_files_are_taken_over_by_the_same_rule() {
    let (stat, later) = (file(), Time { secs: 1_700_000_000, nanos: 0 });
    let entry = entry_of(&stat, false);
    let asked = |entry: &Entry, stat: &Stat, trust, device| {
        let evidence = Evidence {
            entry,
            stat,
            since: later,
            now: later,
            ground: Ground { trust, clock: clock_of(trust), device },
        };
        (evidence.is_unchanged(), evidence.is_moved(), evidence.has_its_attributes())
    };
    assert_eq!(asked(&entry, &stat, Trust::Whole, Some(0)), (true, true, true));
    assert_eq!(asked(&entry, &stat, Trust::Whole, None), (false, false, false));
    assert_eq!(asked(&entry, &stat, Trust::Whole, Some(1)), (false, false, false));
    assert_eq!(asked(&entry, &stat, Trust::Place, None), (true, false, false));
    assert_eq!(asked(&entry, &stat, Trust::Name, None), (true, false, false));
    // An image that was made anew has whatever times its maker wrote.
    assert_eq!(asked(&entry, &stat, Trust::Never, Some(0)), (false, false, false));
    let unborn = Stat { born: None, ..stat };
    assert_eq!(asked(&entry_of(&unborn, false), &unborn, Trust::Whole, Some(0)), (true, false, true));
    // An entry from before births were recorded says too little.
    assert_eq!(asked(&entry_of(&unborn, false), &stat, Trust::Whole, Some(0)), (false, false, false));
    let other = source::Time { secs: 5, nanos: 5 };
    for changed in [Stat { ctime: other, ..stat }, Stat { born: Some(other), ..stat }, Stat { ino: 5, ..stat }] {
        assert!(!asked(&entry, &changed, Trust::Whole, Some(0)).2);
    }
    // The date is no evidence of attributes, and may be anything.
    assert!(asked(&entry, &Stat { mtime: other, ..stat }, Trust::Whole, Some(0)).2);
    let folder = Stat { kind: source::Kind::Dir, ..stat };
    assert!(!asked(&entry, &folder, Trust::Whole, Some(0)).0);
}

/// Two folders of a card that had changed names were taken for one another where the page that had the other one's files was
/// damaged: no twin was known.
#[test]
fn where_not_all_that_was_recorded_can_be_read_every_file_may_have_a_twin() {
    use crate::archive::{Archive, Packing, Parameters, store_entries};
    let store = std::sync::Arc::new(crate::store::Memory::new());
    Archive::create(&*store, &Parameters::default(), 0).expect("an archive");
    let archive = Archive::open(store, None, std::sync::Arc::new(|_| {})).expect("an archive");
    let writer = archive.writer(Packing::default()).expect("a writer");
    let dir = |name: &str, tree| {
        let kind = EntryKind::Dir { tree, files: 0, bytes: 0 };
        Entry { name: name.into(), kind, meta: Meta::default() }
    };
    let empty = store_entries(&writer, Vec::new()).expect("stored");
    let whole = store_entries(&writer, vec![dir("a", empty)]).expect("stored");
    let damaged = store_entries(&writer, vec![dir("a", ChunkId::from_bytes([7; 32]))]).expect("stored");
    writer.finish().expect("durable");
    let mut looks = Looks::default();
    assert!(meet_all(&archive.reader(), whole, &mut looks).expect("read"));
    assert!(!meet_all(&archive.reader(), damaged, &mut looks).expect("read"));
}
