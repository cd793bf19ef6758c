//! The command `snap`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run("snap")
}
