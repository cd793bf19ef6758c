//! What every command has at hand: the screen, the configuration, and the way to the archive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::{Archive, CACHE_TAG, Notice, Notify, Parameters};
use crate::error::Kind;
use crate::format::names;
use crate::store::Local;
use jiff::Timestamp;

use super::args::Global;
use super::config::Config;
use super::exit::{Code, Failure};
use super::known::NOTED;
use super::places::{self, Places, variable};
use super::screen::Screen;
use super::stop;

/// What every command has at hand.
pub struct App {
    /// The way to the user.
    pub screen: Arc<Screen>,
    /// The configuration file.
    pub config: Config,
    places: Places,
    archive: Option<OsString>,
    cache: Option<PathBuf>,
    /// A snapshot cannot be used, so what is told of the past lacks it.
    lacking: Arc<AtomicBool>,
}

/// Where the archive is.
struct Place {
    path: PathBuf,
    /// Nobody named it: it is the one in the user's data folder.
    unnamed: bool,
}

impl App {
    /// Reads the configuration and the environment.
    ///
    /// # Errors
    /// A fault in the configuration.
    pub fn new(screen: Arc<Screen>, global: Global) -> Result<Self, Failure> {
        let places = Places::of_user();
        let config = Config::load(&places)?;
        let folder = || variable("SNAPKEEP_CACHE_DIR").map(PathBuf::from).or_else(|| places.cache.clone());
        let cache = if global.no_cache { None } else { global.cache_dir.or_else(folder) };
        let archive = global.archive.or_else(|| variable("SNAPKEEP_ARCHIVE"));
        Ok(Self { screen, config, places, archive, cache, lacking: Arc::default() })
    }

    /// How a command ends that has told of the past: it is not all of it if a snapshot was passed over.
    pub fn told_of_the_past(&self, code: Code) -> Code {
        if code == Code::Done && self.lacking.load(Ordering::Relaxed) {
            self.screen.warn("what is told here is not all: a snapshot is not looked into; the reason is above");
            return Code::Incomplete;
        }
        code
    }

    /// The name of this machine in snapshots, unless a flag says another.
    pub fn host(&self) -> String {
        let named = variable("SNAPKEEP_HOST").map(|host| host.to_string_lossy().into_owned());
        named.or_else(|| self.config.create.host.clone()).unwrap_or_else(places::host_name)
    }

    /// The folder for what this program notes about archives on this computer.
    pub fn notes(&self) -> Option<PathBuf> {
        Some(self.places.archive.as_ref()?.parent()?.to_owned())
    }

    fn place(&self) -> Result<Place, Failure> {
        let named = self.archive.clone().or_else(|| self.config.default.clone().map(OsString::from));
        if let Some(name) = named {
            return Ok(Place { path: self.named(&name), unnamed: false });
        }
        let path = self.places.archive.clone().ok_or_else(|| {
            Failure::new(Code::NoArchive, "no archive is named, and this user has no home folder")
                .hint("name one with --archive FOLDER")
        })?;
        Ok(Place { path, unnamed: true })
    }

    /// A path in which `~` stands for the home folder.
    pub fn expand(&self, path: &Path) -> PathBuf {
        self.places.expand(path)
    }

    /// The folder of an archive that is named by its name in the configuration or by its path.
    fn named(&self, name: &OsString) -> PathBuf {
        let known = name.to_str().and_then(|name| self.config.archive(name));
        known.map_or_else(|| self.places.expand(Path::new(name)), Path::to_owned)
    }

    /// Where a new archive is to be made when its folder is not told.
    ///
    /// # Errors
    /// If this user has no place for one.
    pub fn place_of_new(&self) -> Result<PathBuf, Failure> {
        Ok(self.place()?.path)
    }

    /// Opens the archive.
    ///
    /// # Errors
    /// If there is none, or what the library says.
    pub fn open(&self) -> Result<Archive, Failure> {
        let place = self.place()?;
        self.open_at(&place.path).map_err(|failure| match failure.code {
            Code::NoArchive if place.unnamed => {
                Failure::new(Code::NoArchive, "there is no archive yet, and none is named").hint(format!(
                    "{{snap}} create FOLDER makes one in {}, and {{snap}} init FOLDER makes one elsewhere",
                    place.path.display()
                ))
            }
            Code::NoArchive => self.hint_names(failure),
            _ => failure,
        })
    }

