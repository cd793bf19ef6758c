//! The integration tests, one module for each subject, in one program: it is linked once, and its tests share the cores.
//!
//! `cargo test --test suite hostile::` runs one subject.

mod again;
mod beside;
mod browse_tui;
mod carried;
mod cases;
mod changing;
mod cli;
mod common;
mod damage;
mod decay;
mod dump;
mod evidence;
mod forgotten;
mod golden;
mod gone;
mod guard;
mod hostile;
mod layering;
mod locks;
mod marks;
mod missing;
mod model;
mod mount;
mod organise;
mod past;
mod presents;
mod prove;
mod recovery;
mod repair;
mod restore;
mod roundtrip;
mod sectors;
mod sim;
mod source;
mod sources;
mod squeeze;
mod status;
mod store_contract;
mod tags;
mod target;
mod terminal;
mod trust;
mod verify;
mod write_rules;
