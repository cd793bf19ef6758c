//! What is backed up: a walk of a directory, the rules that leave things out, and the reading of files.
//!
//! The source is only ever read. Nothing here writes to it, follows a symbolic link below its root, opens a device or
//! waits on a pipe; access times are left alone wherever the system allows it. The walk's order is defined: the children
//! of a directory are sorted by the bytes of their names.
//!
//! A thing that cannot be read is a [`Failure`] and never ends the walk. `Failure` is a type of its own, so that a full or
//! failing *destination* can never be booked as an unreadable photo: only this room makes one.

mod failure;
mod list;
mod mounts;
mod pattern;
mod place;
mod read;
mod rules;
mod scan;
mod selection;
mod stat;
mod sys;
mod trust;

pub use failure::Failure;
pub use list::{read_at_most, read_list};
pub use read::{SourceFile, Xattr, Xattrs, read_link, xattrs};
pub use rules::{RuleSpec, Rules};
pub use scan::{Node, PassedOver, Presence, Scan, Unseen, scan};
pub use selection::Patterns;
pub use stat::{Kind, Stat, Time};
pub use sys::name_of;
pub use trust::{Clock, Trust, trust};
