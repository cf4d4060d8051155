//! Compiles etcd's messages with protox and prost: types to make requests of, and descriptors with which every
//! field of an answer is seen, also one that nobody here knows.

use prost::Message;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../front/etcd/proto";
    println!("cargo::rerun-if-changed={proto}");
    let files =
        ["kv", "auth", "rpc", "v3lock", "v3election", "health"].map(|f| format!("{f}.proto"));
    let descriptors = protox::compile(files, [proto])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(
        Path::new(&out).join("descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
