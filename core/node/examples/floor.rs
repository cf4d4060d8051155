//! The floor: what a put costs in the pure core, without sockets, disks or a protocol.
//!
//! Three whole nodes on one thread, messages handed over as values, disks that answer at once. Run it
//! with `cargo run --release -p quorate-node --example floor`; it prints microseconds of CPU per put of all
//! three members together, by batch size. It measures and asserts nothing: speed is shown, not tested.

#[path = "../tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use std::time::Duration;
use support::{WORDS, World};

fn main() {
    println!("{:>6} {:>12}", "batch", "us per put");
    for batch in [1_u32, 10, 50, 100] {
        let mut world = World::new(3);
        let leader = world.elect();
        world.run(Duration::from_millis(200));
        let value = "v".repeat(256);
        let rounds = 100_000 / batch;
        // The example is of the edge's kind: it may look at the clock that the core may not.
        #[allow(clippy::disallowed_types)]
        let started = std::time::Instant::now();
        for round in 0..rounds {
            for n in 0..batch {
                let key = (u64::from(round) * 7919 + u64::from(n) * 104_729) % 100_000;
                let words = format!("key-{key:020}={value}");
                world
                    .node(leader)
                    .propose(WORDS, Bytes::from(words))
                    .expect("admitted");
            }
            world.settle();
            world
                .said
                .values_mut()
                .for_each(|said| said.answers.clear());
        }
        let us = started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds * batch);
        println!("{batch:>6} {us:>12.2}");
    }
}
