//! `browse`: looking around in the archive on a terminal, and restoring what is found.

mod draw;
mod search;
mod shelf;
mod state;
mod wrap;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal, Stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Kind, Result, words_of};
use crate::id::SnapshotId;
use crate::op::{self, Event, Observer, Overwrite, Restore, RestoreOptions, Selection};
use crate::view::{above, is_below};
use jiff::Zoned;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::{dates, names, places, stop, words};
use shelf::{Held, Shelf, Thing};
use state::{Act, State};

/// How long a key is waited for before the wish to end is looked at, and how often progress is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Look around in the archive and restore what you find
///
/// Shows the snapshots on a time line, what is in them, when photos were taken, what a file was at other times and what
/// was deleted. What is marked is restored into a folder of its own. Needs a terminal and no mouse; ? shows the keys.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// Browses until the user has had enough.
pub fn run(app: &App, asked: &Arguments) -> std::result::Result<Code, Failure> {
    if app.screen.is_json() || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("browsing needs a terminal")
            .hint("{snap} ls shows what is in a snapshot, {snap} list the snapshots, {snap} restore brings it back"));
    }
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let held = Held::new(&archive, filter);
    if held.moments().is_empty() {
        return Err(Failure::new(Code::Failed, "there is no snapshot to show")
            .hint("{snap} list shows the snapshots, {snap} create FOLDER makes one"));
    }
    static END: AtomicBool = AtomicBool::new(false);
    stop::instead(|| {
        END.store(true, Ordering::SeqCst);
        std::thread::spawn(leave_if_stuck);
    });
    app.screen.hold();
    let browsed = Screen::enter().and_then(|mut screen| screen.browse(&held, &END));
    app.screen.release();
    let failed = |error: io::Error| Failure::new(Code::Failed, format!("using the terminal: {}", words_of(&error)));
    browsed.map_err(failed)?;
    Ok(if END.load(Ordering::SeqCst) { Code::Interrupted } else { Code::Done })
}

