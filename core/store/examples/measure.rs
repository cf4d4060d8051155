//! Measures the store: `cargo run --release -p quorate-store --example measure [n_keys]`.
//!
//! 24-byte keys, 256-byte values, keys in random order. The figures in `docs/adr/0001-store.md` are
//! made by this program and by `proof/store-bench`, which measures the alternatives the same way.
//! This is not a test: it reads the clock and asserts nothing but sums.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // A measurement reads the clock.

use base::{LeaseId, LogPosition, MemberId, Membership, Revision, Rng, Term};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Genesis, KeyRange, RootId, Stamp, State, Store, stream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROOT: RootId = RootId(0);
const BATCH: usize = 50;
const N_UPDATES: usize = 300_000;

fn key(n: u64) -> [u8; 24] {
    let mut key = *b"/registry/pods/000000000";
    let mut n = n;
    for digit in key[15..].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    key
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

struct Bench {
    store: Store,
    rng: Rng,
    n_keys: u64,
    index: u64,
    value: Vec<u8>,
    /// Of the batch that is being applied.
    stamp: Stamp,
    /// Puts in a batch.
    batch: usize,
}

impl Bench {
    fn put(&mut self, n: u64) {
        let mut txn = self.store.begin(ROOT, &self.stamp);
        black_box(txn.put(&key(n), &self.value, LeaseId::NONE));
        black_box(txn.finish());
    }

    fn end_batch(&mut self) {
        self.index += 1;
        self.stamp.time = self.stamp.time.next(1_700_000_000_000);
        self.store.set_applied(LogPosition {
            term: Term(1),
            index: base::Index(self.index),
        });
    }

    /// Random updates in batches; `after` is called after each batch. Prints CPU per put and the worst
    /// wall time of a put and of a batch with its publication.
    fn updates(&mut self, name: &str, n: usize, mut after: impl FnMut(&mut Bench)) {
        let (mut worst_put, mut worst_batch) = (Duration::ZERO, Duration::ZERO);
        let (cpu, wall) = (cpu_ns(), Instant::now());
        for _ in 0..n / self.batch {
            let batch = Instant::now();
            for _ in 0..self.batch {
                let n = self.rng.below(self.n_keys);
                let put = Instant::now();
                self.put(n);
                worst_put = worst_put.max(put.elapsed());
            }
            self.end_batch();
            after(self);
            worst_batch = worst_batch.max(batch.elapsed());
        }
        let cpu = (cpu_ns() - cpu) as f64 / 1000.0 / n as f64;
        let wall = wall.elapsed().as_secs_f64() * 1e6 / n as f64;
        println!(
            "{name:<44} {cpu:7.2} µs CPU/put {wall:7.2} µs wall  worst put {worst_put:>9.1?} batch {worst_batch:>9.1?}"
        );
    }

    /// Compacts to the present and sweeps to the end, so that all scenarios begin alike.
    fn compact(&mut self) {
        let revision = self.store.state().revision();
        let mut txn = self.store.begin(ROOT, &Stamp::default());
        txn.compact(revision);
        txn.finish();
        let (cpu, n_before) = (cpu_ns(), self.store.state().root(ROOT).versions());
        let (mut worst, mut steps) = (Duration::ZERO, 0);
        loop {
            let started = Instant::now();
            let more = self.store.sweep(1000);
            worst = worst.max(started.elapsed());
            steps += 1;
            if !more {
                break;
            }
        }
        let n_swept = n_before - self.store.state().root(ROOT).versions();
        let per_version = (cpu_ns() - cpu) as f64 / 1000.0 / n_swept.max(1) as f64;
        println!(
            "  swept {n_swept} versions: {per_version:.2} µs each, {steps} steps of 1000, worst {worst:.1?}"
        );
    }
}

fn main() {
    let n_keys: u64 = std::env::args()
        .nth(1)
        .map_or(1_000_000, |n| n.parse().expect("a number of keys"));
    let before = resident_bytes();
    let mut bench = Bench {
        store: Store::new(Genesis {
            membership: Membership::of_voters(vec![MemberId(1)]),
            members: vec![],
        }),
        rng: Rng::new(1),
        n_keys,
        index: 1,
        value: vec![7; 256],
        stamp: Stamp::default(),
        batch: BATCH,
    };
    load(&mut bench);
    let in_use = bench.store.state().bytes_in_use();
    println!(
        "memory: {:.0} bytes a key resident, {:.0} by account",
        (resident_bytes() - before) as f64 / n_keys as f64,
        in_use as f64 / n_keys as f64
    );
    reads(&mut bench);
    bench.updates("update, nothing published", N_UPDATES, |_| ());
    bench.compact();
    let mut latest = bench.store.publish();
    bench.updates("update, published each batch of 50", N_UPDATES, |bench| {
        latest = bench.store.publish();
    });
    drop(latest);
    bench.compact();
    let mut latest = bench.store.publish();
    bench.batch = 1;
    bench.updates("update, published after each put", N_UPDATES, |bench| {
        latest = bench.store.publish();
    });
    bench.batch = BATCH;
    drop(latest);
    bench.compact();
    let held = bench.store.publish();
    let mut latest = bench.store.publish();
    bench.updates("… and one root held", N_UPDATES, |bench| {
        latest = bench.store.publish();
    });
    let started = Instant::now();
    drop(held);
    println!("  letting go of the held root: {:.1?}", started.elapsed());
    drop(latest);
    bench.compact();
    beside_readers(&mut bench);
    bench.compact();
    beside_stream(&mut bench);
}

fn load(bench: &mut Bench) {
    let mut order: Vec<u64> = (0..bench.n_keys).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, bench.rng.below(at as u64 + 1) as usize);
    }
    let cpu = cpu_ns();
    for n in &order {
        bench.put(*n);
    }
    bench.end_batch();
    println!(
        "{:<44} {:7.2} µs CPU/put",
        format!("insert {} new keys", bench.n_keys),
        (cpu_ns() - cpu) as f64 / 1000.0 / bench.n_keys as f64
    );
}

