//! What browsing through a mount costs: the first listing of a folder of 5,000 files, and reading in order and at random
//! beside a restore of the same bytes.
//!
//! `cargo bench --bench mount -- --work DIR [--photos 150] [--film 400]`: photos of 4 MB, a film of so many MB. Each line
//! is a mount of its own, so that nothing is read from what the kernel kept of the line before; the archive itself is in
//! the page cache.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[allow(dead_code)] // each benchmark takes what it needs
#[path = "material.rs"]
mod material;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PHOTO: usize = 4_000_000;
const LISTED: usize = 5000;
const THREADS: usize = 4;

fn main() -> Outcome<()> {
    let options: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    let value = |name: &str| options.iter().position(|option| option == name).and_then(|at| options.get(at + 1));
    let Some(work) = value("--work") else {
        println!("cargo bench --bench mount -- --work DIR [--photos 150] [--film 400]");
        return Ok(());
    };
    let number = |name: &str, usual: usize| value(name).map_or(Ok(usual), |text| text.parse());
    let work = PathBuf::from(work).join(format!("snapkeep-mount-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let done = run(&work, number("--photos", 150)?, number("--film", 400)? * 1_000_000);
    fs::remove_dir_all(&work)?;
    done
}

fn run(work: &Path, photos: usize, film: usize) -> Outcome<()> {
    let source = work.join("source");
    for folder in ["many", "photos"] {
        fs::create_dir_all(source.join(folder))?;
    }
    for number in 0..LISTED {
        fs::write(source.join(format!("many/IMG_{number:05}.jpg")), material::noise(number as u64, 600))?;
    }
    for number in 0..photos {
        fs::write(source.join(format!("photos/{number:05}.bin")), material::noise(1_000_000 + number as u64, PHOTO))?;
    }
    fs::write(source.join("film.mov"), material::noise(7, film))?;
    snap(work, &["create"], &[&source])?;

    println!("| work | |\n|---|--:|");
    let mount = Mount::new(work)?;
    let begun = Instant::now();
    let mut listed = 0;
    for item in fs::read_dir(mount.at("many"))? {
        listed += usize::from(item?.metadata()?.len() == 600);
    }
    println!(
        "| first listing of {listed} files, with sizes and times | {:.0} ms |",
        begun.elapsed().as_secs_f64() * 1e3
    );
    drop(mount);

    let begun = Instant::now();
    snap(work, &["restore", "latest", "-t"], &[&work.join("restored")])?;
    let restore = rate(photos * PHOTO + film, begun);
    println!("| restore | {restore:.0} MB/s |");
    let told = |what: &str, rate: f64| println!("| {what} | {rate:.0} MB/s, {:.2} of restore |", rate / restore);

    let path = |number: usize| format!("photos/{:05}.bin", number * 7919 % photos.max(1));
    for threads in [1, THREADS] {
        let mount = Mount::new(work)?;
        let begun = Instant::now();
        let whole = |number: usize| Ok(fs::read(mount.at(&path(number)))?.len());
        let bytes = parallel(threads, photos, &whole)?;
        told(&format!("photos in any order, {threads} at once"), rate(bytes, begun));
    }
    let mount = Mount::new(work)?;
    let begun = Instant::now();
    let (mut file, mut buffer, mut bytes) = (fs::File::open(mount.at("film.mov"))?, vec![0; 1 << 17], 0);
    while let more @ 1.. = file.read(&mut buffer)? {
        bytes += more;
    }
    told("film from begin to end", rate(bytes, begun));
    drop((file, mount));
    for (len, what) in [(1 << 20, "1 MiB"), (1 << 17, "128 KiB")] {
        let mount = Mount::new(work)?;
        let file = fs::File::open(mount.at("film.mov"))?;
        let begun = Instant::now();
        let piece = |number: usize| {
            let random = blake3::hash(&number.to_le_bytes());
            let random = u64::from_le_bytes(std::array::from_fn(|at| random.as_bytes()[at]));
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, random % (film.saturating_sub(len)).max(1) as u64)?;
            Ok(len)
        };
        let bytes = parallel(THREADS, 200, &piece)?;
        told(&format!("{what} anywhere in the film, {THREADS} at once"), rate(bytes, begun));
        drop((file, mount));
    }
    Ok(())
}

/// Does a piece of work for each number, several at once, and adds up what they return.
fn parallel(threads: usize, count: usize, work: &(dyn Fn(usize) -> Outcome<usize> + Sync)) -> Outcome<usize> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut sum = 0;
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                number if number < count => sum += work(number)?,
                _ => return Ok(sum),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?).sum()
    })
}

fn rate(bytes: usize, begun: Instant) -> f64 {
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn command(work: &Path, words: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
    command.args(words).args(paths).arg("-a").arg(work.join("archive")).arg("--cache-dir").arg(work.join("cache"));
    command
}

fn snap(work: &Path, words: &[&str], paths: &[&Path]) -> Outcome<()> {
    if words == ["create"] {
        command(work, &["init"], &[]).arg("-q").output()?;
    }
    let output = command(work, words, paths).arg("-q").output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

/// A mount of the archive, until it is dropped.
struct Mount {
    dir: PathBuf,
    program: Child,
}

impl Mount {
    fn new(work: &Path) -> Outcome<Self> {
        let dir = work.join("mounted");
        fs::create_dir_all(&dir)?;
        let mut program = command(work, &["mount"], &[&dir]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(program.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        if line.is_empty() {
            return Err("it cannot be mounted here".into());
        }
        Ok(Self { dir, program })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.join("latest/source").join(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.program.id().to_string()).status();
        let _ = self.program.wait();
    }
}
