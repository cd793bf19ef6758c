//! A real terminal, driven by keys and read from its screen.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{TestArchive, has_tool, run};

/// A terminal of 80 columns and 24 lines.
pub struct Terminal {
    pub name: String,
}

impl Terminal {
    /// Whether tests can have one. tmux has no `--version`.
    pub fn is_there() -> bool {
        let there = Command::new("tmux").arg("-V").output().is_ok();
        if !there {
            has_tool("tmux");
        }
        there
    }

    /// Browses an archive, and says the exit code at the end.
    pub fn running(test: &str, archive: &TestArchive, more: &str) -> Self {
        Self::of(test, archive, &format!("browse {more}"))
    }

    /// Runs a command of the program on an archive, and says its exit code at the end.
    pub fn of(test: &str, archive: &TestArchive, command: &str) -> Self {
        let name = format!("snapkeep-{test}-{}", std::process::id());
        let program = format!(
            "cd '{}' && TZ=UTC '{}' -a '{}' --cache-dir '{}' {command}; echo ended with $?; sleep 60",
            archive.beside("").display(),
            env!("CARGO_BIN_EXE_snap"),
            archive.path().display(),
            archive.cache().display(),
        );
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &name, "-f", "/dev/null", "new-session", "-d", "-s", &name, "-x", "80", "-y", "24", &program]);
        run(tmux.env_remove("TMUX"));
        Self { name }
    }

    pub fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.name]).args(arguments).env_remove("TMUX");
        String::from_utf8_lossy(&run(&mut tmux)).into_owned()
    }

    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", &self.name], keys].concat());
    }

    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", &self.name])
    }

    /// Waits until this stands on the screen, and returns all that does.
    pub fn shows(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "there is no \"{text}\" on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
    }
}
