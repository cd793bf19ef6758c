//! What a command ends with: the one table of exit codes, and the failure that carries one to the top.
//!
//! The numbers are restic's up to 12. Left for what is to come: 12 wrong password. Scripts should take every other
//! number as failure.

use std::io::ErrorKind;

use crate::error::{Error, Kind, NoMoreFiles, is_out_of_handles};

/// An exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Everything was done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration makes no sense.
    Usage = 2,
    /// Done, but for some files.
    Incomplete = 3,
    /// There is no archive at the place that was named.
    NoArchive = 10,
    /// Another process holds the archive.
    InUse = 11,
    /// The source has lost or changed too much, and nothing was recorded.
    Loss = 13,
    /// Something in the archive is damaged or lost.
    Damage = 14,
    /// Something that was asked for is not held where it should be.
    NotHeld = 15,
    /// The user interrupted it.
    Interrupted = 130,
}

/// The table, as the manual prints it.
pub const TABLE: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    done but incomplete: some files could not be read or restored
  10   there is no archive at that place
  11   the archive is in use
  13   the source is empty or has lost too much, and nothing was recorded
  14   damage was found in the archive, or in the source
  15   not everything is held: a file is not in the archive (has)
  130  interrupted";

impl Code {
    /// What a library error ends the program with.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::NoArchive => Self::NoArchive,
            Kind::InUse => Self::InUse,
            Kind::Damaged | Kind::Missing => Self::Damage,
            Kind::Invalid => Self::Usage,
            Kind::Loss => Self::Loss,
            Kind::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

/// Why a command ended early: one line for people, perhaps a hint, and the code.
#[derive(PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the program ends with.
    pub code: Code,
    /// One line.
    pub message: String,
    /// What to do about it. `{snap}` stands for the name under which the program was called.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// A command line or configuration that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// The same, with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(Code::of(error.kind()), error.to_string());
        match hint(&error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What the system's error beneath says of the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// There is no system's error.
    None,
    /// No room is left.
    Full,
    /// There is room, and no more files are taken.
    OutOfFiles,
    /// Too many files are open.
    TooManyOpen,
    /// The system gives no more memory or threads.
    NoMemory,
    /// Something of another kind lies there.
    InTheWay,
    /// Nothing may be written there.
    ReadOnly,
    /// This user may not.
    Forbidden,
    /// The file system cannot hold it: too long, or a name that it does not take.
    CannotHold,
    /// It is not there, or the drive fails.
    Gone,
}

impl Cause {
    fn of(error: &Error) -> Self {
        let Some(io) = error.io() else { return Self::None };
        if NoMoreFiles::is(io) {
            return Self::OutOfFiles;
        }
        if is_out_of_handles(io) {
            return Self::TooManyOpen;
        }
        match io.kind() {
            ErrorKind::OutOfMemory | ErrorKind::WouldBlock => Self::NoMemory,
            ErrorKind::NotADirectory | ErrorKind::IsADirectory => Self::InTheWay,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            ErrorKind::PermissionDenied => Self::Forbidden,
            ErrorKind::FileTooLarge | ErrorKind::InvalidFilename => Self::CannotHold,
            _ => Self::Gone,
        }
    }
}

/// The one table: what went wrong and why, and what to do about it.
fn hint(error: &Error) -> Option<&'static str> {
    Some(match (error.kind(), Cause::of(error)) {
        (_, Cause::TooManyOpen) => {
            "this program may not open so many files: raise the limit (ulimit -n 1024) and run the same again"
        }
        (Kind::Internal, Cause::NoMemory) => {
            "the system gives this program no more memory or threads: close other programs or raise its limits (ulimit -a), then \
             run the same again; the archive is as it was"
        }
        (Kind::Store, Cause::OutOfFiles) => {
            "the file system that holds the archive takes no more files, though it has room: remove files from it that are not \
             the archive's, or move the archive to a file system that was made for more; every snapshot in it is as it was"
        }
        (Kind::Store, Cause::InTheWay) => {
            "something of another kind lies where the archive has to write: move it away, then run the same again"
        }
        (Kind::Store, Cause::Full) => {
            "the drive that holds the archive is full; every snapshot in it is as it was, and what was stored now is kept: \
             make room and run the same again"
        }
        (Kind::Store, Cause::ReadOnly) => {
            "nothing can be written to the drive that holds the archive: does a card have its switch on, or did the system \
             make it read-only after an error? every snapshot in it is as it was"
        }
        (Kind::Store | Kind::NoArchive, Cause::Forbidden) => {
            "this user may not read or write the archive's folder: see whose it is (ls -ld), or run the same as that user"
        }
        (Kind::Store, Cause::CannotHold) => "the file system that holds the archive does not take this file",
        (Kind::Store, Cause::Gone) => {
            "is the drive still connected? every snapshot that was reported is safe: run the same again when it is back"
        }
        (Kind::Target, Cause::Full) => "the drive that is restored to is full: make room and run the same again",
        (Kind::Target, Cause::OutOfFiles) => {
            "the file system that is restored to takes no more files, though it has room: restore into a folder on another drive"
        }
        (Kind::Target, Cause::ReadOnly) => "nothing can be written there: name another folder with --target FOLDER",
        (Kind::Target, Cause::Forbidden) => {
            "this user may not write there: name another folder with --target FOLDER, or run the same as the one who may"
        }
        (Kind::Target, Cause::CannotHold) => "its file system cannot hold this: restore into a folder on another drive",
        (Kind::Target, Cause::Gone) => "is the drive that is restored to still connected?",
        (Kind::Source, Cause::Forbidden) => "this user may not read it: see whose it is (ls -ld)",
        (Kind::Source, Cause::Gone) => "is the drive with the source connected, and is the path written right?",
        (Kind::NoArchive, _) => "is the drive connected? a new archive is made with: {snap} init FOLDER",
        (Kind::NoLocks, _) => {
            "close every other snap that may be at work on this archive, on every computer; only if you are sure that there is \
             none, run the same with --no-lock"
        }
        (Kind::InUse, _) => "another run is at work on this archive; try again when it has ended",
        (Kind::Damaged | Kind::Missing, _) => {
            "{snap} verify --read-data lists every file that is affected, {snap} repair mends what can be mended"
        }
        (Kind::Loss, _) => {
            "is the drive with the source connected, and is everything where it should be? if it is as you want it, run \
             the same with --accept-loss"
        }
        (Kind::NotFound, _) => "{snap} list shows the snapshots, {snap} ls SNAPSHOT what is in one",
        (Kind::Ambiguous, _) => "give more digits of the id",
        (Kind::Unsupported, _) => {
            "a newer version of snapkeep made this, or it was made to do harm: get the newest version; everything else in the \
             archive can be read"
        }
        (Kind::Internal, Cause::Full) => {
            "the drive with the cache folder is full; --cache-dir names another, --no-cache none"
        }
        (Kind::Internal, Cause::ReadOnly | Cause::Forbidden) => {
            "the cache folder cannot be used; --cache-dir names another, --no-cache none"
        }
        (Kind::Internal, _) => "this is a fault in the program, please report it; the archive is not harmed by it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_error_has_its_code() {
        let table = [
            (Kind::NoArchive, 10),
            (Kind::Exists, 1),
            (Kind::InUse, 11),
            (Kind::NoLocks, 1),
            (Kind::Damaged, 14),
            (Kind::Missing, 14),
            (Kind::NotFound, 1),
            (Kind::Ambiguous, 1),
            (Kind::Invalid, 2),
            (Kind::Unsupported, 1),
            (Kind::Source, 1),
            (Kind::Loss, 13),
            (Kind::Store, 1),
            (Kind::Target, 1),
            (Kind::Interrupted, 130),
            (Kind::Internal, 1),
        ];
        for (kind, code) in table {
            assert_eq!(Code::of(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn the_manual_lists_every_code() {
        use Code::*;
        for code in [Done, Failed, Usage, Incomplete, NoArchive, InUse, Loss, Damage, NotHeld, Interrupted] {
            assert!(TABLE.contains(&format!("\n  {:<5}", code as u8)), "{code:?}");
        }
    }

    #[test]
    fn a_library_error_keeps_its_words_and_gets_a_hint() {
        let failure = Failure::from(Error::new(Kind::NoArchive, "opening the archive in /x", "there is none"));
        assert_eq!(failure.code, Code::NoArchive);
        assert_eq!(failure.message, "opening the archive in /x: there is none");
        assert!(failure.hint.is_some_and(|hint| hint.contains("{snap} init")));
    }

    #[test]
    fn a_hint_fits_its_cause() {
        let hint = |kind, io: ErrorKind| {
            Failure::from(Error::caused(kind, "writing packs/x", std::io::Error::from(io))).hint.unwrap_or_default()
        };
        use ErrorKind::*;
        let table = [
            (Kind::Store, StorageFull, "archive is full"),
            (Kind::Store, QuotaExceeded, "archive is full"),
            (Kind::Store, ReadOnlyFilesystem, "nothing can be written to the drive that holds the archive"),
            (Kind::Store, PermissionDenied, "may not read or write the archive's folder"),
            (Kind::NoArchive, PermissionDenied, "may not read or write the archive's folder"),
            (Kind::NoArchive, NotFound, "{snap} init FOLDER"),
            (Kind::Store, FileTooLarge, "does not take this file"),
            (Kind::Store, NotFound, "still connected"),
            (Kind::Store, Other, "still connected"),
            (Kind::Target, StorageFull, "restored to is full"),
            (Kind::Target, ReadOnlyFilesystem, "--target FOLDER"),
            (Kind::Target, PermissionDenied, "--target FOLDER"),
            (Kind::Target, InvalidFilename, "another drive"),
            (Kind::Target, Other, "restored to still connected"),
            (Kind::Source, PermissionDenied, "may not read it"),
            (Kind::Source, NotFound, "is the path written right"),
            (Kind::Internal, StorageFull, "--cache-dir"),
            (Kind::Internal, PermissionDenied, "--cache-dir"),
            (Kind::Internal, Other, "please report it"),
            (Kind::Internal, WouldBlock, "no more memory or threads"),
            (Kind::Store, NotADirectory, "move it away"),
            (Kind::Store, NotConnected, "still connected"),
            (Kind::InUse, WouldBlock, "another run is at work"),
            (Kind::Damaged, Other, "repair mends"),
        ];
        for (kind, io, part) in table {
            assert!(hint(kind, io).contains(part), "{kind:?}, {io:?}: {}", hint(kind, io));
        }
        let of = |io: std::io::Error| Failure::from(Error::caused(Kind::Store, "writing packs/x", io));
        let full = of(NoMoreFiles.into());
        assert!(
            full.message.contains("takes no more files") && full.hint.is_some_and(|hint| !hint.contains("make room"))
        );
        let handles = of(std::io::Error::from(rustix::io::Errno::MFILE));
        assert!(handles.hint.is_some_and(|hint| hint.contains("ulimit -n")), "it is not the drive");
        let drive = ["drive still connected", "drive connected"];
        for kind in [Kind::Store, Kind::Target, Kind::Source] {
            for io in [StorageFull, ReadOnlyFilesystem, PermissionDenied] {
                assert!(
                    !drive.iter().any(|part| hint(kind, io).contains(part)),
                    "{kind:?}, {io:?}: the drive is there"
                );
            }
        }
        assert_eq!(Failure::from(Error::new(Kind::Store, "writing", "an earlier write failed")).hint, None);
    }
}
