//! The command line's grammar: commands, and the flags that several of them share.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::archive::Filter;
use crate::error::words_of;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::exit::{self, Failure};
use super::screen::Wishes;
use super::{
    browse, cat, create, deleted, diff, dump, duplicates, examples, find, generate, has, history, init, list, ls,
    mount, places, repair, restore, source, squeeze, status, verify,
};

#[derive(Parser)]
#[command(
    version = concat!(env!("CARGO_PKG_VERSION"), " (snapkeep, an archive for photos)"),
    about = "Keeps every state of your photos: what is deleted, moved or edited stays.",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Init(init::Arguments),
    #[command(alias = "backup")]
    Create(create::Arguments),
    #[command(visible_alias = "snapshots")]
    List(list::Arguments),
    Ls(ls::Arguments),
    Restore(restore::Arguments),
    Cat(cat::Arguments),
    Dump(dump::Arguments),
    History(history::Arguments),
    Deleted(deleted::Arguments),
    Find(find::Arguments),
    Has(has::Arguments),
    Diff(diff::Arguments),
    Duplicates(duplicates::Arguments),
    #[command(visible_alias = "sources")]
    Source(source::Arguments),
    #[command(visible_alias = "check")]
    Verify(verify::Arguments),
    Repair(repair::Arguments),
    Squeeze(squeeze::Arguments),
    Status(status::Arguments),
    Mount(mount::Arguments),
    Browse(browse::Arguments),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Flags of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The archive: its folder, or its name in the configuration [env: SNAPKEEP_ARCHIVE]
    #[arg(short, long, global = true, value_name = "FOLDER")]
    pub archive: Option<OsString>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    json: bool,
    /// Print only what was asked for, and troubles
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Tell what is done with each file; twice for those that did not change, too
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Show no progress
    #[arg(long, global = true)]
    no_progress: bool,
    /// Where indexes are kept [env: SNAPKEEP_CACHE_DIR]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no index on this computer
    #[arg(long, global = true)]
    pub no_cache: bool,
}

impl Global {
    /// What was asked for about output.
    pub fn wishes(&self) -> Wishes {
        Wishes { json: self.json, quiet: self.quiet, verbose: self.verbose, no_progress: self.no_progress }
    }
}

/// Which snapshots count.
#[derive(Args)]
#[command(next_help_heading = "Which snapshots count")]
pub struct Which {
    /// Only those of this machine
    #[arg(short = 'H', long, value_name = "NAME")]
    host: Option<String>,
    /// Only those with all of these tags; repeated, with those or these
    #[arg(long, value_name = "TAG[,TAG…]")]
    tag: Vec<String>,
    /// Only those of this folder or file; repeated, of one of them
    #[arg(long, value_name = "PATH")]
    path: Vec<PathBuf>,
}

impl Which {
    /// The same, as the library asks for it.
    ///
    /// # Errors
    /// If a path cannot be made absolute.
    pub fn filter(&self) -> Result<Filter, Failure> {
        let absolute = |path: &PathBuf| {
            let whole = std::path::absolute(path).map_err(|error| {
                Failure::usage(format!("finding the path {}: {}", path.display(), words_of(&error)))
            })?;
            let whole: PathBuf = whole.components().collect();
            Ok(places::bytes_of(whole.as_os_str()).into_owned())
        };
        Ok(Filter {
            host: self.host.clone().filter(|host| !host.is_empty()),
            tags: self.tag.iter().map(|tags| split_tags(tags)).collect(),
            paths: self.path.iter().map(absolute).collect::<Result<_, Failure>>()?,
        })
    }
}

/// The tags in a list with commas.
pub fn split_tags(tags: &str) -> Vec<String> {
    tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

const ENVIRONMENT: &str = "\
Environment:
  SNAPKEEP_ARCHIVE       the archive, as with --archive
  SNAPKEEP_CACHE_DIR     where indexes are kept
  SNAPKEEP_HOST          the machine's name in new snapshots
  SNAPKEEP_CONFIG        the configuration file
  SNAPKEEP_PROGRESS_FPS  how often progress is shown in a second
  NO_COLOR               no colours

Flags come before the environment, and that before the configuration file.";

const SNAPSHOTS: &str = "\
A SNAPSHOT is the beginning of its id, `latest`, `latest~2` (two before), or a date: `2024-06`, `2024-06-01`,
`2024-06-01 18:00`, `yesterday`, `3 days ago`, `2 months ago`. A date means the newest snapshot that is not later than
its end. What is in a snapshot is named after a colon: latest:Pictures/2019.";

/// The whole grammar, for a program with this name.
pub fn grammar(name: &'static str) -> clap::Command {
    let snapshots = SNAPSHOTS.replace('\n', " ").replace('`', "");
    let explain = |command: clap::Command| command.after_long_help(snapshots.clone());
    let grammar = Cli::command()
        .name(name)
        .bin_name(name)
        .after_long_help(format!("{snapshots}\n\n{}\n\n{ENVIRONMENT}", exit::TABLE))
        .mut_subcommand("ls", explain)
        .mut_subcommand("restore", explain)
        .mut_subcommand("cat", explain)
        .mut_subcommand("dump", explain)
        .mut_subcommand("diff", explain);
    examples::explain(grammar, name)
}

/// Reads a command line.
///
/// # Errors
/// What clap finds wrong, or a wish for help.
pub fn parse(name: &'static str, arguments: &[OsString]) -> Result<(Global, Command), clap::Error> {
    let matches = grammar(name).try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli.global, cli.command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar("snap").debug_assert();
    }

    #[test]
    fn old_habits_work() {
        for (habit, ours) in [("backup", "create"), ("snapshots", "list"), ("check", "verify"), ("dump", "dump")] {
            let command = grammar("snap");
            let found = command.find_subcommand(habit).map(clap::Command::get_name);
            assert_eq!(found, Some(ours));
        }
    }

    #[test]
    fn tags_are_split_at_commas() {
        assert_eq!(split_tags("a, b,,c"), ["a", "b", "c"]);
        assert!(split_tags("").is_empty());
    }
}
