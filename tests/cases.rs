//! Public reports of people who back up photos, each made anew by a small script beside the project, if that is there.
//!
//! A script exits 0 where the program does the right thing, 1 where it does not, and 77 where the machine lacks a tool.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// So many scripts run at once; most of their time is waiting for mounts and clocks.
const AT_ONCE: usize = 4;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    let Ok(items) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "sh"));
    found.sort();
    found
}

fn run(script: &Path) -> Output {
    let mut command = Command::new("bash");
    command.arg(script).env("SNAP", env!("CARGO_BIN_EXE_snap")).output().unwrap()
}

#[test]
fn every_reported_case_is_right() {
    let todo = Mutex::new(scripts());
    if todo.lock().unwrap().is_empty() {
        return println!("SKIPPED: the cases are not beside the project");
    }
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(script) = todo.lock().unwrap().pop() else { break };
                    let done = run(&script);
                    let said = String::from_utf8_lossy(&done.stdout).into_owned();
                    match done.status.code() {
                        Some(0) => {}
                        Some(77) if std::env::var_os("CI").is_none() => println!("{}: {said}", script.display()),
                        code => {
                            let heard = String::from_utf8_lossy(&done.stderr).into_owned();
                            wrong.lock().unwrap().push(format!("{}: {code:?}\n{said}{heard}", script.display()));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
