//! `mount`: the archive as a folder, for file managers and every other program.

use std::path::{Path, PathBuf};

use crate::error::words_of;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};

/// Show the archive as a folder, to look around in with any program
///
/// In FOLDER appear: latest, the newest state of each source; snapshots, every snapshot by its date; and deleted, what is
/// no longer in the source, as it last was. Nothing can be changed there. New snapshots appear at the next mount. It is
/// shown until Ctrl-C is pressed or the folder is unmounted.
#[derive(clap::Args)]
pub struct Arguments {
    /// An empty folder, or one that is not there yet: it is made, and removed at the end
    #[arg(value_name = "FOLDER")]
    dir: PathBuf,
    /// Let other users of this machine look, too, as far as the recorded permissions allow
    #[arg(long)]
    allow_other: bool,
    #[command(flatten)]
    which: Which,
}

/// Shows it until it is ended.
#[cfg(target_os = "linux")]
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    linux::run(app, asked)
}

/// Says that it cannot be shown here.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &App, asked: &Arguments) -> Result<Code, Failure> {
    let (_, _) = (usable(&asked.dir)?, (&asked.allow_other, &asked.which));
    let message = "an archive can be mounted only on Linux";
    Err(Failure::new(Code::Failed, message).hint("{snap} ls and {snap} restore work everywhere"))
}

