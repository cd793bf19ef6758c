//! Where a dump goes: standard output, or a new file that gets its name when everything is in it.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::{Fs, Os};

use crate::cli::app::App;
use crate::cli::exit::{Code, Failure};
use crate::cli::screen::Screen;

/// Takes bytes.
pub struct Sink {
    to: To,
    /// Bytes so far.
    pub len: u64,
}

enum To {
    Screen(Arc<Screen>),
    File(New),
}

/// A file without its name yet. It goes away unless it gets one.
struct New {
    file: BufWriter<File>,
    path: PathBuf,
    target: PathBuf,
    named: bool,
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Sink {
    /// Into this file, which must not be there yet, or onto the screen.
    pub fn new(app: &App, target: Option<&Path>) -> Result<Self, Failure> {
        let Some(target) = target else {
            return Ok(Self { to: To::Screen(Arc::clone(&app.screen)), len: 0 });
        };
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!("{} is no name for a file", target.display())));
        };
        if std::fs::symlink_metadata(target).is_ok() {
            return Err(Failure::usage(format!("{} is there already", target.display()))
                .hint("nothing is ever replaced; give another name"));
        }
        let mut other = std::ffi::OsString::from(".");
        other.push(name);
        other.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(other);
        let file = File::create_new(&path).map_err(|error| failed(target, &error))?;
        let new = New { file: BufWriter::with_capacity(1 << 20, file), path, target: target.to_owned(), named: false };
        Ok(Self { to: To::File(new), len: 0 })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        match &mut self.to {
            To::Screen(screen) => {
                screen.write(bytes);
                // Why is told at the end, unless the reader only had enough.
                if screen.is_closed() {
                    screen.finish()?;
                    return Err(Failure::new(Code::Failed, "whoever read it has gone away"));
                }
                Ok(())
            }
            To::File(new) => new.file.write_all(bytes).map_err(|error| failed(&new.target, &error)),
        }
    }

    /// Makes it durable and gives it its name.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let To::File(new) = &mut self.to else { return Ok(()) };
        let folder = new.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let done = new.file.flush().and_then(|()| new.file.get_ref().sync_all());
        let done = done.and_then(|()| Os.rename_new(&new.path, &new.target));
        done.map_err(|error| failed(&new.target, &error))?;
        new.named = true;
        // Some file systems cannot; then the name becomes durable a little later.
        let _ = Os.sync_dir(folder);
        Ok(())
    }
}

fn failed(target: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Code::Failed, format!("writing {}: {error}", target.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            failure.hint("there is no room for it; nothing was left there")
        }
        ErrorKind::NotFound => failure.hint("is the folder there?"),
        _ => failure,
    }
}
