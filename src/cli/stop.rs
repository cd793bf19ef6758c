//! Ctrl-C: the first press asks the work to stop in good order, the second ends the program at once.
//!
//! Both are safe. An archive only ever gets whole objects, and a restored file takes its name when it is whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::exit::Code;
use super::screen::Screen;

static STOP: AtomicBool = AtomicBool::new(false);
static HEEDED: AtomicBool = AtomicBool::new(false);
static INSTEAD: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Begins to listen. Where that is not possible, Ctrl-C ends the program at once, as it would without this.
pub fn listen(screen: Arc<Screen>) {
    let _ = ctrlc::set_handler(move || {
        if let Some(act) = INSTEAD.get() {
            act();
        } else if HEEDED.load(Ordering::SeqCst) && !STOP.swap(true, Ordering::SeqCst) {
            screen.remark("stopping after the current file; press again to quit at once");
        } else {
            std::process::exit(Code::Interrupted as i32);
        }
    });
}

/// Does this at each press instead, for a command that has its own way to end.
pub fn instead(act: impl Fn() + Send + Sync + 'static) {
    let _ = INSTEAD.set(Box::new(act));
}

/// The wish to stop, for what is done within such work: it alone does not make a press ask instead of ending the program.
pub fn wish() -> &'static AtomicBool {
    &STOP
}

/// The wish to stop, for work that heeds it.
pub fn flag() -> &'static AtomicBool {
    HEEDED.store(true, Ordering::SeqCst);
    &STOP
}
