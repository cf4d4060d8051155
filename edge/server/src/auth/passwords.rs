//! Passwords: hashed and compared on threads of their own, a few at a time.
//!
//! bcrypt takes tens of milliseconds on purpose. So it never runs on the member's thread, but on threads of lower priority; [`AT_ONCE`] run beside each
//! other, [`WAITING_MAX`] wait, and further ones are refused. A name that is not a user's costs the same work, so nobody
//! learns names by the clock. After [`FAILURES_FREE`] wrong passwords in a row a name is tried once a second only, from
//! where they came: whoever guesses keeps nobody out who asks from elsewhere.
//!
//! Invariant: work that has begun holds its place until it has ended, whether or not its client is still there.

use bytes::Bytes;
use etcd::auth::Secret;
use etcd::{Credentials, Refusal, Status};
use sha2::{Digest, Sha256};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Passwords under work at once: the rest of the machine is for those who are let in already.
const AT_ONCE: usize = 2;

/// How much less important they are than serving clients (`nice`), as handshakes are.
const NICE: i32 = 5;

/// Passwords that wait or are under work. One address takes at most as many as it leaves free.
const WAITING_MAX: usize = 256;

/// Wrong passwords in a row before a name is slowed down.
const FAILURES_FREE: u32 = 10;

/// How often a name is tried that was wrong so often.
const SLOWLY: Duration = Duration::from_secs(1);

/// Names (each from one address) whose failures are remembered.
const NAMES_MAX: usize = 4096;

/// How long a name's failures are remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Bits of an IPv6 address that tell one customer of a network from another.
const IPV6_PREFIX_BITS: u32 = 64;

pub(super) struct Passwords {
    cost: u32,
    slots: Arc<Semaphore>,
    places: Places,
    /// What a password for no user is compared with.
    nobody: OnceCell<Bytes>,
    failures: RefCell<BTreeMap<Tried, Failures>>,
}

/// Whose password is tried, and from where. The name is kept as a hash: those who are nobody choose it.
type Tried = ([u8; 32], Option<IpAddr>);

struct Failures {
    n: u32,
    last: Instant,
}

impl Passwords {
    pub(super) fn new(cost: u32) -> Passwords {
        Passwords {
            cost,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            places: Places::default(),
            nobody: OnceCell::new(),
            failures: RefCell::default(),
        }
    }

    /// The hash of a password.
    pub(super) async fn hash(&self, password: &Secret) -> Result<String, Status> {
        let (password, cost) = (password.clone(), self.cost);
        let make = move || hash(&password, cost);
        let hashed = self.work(None, || Ok(()), make).await?;
        hashed.ok_or_else(|| Refusal::PasswordTooLong.into())
    }

    /// Compares a password, shown by somebody at `from`, with `hash`, or with nothing.
    pub(super) async fn check(
        &self,
        credentials: &Credentials,
        from: Option<SocketAddr>,
        hash_of_user: Option<Bytes>,
    ) -> Result<(), Status> {
        let from = from.map(|from| network_of(from.ip()));
        let tried = (Sha256::digest(&credentials.name).into(), from);
        self.check_rested(&tried)?;
        let nobody = match self.nobody.get() {
            Some(nobody) => nobody.clone(),
            None => {
                let cost = self.cost;
                let secret = Secret::new("nobody".to_owned());
                let made = self
                    .work(from, || Ok(()), move || hash(&secret, cost))
                    .await?;
                let made = Bytes::from(made.unwrap_or_default());
                self.nobody.get_or_init(|| made).clone()
            }
        };
        let is_user = hash_of_user.is_some();
        let (hash, password) = (hash_of_user.unwrap_or(nobody), credentials.password.clone());
        let begin = || self.begin(tried);
        let compare = move || is_right(&password, &hash);
        let is_right = self.work(from, begin, compare).await?;
        if is_user && is_right {
            self.failures.borrow_mut().remove(&tried);
            return Ok(());
        }
        Err(Refusal::AuthFailed.into())
    }