fn reads(bench: &mut Bench) {
    let state = bench.store.publish();
    let view = state.root(ROOT);
    let n = 500_000;
    let cpu = cpu_ns();
    for _ in 0..n {
        let key = key(bench.rng.below(bench.n_keys));
        black_box(view.get(&key, None).expect("the present"));
    }
    println!("get: {:.0} ns", (cpu_ns() - cpu) as f64 / f64::from(n));
    let cpu = cpu_ns();
    let rows = view.range(&KeyRange::all(), None).expect("the present");
    let sum: u64 = rows.map(|r| r.value().len() as u64 + r.version()).sum();
    let rate = bench.n_keys as f64 / (cpu_ns() - cpu) as f64 * 1000.0;
    println!("range of everything: {rate:.1} M rows/s (sum {sum})");
    let n = 20_000;
    let cpu = cpu_ns();
    for _ in 0..n {
        let range = KeyRange::from(key(bench.rng.below(bench.n_keys)).to_vec());
        let rows = view.range(&range, None).expect("the present").take(100);
        black_box(rows.map(|r| r.value().len()).sum::<usize>());
    }
    let each = (cpu_ns() - cpu) as f64 / 1000.0 / f64::from(n);
    println!("range of 100 from a random key: {each:.1} µs");
    let cpu = cpu_ns();
    for _ in 0..n {
        let range = KeyRange::from(key(bench.rng.below(bench.n_keys)).to_vec());
        black_box(view.count(&range, None).expect("the present"));
    }
    let each = (cpu_ns() - cpu) as f64 / f64::from(n);
    println!("count from a random key on: {each:.0} ns");
    let cpu = cpu_ns();
    black_box(view.hash(Revision(0)).expect("the present"));
    let each = (cpu_ns() - cpu) as f64 / 1e6;
    println!("hash of everything: {each:.0} ms");
}

fn beside_readers(bench: &mut Bench) {
    let latest = Arc::new(Mutex::new(bench.store.publish()));
    let stop = Arc::new(AtomicBool::new(false));
    let n_reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|seed| {
            let (latest, stop) = (latest.clone(), stop.clone());
            let n_reads = n_reads.clone();
            let n_keys = bench.n_keys;
            std::thread::spawn(move || {
                let mut rng = Rng::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    let state: State = latest.lock().expect("no panic").clone();
                    let view = state.root(ROOT);
                    for _ in 0..20 {
                        let from = key(rng.below(n_keys));
                        black_box(view.get(&from, None).expect("the present"));
                    }
                    let range = KeyRange::from(key(rng.below(n_keys)).to_vec());
                    let rows = view.range(&range, None).expect("the present").take(100);
                    black_box(rows.map(|r| r.value().len()).sum::<usize>());
                    n_reads.fetch_add(21, Ordering::Relaxed);
                }
            })
        })
        .collect();
    bench.updates("… beside 4 reader threads", N_UPDATES, |bench| {
        *latest.lock().expect("no panic") = bench.store.publish();
    });
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no panic");
    }
    println!("  meanwhile {} reads", n_reads.load(Ordering::Relaxed));
}

fn beside_stream(bench: &mut Bench) {
    let held = bench.store.publish();
    let started = Instant::now();
    let streaming = std::thread::spawn(move || {
        let mut writer = stream::Writer::new(held);
        let mut chunks = Vec::new();
        while let Some(chunk) = writer.next_chunk(256 * 1024) {
            chunks.push(chunk);
        }
        (chunks, started.elapsed(), cpu_ns())
    });
    let mut latest = bench.store.publish();
    bench.updates("… while a held root is streamed", N_UPDATES, |bench| {
        latest = bench.store.publish();
    });
    drop(latest);
    let (chunks, wall, cpu) = streaming.join().expect("no panic");
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    println!(
        "stream: {} MB written in {wall:.2?} ({:.2} s of CPU)",
        bytes / 1_000_000,
        cpu as f64 / 1e9
    );
    let started = Instant::now();
    let mut reader = stream::Reader::new();
    for chunk in chunks {
        reader.push(&chunk).expect("our own bytes");
    }
    let state = reader.finish().expect("our own bytes");
    println!(
        "stream: loaded {} versions in {:.2?}",
        state.root(ROOT).versions(),
        started.elapsed()
    );
}
