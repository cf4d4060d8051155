//! The Rust client's program.
fn main() {}
