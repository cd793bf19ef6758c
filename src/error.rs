//! The library's one error: what was being done, to which object, and the cause.
//!
//! The library states facts; the command line finds words, hints and exit codes for them by [`Kind`].
//! Failures of the *source* (a photo that cannot be read) are not this type but [`crate::source::Failure`], so that an
//! error of the destination can never be mistaken for a bad photo.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is; the command line chooses its exit code and hint by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// There is no archive at the place that was named.
    NoArchive,
    /// Something is already there, where a new thing was to be made.
    Exists,
    /// Another process holds the archive.
    InUse,
    /// The place of the archive has no locks, so nobody can tell whether another process is at work.
    NoLocks,
    /// A stored object is not what its name or its checks say.
    Damaged,
    /// An object that should be in the archive is not there.
    Missing,
    /// A snapshot, path or name that was asked for does not exist.
    NotFound,
    /// A name that was asked for fits several things.
    Ambiguous,
    /// A request that makes no sense, or text that cannot be understood.
    Invalid,
    /// Made by a newer version, or with a codec, seal or object kind that is not known here.
    Unsupported,
    /// The source as a whole cannot be used (a folder named as source is not there).
    Source,
    /// The source is empty, elsewhere, or has lost or changed so much that it was not recorded.
    Loss,
    /// Reading or writing the store failed.
    Store,
    /// Reading or writing the restore target failed.
    Target,
    /// The user asked to stop.
    Interrupted,
    /// A fault in this program.
    Internal,
}

impl Kind {
    /// Whether it tells of one object that cannot be had, while everything else may be as it should.
    pub fn is_of_an_object(self) -> bool {
        matches!(self, Self::Damaged | Self::Missing | Self::NotFound | Self::Unsupported)
    }
}

/// What was being done, to which object, and why it failed.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    doing: String,
    why: String,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error whose cause is told in words: `doing` names the act and the object ("reading pack 12ab…"), `why` the
    /// reason. Both lower case and without a final stop.
    pub fn new(kind: Kind, doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, doing: doing.into(), why: why.into(), cause: None }))
    }

    /// An error caused by another one.
    pub fn caused(
        kind: Kind,
        doing: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let cause: Arc<dyn std::error::Error + Send + Sync> = cause.into().into();
        let why = cause.downcast_ref().map_or_else(|| without_numbers(&cause.to_string()), words_of);
        Self(Box::new(Inner { kind, doing: doing.into(), why, cause: Some(cause) }))
    }

    /// The user's wish to stop, as an error that unwinds whatever was going on.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "working", "interrupted")
    }

    /// The same error, seen from a caller who knows more about what was being done.
    pub fn within(mut self, doing: impl Into<String>) -> Self {
        self.0.why = format!("{}: {}", self.0.doing, self.0.why);
        self.0.doing = doing.into();
        self
    }

    /// The same error, taken for another sort of failure by a caller who knows more about what it means.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The operating system's error beneath, if there is one.
    pub fn io(&self) -> Option<&io::Error> {
        self.0.cause.as_deref().and_then(|cause| cause.downcast_ref())
    }
}

/// Whether it is that this process, or the whole system, has too many files open.
pub fn is_out_of_handles(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// A file system has room, but no numbers for more files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMoreFiles;

impl NoMoreFiles {
    /// Whether this error says so.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for NoMoreFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file system has room, and takes no more files: it was made for so many (df -i)")
    }
}

impl std::error::Error for NoMoreFiles {}

impl From<NoMoreFiles> for io::Error {
    fn from(out: NoMoreFiles) -> Self {
        Self::new(io::ErrorKind::StorageFull, out)
    }
}

/// The error of a file system that is full, told apart: one at this path may have room, and no numbers for more files.
pub fn what_is_full(path: &Path, error: io::Error) -> io::Error {
    let about = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    let is_out = about.is_some_and(|about| about.f_files > 0 && about.f_favail == 0 && about.f_bavail > 0);
    if error.kind() == io::ErrorKind::StorageFull && is_out { NoMoreFiles.into() } else { error }
}

/// What the system said, in words: without its number, and plain where people meet it.
pub fn words_of(error: &io::Error) -> String {
    use io::ErrorKind as Sort;
    if error.raw_os_error().is_none() {
        // What was made from a sort alone says no more than that, in the system's words.
        return without_numbers(&error.to_string());
    }
    let plain = match error.kind() {
        Sort::NotFound => "there is no such file or folder",
        Sort::PermissionDenied => "no permission",
        Sort::ReadOnlyFilesystem => "the drive is read-only",
        Sort::StorageFull => "the drive is full",
        Sort::QuotaExceeded => "the share of the drive that this user may take is used up",
        Sort::FileTooLarge => "the file system takes no file of this length",
        Sort::InvalidFilename => "the file system does not take this name",
        Sort::NotADirectory => "a part of the path is no folder",
        Sort::IsADirectory => "it is a folder",
        Sort::AlreadyExists => "something is there already",
        Sort::StaleNetworkFileHandle => "the network drive no longer knows it",
        _ => {
            let text = without_numbers(&error.to_string());
            let mut rest = text.chars();
            // Abbreviations stay as they are.
            let lower = rest.clone().nth(1).is_some_and(char::is_lowercase);
            return match rest.next() {
                Some(first) if lower => first.to_lowercase().chain(rest).collect(),
                _ => text,
            };
        }
    };
    plain.to_owned()
}

/// A text without the ` (os error 2)` that the system's words end with.
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => out.push_str(rest),
            _ => {
                out.push_str(" (os error ");
                out.push_str(part);
            }
        }
    }
    out
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.doing, self.0.why)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reads_the_system_s_numbers() {
        for number in 1..200 {
            let cause = io::Error::from_raw_os_error(number);
            let error = Error::caused(Kind::Store, "reading packs/x", cause);
            assert!(!error.to_string().contains("os error"), "{error}");
            assert_eq!(error.io().and_then(io::Error::raw_os_error), Some(number), "it is kept for programs");
        }
        let words = |number| words_of(&io::Error::from_raw_os_error(number));
        assert_eq!((words(2).as_str(), words(13).as_str()), ("there is no such file or folder", "no permission"));
        assert_eq!(words(5).to_lowercase(), words(5));
        assert_eq!(words_of(&io::Error::other("a fault of ours")), "a fault of ours");
        assert_eq!(without_numbers("I/O error: Gone (os error 2); x (os error y)"), "I/O error: Gone; x (os error y)");
    }
}
