//! The library's one error: what was being done, to which object, and the cause.
//!
//! The library states facts; the command line finds words, hints and exit codes for them by [`Kind`].
//! Failures of the *source* (a photo that cannot be read) are not this type but [`crate::source::Failure`], so that an
//! error of the destination can never be mistaken for a bad photo.

use std::fmt;
use std::io;
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
        let why = without_number(&cause.to_string()).to_owned();
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

/// What a system's error says, without its number, which says nothing to people: "No such file or directory (os error
/// 2)".
pub fn without_number(said: &str) -> &str {
    let numbered = said.strip_suffix(')').and_then(|said| said.rsplit_once(" (os error "));
    match numbered {
        Some((words, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => words,
        _ => said,
    }
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
    fn systems_errors_are_told_without_their_numbers() {
        let error = Error::caused(Kind::Store, "reading x", io::Error::from_raw_os_error(2));
        assert!(error.to_string().starts_with("reading x: ") && !error.to_string().contains("os error"), "{error}");
        assert_eq!(error.io().and_then(io::Error::raw_os_error), Some(2));
        for said in ["plain", "", "(os error 2)", "a (os error x)", "a (os error )", "a (os error 2) b"] {
            assert_eq!(without_number(said), said);
        }
    }
}