    /// Opens another archive than the one that the command is about. Its index is made for this run only, since a plain
    /// copy of an archive has the same identity and would share it.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_other(&self, name: &OsString) -> Result<Archive, Failure> {
        let store = Arc::new(Local::new(self.named(name)));
        let opened = Archive::open(store, None, self.notify());
        opened.inspect(|archive| archive.heed(stop::wish())).map_err(|error| {
            let failure = Failure::from(error);
            if failure.code == Code::NoArchive { self.hint_names(failure) } else { failure }
        })
    }

    /// Opens the archive for `create`, which makes the unnamed one if it is not there.
    ///
    /// # Errors
    /// As [`App::open`], or if it cannot be made.
    pub fn open_or_make(&self) -> Result<(Archive, PathBuf), Failure> {
        let place = self.place()?;
        if place.unnamed && self.open_at(&place.path).is_err_and(|failure| failure.code == Code::NoArchive) {
            make(&place.path)?;
            self.screen.remark(&format!(
                "made a new archive in {}; keep another copy on an external drive",
                place.path.display()
            ));
        }
        Ok((self.open()?, place.path))
    }

    /// Opens the archive and makes none.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_for_dry_run(&self) -> Result<(Archive, PathBuf), Failure> {
        Ok((self.open()?, self.place()?.path))
    }

    /// A file in each folder that is this program's own: in the archive here and in what is kept of archives on this
    /// computer.
    pub fn own_files(&self, archive: &Path) -> Vec<PathBuf> {
        let mut own: Vec<PathBuf> = names::HEADERS.iter().map(|header| archive.join(header)).collect();
        let given = variable("SNAPKEEP_CACHE_DIR").map(PathBuf::from);
        for cache in [&self.cache, &given, &self.places.cache].into_iter().flatten() {
            let folders = std::fs::read_dir(cache).into_iter().flatten().flatten();
            own.extend(folders.map(|folder| folder.path().join(CACHE_TAG)).filter(|tag| tag.is_file()));
        }
        let noted = self.notes().and_then(|folder| std::fs::read_dir(folder.join(NOTED)).ok());
        own.extend(noted.into_iter().flatten().flatten().map(|note| note.path()).next());
        own
    }

    /// Puts notices into words.
    fn notify(&self) -> Notify {
        let (screen, lacking) = (Arc::clone(&self.screen), Arc::clone(&self.lacking));
        let rebuilt = AtomicBool::new(false);
        Arc::new(move |notice| {
            match notice {
                // On a damaged archive it may be filled for one reason after another.
                Notice::IndexRebuilt(_) if rebuilt.swap(true, Ordering::Relaxed) => {}
            Notice::IndexRebuilt(why) => {
                screen.remark(&format!("the index on this computer is filled again from the archive ({why})"));
            }
            Notice::IndexInMemory => {
                screen
                    .remark("there is no place to keep the index, so it is made for this run only; that takes longer");
            }
            Notice::Mended { object, .. } => screen.warn(&format!(
                "{object} is damaged and was read with its recovery data or from quarantine; `{} repair` writes it anew",
                screen.name()
            )),
            Notice::PassedOver(name, why) => {
                if name.starts_with(names::SNAPSHOTS) {
                    lacking.store(true, Ordering::Relaxed);
                }
                screen.warn(&format!("{name} cannot be used and was passed over: {why}"));
            }
        }
        })
    }

    fn open_at(&self, path: &Path) -> Result<Archive, Failure> {
        let archive = Archive::open(Arc::new(Local::new(path)), self.cache.as_deref(), self.notify())?;
        archive.heed(stop::wish());
        Ok(archive)
    }

    /// Where the archive's name was perhaps misspelt, the names that there are.
    fn hint_names(&self, failure: Failure) -> Failure {
        let names = self.config.names();
        if names.is_empty() {
            return failure;
        }
        let hint = failure.hint.clone().unwrap_or_default();
        failure.hint(format!("{hint}; archives with a name: {}", names.join(", ")))
    }
}

/// Makes an archive in this folder.
///
/// # Errors
/// If there is one already, or something else.
pub fn make(path: &Path) -> Result<(), Failure> {
    if let Some(other) = stranger(path) {
        let message = format!("making an archive in {}: the folder is not empty: it has \"{other}\"", path.display());
        return Err(Failure::new(Code::Failed, message)
            .hint(format!("give an archive a folder of its own, such as {}", path.join("snapkeep").display())));
    }
    Archive::create(&Local::new(path), &Parameters::default(), Timestamp::now().as_second()).map_err(|error| {
        let exists = error.kind() == Kind::Exists;
        let failure = Failure::from(error);
        if exists { failure.hint("nothing needs to be done; use it with {snap} create") } else { failure }
    })?;
    Ok(())
}

/// The name of something in a folder that belongs neither to an archive nor to a drive as it comes.
fn stranger(path: &Path) -> Option<String> {
    let archive = path.join("header").exists() || path.join("header.copy").exists();
    let known = ["README.txt", "lost+found", "System Volume Information", "$RECYCLE.BIN"];
    let names = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut others = names.filter(|name| !archive && !name.starts_with('.') && !known.contains(&name.as_str()));
    others.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_made_only_in_a_folder_of_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("lost+found")).expect("a folder");
        std::fs::write(dir.path().join(".hidden"), "").expect("a file");
        assert_eq!(stranger(dir.path()), None);
        std::fs::write(dir.path().join("photo.jpg"), "").expect("a file");
        let failure = make(dir.path()).expect_err("it is not empty");
        assert!(failure.message.contains("photo.jpg"), "{}", failure.message);
        let own = dir.path().join("snapkeep");
        assert_eq!(make(&own), Ok(()));
        let failure = make(&own).expect_err("there is one");
        assert!(failure.message.contains("already"), "{}", failure.message);
        assert!(failure.hint.is_some());
    }
}