    /// Waits for a turn, asks `begin` whether it still may be, and has `work` done on a thread of its own.
    async fn work<T: Send + 'static>(
        &self,
        from: Option<IpAddr>,
        begin: impl FnOnce() -> Result<(), Refusal>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let place = self.places.take(from).ok_or(Refusal::TooManyRequests)?;
        let stopped = || Status::from(Refusal::Stopped);
        let slot = self.slots.clone().acquire_owned();
        let slot = slot.await.map_err(|_| stopped())?;
        begin()?;
        let (done, outcome) = oneshot::channel();
        let at_work = move || {
            // Without the permission it is merely less polite.
            let _ = rustix::process::setpriority_process(None, NICE);
            // Whoever asked may be gone.
            let _ = done.send(work());
            // Given back when the work is done, and not when its client is gone: clients that ask and go would have as
            // many at work as they like.
            drop((slot, place));
        };
        let thread = std::thread::Builder::new().name("password".to_owned());
        thread.spawn(at_work).map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())
    }

    /// Refuses a name that was wrong too often, but for one try now and then.
    fn check_rested(&self, tried: &Tried) -> Result<(), Refusal> {
        let mut failures = self.failures.borrow_mut();
        let Some(failed) = failures.get(tried) else {
            return Ok(());
        };
        let rests = failed.last.elapsed();
        if rests >= REMEMBERED {
            failures.remove(tried);
        } else if failed.n >= FAILURES_FREE && rests < SLOWLY {
            return Err(Refusal::TooManyAttempts);
        }
        Ok(())
    }

    /// A try begins. It counts as wrong until it was right: a client that goes away before it hears has tried as well.
    fn begin(&self, tried: Tried) -> Result<(), Refusal> {
        self.check_rested(&tried)?;
        let mut failures = self.failures.borrow_mut();
        if failures.len() >= NAMES_MAX && !failures.contains_key(&tried) {
            failures.retain(|_, failed| failed.last.elapsed() < REMEMBERED);
            if failures.len() >= NAMES_MAX {
                let oldest = failures.iter().min_by_key(|(_, failed)| failed.last);
                let oldest = oldest.map(|(tried, _)| *tried);
                oldest.and_then(|oldest| failures.remove(&oldest));
            }
        }
        let failed = failures.entry(tried).or_insert(Failures {
            n: 0,
            last: Instant::now(),
        });
        failed.n = failed.n.saturating_add(1);
        failed.last = Instant::now();
        Ok(())
    }
}

/// The places of those who wait, and whose they are. Shared with the threads, which give them back.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    n: usize,
    by: BTreeMap<Option<IpAddr>, usize>,
}

impl Places {
    /// A place for somebody at `from`: an address has at most as many as are left for all others, so however many one
    /// takes, the next finds room.
    fn take(&self, from: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&from).copied().unwrap_or(0);
        if own + 1 > WAITING_MAX.saturating_sub(taken.n) {
            return None;
        }
        taken.n += 1;
        taken.by.insert(from, own + 1);
        Some(Place(self.clone(), from))
    }
}

/// One that waits or is under work.
struct Place(Places, Option<IpAddr>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.n = taken.n.saturating_sub(1);
        let own = taken.by.get(&self.1).copied().unwrap_or(0);
        match own {
            0 | 1 => taken.by.remove(&self.1),
            _ => taken.by.insert(self.1, own - 1),
        };
    }
}

