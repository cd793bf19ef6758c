//! On what, and from what, results were had.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Name and value of each fact that a result is worth nothing without.
pub fn facts(work: &Path) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let git = |args: &[&str]| first_line(Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args));
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).map_or("", |_| ", with changes");
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).map_or_else(unknown, |commit| commit + changed);
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string());
    let load = fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|load| load.split(' ').next().map(str::to_owned)).unwrap_or_else(unknown);
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| unknown(), |line| line.trim().to_owned());
    let drive = first_line(Command::new("findmnt").args(["-n", "-o", "FSTYPE,SOURCE", "-T"]).arg(work));
    vec![
        ("date", jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %:z").to_string()),
        ("commit", commit),
        ("processor", line_of("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("cores", cores),
        ("memory", line_of("/proc/meminfo", "MemTotal").unwrap_or_else(unknown)),
        ("kernel", kernel),
        ("file system", drive.map_or_else(unknown, |drive| drive.split_whitespace().collect::<Vec<_>>().join(" "))),
        ("load when it began", load),
    ]
}

/// The value in the first line `NAME: VALUE` of a file.
fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line of what a program prints.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
