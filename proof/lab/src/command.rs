//! `quorate lab`: what it takes, what it prints, how it ends.
//!
//! It ends with 0 when every law holds, with 1 when one does not (its name is the last line), and with 2 when what
//! was asked for is not there.

use crate::calculate::Calc;
use crate::catalogue;
use crate::cluster::Cluster;
use crate::exhibit::{Ask, Exhibit, Hand, Shown};
use crate::measure;
use crate::questions;
use clap::{Args, Subcommand, ValueEnum};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run the ideas of the field, break them, look at them.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab                                     everything there is, one line each
  quorate lab run paxos                           one: its story, its picture, its laws
  quorate lab run paxos --break adopt-highest     the same without one of its rules")]
pub struct Lab {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List everything there is, one line each.
    #[command(before_help = "\
Examples:
  quorate lab list              for people
  quorate lab list -o json      with the rules that can be broken, for programs")]
    List,
    Run(Run),
    /// Print the lecture alone.
    #[command(before_help = "\
Examples:
  quorate lab story paxos      what it is, and where it is from")]
    Story {
        /// Which: `quorate lab list` tells.
        name: String,
    },
    /// Take a figure of the literature anew; without a name: list them.
    #[command(before_help = "\
Examples:
  quorate lab measure             what can be measured
  quorate lab measure gossip      one table, the same every time")]
    Measure {
        /// Which.
        name: Option<String>,
    },
    /// Do the arithmetic of the field: quorums, failures, availability, φ, leases.
    #[command(
        subcommand,
        before_help = "\
Examples:
  quorate lab calc quorums                               N, W, R: the usual choices
  quorate lab calc phi --gaps 100,98,103 --since 130     how surprising a silence is"
    )]
    Calc(Calc),
    /// Answer one of eight questions: tell, run, break, answer; without a number: list them.
    #[command(before_help = "\
Examples:
  quorate lab question       the eight
  quorate lab question 4     a lock holder that sleeps past its time, with and without fencing")]
    Question {
        /// Which.
        number: Option<u32>,
    },
    Cluster(Cluster),
}

/// How lists and figures are printed: `-o`. The binary that the lab is part of has that flag for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Run one: its story, its picture, its laws over everything that can happen.
///
/// Ends with 0 when the laws hold, with 1 when one does not: the last line names it.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab run paxos                           story, scenarios, every interleaving, 10,000 seeds
  quorate lab run paxos --break adopt-highest     without this rule: the shortest way into trouble
  quorate lab run paxos --scenario duel           one play
  quorate lab run paxos --seed 7 --svg duel.svg   one random run, as a picture
  quorate lab run paxos --step                    you are the network")]
struct Run {
    /// Which: `quorate lab list` tells.
    name: String,
    /// Leave this rule out and see what breaks.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<String>,
    /// Draw the random run of this one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many random runs.
    #[arg(long, value_name = "N", default_value_t = Ask::default().seeds)]
    seeds: u64,
    /// Play this scenario only.
    #[arg(long, value_name = "NAME", conflicts_with = "seed")]
    scenario: Option<String>,
    /// Choose each step yourself.
    #[arg(long, conflicts_with_all = ["seed", "scenario", "svg", "trace"])]
    step: bool,
    /// Leave the story out.
    #[arg(long)]
    brief: bool,
    /// Write the last picture to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the last picture to this file, as JSON lines with vector clocks.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Lab {
    /// Does what was asked for. What cannot be done is said by the caller, in its own way: exit code 2.
    ///
    /// # Errors
    /// When what was asked for is not there, or a file cannot be written.
    pub fn run(
        self,
        form: Form,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
    ) -> Result<ExitCode, String> {
        match self.what {
            None | Some(What::List) => list(form, out),
            Some(What::Run(_) | What::Question { .. } | What::Story { .. }) if form == Form::Json => Err(
                "this is told in text and pictures; as JSON there are: lab list, lab measure, lab calc, lab cluster, \
                 and the picture of a run with --trace FILE"
                    .into(),
            ),
            Some(What::Story { name }) => find(&name)
                .and_then(|exhibit| write(out, &format!("{}\n", exhibit.story().trim_end()))),
            Some(What::Run(run)) => run.run(input, out),
            Some(What::Measure { name: None }) => write(out, &measurements(form)),
            Some(What::Measure { name: Some(name) }) => write(out, &measured(&name, form)?),
            Some(What::Calc(calc)) => write(out, &calc.print(form)?),
            Some(What::Question { number }) => question(number, out),
            Some(What::Cluster(cluster)) => cluster.run(form, input, out),
        }
    }
}

