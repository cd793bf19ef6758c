//! The program under `strace`, which ends it, or fails one of its calls, at a call of our choice.
//!
//! strace counts `when=N` for each thread and each call by itself, and the first thread that comes so far is the one. So
//! one more of every call is taken until nothing happens any more, in two ways that leave no call out: the main thread
//! alone (without `-f`), and all threads with no index, in which only the two threads that write packs do much. Which
//! calls were hit is read from strace's record and compared with a run that nothing happened to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::rig::{Rig, Said};
use crate::common::has_tool;

/// Calls that change something or make it durable.
const CALLS: &str =
    "/^(p?write(v|64)?|rename(at2?)?|f(data)?sync|sync_file_range|syncfs|unlink(at)?|mkdir(at)?|ftruncate|rmdir)$";

/// Whose calls count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Threads {
    /// Those of the main thread, which is all that the index, segments and snapshots are written by.
    Main,
    /// Those of each thread by itself.
    Each,
}

/// What happens at the call.
#[derive(Clone, Copy)]
pub enum Fate {
    Kill,
    Error(&'static str),
    /// So many microseconds pass before it.
    Delay(u32),
}

/// A sort of call on a sort of file.
pub type Site = String;

/// What a traced run came to.
pub struct Traced {
    pub said: Said,
    pub killed: bool,
    /// The calls, in the order in which they began.
    pub sites: Vec<Site>,
}

/// Runs `snap` with these arguments and lets something happen to the `when`th call of this name; nothing without one.
pub fn run(rig: &Rig, arguments: &[&str], threads: Threads, at: Option<(&str, usize, Fate)>) -> Traced {
    let record = rig.path("strace");
    let mut command = rig.command("strace");
    if threads == Threads::Each {
        command.arg("-f");
    }
    command.args(["-qq", "-y", "-s", "0", "-o"]).arg(&record);
    match at {
        None => command.args(["-e", &format!("trace={CALLS}")]),
        Some((call, when, fate)) => {
            let what = match fate {
                Fate::Kill => "signal=KILL".to_owned(),
                Fate::Error(error) => format!("error={error}"),
                Fate::Delay(micros) => format!("delay_enter={micros}"),
            };
            command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}:when={when}")])
        }
    };
    command.arg("--").arg(env!("CARGO_BIN_EXE_snap")).args(arguments);
    let output = command.output().unwrap();
    let killed = output.status.signal() == Some(9);
    let lines = fs::read_to_string(&record).unwrap_or_default();
    let _ = fs::remove_file(&record);
    let injected = lines.lines().filter(|line| line.contains("(INJECTED)"));
    let sites = match at {
        Some((_, _, Fate::Error(_))) => injected.filter_map(|line| site(line, rig)).collect(),
        _ => lines.lines().filter_map(|line| site(line, rig)).collect(),
    };
    Traced { said: output.into(), killed, sites }
}

/// Which call a line of the record is about, and on what sort of file.
fn site(line: &str, rig: &Rig) -> Option<Site> {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (call, rest) = line.split_once('(')?;
    if !call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return None; // the end of a call, or of a thread
    }
    // Open files stand in < >, names in quotes; of two names the new one counts.
    let mut paths = rest.split(['<', '>', '"']).map(Path::new);
    let Some(path) = paths.clone().filter_map(|path| path.strip_prefix(&rig.archive).ok()).next_back() else {
        let elsewhere = if paths.any(|path| path.starts_with(rig.cache())) { "the index" } else { "what is said" };
        return Some(format!("{call} {elsewhere}"));
    };
    let last = path.file_name().unwrap_or_default().to_string_lossy();
    let sort = path.iter().next().unwrap_or_default().to_string_lossy();
    Some(match &*last {
        last if last.starts_with(".tmp-") && last == sort => format!("{call} a header being written"),
        last if last.starts_with(".tmp-") => format!("{call} {sort} being written"),
        last if last.contains('.') || last.len() >= 6 && last != sort || last == "header" => format!("{call} {sort}"),
        _ => format!("{call} {sort}/"),
    })
}

/// How often each call is made.
pub fn calls(sites: &[Site]) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for site in sites {
        *calls.entry(site.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    calls
}

/// Whether strace may trace here, which a container can forbid; if not, that is said loudly.
pub fn works() -> bool {
    if !has_tool("strace") {
        return false;
    }
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:signal=KILL:when=1"]);
    command.args(["--", "/bin/echo"]);
    let works = command.output().is_ok_and(|output| output.status.signal() == Some(9));
    if !works {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace is needed to test this, and may not trace");
        eprintln!("SKIPPED: strace may not trace here, so nothing was killed at its calls");
    }
    works
}
