//! Compiles `proto/` with protox and prost: no `protoc` on the user's machine, and no service code,
//! since the front does not know the transport.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        ["kv", "auth", "rpc", "v3lock", "v3election", "health"].map(|f| format!("{f}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
