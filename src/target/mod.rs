//! The safe writing of a restore: everything lands beneath one directory, whatever an archive says.
//!
//! Names in an archive are hostile, and so may be whatever already lies in the target, or comes and goes there meanwhile.
//! Three rules make that harmless. Every name is a single checked component ([`check_name`]). Every directory is entered
//! by such a name from its open parent, and never through a symbolic link. Every file is written under a temporary name
//! that did not exist before, gets its metadata by its handle, and takes its final name in one step that, unless asked
//! to, replaces nothing. So no `..`, absolute path, link or race leads out of the target, and a name is either absent or
//! whole. Someone who may move directories out of the target while it is written takes what is in them along; that is
//! beyond any program's reach.
//!
//! Device files, pipes and sockets are never made. Failures are errors of kind `Target` that name the path, except that a
//! directory which finds something else in its place is of kind `Exists`.

mod dir;
mod leftovers;
mod metadata;
mod name;
mod place;
mod root;
mod temp;

pub use dir::{Dir, Target};
pub use leftovers::Found;
pub use metadata::{Metadata, Notes, Policy};
pub use name::{LONGEST as LONGEST_NAME, check_name, is_temp_name};
pub use temp::{Finished, Replace, Temp};

use crate::error::{Error, Kind, what_is_full};
use crate::source::Time;
use std::io;
use std::path::Path;

/// Whether two times are the same as far as any file system keeps them.
pub fn is_same_time(one: Time, other: Time) -> bool {
    metadata::is_close(one, other)
}

/// An error of the target: what was being done to which path, and what the system said.
fn failed(doing: &str, path: &Path, cause: impl Into<io::Error>) -> Error {
    Error::caused(Kind::Target, format!("{doing} {}", path.display()), what_is_full(path, cause.into()))
}
