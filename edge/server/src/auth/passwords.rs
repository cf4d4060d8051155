//! Passwords: hashed and compared on threads of their own, a few at a time.
//!
//! bcrypt takes tens of milliseconds on purpose. So it never runs on the member's thread, but on threads of lower priority; [`AT_ONCE`] run beside each
//! other, [`WAITING_MAX`] wait, and further ones are refused. A name that is not a user's costs the same work, so nobody
//! learns names by the clock. After [`FAILURES_FREE`] wrong passwords in a row a name is tried once a second only.

use bytes::Bytes;
use etcd::auth::Secret;
use etcd::{Credentials, Refusal, Status};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Passwords under work at once: the rest of the machine is for those who are let in already.
const AT_ONCE: usize = 2;

/// How much less important they are than serving clients (`nice`), as handshakes are.
const NICE: i32 = 5;

/// Passwords that wait.
const WAITING_MAX: usize = 128;

/// Wrong passwords in a row before a name is slowed down.
const FAILURES_FREE: u32 = 10;

/// How often a name is tried that was wrong so often.
const SLOWLY: Duration = Duration::from_secs(1);

/// Names whose failures are remembered.
const NAMES_MAX: usize = 4096;

/// How long a name's failures are remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

pub(super) struct Passwords {
    cost: u32,
    slots: Arc<Semaphore>,
    waiting: Cell<usize>,
    /// What a password for no user is compared with.
    nobody: OnceCell<Bytes>,
    failures: RefCell<BTreeMap<String, Failures>>,
}

struct Failures {
    n: u32,
    last: Instant,
}

impl Passwords {
    pub(super) fn new(cost: u32) -> Passwords {
        Passwords {
            cost,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Cell::new(0),
            nobody: OnceCell::new(),
            failures: RefCell::default(),
        }
    }

    /// The hash of a password.
    pub(super) async fn hash(&self, password: &Secret) -> Result<String, Status> {
        let (password, cost) = (password.clone(), self.cost);
        let hashed = self.work(move || hash(&password, cost)).await?;
        hashed.ok_or_else(|| Refusal::PasswordTooLong.into())
    }

    /// Compares a password with `hash`, or with nothing.
    pub(super) async fn check(
        &self,
        credentials: &Credentials,
        hash_of_user: Option<Bytes>,
    ) -> Result<(), Status> {
        self.limit(&credentials.name)?;
        let nobody = match self.nobody.get() {
            Some(nobody) => nobody.clone(),
            None => {
                let cost = self.cost;
                let secret = Secret::new("nobody".to_owned());
                let made = self.work(move || hash(&secret, cost)).await?;
                let made = Bytes::from(made.unwrap_or_default());
                self.nobody.get_or_init(|| made).clone()
            }
        };
        let is_user = hash_of_user.is_some();
        let (hash, password) = (hash_of_user.unwrap_or(nobody), credentials.password.clone());
        let is_right = self.work(move || is_right(&password, &hash)).await?;
        if is_user && is_right {
            self.failures.borrow_mut().remove(&credentials.name);
            return Ok(());
        }
        self.failed(&credentials.name);
        Err(Refusal::AuthFailed.into())
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        if self.waiting.get() >= WAITING_MAX {
            return Err(Refusal::TooManyRequests.into());
        }
        let _waits = Waits::new(&self.waiting);
        let stopped = || Status::from(Refusal::Stopped);
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| stopped())?;
        let (done, outcome) = oneshot::channel();
        let at_work = move || {
            // Without the permission it is merely less polite.
            let _ = rustix::process::setpriority_process(None, NICE);
            // Whoever asked may be gone.
            let _ = done.send(work());
            // Given back when the work is done, and not when its client is gone: clients that ask and go would have as
            // many at work as they like.
            drop(slot);
        };
        let thread = std::thread::Builder::new().name("password".to_owned());
        thread.spawn(at_work).map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())
    }

    /// Refuses a name that was wrong too often, but for one try now and then.
    fn limit(&self, name: &str) -> Result<(), Refusal> {
        let mut failures = self.failures.borrow_mut();
        let Some(failed) = failures.get_mut(name) else {
            return Ok(());
        };
        let rests = failed.last.elapsed();
        if rests >= REMEMBERED {
            failures.remove(name);
        } else if failed.n >= FAILURES_FREE {
            if rests < SLOWLY {
                return Err(Refusal::TooManyAttempts);
            }
            failed.last = Instant::now();
        }
        Ok(())
    }

    fn failed(&self, name: &str) {
        let mut failures = self.failures.borrow_mut();
        if failures.len() >= NAMES_MAX && !failures.contains_key(name) {
            failures.retain(|_, failed| failed.last.elapsed() < REMEMBERED);
            if failures.len() >= NAMES_MAX {
                let oldest = failures.iter().min_by_key(|(_, failed)| failed.last);
                let oldest = oldest.map(|(name, _)| name.clone());
                oldest.and_then(|oldest| failures.remove(&oldest));
            }
        }
        let failed = failures.entry(name.to_owned()).or_insert(Failures {
            n: 0,
            last: Instant::now(),
        });
        failed.n = failed.n.saturating_add(1);
        failed.last = Instant::now();
    }
}

