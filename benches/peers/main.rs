//! snap beside other backup programs and beside `cp`, over the same folder: benches/README.md says what is measured.
//!
//! `cargo bench --bench peers -- --help`

mod contest;
mod folder;
mod machine;
#[path = "../material.rs"]
mod material;
mod measure;
mod options;
mod programs;
mod report;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use contest::{Outcome, Ring, remove};
use measure::Meter;
use options::Options;

fn main() -> ExitCode {
    let Some(options) = Options::read() else { return ExitCode::SUCCESS };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", options.work.display());
    fs::create_dir_all(&options.work).map_err(failed)?;
    let work = options.work.canonicalize().map_err(failed)?;
    for dir in &options.dirs {
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        if dir.starts_with(&work) || work.starts_with(&dir) {
            return Err(format!("{}: the work folder and what is backed up must lie apart", dir.display()));
        }
    }
    // A folder that nobody else can have: it is removed in the end.
    let area = tempfile::Builder::new().prefix("snapkeep-peers-").tempdir_in(&work).map_err(failed)?;
    let meter = Meter::new(area.path())?;
    let programs = programs::installed(&options.only)?;
    let facts = machine::facts(&work);

    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut contest = |name: String, make: &dyn Fn(&Path) -> io::Result<()>| {
        let source = area.path().join("source");
        make(&source)?;
        let ring = Ring { meter: &meter, programs: &programs, area: area.path(), source };
        outcomes.push(ring.contest(name, options.runs)?);
        remove(&ring.source)
    };
    for dir in &options.dirs {
        let limit = options.photos.map_or(u64::MAX, |megabytes| megabytes.saturating_mul(1_000_000));
        let name = dir.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
        contest(name, &|source| folder::copy(dir, source, limit)).map_err(failed)?;
    }
    if let Some(count) = options.small {
        contest("small files".to_owned(), &|source| material::small_files(source, count)).map_err(failed)?;
    }

    let text = report::markdown(&facts, &programs, options.runs, &outcomes);
    println!("\n{text}");
    let write = |file: &Path, text: &str| fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()));
    if let Some(file) = &options.markdown {
        write(file, &text)?;
    }
    if let Some(file) = &options.json {
        write(file, &format!("{:#}\n", report::json(&facts, &programs, options.runs, &outcomes)))?;
    }
    if let Some(what) = &options.keep {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
        let date = jiff::Zoned::now().strftime("%Y-%m-%d");
        write(&results.join(format!("{date}-{what}.md")), &text)?;
    }
    Ok(())
}
