//! Names: which ones may be restored, and the temporary ones.

use crate::error::{Error, Kind, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The longest name that any file system here takes, in bytes.
pub const LONGEST: usize = 255;

const TEMP: (&[u8], &[u8]) = (b".snapkeep-restore-", b".tmp");

/// Refuses what is not the name of one thing in one directory: the empty name, `.`, `..`, and any name with a `/` or a NUL
/// or of more than 255 bytes.
pub fn check_name(name: &[u8]) -> Result<()> {
    let why = match name {
        b"" => "it is empty",
        b"." | b".." => "it stands for another directory",
        _ if name.contains(&b'/') => "it holds a '/'",
        _ if name.contains(&0) => "it holds a NUL byte",
        _ if name.len() > LONGEST => "it is longer than 255 bytes",
        _ => return Ok(()),
    };
    let shown: String = String::from_utf8_lossy(name).chars().take(80).collect();
    Err(Error::new(Kind::Target, format!("restoring under the name {shown:?}"), why))
}

/// Whether this is a name under which a restore writes what is not finished. One that is found later and that no process
/// holds was left by a restore that was killed, and may be removed.
pub fn is_temp_name(name: &[u8]) -> bool {
    name.strip_prefix(TEMP.0)
        .and_then(|rest| rest.strip_suffix(TEMP.1))
        .is_some_and(|middle| middle.len() == 32 && middle.iter().all(u8::is_ascii_hexdigit))
}

/// Whether this is the name of a mark: an empty file in a directory that a restore made and has not finished.
pub(super) fn is_mark_name(name: &[u8]) -> bool {
    is_temp_name(name) && name.ends_with(b"ffffffffffffffff.tmp")
}

/// The name of a run's marks.
pub(super) fn mark_name(run: u64) -> Vec<u8> {
    temp_name(run, u64::MAX)
}

/// A temporary name: `run` is random for each target, `count` differs for each name.
pub(super) fn temp_name(run: u64, count: u64) -> Vec<u8> {
    [TEMP.0, format!("{run:016x}{count:016x}").as_bytes(), TEMP.1].concat()
}

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_one_thing_passes() {
        let long = [b'x'; 256];
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"/etc", b"../x", b"a\0b", b"\0", &long] {
            let error = check_name(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Target, "{error}");
        }
        for good in [&b"a"[..], b"...", b"..a", b"a\\b", b"C:", b"\xff\xfe", b" ", b"-rf", &long[..255]] {
            check_name(good).unwrap();
        }
    }

    #[test]
    fn temporary_names_are_known_again_and_no_others() {
        let name = temp_name(u64::MAX, 7);
        assert!(is_temp_name(&name) && check_name(&name).is_ok() && !is_mark_name(&name));
        assert!(is_temp_name(&mark_name(7)) && is_mark_name(&mark_name(7)));
        assert!(!is_temp_name(b".snapkeep-restore-.tmp"));
        assert!(!is_temp_name(b"photo.jpg"));
    }
}
