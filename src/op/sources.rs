//! What is said of sources afterwards: that one was renamed, retired, or is back. Nothing that is recorded changes.

use crate::archive::{Archive, Filter};
use crate::error::{Error, Kind, Result};
use crate::format::{Mark, Says, Time};
use crate::view::{SourceLine, Sources};

/// Who says something, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Speaker {
    /// The name of this machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// Name and version of the program.
    pub program: String,
    /// When.
    pub time: Time,
    /// Minutes by which local time is ahead of UTC.
    pub offset_minutes: i16,
}

impl Speaker {
    fn say(&self, archive: &Archive, says: Says) -> Result<()> {
        let mark = Mark {
            sequence: archive.next_sequence()?,
            time: self.time,
            offset_minutes: self.offset_minutes,
            host: self.host.clone(),
            user: self.user.clone(),
            program: self.program.clone(),
            says,
        };
        archive.put_mark(&mark).map(drop)
    }
}

/// Says that what was recorded of the source at `old`, and of those below it, goes on at `new`. Returns the paths that were
/// renamed, old and new.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such source, [`Kind::Invalid`] if there cannot be one past of both, or the archive's
/// error.
pub fn rename_source(
    archive: &Archive,
    speaker: &Speaker,
    host: &str,
    old: &[u8],
    new: &[u8],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let doing = || format!("renaming the source {}", String::from_utf8_lossy(old));
    let sources = Sources::of(archive, &Filter::default())?;
    let mut renamed = Vec::new();
    for line in sources.all().iter().filter(|line| line.host == host) {
        let Some(below) = line.path.strip_prefix(old) else { continue };
        if !below.is_empty() && !below.starts_with(b"/") {
            continue;
        }
        let path = [new, below].concat();
        if path == line.path {
            return Err(Error::new(Kind::Invalid, doing(), "it is called so already"));
        }
        let there = sources.all().iter().find(|other| other.host == host && other.path == path);
        if let Some(there) = there
            && there.snapshots.first() <= line.snapshots.last()
        {
            let why = "both were backed up at the same time, so they are two sources";
            return Err(Error::new(Kind::Invalid, doing(), why));
        }
        renamed.push((line.path.clone(), path));
    }
    if renamed.is_empty() {
        return Err(unknown(&sources, doing(), host));
    }
    for (path, new) in &renamed {
        let says = Says::SourceRenamed { host: host.to_owned(), path: path.clone(), new: new.clone() };
        speaker.say(archive, says)?;
    }
    Ok(renamed)
}

/// Says that a source is retired: what is in it is neither present nor deleted, until it is backed up again.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such source, [`Kind::Invalid`] if it is so already, or the archive's error.
pub fn retire_source(archive: &Archive, speaker: &Speaker, host: &str, path: &[u8]) -> Result<()> {
    let (host, path) = known(archive, "retiring", host, path, false)?;
    speaker.say(archive, Says::SourceRetired { host, path })
}

/// Says that a source that was retired counts again.
///
/// # Errors
/// As [`retire_source`].
pub fn bring_source_back(archive: &Archive, speaker: &Speaker, host: &str, path: &[u8]) -> Result<()> {
    let (host, path) = known(archive, "bringing back", host, path, true)?;
    speaker.say(archive, Says::SourceBack { host, path })
}

/// The source that is meant, which must be retired or not.
fn known(archive: &Archive, doing: &str, host: &str, path: &[u8], retired: bool) -> Result<(String, Vec<u8>)> {
    let sources = Sources::of(archive, &Filter::default())?;
    let is = |line: &&SourceLine| line.host == host && line.path == path;
    let doing = || format!("{doing} the source {}", String::from_utf8_lossy(path));
    let line = sources.all().iter().find(is).ok_or_else(|| unknown(&sources, doing(), host))?;
    if line.retired != retired {
        let why = if retired { "it is not retired" } else { "it is retired already" };
        return Err(Error::new(Kind::Invalid, doing(), why));
    }
    Ok((line.host.clone(), line.path.clone()))
}

fn unknown(sources: &Sources<'_>, doing: String, host: &str) -> Error {
    let there = sources.all().iter().filter(|line| line.host == host);
    let there: Vec<_> = there.map(|line| String::from_utf8_lossy(&line.path).into_owned()).collect();
    let why = match there.as_slice() {
        [] => format!("no snapshot is of {host}"),
        there => format!("{host} has no such source; it has {}", there.join(", ")),
    };
    Error::new(Kind::NotFound, doing, why)
}
