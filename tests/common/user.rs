//! A user of the command line, with a home of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A user with a home of their own.
pub struct User {
    pub home: tempfile::TempDir,
}

pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl User {
    pub fn new() -> Self {
        let user = Self { home: tempfile::tempdir().expect("a home") };
        user.photo("Pictures/2019/a.jpg", 1);
        user.photo("Pictures/2019/b.jpg", 2);
        user.photo("Pictures/c.jpg", 3);
        user
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// Writes what begins and ends as a JPEG does and is not like any other.
    pub fn photo(&self, path: &str, number: u32) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut state = number.wrapping_mul(0x9E37_79B9) | 1;
        let noise = (0..1000).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8 & 0x7F
        });
        let bytes: Vec<u8> = [0xFF, 0xD8, 0xFF].into_iter().chain(noise).chain([0xFF, 0xD9]).collect();
        fs::write(&path, bytes).expect("a photo");
        path
    }

    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("TZ", "UTC").env("USER", "anna").env("SNAPKEEP_HOST", "laptop");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn snap(&self, arguments: &[&str]) -> Said {
        said(self.command(env!("CARGO_BIN_EXE_snap"), arguments).output().expect("it runs"))
    }

    /// Runs it and gives what it printed; it must succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.snap(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.done(&[arguments, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(env!("CARGO_BIN_EXE_snap"), arguments).spawn().expect("it runs")
    }

    pub fn ids(&self) -> Vec<String> {
        let list = self.json(&["list"]).remove(0);
        let ids = list.as_array().expect("an array").iter().map(|snapshot| snapshot["id"].as_str().expect("an id"));
        ids.map(str::to_owned).collect()
    }

    /// Flips a byte in the middle of the largest pack.
    pub fn damage(&self, archive: &Path) {
        let mut packs = Vec::new();
        for folder in fs::read_dir(archive.join("packs")).expect("packs").flatten() {
            let files = fs::read_dir(folder.path()).expect("packs").flatten();
            packs.extend(files.map(|file| (file.metadata().expect("a pack").len(), file.path())));
        }
        let (_, largest) = packs.into_iter().max().expect("a pack");
        let mut bytes = fs::read(&largest).expect("a pack");
        // The first frame begins right after the pack's own first bytes.
        bytes[600] ^= 1;
        fs::remove_file(&largest).expect("removed");
        fs::write(&largest, bytes).expect("written");
    }
}

pub fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
