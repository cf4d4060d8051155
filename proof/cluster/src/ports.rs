//! Ports that nobody holds, and that no outgoing connection is given meanwhile.
//!
//! Asking the kernel for port 0 hands out a port of the range that outgoing connections come from: a busy
//! client can take it between asking and the member's start, or while a killed member is down. So ports are
//! tried below that range, from a start that differs between processes.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux' usual first ephemeral port (32768), above what services usually take.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 that could be bound a moment ago.
///
/// # Errors
/// None of 20,000 is free.
pub fn free_port() -> io::Result<u16> {
    // Tests of one build run as many processes: spread them.
    let start = u16::try_from(u64::from(std::process::id()) * 131 % u64::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(step)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free port on loopback",
    ))
}