impl Run {
    fn run(self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<ExitCode, String> {
        let exhibit = find(&self.name)?;
        let ask = Ask {
            broken: self.broken,
            seed: self.seed,
            seeds: self.seeds,
            scenario: self.scenario,
            is_brief: self.brief,
        };
        if self.step {
            let mut hand = Hand {
                read: input,
                write: out,
            };
            exhibit
                .step(&ask, &mut hand)
                .map_err(|error| error.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = String::new();
        let shown = exhibit.run(&ask, &mut text);
        write(out, &text)?;
        let shown: Shown = shown.map_err(|error| base::Chain(&error).to_string())?;
        for (file, picture) in [
            (self.svg, Shown::svg as fn(&Shown) -> String),
            (self.trace, Shown::trace),
        ] {
            if let Some(file) = file {
                std::fs::write(&file, picture(&shown))
                    .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            }
        }
        match shown.fall {
            None => Ok(ExitCode::SUCCESS),
            Some(fall) => {
                write(out, &format!("\nlaw broken: {}\n", fall.law))?;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

impl Shown {
    fn svg(&self) -> String {
        self.picture.svg()
    }

    fn trace(&self) -> String {
        self.picture.trace()
    }
}

fn find(name: &str) -> Result<&'static dyn Exhibit, String> {
    catalogue::find(name).ok_or_else(|| {
        format!("there is no {name:?} in the lab; `quorate lab list` tells what there is")
    })
}

/// A reader that has gone away (`quorate lab run paxos | head`) is no error.
fn write(out: &mut dyn Write, text: &str) -> Result<ExitCode, String> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What else there is, below the list.
const AND_MORE: &str = "
quorate lab run NAME                 its story, its picture, its laws over everything that can happen
quorate lab run NAME --break RULE    the same without one of its rules
quorate lab story NAME               the lecture alone
quorate lab measure NAME             a number of the literature, measured
quorate lab calc                     quorums, failures, availability, phi, leases: arithmetic
quorate lab question 1 … 8           what everybody who coordinates should be able to answer
quorate lab cluster                  three members of the production core, from a prompt or a script
";

fn list(form: Form, out: &mut dyn Write) -> Result<ExitCode, String> {
    let mut text = String::new();
    match form {
        Form::Json => {
            let all: Vec<serde_json::Value> = catalogue::ALL.iter().map(|one| card(*one)).collect();
            text = serde_json::Value::from(all).to_string() + "\n";
        }
        Form::Text => {
            let mut kind = None;
            for one in catalogue::ALL {
                if kind != Some(one.kind()) {
                    kind = Some(one.kind());
                    text += &format!("{}\n", one.kind().name());
                }
                text += &format!("  {:<22}{}\n", one.name(), one.line());
            }
            text += "measured\n";
            for one in measure::ALL {
                text += &format!("  measure {:<14}{}\n", one.name, one.line);
            }
            text += AND_MORE;
        }
    }
    write(out, &text)
}

fn measurements(form: Form) -> String {
    match form {
        Form::Json => {
            let all = measure::ALL.iter();
            let all: Vec<serde_json::Value> = all
                .map(|one| serde_json::json!({ "name": one.name, "line": one.line }))
                .collect();
            serde_json::Value::from(all).to_string() + "\n"
        }
        Form::Text => {
            let all = measure::ALL.iter();
            let lines: Vec<String> = all
                .map(|one| format!("  {:<22}{}\n", one.name, one.line))
                .collect();
            lines.concat() + "\nquorate lab measure NAME     the table, the same every time\n"
        }
    }
}

fn measured(name: &str, form: Form) -> Result<String, String> {
    let one = measure::find(name)
        .ok_or_else(|| format!("{name:?} is not measured; `quorate lab measure` tells what is"))?;
    let table = (one.table)();
    Ok(match form {
        Form::Json => serde_json::json!({ "name": one.name, "table": table }).to_string() + "\n",
        Form::Text => table,
    })
}

fn card(exhibit: &dyn Exhibit) -> serde_json::Value {
    let breaks = exhibit.breaks().iter();
    serde_json::json!({
        "name": exhibit.name(),
        "kind": exhibit.kind().name(),
        "line": exhibit.line(),
        "breaks": breaks.map(|one| serde_json::json!({
            "rule": one.rule, "law": one.law, "says": one.says,
        })).collect::<Vec<_>>(),
        "scenarios": exhibit.scenarios().iter().map(|one| one.name).collect::<Vec<_>>(),
    })
}

fn question(number: Option<u32>, out: &mut dyn Write) -> Result<ExitCode, String> {
    let Some(number) = number else {
        return write(out, &questions::list());
    };
    let mut text = String::new();
    let shown = questions::find(number).and_then(|question| question.show(&mut text));
    write(out, &text)?;
    shown
        .map(|()| ExitCode::SUCCESS)
        .map_err(|error| error.to_string())
}
