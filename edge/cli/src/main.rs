//! The `quorate` binary, and the `etcd` that it can be.
//!
//! ```text
//!   called `etcd`      etcd's flags, environment and version: a member         flags.rs
//!   called anything    quorate dev      a whole cluster in one command         dev.rs
//!   else               quorate server   a member, by the same flags as etcd    flags.rs
//! ```
//!
//! The name of the program decides (`argv[0]`, a symbolic link will do), so that scripts written for etcd
//! need no change.

mod dev;
mod face;
mod flags;
mod log;

use base::Chain;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    if name == "etcd" {
        return face::member("etcd", arguments);
    }
    match arguments.first().map(String::as_str) {
        Some("server") => face::member("quorate server", arguments[1..].to_vec()),
        Some("dev") => match dev::main(&arguments[1..]) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {}", Chain(&error));
                ExitCode::FAILURE
            }
        },
        Some("version" | "--version" | "-V") => {
            println!("quorate {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        None | Some("help" | "--help" | "-h") => {
            print!("{}", face::HELP);
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("error: \"{other}\" is not a command of quorate\n");
            eprint!("{}", face::HELP);
            ExitCode::from(2)
        }
    }
}
