//! The same program under a second name, for machines on which the word `snap` is taken.

fn main() -> std::process::ExitCode {
    snapkeep::cli::run("snapkeep")
}