/// One that waits.
struct Waits<'a>(&'a Cell<usize>);

impl Waits<'_> {
    fn new(waiting: &Cell<usize>) -> Waits<'_> {
        waiting.set(waiting.get() + 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn hash(password: &Secret, cost: u32) -> Option<String> {
    let parts = bcrypt::hash_with_result(password.reveal(), cost).ok()?;
    // etcd's own way to write it, so that a backup is read by etcd as one of its own.
    Some(parts.format_for_version(bcrypt::Version::TwoA))
}

fn is_right(password: &Secret, hash: &[u8]) -> bool {
    let Ok(hash) = std::str::from_utf8(hash) else {
        return false;
    };
    bcrypt::verify(password.reveal(), hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt's cheapest.
    const CHEAP: u32 = 4;

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new(CHEAP);
        let hash = passwords
            .hash(&Secret::new("word".into()))
            .await
            .expect("hashed");
        assert!(
            hash.starts_with("$2a$04$") && !hash.contains("word"),
            "{hash}"
        );
        let hash = Some(Bytes::from(hash));
        let check = |password| {
            let (passwords, hash) = (&passwords, hash.clone());
            async move { passwords.check(&credentials("ann", password), hash).await }
        };
        assert_eq!(check("word").await, Ok(()));
        assert_eq!(check("wort").await, Err(Refusal::AuthFailed.into()));
        assert_eq!(check("").await, Err(Refusal::AuthFailed.into()));
        // Nobody has no password, and what nobody is compared with is no password either.
        let nobody = passwords.check(&credentials("eve", "nobody"), None).await;
        assert_eq!(nobody, Err(Refusal::AuthFailed.into()));
    }

    #[tokio::test]
    async fn a_hash_of_etcds_own_is_understood() {
        // Made by Go's golang.org/x/crypto/bcrypt at cost 4, of the text "secret".
        let made = || bcrypt::hash_with_salt("secret", CHEAP, *b"0123456789abcdef");
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB] {
            let made = made().expect("hash");
            let hash = Some(Bytes::from(made.format_for_version(version)));
            let passwords = Passwords::new(CHEAP);
            let checked = passwords.check(&credentials("a", "secret"), hash).await;
            assert_eq!(checked, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_guessed_at_is_slowed_down_and_nobody_else() {
        let passwords = Passwords::new(CHEAP);
        let hash = passwords
            .hash(&Secret::new("word".into()))
            .await
            .expect("hashed");
        let hash = Bytes::from(hash);
        for _ in 0..FAILURES_FREE {
            let wrong = passwords
                .check(&credentials("ann", "x"), Some(hash.clone()))
                .await;
            assert_eq!(wrong, Err(Refusal::AuthFailed.into()));
        }
        let ann = credentials("ann", "word");
        let right = || passwords.check(&ann, Some(hash.clone()));
        assert_eq!(right().await, Err(Refusal::TooManyAttempts.into()));
        let other = passwords
            .check(&credentials("bob", "word"), Some(hash.clone()))
            .await;
        assert_eq!(other, Ok(()));
        tokio::time::advance(SLOWLY).await;
        assert_eq!(right().await, Ok(()), "and who knows it is let in again");
        assert_eq!(right().await, Ok(()));
    }

    #[tokio::test]
    async fn work_for_a_client_that_is_gone_keeps_its_place_until_it_is_done() {
        let passwords = Passwords::new(CHEAP);
        let (finish, wait) = std::sync::mpsc::channel::<()>();
        {
            let working = passwords.work(move || wait.recv());
            tokio::pin!(working);
            let begun = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(working.as_mut().poll(cx).is_pending())
            });
            assert!(begun.await);
        }
        assert_eq!(passwords.slots.available_permits(), AT_ONCE - 1);
        finish.send(()).expect("it still works");
        let all = passwords.slots.acquire_many(AT_ONCE as u32).await;
        assert!(all.is_ok());
        assert_eq!(passwords.waiting.get(), 0);
    }

    #[tokio::test]
    async fn further_ones_are_refused_when_many_wait() {
        let passwords = Passwords::new(CHEAP);
        passwords.waiting.set(WAITING_MAX);
        let refused = passwords.hash(&Secret::new("word".into())).await;
        assert_eq!(refused, Err(Refusal::TooManyRequests.into()));
    }

    #[test]
    fn names_whose_failures_are_remembered_are_bounded() {
        let passwords = Passwords::new(CHEAP);
        for n in 0..NAMES_MAX + 10 {
            passwords.failed(&n.to_string());
        }
        assert_eq!(passwords.failures.borrow().len(), NAMES_MAX);
    }
}
