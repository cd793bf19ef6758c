//! What the benchmark can be asked for.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// Backs up the same folder with snap and with whatever other programs are installed, and prints how they compare.
///
/// Programs are looked for in the folders of $SNAPKEEP_PEERS_BIN and of $PATH. The folders given are only read: what is
/// renamed and tagged is a copy of their regular files below --work.
#[derive(Parser, Debug)]
#[command(name = "cargo bench --bench peers --")]
pub struct Options {
    /// Folders to back up, each a contest of its own
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Take no more than the first MB megabytes of each folder
    #[arg(long, value_name = "MB")]
    pub photos: Option<u64>,
    /// A contest over N files of 0.5 to 4 kB, made here
    #[arg(long, value_name = "N")]
    pub small: Option<usize>,
    /// How often each program does its work; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// Only these programs
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Where copies, archives and restored files lie meanwhile; about fifteen times the folder's size
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub work: PathBuf,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the results as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Keep the results as benches/results/DATE-WHAT.md
    #[arg(long, value_name = "WHAT")]
    pub keep: Option<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Reads the command line; `None` if it names nothing to back up, as when cargo runs every benchmark there is.
    pub fn read() -> Option<Self> {
        let options = Self::parse();
        if options.dirs.is_empty() && options.small.is_none() {
            println!("{}", Self::command().render_help());
            return None;
        }
        Some(options)
    }
}
