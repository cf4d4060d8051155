//! One input given to one target, and what came of it.

use crate::targets::{Target, Verdict};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// A property that did not hold: where it says so, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// File and line.
    pub place: String,
    /// The panic's words.
    pub message: String,
}

thread_local! {
    static LAST: RefCell<Option<Broken>> = const { RefCell::new(None) };
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Panics of targets are noted and not printed: there may be thousands while an input is made smaller.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_TRYING.get() {
                return usual(info);
            }
            let place = info.location().map_or("nowhere".to_owned(), |at| {
                format!("{}:{}", at.file(), at.line())
            });
            let message = match info.payload_as_str() {
                Some(text) => text.to_owned(),
                None => "a panic without words".to_owned(),
            };
            LAST.with(|last| *last.borrow_mut() = Some(Broken { place, message }));
        }));
    });
}

/// A target, and whether a defect is planted in front of it.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Which.
    pub target: &'static Target,
    /// Whether inputs with [`PLANTED`] in them panic: to see that a panic is noticed.
    pub is_planted: bool,
}

/// What the planted defect stumbles over: valid inputs rarely have it, damaged ones now and then.
pub const PLANTED: &[u8] = &[0xff, 0xff, 0xff, 0x7f];

impl Subject {
    /// Runs the target on `input`.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn attempt(self, input: &[u8]) -> Result<Verdict, Broken> {
        note_panics();
        let run = || {
            let verdict = (self.target.run)(input);
            let is_hit = input.windows(PLANTED.len()).any(|bytes| bytes == PLANTED);
            assert!(!(self.is_planted && is_hit), "the planted defect");
            verdict
        };
        IS_TRYING.set(true);
        let done = panic::catch_unwind(AssertUnwindSafe(run));
        IS_TRYING.set(false);
        done.map_err(|_| {
            let last = LAST.with(|last| last.borrow_mut().take());
            last.unwrap_or(Broken {
                place: "nowhere".to_owned(),
                message: "a panic that was not noted".to_owned(),
            })
        })
    }

    /// A smaller input that breaks the same: pieces are left out as long as it does.
    pub fn minimise(self, input: &[u8], broken: &Broken) -> Vec<u8> {
        let mut smallest = input.to_vec();
        let mut n_attempts = 0;
        let mut piece = smallest.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < smallest.len() {
                n_attempts += 1;
                if n_attempts > ATTEMPTS_MAX {
                    return smallest;
                }
                let mut smaller = smallest.clone();
                smaller.drain(at..smallest.len().min(at + piece));
                match self.attempt(&smaller) {
                    Err(other) if other.place == broken.place => smallest = smaller,
                    _ => at += piece,
                }
            }
            piece /= 2;
        }
        smallest
    }
}

/// Attempts to make one input smaller.
const ATTEMPTS_MAX: usize = 4000;
