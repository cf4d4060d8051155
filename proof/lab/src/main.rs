//! `lab`: what `quorate lab` is, without the rest of the binary. Quicker to build while working on the lab.

use clap::Parser;
use lab::command::{Form, Lab};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "lab",
    about = "every idea of the field: run it, break it, look at it"
)]
struct Arguments {
    #[command(flatten)]
    lab: Lab,
    /// How to print it
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    output: Form,
}

/// What was asked for is not there: what clap ends with, too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Arguments { lab, output } = Arguments::parse();
    let done = lab.run(
        output,
        &mut std::io::stdin().lock(),
        &mut std::io::stdout().lock(),
    );
    done.unwrap_or_else(|complaint| {
        eprintln!("{complaint}");
        ExitCode::from(USAGE)
    })
}
