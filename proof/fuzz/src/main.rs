//! `fuzz`: runs the targets on damaged inputs, or one input again.

use quorate_fuzz::smoke::{Plan, smoke};
use quorate_fuzz::targets::{self, Target};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

const USAGE: &str = "\
fuzz smoke [--runs N] [--target NAME]... [--seed S] [--out FOLDER] [--seconds-free] [--trace] [--plant]
fuzz replay TARGET FILE
fuzz targets

  --runs N        runs of each target; slower ones take a fixed share of it (20000)
  --target NAME   only this one; may be given again
  --seed S        decides every input (1)
  --out FOLDER    where inputs that break something go (target/fuzz/found)
  --seconds-free  leave the seconds out of the table: one seed then prints the same every time
  --trace         write each input to FOLDER/last before it is run
  --plant         plant a defect, which must be found: exit code 1
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["smoke", options @ ..] => plan_of(options).and_then(|plan| {
            let told = smoke(&plan, &mut std::io::stdout());
            told.map_err(|error| format!("cannot tell: {error}"))
        }),
        ["replay", target, file] => named(target).and_then(|target| replay(target, file)),
        ["targets"] => {
            targets::ALL
                .iter()
                .for_each(|target| println!("{}", target.name));
            Ok(true)
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::from(2)
        }
    }
}

fn named(name: &str) -> Result<&'static Target, String> {
    targets::named(name).ok_or(format!("no target is called {name}: see `fuzz targets`"))
}

fn plan_of(options: &[&str]) -> Result<Plan, String> {
    let mut plan = Plan {
        runs: 20_000,
        targets: Vec::new(),
        seed: 1,
        is_seconds_free: false,
        is_planted: false,
        is_traced: false,
        out: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz/found"),
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().ok_or(format!("{option} wants a value"));
        match *option {
            "--runs" => plan.runs = number(value()?)?,
            "--target" => plan.targets.push(named(value()?)?),
            "--seed" => plan.seed = number(value()?)?,
            "--out" => plan.out = PathBuf::from(value()?),
            "--seconds-free" => plan.is_seconds_free = true,
            "--trace" => plan.is_traced = true,
            "--plant" => plan.is_planted = true,
            _ => return Err(format!("{option} is no option\n{USAGE}")),
        }
    }
    if plan.targets.is_empty() {
        plan.targets = targets::ALL.iter().collect();
    }
    Ok(plan)
}

fn number(text: &str) -> Result<u64, String> {
    u64::from_str(text).map_err(|_| format!("{text} is no number"))
}

fn replay(target: &'static Target, file: &str) -> Result<bool, String> {
    let input = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    // Not caught: the panic's own words and `RUST_BACKTRACE=1` say most.
    let verdict = (target.run)(&input);
    println!("{} of {} bytes: {verdict:?}", target.name, input.len());
    Ok(true)
}
