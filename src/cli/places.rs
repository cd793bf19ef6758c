//! Where things lie on this machine and what it is called: the one file of the command line that knows the platform.
//!
//! Folders follow the XDG base directory specification, and on macOS and Windows the customs there. An XDG variable that
//! is not absolute is ignored, as the specification asks.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The folders of one user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The user's home, if it is known.
    pub home: Option<PathBuf>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The folder of indexes.
    pub cache: Option<PathBuf>,
    /// The archive that is used when none is named anywhere.
    pub archive: Option<PathBuf>,
}

/// An environment variable; an empty one counts as none.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Places {
    /// Those of whoever runs the program.
    pub fn of_user() -> Self {
        Self::from(std::env::consts::OS, std::env::home_dir(), variable)
    }

    fn from(os: &str, home: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let below = |path: &str| home.as_ref().map(|home| home.join(path));
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let (config, cache, data) = match os {
            "macos" => {
                let support = below("Library/Application Support");
                (support.clone(), below("Library/Caches"), support)
            }
            "windows" => (folder("APPDATA"), folder("LOCALAPPDATA"), folder("LOCALAPPDATA")),
            _ => (
                folder("XDG_CONFIG_HOME").or_else(|| below(".config")),
                folder("XDG_CACHE_HOME").or_else(|| below(".cache")),
                folder("XDG_DATA_HOME").or_else(|| below(".local/share")),
            ),
        };
        let cache_name = if os == "windows" { "snapkeep/cache" } else { "snapkeep" };
        Self {
            config: config.map(|folder| folder.join("snapkeep/config.toml")),
            cache: cache.map(|folder| folder.join(cache_name)),
            archive: data.map(|folder| folder.join("snapkeep/archive")),
            home,
        }
    }

    /// A path of the configuration file, where `~` stands for the home folder.
    pub fn expand(&self, path: &Path) -> PathBuf {
        match (&self.home, path.strip_prefix("~")) {
            (Some(home), Ok(rest)) if rest.as_os_str().is_empty() => home.clone(),
            (Some(home), Ok(rest)) => home.join(rest),
            _ => path.to_owned(),
        }
    }
}

/// A path as it is written, with `~` for the home folder.
pub fn shortened(path: &Path) -> PathBuf {
    let home = std::env::home_dir().filter(|home| home.components().count() > 1);
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => Path::new("~").join(rest),
        None => path.to_owned(),
    }
}

impl Places {
    /// A pattern of the configuration file, where a leading `~` stands for the home folder, whose own name is taken
    /// literally.
    pub fn expand_pattern(&self, pattern: &str) -> String {
        let (negated, rest) = pattern.strip_prefix('!').map_or(("", pattern), |rest| ("!", rest));
        let below = rest.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/'));
        let Some((home, below)) = self.home.as_ref().and_then(|home| home.to_str()).zip(below) else {
            return pattern.to_owned();
        };
        let special = |char: char| matches!(char, '*' | '?' | '[' | ']' | '\\');
        let home: String =
            home.chars().flat_map(|char| special(char).then_some('\\').into_iter().chain([char])).collect();
        format!("{negated}{home}{below}")
    }
}

/// The name of this machine.
pub fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = variable("COMPUTERNAME").map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// The name of the user.
pub fn user_name() -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| variable(name));
    #[cfg(unix)]
    let number = || rustix::process::getuid().as_raw().to_string();
    #[cfg(not(unix))]
    let number = || "unknown".to_owned();
    name.map_or_else(number, |name| name.to_string_lossy().into_owned())
}

/// The bytes of a path or an argument.
pub fn bytes_of(text: &OsStr) -> Cow<'_, [u8]> {
    #[cfg(unix)]
    return Cow::Borrowed(std::os::unix::ffi::OsStrExt::as_bytes(text));
    #[cfg(not(unix))]
    return Cow::Owned(text.to_string_lossy().replace('\\', "/").into_bytes());
}

/// The path that these bytes name.
pub fn path_of(bytes: Vec<u8>) -> PathBuf {
    #[cfg(unix)]
    return <OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into();
    #[cfg(not(unix))]
    return String::from_utf8_lossy(&bytes).into_owned().into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(os: &str, variables: &[(&str, &str)]) -> Places {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Places::from(os, Some("/home/anna".into()), variable)
    }

    #[test]
    fn folders_follow_the_platform() {
        let linux = places("linux", &[]);
        assert_eq!(linux.config, Some("/home/anna/.config/snapkeep/config.toml".into()));
        assert_eq!(linux.cache, Some("/home/anna/.cache/snapkeep".into()));
        assert_eq!(linux.archive, Some("/home/anna/.local/share/snapkeep/archive".into()));
        let xdg = places("linux", &[("XDG_CACHE_HOME", "/fast"), ("XDG_DATA_HOME", "relative")]);
        assert_eq!(xdg.cache, Some("/fast/snapkeep".into()));
        assert_eq!(xdg.archive, linux.archive, "a relative one is ignored");
        let mac = places("macos", &[("XDG_CACHE_HOME", "/fast")]);
        assert_eq!(mac.cache, Some("/home/anna/Library/Caches/snapkeep".into()));
        assert_eq!(mac.archive, Some("/home/anna/Library/Application Support/snapkeep/archive".into()));
        assert_eq!(places("windows", &[]).archive, None);
    }

    #[test]
    fn only_a_leading_tilde_is_the_home() {
        let places = places("linux", &[]);
        assert_eq!(places.expand(Path::new("~")), Path::new("/home/anna"));
        assert_eq!(places.expand(Path::new("~/Pictures")), Path::new("/home/anna/Pictures"));
        assert_eq!(places.expand(Path::new("~bert/x")), Path::new("~bert/x"));
        assert_eq!(places.expand(Path::new("/a/~")), Path::new("/a/~"));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_survive() {
        let path = path_of(b"caf\xe9".to_vec());
        assert_eq!(&*bytes_of(path.as_os_str()), b"caf\xe9");
    }

    #[test]
    fn this_machine_and_user_have_names() {
        assert!(!host_name().is_empty());
        assert!(!user_name().is_empty());
    }
}
