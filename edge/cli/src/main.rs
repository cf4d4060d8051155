//! The `quorate` binary. To be told.
mod flags;
fn main() {}
