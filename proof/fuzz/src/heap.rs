//! How many bytes a decoder asks the heap for: a claimed length must not be believed.
//!
//! Counts what is *asked for in total*, not what is held at a time: that is the same on every machine,
//! and a decoder that asks for a gigabyte is caught even when it gives it back at once.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs `work` and stops when it asked for more than `bytes_max`.
pub fn bounded<T>(bytes_max: usize, what: &str, work: impl FnOnce() -> T) -> T {
    let region = Region::new(HEAP);
    let done = work();
    let bytes = region.change().bytes_allocated;
    assert!(
        bytes <= bytes_max,
        "{what} asked for {bytes} bytes of memory, {bytes_max} is what it may"
    );
    done
}
