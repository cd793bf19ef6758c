//! What a command ends with: the one table of exit codes, and the failure that carries one to the top.
//!
//! The numbers are restic's up to 12. Left for what is to come: 12 wrong password. Scripts should take every other
//! number as failure.

use std::io::ErrorKind;

use snapkeep::error::{Error, Kind};

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

fn hint(error: &Error) -> Option<&'static str> {
    let is_full = error.io().is_some_and(|io| matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    Some(match error.kind() {
        Kind::Store if is_full => {
            "the drive that holds the archive is full; every snapshot in it is as it was, and what was stored now is kept: \
             make room and run the same again"
        }
        Kind::Store if error.io().is_some() => {
            "is the drive still connected? every snapshot that was reported is safe: run the same again when it is back"
        }
        Kind::Target if is_full => "the drive that is restored to is full: make room and run the same again",
        Kind::NoArchive => "is the drive connected? a new archive is made with: {snap} init FOLDER",
        Kind::InUse => "another run is at work on this archive; try again when it has ended",
        Kind::Damaged | Kind::Missing => {
            "{snap} verify --read-data lists every file that is affected, {snap} repair mends what can be mended"
        }
        Kind::Loss => {
            "is the drive with the source connected, and is everything where it should be? if it is as you want it, run \
             the same with --accept-loss"
        }
        Kind::NotFound => "{snap} list shows the snapshots, {snap} ls SNAPSHOT what is in one",
        Kind::Ambiguous => "give more digits of the id",
        Kind::Unsupported => "a newer version of snapkeep made this; get that version",
        Kind::Internal => "this is a fault in the program, please report it; the archive is not harmed by it",
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
    fn a_drive_that_is_full_is_told_from_one_that_is_gone() {
        let hint = |kind, io: ErrorKind| {
            Failure::from(Error::caused(kind, "writing packs/x", std::io::Error::from(io))).hint.unwrap_or_default()
        };
        assert!(hint(Kind::Store, ErrorKind::StorageFull).contains("archive is full"));
        assert!(hint(Kind::Store, ErrorKind::QuotaExceeded).contains("archive is full"));
        assert!(hint(Kind::Store, ErrorKind::Other).contains("still connected"));
        assert!(hint(Kind::Target, ErrorKind::StorageFull).contains("restored to is full"));
        assert_eq!(hint(Kind::Target, ErrorKind::Other), "");
        assert_eq!(Failure::from(Error::new(Kind::Store, "writing", "an earlier write failed")).hint, None);
    }
}
