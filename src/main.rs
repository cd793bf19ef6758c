//! The command `snap`.

fn main() -> std::process::ExitCode {
    snapkeep::cli::run("snap")
}
