//! A problem of the source: what was being done, to which path, and what the system said.

use crate::error::words_of;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Something in the source that could not be read. It concerns one path; everything else goes on.
#[derive(Debug)]
pub struct Failure {
    /// What could not be read, below the root that was named (not made absolute).
    pub path: PathBuf,
    /// What was being done, as in "reading".
    pub during: &'static str,
    /// Why it failed.
    pub cause: io::Error,
}

impl Failure {
    pub(super) fn new(during: &'static str, path: impl Into<PathBuf>, cause: impl Into<io::Error>) -> Self {
        Self { path: path.into(), during, cause: cause.into() }
    }
}

impl Failure {
    /// What the system said, in words.
    pub fn why(&self) -> String {
        words_of(&self.cause)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.during, self.path.display(), self.why())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
