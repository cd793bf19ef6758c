//! What tags cost, and what squeezing saves: benches/README.md says what is measured.
//!
//! `cargo bench --bench tags -- --help`

#[path = "../peers/folder.rs"]
#[allow(dead_code)] // the other benchmark needs more of it
mod folder;
mod keepers;
#[path = "../peers/machine.rs"]
mod machine;
mod squeeze;
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use keepers::Keeper;
use writers::{Step, WRITERS};

/// Writes tags into copies of photos with real programs, and prints by how much the archive grows a photo.
#[derive(Parser, Debug)]
#[command(name = "cargo bench --bench tags --")]
struct Options {
    /// Folders of photos; they are only read
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Take only so many files of each folder, spread over it
    #[arg(long, value_name = "N")]
    files: Option<usize>,
    /// Beside restic and borg, if they are installed
    #[arg(long)]
    peers: bool,
    /// Squeeze each folder's JPEGs of more than 500 kB instead
    #[arg(long)]
    squeeze: bool,
    /// Where copies and archives lie meanwhile
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    work: PathBuf,
    /// Keep the results as benches/results/DATE-WHAT.md
    #[arg(long, value_name = "WHAT")]
    keep: Option<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.dirs.is_empty() {
        println!("{}", Options::command().render_help());
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", options.work.display());
    fs::create_dir_all(&options.work).map_err(failed)?;
    let area = tempfile::Builder::new().prefix("snapkeep-tags-").tempdir_in(&options.work).map_err(failed)?;
    let mut text = String::from(if options.squeeze { "# What squeezing saves\n\n" } else { "# What a tag costs\n\n" });
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for (name, value) in machine::facts(area.path()) {
        text += &format!("- {name}: {value}\n");
    }
    text += &format!("- command: `cargo bench --bench tags -- {}`\n", arguments.join(" "));
    for dir in &options.dirs {
        if options.squeeze {
            text += &squeeze::measure(dir)?;
        } else {
            text += &tags(dir, options, area.path())?;
        }
    }
    println!("{text}");
    if let Some(what) = &options.keep {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        let file = results.join(format!("{}-{what}.md", jiff::Zoned::now().strftime("%Y-%m-%d")));
        fs::create_dir_all(&results).and_then(|()| fs::write(&file, text)).map_err(failed)?;
    }
    Ok(())
}

/// A table of one folder: what each tag made the archives grow.
fn tags(dir: &Path, options: &Options, area: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut keepers = Keeper::installed(options.peers);
    let mut text = String::new();
    let names: Vec<&str> = keepers.iter().map(|keeper| keeper.name).collect();
    let mut count = None;
    for writer in WRITERS.iter().filter(|writer| writer.is_installed()) {
        let source = area.join("source");
        let files = writers::copy(dir, &source, options.files).map_err(failed)?;
        if !files.iter().any(|file| writer.takes(file)) {
            fs::remove_dir_all(&source).map_err(failed)?;
            continue;
        }
        if count.is_none() {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let megabytes = folder::megabytes(&source).map_err(failed)?;
            text += &format!("\n## {name}: {} files, {megabytes:.1} MB\n\n", files.len());
            text +=
                &format!("| written by | tag | files changed | {} bytes a file |\n", names.join(" bytes a file | "));
            text += &format!("|---|---|--:|{}\n", "--:|".repeat(names.len()));
            count = Some(files.len());
        }
        for keeper in &mut keepers {
            keeper.begin(area)?;
            keeper.backup(&source)?;
        }
        for Step { name, .. } in writer.steps {
            let changed = writer.write(name, &source, &files)?;
            if changed == 0 {
                continue;
            }
            let mut cells = String::new();
            for keeper in &mut keepers {
                let grown = keeper.backup(&source)?;
                cells += &format!(" {} |", grown.checked_div(changed as u64).unwrap_or_default());
            }
            eprintln!("{}, {name}: {changed} files:{cells}", writer.name);
            text += &format!("| {} | {name} | {changed} |{cells}\n", writer.name);
        }
        fs::remove_dir_all(&source).map_err(failed)?;
    }
    Ok(text)
}