/// What stands for an address where addresses are counted.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - IPV6_PREFIX_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address => address,
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
    use std::future::{Future, poll_fn};
    use std::task::Poll;

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
            async move {
                passwords
                    .check(&credentials("ann", password), None, hash)
                    .await
            }
        };
        assert_eq!(check("word").await, Ok(()));
        assert_eq!(check("wort").await, Err(Refusal::AuthFailed.into()));
        assert_eq!(check("").await, Err(Refusal::AuthFailed.into()));
        // Nobody has no password, and what nobody is compared with is no password either.
        let nobody = passwords
            .check(&credentials("eve", "nobody"), None, None)
            .await;
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
            let checked = passwords
                .check(&credentials("a", "secret"), None, hash)
                .await;
            assert_eq!(checked, Ok(()));
        }
    }

    async fn side_by_side<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut under_way: Vec<_> = all.map(Box::pin).collect();
        let mut done = Vec::new();
        poll_fn(|cx| {
            under_way.retain_mut(|one| match one.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    done.push(answer);
                    false
                }
                Poll::Pending => true,
            });
            match under_way.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        done
    }

    fn at(host: u8) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 0, 0, host], 1000)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_guessed_at_is_slowed_down_where_it_is_guessed_and_nobody_else() {
        let passwords = Passwords::new(CHEAP);
        let hash = passwords
            .hash(&Secret::new("word".into()))
            .await
            .expect("hashed");
        let hash = Some(Bytes::from(hash));
        let guess = credentials("ann", "x");
        for _ in 0..FAILURES_FREE {
            let wrong = passwords.check(&guess, at(1), hash.clone()).await;
            assert_eq!(wrong, Err(Refusal::AuthFailed.into()));
        }
        let (ann, bob) = (credentials("ann", "word"), credentials("bob", "word"));
        let right = |who, from| passwords.check(who, from, hash.clone());
        let slowed = Err(Refusal::TooManyAttempts.into());
        assert_eq!(right(&ann, at(1)).await, slowed);
        assert_eq!(right(&ann, at(2)).await, Ok(()), "she is elsewhere");
        assert_eq!(right(&bob, at(1)).await, Ok(()));
        assert_eq!(right(&ann, at(1)).await, slowed, "and that changes nothing");
        tokio::time::advance(SLOWLY).await;
        assert_eq!(right(&ann, at(1)).await, Ok(()), "who knows it is let in");
        assert_eq!(right(&ann, at(1)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_side_by_side_are_counted_before_their_end() {
        let passwords = Passwords::new(CHEAP);
        let hash = passwords
            .hash(&Secret::new("word".into()))
            .await
            .expect("hashed");
        let hash = Bytes::from(hash);
        let guess = credentials("ann", "x");
        let guesses = (0..100).map(|_| passwords.check(&guess, at(1), Some(hash.clone())));
        let answers = side_by_side(guesses).await;
        let looked_at = answers
            .iter()
            .filter(|it| **it == Err(Refusal::AuthFailed.into()))
            .count();
        assert_eq!(looked_at, FAILURES_FREE as usize);
        // Those who know it may come side by side as often as they like.
        let ann = credentials("ann", "word");
        let rights = (0..100).map(|_| passwords.check(&ann, at(2), Some(hash.clone())));
        let answers = side_by_side(rights).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// Work whose client went away goes on, and so it counts: else a thousand clients that leave at once are a thousand
    /// threads.
    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_place_taken_until_its_work_is_done() {
        let passwords = Passwords::new(CHEAP);
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let work = passwords.work(
            None,
            || Ok(()),
            move || {
                begun.send(()).expect("the test waits");
                // Bounded, should the test fail before it says so.
                gone.recv_timeout(Duration::from_secs(60)).ok();
            },
        );
        tokio::select! {
            _ = work => panic!("nobody has let it go"),
            said = is_begun => said.expect("begun"),
        }
        assert_eq!(passwords.slots.available_permits(), AT_ONCE - 1);
        assert_eq!(passwords.places.0.lock().expect("whole").n, 1);
        go.send(()).expect("it waits");
        let all = passwords.slots.acquire_many(AT_ONCE as u32);
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(all.is_ok(), "it gives its slot back");
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let places = Places::default();
        let mut held = Vec::new();
        let from = |host| at(host).map(|from| network_of(from.ip()));
        let mut fill = |host| {
            let before = held.len();
            held.extend(std::iter::from_fn(|| places.take(from(host))));
            held.len() - before
        };
        assert_eq!(fill(1), WAITING_MAX / 2);
        assert_eq!(fill(1), 0);
        assert_eq!(fill(2), WAITING_MAX / 4);
        assert!((3..100).all(|host| fill(host) <= WAITING_MAX / 8));
        assert_eq!(places.0.lock().expect("whole").n, WAITING_MAX);
        held.clear();
        let taken = places.0.lock().expect("whole");
        assert!(taken.n == 0 && taken.by.is_empty());
    }

    #[test]
    fn an_address_is_a_network_where_a_customer_has_one() {
        let network = |text: &str| network_of(text.parse().expect("an address")).to_string();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[tokio::test]
    async fn names_whose_failures_are_remembered_are_bounded() {
        let passwords = Passwords::new(CHEAP);
        for n in 0..NAMES_MAX + 10 {
            let tried = (Sha256::digest(n.to_string()).into(), None);
            passwords.begin(tried).expect("few");
        }
        assert_eq!(passwords.failures.borrow().len(), NAMES_MAX);
    }
}
