//! Errors as chains, and invariants that stop the member.
//!
//! Three kinds are never mixed. A *refusal* is a typed answer that every replica computes alike. A
//! *fault* is the world's: the edge decides about it. A *bug* is a broken invariant: [`invariant!`]
//! stops the member, in production too, because a stopped member is a nuisance and a wrong one is a
//! disaster. Bytes from outside are never a bug.

use std::error::Error;
use std::fmt;

/// Prints an error and its causes on one line: `cannot append to wal-7: no space left on device`.
///
/// Each error's own `Display` speaks only for its own layer, so nothing is said twice.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Stops the member when `condition` is false: a bug, never a refusal and never a fault.
#[macro_export]
macro_rules! invariant {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            panic!("invariant broken: {}", format_args!($($message)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as _)
        }
    }

    #[test]
    fn a_chain_names_every_layer_once() {
        let inner = Layer("no space left on device", None);
        let outer = Layer("cannot append to wal-7", Some(Box::new(inner)));
        assert_eq!(
            Chain(&outer).to_string(),
            "cannot append to wal-7: no space left on device"
        );
    }

    #[test]
    #[should_panic(expected = "invariant broken: 2 is not 3")]
    fn a_broken_invariant_stops() {
        invariant!(2 == 1 + 2, "{} is not {}", 2, 3);
    }
}