/// The terminal while it is ours. It is given back whatever happens.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let usual: Arc<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync> = Arc::from(std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            // What a fault has to say is to be read.
            if !crate::codec::panic_is_caught() {
                give_back();
            }
            usual(panic);
        }));
        enable_raw_mode()?;
        let terminal = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
    }

    fn browse(&mut self, held: &Held<'_>, end: &AtomicBool) -> io::Result<()> {
        let mut state = State::new(held, proposal());
        loop {
            self.terminal.draw(|frame| draw::draw(frame, &mut state))?;
            let key = match next(end)? {
                Next::Key(key) => key,
                Next::Redraw => continue,
                Next::End => return Ok(()),
            };
            match state.press(key) {
                Act::Nothing => {}
                Act::Quit => return Ok(()),
                Act::Search(text) => {
                    state.message = "looking; escape stops".to_owned();
                    self.terminal.draw(|frame| draw::draw(frame, &mut state))?;
                    state.message.clear();
                    state.search(&text, &|| escaped().unwrap_or(true) || end.load(Ordering::SeqCst));
                }
                Act::Restore(things, target) => {
                    let done = self.restore(held, &things, &target, end, &mut state)?;
                    if done.is_ok() {
                        state.marked.clear();
                        state.proposal = proposal();
                    }
                    state.message = names::message(&done.unwrap_or_else(|why| format!("not restored: {why}")));
                }
            }
        }
    }

    /// Restores in a thread of its own and shows how far it is; escape stops it.
    fn restore(
        &mut self,
        held: &Held<'_>,
        things: &[Thing],
        target: &Path,
        end: &AtomicBool,
        state: &mut State<'_>,
    ) -> io::Result<std::result::Result<String, String>> {
        let jobs = match jobs(held, things, target) {
            Ok(jobs) => jobs,
            Err(why) => return Ok(Err(why)),
        };
        let heard = Heard::default();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| restore(&jobs, &heard));
            while !work.is_finished() {
                ROUNDS.fetch_add(1, Ordering::SeqCst);
                state.message = heard.line();
                self.terminal.draw(|frame| draw::draw(frame, state))?;
                if event::poll(TICK)? {
                    let stops =
                        matches!(event::read()?, Input::Key(key) if key.code == KeyCode::Esc || is_ctrl_c(&key));
                    heard.stop.fetch_or(stops, Ordering::Relaxed);
                }
                heard.stop.fetch_or(end.load(Ordering::SeqCst), Ordering::Relaxed);
            }
            let done = work.join().unwrap_or_else(|_| Err("a fault in this program".to_owned()));
            Ok(done.map(|done| told(&done, target)))
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was. What fails here cannot be helped.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// Whether somebody has pressed what stops work.
fn escaped() -> io::Result<bool> {
    ROUNDS.fetch_add(1, Ordering::SeqCst);
    while event::poll(Duration::ZERO)? {
        if matches!(event::read()?, Input::Key(key) if key.code == KeyCode::Esc || is_ctrl_c(&key)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_ctrl_c(key: &event::KeyEvent) -> bool {
    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// How often the terminal was asked.
static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// Asking a terminal that has gone away never returns; then nobody is there to be told, and the program ends.
fn leave_if_stuck() {
    let before = ROUNDS.load(Ordering::SeqCst);
    std::thread::sleep(8 * TICK);
    if ROUNDS.load(Ordering::SeqCst) == before {
        give_back();
        std::process::exit(Code::Interrupted as i32);
    }
}

/// What the terminal has to say.
enum Next {
    Key(KeyCode),
    /// It has another size.
    Redraw,
    End,
}

fn next(end: &AtomicBool) -> io::Result<Next> {
    loop {
        ROUNDS.fetch_add(1, Ordering::SeqCst);
        if end.load(Ordering::SeqCst) {
            return Ok(Next::End);
        }
        if !event::poll(TICK)? {
            continue;
        }
        match event::read()? {
            Input::Key(key) if is_ctrl_c(&key) => return Ok(Next::End),
            Input::Key(key) if key.kind != KeyEventKind::Release => {
                // Letters with Ctrl or Alt are no letters.
                let held = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
                if !(held && matches!(key.code, KeyCode::Char(_))) {
                    return Ok(Next::Key(key.code));
                }
            }
            Input::Resize(..) => return Ok(Next::Redraw),
            _ => {}
        }
    }
}

/// A folder that is not there yet.
fn proposal() -> String {
    let day = Zoned::now().strftime("%Y-%m-%d").to_string();
    let here = std::env::current_dir().unwrap_or_default();
    let names = (1..).map(|number: u32| match number {
        1 => format!("restored {day}"),
        number => format!("restored {day} ({number})"),
    });
    let mut free = names.map(|name| here.join(name)).filter(|path| std::fs::symlink_metadata(path).is_err());
    free.next().unwrap_or(here).display().to_string()
}

/// A part of a restore: what, from which view, into which folder.
struct Job<'a> {
    view: crate::view::View<'a>,
    path: Vec<u8>,
    target: PathBuf,
}

/// Where everything goes. One thing keeps its last name, several keep their paths, and if they are of several snapshots
/// each snapshot has a folder.
fn jobs<'a>(held: &Held<'a>, things: &[Thing], target: &Path) -> std::result::Result<Vec<Job<'a>>, String> {
    match std::fs::read_dir(target).map(|mut items| items.next().is_some()) {
        Ok(true) => return Err(format!("{} is not empty; choose a new folder", target.display())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: {}", target.display(), words_of(&error)));
        }
        _ => {}
    }
    let mut jobs = Vec::new();
    let folders = folders(held, things);
    for Thing { snapshot, path } in things {
        // What lies in a folder that is restored, too, comes with it.
        let covered = |other: &Thing| other.snapshot == *snapshot && is_below(path, &other.path);
        if things.iter().any(covered) {
            continue;
        }
        let mut place = target.to_owned();
        if things.len() > 1 {
            place.extend(folders.get(snapshot).filter(|_| folders.len() > 1));
            place.push(relative(above(path)));
        }
        let view = held.view(snapshot).map_err(|error| error.to_string())?;
        jobs.push(Job { view, path: path.clone(), target: place });
    }
    Ok(jobs)
}

/// A folder name for each snapshot.
fn folders(held: &Held<'_>, things: &[Thing]) -> BTreeMap<SnapshotId, String> {
    let times: HashMap<SnapshotId, _> = held.moments().iter().map(|moment| (moment.id, moment.time)).collect();
    let name = |id: &SnapshotId| match times.get(id) {
        Some(time) => format!("{} {}", dates::in_a_name(*time).0, id.short()),
        None => id.short(),
    };
    things.iter().map(|thing| (thing.snapshot, name(&thing.snapshot))).collect()
}

/// A path in a snapshot as one below a folder here: whatever it says, it leads nowhere else.
fn relative(path: &[u8]) -> PathBuf {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(name, [] | [b'.'] | [b'.', b'.']));
    places::path_of(names.collect::<Vec<_>>().join(&b'/'))
}

