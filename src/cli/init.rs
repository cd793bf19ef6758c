//! `init`: a new archive.

use std::path::PathBuf;

use super::app::{self, App};
use super::exit::{Code, Failure};

/// Make a new archive
///
/// The folder is made if it is not there; if it is, it has to be empty. Any file system will do, also that of a USB
/// drive as it was sold.
#[derive(clap::Args)]
pub struct Arguments {
    /// Its folder; else the one that --archive, the environment or the configuration names
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Makes it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let path = match &asked.folder {
        Some(folder) => folder.clone(),
        None => app.place_of_new()?,
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    app::make(&path)?;
    if app.screen.is_json() {
        app.screen.json(&serde_json::json!({"message_type": "initialized", "repository": path.to_string_lossy()}));
    }
    app.screen.tell(&format!("made a new archive in {}", super::names::path(&path)));
    Ok(Code::Done)
}
