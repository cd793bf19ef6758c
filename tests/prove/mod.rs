//! What is promised, proved with the real program on a real kernel: it is killed, its drive loses power, is pulled out and
//! runs full, and bits of its archive are flipped.
//!
//! In `cargo test` each proof runs in a short form. The long form, whose figures the README shows, takes an hour or two:
//!
//! ```text
//! SNAPKEEP_PROVE=long cargo test --release --test suite prove:: -- --nocapture --test-threads 1
//! SNAPKEEP_PROVE=long cargo test --release --test suite prove::kill:: -- --nocapture     # one part of it
//! ```
//!
//! Each proof prints a line `claim | method | count | losses`. What it finds wrong it names, with a folder in which
//! everything is kept as it was found.

mod drive;
mod flips;
mod full;
mod kill;
use crate::common::picture;
mod power;
mod rig;
mod strace;
mod unplug;
