//! Simple tokens: their letters, and how long they rest unused.
//!
//! Whose a token is, is replicated (`etcd::auth`); when it was used last is each member's own, as in etcd. A token that
//! was never used here counts from when it was issued.

use base::Instant;
use etcd::auth::{self, TOKENS_MAX, Token};
use etcd::{Code, Status};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::BTreeMap;
use std::time::Duration;
use store::State;

const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Letters of a token, as in etcd: 91 bits of chance.
const N_LETTERS: usize = 16;

/// Draws the letters of a token.
///
/// # Errors
/// The operating system gives no chance.
pub(super) fn letters() -> Result<String, Status> {
    let mut letters = String::with_capacity(N_LETTERS);
    // Four times 52: above it the first letters would be likelier.
    const FAIR: u8 = 4 * LETTERS.len() as u8;
    while letters.len() < N_LETTERS {
        let mut drawn = [0; 32];
        let failed = |_| Status::new(Code::Internal, "quorate: no chance to draw a token by");
        SystemRandom::new().fill(&mut drawn).map_err(failed)?;
        let fair = drawn.into_iter().filter(|byte| *byte < FAIR);
        let chosen = fair.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        letters.extend(chosen.take(N_LETTERS - letters.len()));
    }
    Ok(letters)
}

/// When tokens were used last.
pub(super) struct Ages {
    ttl: Duration,
    used: BTreeMap<u64, Instant>,
}

impl Ages {
    pub(super) fn new(ttl: Duration) -> Ages {
        Ages {
            ttl,
            used: BTreeMap::new(),
        }
    }

    /// Whether `token` is still alive; if so, it is used now.
    pub(super) fn uses(
        &mut self,
        token: &Token,
        state: &State,
        now: Instant,
        wall_ms: u64,
    ) -> bool {
        let is_alive = match self.used.get(&token.number) {
            Some(last) => now.since(*last) < self.ttl,
            None => u128::from(wall_ms.saturating_sub(token.issued_ms)) < self.ttl.as_millis(),
        };
        if is_alive {
            self.used.insert(token.number, now);
            if self.used.len() > 2 * TOKENS_MAX {
                // Those that are not known any more go: more than half.
                self.used.retain(|number, _| auth::is_token(state, *number));
            }
        }
        is_alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_letters_and_never_the_same() {
        let drawn: std::collections::BTreeSet<String> =
            (0..1000).map(|_| letters().expect("chance")).collect();
        assert_eq!(drawn.len(), 1000);
        let is_token = |it: &String| it.len() == 16 && it.bytes().all(|c| c.is_ascii_alphabetic());
        assert!(drawn.iter().all(is_token));
    }

    #[test]
    fn a_token_lives_from_use_to_use() {
        let state = store::Store::blank().publish();
        let mut ages = Ages::new(Duration::from_secs(300));
        let token = Token {
            number: 1,
            user: "ann".into(),
            issued_ms: 1_000_000,
        };
        let at = |seconds| Instant(0) + Duration::from_secs(seconds);
        let mut uses =
            |seconds: u64| ages.uses(&token, &state, at(seconds), 1_000_000 + seconds * 1000);
        assert!(uses(299) && uses(598) && uses(897));
        assert!(!uses(1197), "unused for its time to live");
        assert!(!uses(1198), "and it does not come back");
        let mut fresh = Ages::new(Duration::from_secs(300));
        assert!(
            !fresh.uses(&token, &state, at(0), 1_300_000),
            "never used in time"
        );
    }
}