/// Whether something can be shown in this folder; its full path, unless it is still to be made.
fn usable(dir: &Path) -> Result<Option<PathBuf>, Failure> {
    use std::io::ErrorKind;
    let shown = dir.display();
    let usage = |why: &str| Failure::usage(format!("mounting in {shown}: {why}"));
    let quoted = shell_word(dir);
    let look = || {
        let empty = std::fs::read_dir(dir)?.next().is_none();
        Ok((empty, dir.canonicalize()?))
    };
    match look() {
        Ok((true, path)) => Ok(Some(path)),
        Ok((false, _)) => {
            Err(usage("the folder is not empty").hint("what is in it would be hidden; give an empty folder"))
        }
        Err(error) => Err(match std::io::Error::kind(&error) {
            // A link that leads nowhere is there. Only the last folder is made: above it, a name is more likely misspelt,
            // or a drive not connected.
            ErrorKind::NotFound if std::fs::symlink_metadata(dir).is_err() => {
                let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if above.is_dir() {
                    return Ok(None);
                }
                usage(&format!("there is no folder {}", above.display()))
                    .hint(format!("is the path right? to make it, run: mkdir -p {}", shell_word(above)))
            }
            ErrorKind::NotFound => usage("it is a link to what is not there"),
            ErrorKind::NotADirectory => usage("it is no folder"),
            // What a mount leaves whose program was killed.
            ErrorKind::NotConnected => usage("an earlier mount there has ended without being unmounted")
                .hint(format!("run: fusermount3 -u {quoted}")),
            _ => usage(&words_of(&error)),
        }),
    }
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |char: char| char.is_alphanumeric() || "/._-+~:,@%".contains(char);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use crate::error::words_of;
    use crate::mount::{self, Access, Refused, Tell, Trouble};
    use crate::view::Window;

    use super::{Arguments, shell_word, usable};
    use crate::cli::app::App;
    use crate::cli::exit::{Code, Failure};
    use crate::cli::{dates, names, stop, words};

    /// What is waited for while it is shown.
    enum News {
        /// Ctrl-C, or another wish that the program ends.
        Stop,
        /// It is no longer mounted, and no program has anything of it open.
        Ended,
    }

    /// A folder that was made to mount in. It is removed at the end, unless something else is in it by then.
    struct Made(Option<PathBuf>);

    impl Drop for Made {
        fn drop(&mut self) {
            if let Some(dir) = &self.0 {
                let _ = std::fs::remove_dir(dir);
            }
        }
    }

    /// The full path of the folder, made if it was not there.
    fn folder(dir: &Path, found: Option<PathBuf>) -> Result<(PathBuf, Made), Failure> {
        if let Some(found) = found {
            return Ok((found, Made(None)));
        }
        let made = std::fs::create_dir(dir).and_then(|()| dir.canonicalize());
        let made = made.map_err(|error| {
            Failure::new(Code::Failed, format!("making the folder {} to mount in: {error}", dir.display()))
        })?;
        Ok((made.clone(), Made(Some(made))))
    }

    pub(super) fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
        let filter = asked.which.filter()?;
        let found = usable(&asked.dir)?;
        let window = Window::new(Arc::new(app.open()?), filter);
        let count = window.snapshots().len() as u64;
        if count == 0 {
            return Err(Failure::new(Code::Failed, "there is no snapshot to show")
                .hint("{snap} list shows the snapshots, {snap} create FOLDER makes one"));
        }
        let (dir, _made) = folder(&asked.dir, found)?;
        let (sender, news) = channel();
        let ended = {
            let sender = sender.clone();
            Box::new(move || drop(sender.send(News::Ended)))
        };
        let access = if asked.allow_other { Access::Everybody } else { Access::Owner };
        let mounted = mount::mount(window, &dir, access, &dates::in_a_name, tell(app), ended)
            .map_err(|refused| explain(refused, &dir))?;
        stop::instead(move || drop(sender.send(News::Stop)));
        let snapshots = words::things(count, "snapshot is", "snapshots are");
        app.screen.tell(&format!("{snapshots} shown in {}: latest, snapshots, deleted", names::path(&dir)));
        let unmount = if rustix::process::geteuid().is_root() { "umount" } else { "fusermount3 -u" };
        let quoted = names::message(&shell_word(&dir));
        app.screen.tell(&format!("to end it, press Ctrl-C here or run: {unmount} {quoted}"));
        app.screen.flush();
        match news.recv() {
            Ok(News::Stop) => {}
            Ok(News::Ended) | Err(_) => {
                mounted.forget();
                return Ok(Code::Done);
            }
        }
        mounted.unmount().map_err(|error| {
            Failure::new(Code::Failed, format!("unmounting {}: {}", dir.display(), words_of(&error)))
                .hint(format!("run: {unmount} {quoted}"))
        })?;
        // Programs that are reading may go on, for as long as nobody presses again.
        let soon = std::time::Duration::from_millis(500);
        if news.recv_timeout(soon).is_err() {
            app.screen.remark("a program is still reading from it; this ends with it, or at another Ctrl-C");
            let _ = news.recv();
        }
        Ok(Code::Done)
    }

    /// Puts troubles into words.
    fn tell(app: &App) -> Tell {
        let screen = Arc::clone(&app.screen);
        Box::new(move |trouble| match trouble {
            Trouble::Unreadable(path, error) => screen.trouble("mount", path, &error.to_string()),
            Trouble::Unreachable(error) => {
                screen.warn(&format!("the archive does not answer any more; was its drive unplugged? {error}"));
            }
        })
    }

    fn explain(refused: Refused, dir: &Path) -> Failure {
        let failed = |why: &str| Failure::new(Code::Failed, format!("mounting in {}: {why}", dir.display()));
        match refused {
            Refused::NoFuse => failed("this system does not offer FUSE: there is no /dev/fuse")
                .hint("run: sudo modprobe fuse; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN"),
            Refused::NoHelper => {
                failed("fusermount3 is not installed").hint("install the package fuse3: sudo apt install fuse3")
            }
            Refused::NotAllowed => failed("this user may not open /dev/fuse")
                .hint(
                    "on most systems all users may once the package fuse3 is installed (sudo apt install fuse3); ls -l /dev/fuse \
                     shows who may here: if it is a group, such as fuse, join it (sudo usermod -aG GROUP USER) and log in again",
                ),
            Refused::NotForEverybody => failed("only root may show a mount to other users here")
                .hint("put the line user_allow_other into /etc/fuse.conf, or go without --allow-other"),
            Refused::Other(error) => failed(&names::message(words_of(&error).trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_is_mounted_in() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(usable(dir.path()).ok(), Some(dir.path().canonicalize().ok()));
        assert_eq!(usable(&dir.path().join("new")).ok(), Some(None), "it will be made");
        assert_eq!(usable(Path::new("surely not there")).ok(), Some(None));
        let missing = usable(&dir.path().join("it's/new")).expect_err("nor is the folder above");
        assert!(missing.hint.is_some_and(|hint| hint.contains("mkdir -p '") && hint.contains(r"it'\''s'")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("a link");
            let failure = usable(&dir.path().join("link")).expect_err("it leads nowhere");
            assert!(failure.message.contains("not there"), "{}", failure.message);
        }
        std::fs::write(dir.path().join("photo.jpg"), "").expect("a file");
        for (path, why) in [(dir.path().to_owned(), "not empty"), (dir.path().join("photo.jpg"), "no folder")] {
            let failure = usable(&path).expect_err(why);
            assert!(failure.code == Code::Usage && failure.message.contains(why), "{}", failure.message);
        }
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(shell_word(Path::new("/media/anna/old-1")), "/media/anna/old-1");
        assert_eq!(shell_word(Path::new("my photos")), "'my photos'");
        assert_eq!(shell_word(Path::new("$(x)")), "'$(x)'");
    }
}
