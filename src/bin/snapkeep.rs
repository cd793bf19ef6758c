//! The same program under a second name, for machines on which the word `snap` is taken.

#[path = "../cli/mod.rs"]
mod cli;

fn main() -> std::process::ExitCode {
    cli::run("snapkeep")
}
