//! The configuration file: which archives there are, and what `create` does when it is not told.
//!
//! Flags come before the environment, and that before this file. Lists of things to leave out add up; everything else
//! is replaced. A name that is not known is refused, so that a slip of the pen cannot silently back up the wrong thing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::words_of;
use crate::source::read_list;
use serde::Deserialize;
use toml::Spanned;

use super::exit::Failure;
use super::places::{Places, variable};
use super::words;

/// The longest configuration file, in bytes.
const LONGEST: u64 = 1 << 20;

/// What the file says; nothing if there is none.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name or path of the archive that is used when none is named.
    pub default: Option<String>,
    #[serde(default)]
    archives: BTreeMap<String, Spanned<PathBuf>>,
    /// For `create`.
    #[serde(default)]
    pub create: Create,
}

/// The flags of `create` that can be written down, under the same names.
#[derive(Deserialize, Default, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Create {
    /// What is backed up when nothing is named.
    pub sources: Vec<PathBuf>,
    /// Patterns to leave out.
    pub exclude: Vec<String>,
    /// Patterns to leave out that ignore case.
    pub iexclude: Vec<String>,
    /// Files of such patterns.
    pub exclude_file: Vec<PathBuf>,
    /// Files of such patterns that ignore case.
    pub iexclude_file: Vec<PathBuf>,
    /// Leave out caches.
    pub exclude_caches: bool,
    /// Leave out directories with such a file.
    pub exclude_if_present: Vec<String>,
    /// Leave out larger files.
    pub exclude_larger_than: Option<String>,
    /// Stay on one file system.
    pub one_file_system: bool,
    /// Words to find snapshots by.
    pub tag: Vec<String>,
    /// The machine's name.
    pub host: Option<String>,
    /// Refuse a source that has lost or changed more than this many percent.
    pub max_loss: Option<u8>,
    /// Make no snapshot of what has not changed.
    pub skip_if_unchanged: bool,
    /// zstd's level.
    pub compression: Option<i32>,
    /// Recompress images at once.
    pub squeeze: bool,
}

impl Config {
    /// Reads the user's file, or the one that `SNAPKEEP_CONFIG` names and that then has to be there.
    ///
    /// # Errors
    /// A usage failure that names the file and the line.
    pub fn load(places: &Places) -> Result<Self, Failure> {
        let named = variable("SNAPKEEP_CONFIG").map(PathBuf::from);
        let Some(path) = named.as_ref().or(places.config.as_ref()) else { return Ok(Self::default()) };
        match read(path) {
            Ok(text) => Self::parse(&text, path, places),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(error) => {
                Err(Failure::usage(format!("reading the configuration {}: {}", path.display(), words_of(&error))))
            }
        }
    }

    fn parse(text: &str, path: &Path, places: &Places) -> Result<Self, Failure> {
        let wrong = |at: Option<usize>, why: &str| {
            let line = at.map(|at| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1);
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            Failure::usage(format!("in the configuration {}{line}: {why}", path.display()))
        };
        let mut config: Self = toml::from_str(text)
            .map_err(|error| wrong(error.span().map(|span| span.start), error.message().trim_end()))?;
        for place in config.archives.values_mut() {
            let expanded = places.expand(place.get_ref());
            if !expanded.is_absolute() {
                return Err(wrong(Some(place.span().start), "an archive's folder begins with / or ~/"));
            }
            *place.get_mut() = expanded;
        }
        if let Some(level) = config.create.compression
            && !(1..=19).contains(&level)
        {
            return Err(wrong(None, "compression is a level from 1 to 19"));
        }
        if config.create.max_loss.is_some_and(|percent| percent > 100) {
            return Err(wrong(None, "max-loss is a share in percent, 0 to 100"));
        }
        if let Some(size) = &config.create.exclude_larger_than {
            words::parse_size(size).map_err(|why| wrong(None, &why))?;
        }
        let create = &mut config.create;
        let paths = [&mut create.sources, &mut create.exclude_file, &mut create.iexclude_file];
        for path in paths.into_iter().flatten() {
            *path = places.expand(path);
        }
        for pattern in create.exclude.iter_mut().chain(&mut create.iexclude) {
            *pattern = places.expand_pattern(pattern);
        }
        Ok(config)
    }

