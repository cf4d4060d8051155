//! What the store could have been built on, measured as `store`'s `measure` example measures it.
//!
//! `cargo run --release -p quorate-store-bench [n_keys]`. Two candidates hold the same two indexes that
//! the store holds: key → latest version with its older ones, and (revision, sub) → version.
//!
//! - `std`: two `BTreeMap`s. Nothing can be shared with a reader: the floor for writes.
//! - `imbl`: two persistent `OrdMap`s, cloned after each batch: the ready-made way to share.
//!
//! The figures are in `docs/adr/0001-store.md`. This is a measurement, not a test.

use imbl::OrdMap;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 50;
const N_UPDATES: usize = 300_000;

/// One version: the same bytes in one allocation that the store's records have.
#[derive(Clone)]
struct Record(Arc<[u8]>);

const HEADER: usize = 72;

impl Record {
    fn new(key: &[u8], value: &[u8], revision: u64) -> Record {
        let mut bytes = Vec::with_capacity(HEADER + key.len() + value.len());
        bytes.extend_from_slice(&revision.to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Record(bytes.into())
    }
}

#[derive(Clone)]
struct Chain {
    latest: Record,
    older: Vec<Record>,
}

trait Candidate {
    fn put(&mut self, key: &[u8], record: Record, revision: u64);
    fn get(&self, key: &[u8]) -> Option<&Record>;
    /// Visits up to `n` rows from `key` on.
    fn range(&self, key: &[u8], n: usize, visit: &mut dyn FnMut(&Record));
    /// Drops old versions, as a compaction does.
    fn compact(&mut self);
    /// Shares the present with a reader that keeps it until the next publication.
    fn publish(&mut self);
    /// Shares the present with a reader that keeps it until `release`.
    fn hold(&mut self);
    fn release(&mut self);
}

#[derive(Default)]
struct Std {
    keys: BTreeMap<Vec<u8>, Chain>,
    history: BTreeMap<(u64, u32), Record>,
}

impl Candidate for Std {
    fn put(&mut self, key: &[u8], record: Record, revision: u64) {
        self.history.insert((revision, 0), record.clone());
        match self.keys.get_mut(key) {
            Some(chain) => {
                let old = std::mem::replace(&mut chain.latest, record);
                chain.older.push(old);
            }
            None => {
                let chain = Chain {
                    latest: record,
                    older: Vec::new(),
                };
                self.keys.insert(key.to_vec(), chain);
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Record> {
        self.keys.get(key).map(|chain| &chain.latest)
    }

    fn range(&self, key: &[u8], n: usize, visit: &mut dyn FnMut(&Record)) {
        for (_, chain) in self.keys.range(key.to_vec()..).take(n) {
            visit(&chain.latest);
        }
    }

    fn compact(&mut self) {
        for chain in self.keys.values_mut() {
            for old in chain.older.drain(..) {
                let revision = u64::from_le_bytes(old.0[..8].try_into().expect("8 bytes"));
                self.history.remove(&(revision, 0));
            }
            chain.older = Vec::new();
        }
    }

    fn publish(&mut self) {}
    fn hold(&mut self) {}
    fn release(&mut self) {}
}

#[derive(Default, Clone)]
struct Imbl {
    keys: OrdMap<Vec<u8>, Chain>,
    history: OrdMap<(u64, u32), Record>,
    published: Option<Box<Imbl>>,
    held: Option<Box<Imbl>>,
}

impl Imbl {
    fn share(&self) -> Option<Box<Imbl>> {
        Some(Box::new(Imbl {
            keys: self.keys.clone(),
            history: self.history.clone(),
            published: None,
            held: None,
        }))
    }
}

impl Candidate for Imbl {
    fn put(&mut self, key: &[u8], record: Record, revision: u64) {
        self.history.insert((revision, 0), record.clone());
        match self.keys.get_mut(key) {
            Some(chain) => {
                let old = std::mem::replace(&mut chain.latest, record);
                chain.older.push(old);
            }
            None => {
                let chain = Chain {
                    latest: record,
                    older: Vec::new(),
                };
                self.keys.insert(key.to_vec(), chain);
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Record> {
        self.keys.get(key).map(|chain| &chain.latest)
    }

    fn range(&self, key: &[u8], n: usize, visit: &mut dyn FnMut(&Record)) {
        for (_, chain) in self.keys.range(key.to_vec()..).take(n) {
            visit(&chain.latest);
        }
    }

    fn compact(&mut self) {
        self.published = None;
        let dirty: Vec<Vec<u8>> = self
            .keys
            .iter()
            .filter(|(_, chain)| !chain.older.is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        for key in dirty {
            let chain = self.keys.get_mut(&key).expect("just seen");
            for old in chain.older.drain(..) {
                let revision = u64::from_le_bytes(old.0[..8].try_into().expect("8 bytes"));
                self.history.remove(&(revision, 0));
            }
            chain.older = Vec::new();
        }
    }

    fn publish(&mut self) {
        self.published = self.share();
    }

    fn hold(&mut self) {
        self.held = self.share();
    }

    fn release(&mut self) {
        self.held = None;
    }
}

fn key(n: u64) -> [u8; 24] {
    let mut key = *b"/registry/pods/000000000";
    let mut n = n;
    for digit in key[15..].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    key
}

/// SplitMix64, as in `base::Rng`.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(end)) >> 64) as u64
    }
}

/// Nanoseconds that this thread has run.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = text.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .expect("pages")
        .parse()
        .expect("number");
    pages * 4096
}

fn main() {
    let n_keys: u64 = std::env::args()
        .nth(1)
        .map_or(1_000_000, |n| n.parse().expect("a number of keys"));
    measure("std", Std::default(), n_keys);
    measure("imbl", Imbl::default(), n_keys);
}

fn measure(name: &str, mut store: impl Candidate, n_keys: u64) {
    println!("-- {name}");
    let before = resident_bytes();
    let mut rng = Rng(1);
    let mut revision = 1;
    let value = vec![7; 256];
    let mut order: Vec<u64> = (0..n_keys).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let cpu = cpu_ns();
    for n in &order {
        revision += 1;
        let key = key(*n);
        store.put(&key, Record::new(&key, &value, revision), revision);
    }
    let each = (cpu_ns() - cpu) as f64 / 1000.0 / n_keys as f64;
    println!(
        "{:<44} {each:7.2} µs CPU/put",
        format!("insert {n_keys} new keys")
    );
    drop(order);
    let bytes = (resident_bytes() - before) as f64 / n_keys as f64;
    println!("memory: {bytes:.0} bytes a key resident");
    let n = 500_000;
    let cpu = cpu_ns();
    for _ in 0..n {
        black_box(store.get(&key(rng.below(n_keys))).cloned());
    }
    println!("get: {:.0} ns", (cpu_ns() - cpu) as f64 / f64::from(n));
    let mut sum = 0;
    let cpu = cpu_ns();
    store.range(b"", usize::MAX, &mut |r| {
        sum += r.0.len() as u64 + u64::from(r.0[0])
    });
    let rate = n_keys as f64 / (cpu_ns() - cpu) as f64 * 1000.0;
    println!("range of everything: {rate:.1} M rows/s (sum {sum})");
    let n = 20_000;
    let cpu = cpu_ns();
    for _ in 0..n {
        let from = key(rng.below(n_keys));
        store.range(&from, 100, &mut |r| sum += u64::from(r.0[0]));
    }
    let each = (cpu_ns() - cpu) as f64 / 1000.0 / f64::from(n);
    println!("range of 100 from a random key: {each:.1} µs (sum {sum})");
    for (scenario, publish, hold) in [
        ("update, nothing published", false, false),
        ("update, published each batch of 50", true, false),
        ("… and one root held", true, true),
    ] {
        if hold {
            store.hold();
        }
        let (mut worst_put, mut worst_batch) = (Duration::ZERO, Duration::ZERO);
        let cpu = cpu_ns();
        for _ in 0..N_UPDATES / BATCH {
            let batch = Instant::now();
            for _ in 0..BATCH {
                let key = key(rng.below(n_keys));
                revision += 1;
                let put = Instant::now();
                store.put(&key, Record::new(&key, &value, revision), revision);
                worst_put = worst_put.max(put.elapsed());
            }
            if publish {
                store.publish();
            }
            worst_batch = worst_batch.max(batch.elapsed());
        }
        let each = (cpu_ns() - cpu) as f64 / 1000.0 / N_UPDATES as f64;
        println!(
            "{scenario:<44} {each:7.2} µs CPU/put  worst put {worst_put:>9.1?} batch {worst_batch:>9.1?}"
        );
        let started = Instant::now();
        store.release();
        if hold {
            println!("  letting go of the held root: {:.1?}", started.elapsed());
        }
        store.compact();
    }
}