fn restore(jobs: &[Job<'_>], heard: &Heard) -> std::result::Result<Restore, String> {
    let mut all = Restore::default();
    for Job { view, path, target } in jobs {
        let options = RestoreOptions {
            target: target.clone(),
            selection: Selection::default(),
            overwrite: Overwrite::Never,
            dry_run: false,
            verify: false,
            setuid: false,
        };
        let done: Result<Restore> = view.find(path).and_then(|node| op::restore(view, &node, &options, heard));
        let done = done.map_err(|error| match error.kind() {
            Kind::Interrupted => "stopped; what is there is whole".to_owned(),
            _ => error.to_string(),
        })?;
        all.add(done);
    }
    Ok(all)
}

fn told(done: &Restore, target: &Path) -> String {
    let links = if done.symlinks == 0 {
        String::new()
    } else {
        format!(" and {}", words::things(done.symlinks, "link", "links"))
    };
    let mut told =
        format!("restored {}{links}, {}, to {}", words::files(done.files), words::bytes(done.bytes), target.display());
    if let Some((path, why)) = done.failed.first() {
        let failed = words::files(done.failed.len() as u64);
        told = format!("{failed} could not be restored ({}: {why}); {told}", path.display());
    }
    let there = done.left.len() as u64 + done.present;
    if there > 0 {
        told += &format!("; {} were there already", words::files(there));
    }
    if let Some((wanted, actual)) = done.renamed.first() {
        told += &format!("; the target takes names for the same: {} is {}", wanted.display(), actual.display());
    }
    told
}

/// Counts what a restore does.
#[derive(Default)]
struct Heard {
    stop: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
    all: AtomicU64,
}

impl Heard {
    fn line(&self) -> String {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (files, all) = (words::count(number(&self.files)), words::files(number(&self.all)));
        format!("restoring: {files} of {all}, {}; escape stops", words::bytes(number(&self.bytes)))
    }
}

impl Observer for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin { files, .. } => drop(self.all.fetch_add(files, Ordering::Relaxed)),
            Event::Advance { files, bytes } => {
                self.files.fetch_add(files, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn stop(&self) -> &AtomicBool {
        &self.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_restored_leads_nowhere_else() {
        let table = [
            ("Pictures/2019", "Pictures/2019"),
            ("/home/anna/Pictures", "home/anna/Pictures"),
            ("/../../etc/./cron.d//x", "etc/cron.d/x"),
            ("", ""),
        ];
        for (path, here) in table {
            assert_eq!(relative(path.as_bytes()), Path::new(here));
        }
    }

    #[test]
    fn what_lies_in_a_folder_comes_with_it() {
        assert!(is_below(b"Pictures/2019", b"Pictures"));
        assert!(!is_below(b"Pictures2/a", b"Pictures") && !is_below(b"Pictures", b"Pictures"));
    }
}