    /// The folder of the archive with this name; none if no archive has it.
    pub fn archive(&self, name: &str) -> Option<&Path> {
        self.archives.get(name).map(|path| path.get_ref().as_path())
    }

    /// The names of all archives.
    pub fn names(&self) -> Vec<&str> {
        self.archives.keys().map(String::as_str).collect()
    }
}

/// What a file holds, if it is one that anybody would write.
fn read(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_list(path, LONGEST)?).map_err(|_| std::io::Error::other("it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Failure> {
        let places = Places { home: Some("/home/anna".into()), config: None, cache: None, archive: None };
        Config::parse(text, Path::new("/c.toml"), &places)
    }

    #[test]
    fn everything_that_can_be_written_down() {
        let config = parse(
            r#"
            default = "usb"
            [archives]
            usb = "/media/anna/USB/snapkeep"
            home = "~/archive"
            [create]
            sources = ["~/Pictures", "/srv/photos"]
            exclude = ["*.tmp", "~/Pictures/private", "!~/x", "~", "a~", "~bert"]
            iexclude = ["thumbs.db", "~/Trash"]
            exclude-file = ["~/exclude"]
            iexclude-file = []
            exclude-caches = true
            exclude-if-present = [".nobackup"]
            exclude-larger-than = "2g"
            one-file-system = true
            tag = ["daily"]
            host = "laptop"
            skip-if-unchanged = true
            compression = 5
            "#,
        )
        .expect("a good file");
        assert_eq!(config.default.as_deref(), Some("usb"));
        assert_eq!(config.archive("home"), Some(Path::new("/home/anna/archive")));
        assert_eq!(config.archive("other"), None);
        assert_eq!(config.names(), ["home", "usb"]);
        assert_eq!(config.create.sources, [Path::new("/home/anna/Pictures"), Path::new("/srv/photos")]);
        let home = "/home/anna";
        let exclude = ["*.tmp", "/home/anna/Pictures/private", "!/home/anna/x", home, "a~", "~bert"];
        assert_eq!(config.create.exclude, exclude);
        assert_eq!(config.create.iexclude, ["thumbs.db", "/home/anna/Trash"]);
        assert_eq!(config.create.exclude_file, [Path::new("/home/anna/exclude")]);
        assert!(config.create.exclude_caches && config.create.one_file_system && config.create.skip_if_unchanged);
        assert_eq!(config.create.compression, Some(5));
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        let table = [
            ("[create]\nexcludes = []\n", "line 2", "unknown field `excludes`"),
            ("defualt = 1\n", "line 1", "unknown field `defualt`"),
            ("\n\n[create\n", "line 3", ""),
            ("[create]\n\nexclude = \"*.tmp\"\n", "line 3", "expected a sequence"),
            ("[archives]\nusb = \"USB\"\n", "line 2", "begins with /"),
            ("[create]\ncompression = 20", "/c.toml", "1 to 19"),
            ("[create]\nexclude-larger-than = \"big\"", "/c.toml", "a size is"),
        ];
        for (text, place, why) in table {
            let failure = parse(text).expect_err(text);
            assert_eq!(failure.code as u8, 2);
            assert!(failure.message.contains(place), "{}", failure.message);
            assert!(failure.message.contains(why), "{}", failure.message);
            assert!(failure.message.contains("/c.toml"), "{}", failure.message);
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let config = parse("").expect("a good file");
        assert_eq!(config.create, Create::default());
        assert!(config.default.is_none() && config.names().is_empty());
    }
}
