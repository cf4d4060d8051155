//! Just enough of `protoc` for the build script of the public `etcd-client` crate.
//!
//! That crate compiles its protocol files when it is built, and runs `protoc` for it. The tests and
//! the benchmark use the crate as strangers do, and a fresh machine with Rust alone must build
//! them: so `.cargo/config.toml` names `tools/protoc/protoc`, which runs this program when no
//! `protoc` is installed.
//!
//! It is not a compiler for people: it takes the options that `prost-build` and the `raft` crate's build
//! give (`--version`, `-I DIR`, `-IDIR`, `-o FILE`, `--include_imports`, `--include_source_info`,
//! files), writes a descriptor set, and refuses the rest.

use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    output: Option<PathBuf>,
    imports: bool,
    source_info: bool,
}

fn main() -> ExitCode {
    // The `raft` crate's build asks first and insists on version 3.
    if std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == "--version")
    {
        println!("libprotoc 3.21.12");
        return ExitCode::SUCCESS;
    }
    match parse(std::env::args().skip(1)).and_then(compile) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("quorate-protoc: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-I" => wanted
                .includes
                .push(args.next().ok_or("-I wants a folder")?.into()),
            option if option.starts_with("-I") => wanted.includes.push(option[2..].into()),
            "-o" => wanted.output = Some(args.next().ok_or("-o wants a file")?.into()),
            "--include_imports" => wanted.imports = true,
            "--include_source_info" => wanted.source_info = true,
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            _ => wanted.files.push(arg.into()),
        }
    }
    Ok(wanted)
}

fn compile(wanted: Wanted) -> Result<(), String> {
    let output = wanted.output.ok_or("no -o FILE")?;
    let mut compiler = protox::Compiler::new(&wanted.includes).map_err(|err| err.to_string())?;
    compiler
        .include_imports(wanted.imports)
        .include_source_info(wanted.source_info)
        .open_files(&wanted.files)
        .map_err(|err| format!("{err:?}"))?;
    std::fs::write(&output, compiler.encode_file_descriptor_set())
        .map_err(|err| format!("cannot write {}: {err}", output.display()))
}
