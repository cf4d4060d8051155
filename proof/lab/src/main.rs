//! `lab`: what `quorate lab` is, without the rest of the binary. Quicker to build while working on the lab.

use clap::Parser;
use lab::command::Lab;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "lab",
    about = "every idea of the field: run it, break it, look at it"
)]
struct Arguments {
    #[command(flatten)]
    lab: Lab,
}

fn main() -> ExitCode {
    Arguments::parse()
        .lab
        .run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}
