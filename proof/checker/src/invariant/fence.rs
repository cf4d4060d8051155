//! Work that only the holder of a lock does: each row says under which token it was written.
//!
//! The lock is a key on its holder's lease, its token the revision that created it. Whoever works compares
//! that revision in the same transaction, and so whoever lost the lock, and may not know it yet, writes
//! nothing. At any look the newest work is that of the lock which is there, and no work is of a lock to
//! come. The order of tokens over the whole history is judged in `lock.rs`.

use super::{Look, after, broken, words};
use crate::history::{Key, Row, Value, text};
use crate::verdict::Violation;
use base::Revision;

const WORK: &str = "w/work/";

/// The key of the lock.
pub fn lock() -> Key {
    b"w/lock".to_vec()
}

/// The key of a piece of work.
pub fn work(number: u64) -> Key {
    format!("{WORK}{number}").into_bytes()
}

/// The value of work done under `token`; `tag` makes it unique.
pub fn value(token: Revision, tag: &str) -> Value {
    format!("{} {tag}", token.0).into_bytes()
}

fn token(row: &Row) -> Option<Revision> {
    words(row).first()?.parse().ok().map(Revision)
}

/// Judges each look with a lock in it.
pub(super) fn check(looks: &[Look]) -> Result<(), Violation> {
    for look in looks {
        let Some(held) = look.rows.iter().find(|row| row.key == lock()) else {
            continue;
        };
        let work = |row: &&Row| after(&row.key, WORK).is_some();
        for row in look.rows.iter().filter(work) {
            let Some(token) = token(row) else {
                let what = format!("{} was written without a token", text(&row.key));
                return Err(broken("work_has_a_token", look, what));
            };
            let is_later = row.modified > held.create;
            if token > held.create || (is_later && token != held.create) {
                let what = format!("token {} is held, and {row} was written", held.create);
                return Err(broken("only_the_holder_works", look, what));
            }
        }
    }
    Ok(())
}
