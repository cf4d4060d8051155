//! `quorate lab cluster`: three members of the production core in the simulator, driven from a prompt or a script.
//!
//! ```text
//!   script or prompt ─► sim::stage::Stage ─► history ─► judge ─► linearizable, or the smallest proof that it is not
//!                             │
//!                             └► tape of events ─► view.rs ─► drawing.rs ─► diagram::Picture
//! ```
//!
//! Nothing here is a model: what runs is the code that ships, on disks, links and clocks of the simulator's. `--sim-seed`
//! opens the world of any of the simulator's seeds as a picture.
//!
//! It ends with 0 when every promise holds, with 1 when one does not (its name is the last line), and with 2 when a
//! command cannot be carried out: what was done before it is drawn and judged all the same.

mod drawing;
mod view;

use crate::command::Form;
use crate::diagram::Picture;
use clap::Args;
use sim::stage::{Bug, Command, Finding, Script, ShellBug, Stage, USAGE, law, open};
use sim::tape::Event;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use view::View;

/// Bytes that are read of a script: whatever is longer is refused when it is parsed.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Rows of a picture of a whole script, when nobody says how many.
const SCRIPT_ROWS: usize = 400;

/// Events of a seed's picture, when nobody says how many.
const SEED_EVENTS: usize = 60;

/// Drive three members of the production core from a prompt or a script, and judge what clients saw.
///
/// Without --script, commands are read from the prompt, or from standard input; `help` lists them there. Ends with 0 when
/// the history is linearizable and nothing else is broken, and with 1 when not: the last line names what is broken.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab cluster                                     a prompt
  quorate lab cluster --list                              the stories and the bugs that there are
  quorate lab cluster --script partition                  a partition and a crash, drawn and judged
  quorate lab cluster --script read-locally --break read-locally
                                                          the same core behind a front that asks nobody
  quorate lab cluster --sim-seed 7 --only client,fault,role
                                                          the world of a seed of the simulator")]
pub struct Cluster {
    /// The stories and the bugs that there are.
    #[arg(long)]
    list: bool,
    /// What belongs behind `--script`: it is refused in words that say so.
    #[arg(hide = true)]
    misplaced: Option<String>,
    /// A file of commands, or the name of a story: `--list` tells.
    #[arg(long, value_name = "FILE|STORY")]
    script: Option<String>,
    /// Ask for commands even where standard input is no terminal.
    #[arg(long, conflicts_with = "script")]
    prompt: bool,
    /// The chances of this world: delays, who is elected.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Draw the world of this seed of the simulator instead.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["script", "seed"])]
    sim_seed: Option<u64>,
    /// Plant this bug: `--list` tells.
    #[arg(long = "break", value_name = "BUG")]
    bug: Option<String>,
    /// The judgement, and no picture unless something is broken.
    #[arg(long)]
    brief: bool,
    #[command(flatten)]
    view: View,
    /// Write the picture to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write what happened to this file, as JSON lines with vector clocks.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// How it ended.
struct Done {
    /// The command that could not be carried out, after which nothing more was.
    complaint: Option<String>,
    /// With which code.
    code: ExitCode,
    /// The judgement, for programs.
    card: serde_json::Value,
}

type Outcome = Result<Done, String>;

impl Done {
    /// The code to end with.
    ///
    /// # Errors
    /// A command could not be carried out.
    fn end(self) -> Result<ExitCode, String> {
        match self.complaint {
            Some(complaint) => Err(complaint),
            None => Ok(self.code),
        }
    }
}

impl Cluster {
    /// Does what was asked for; for programs, only the judgement is printed.
    ///
    /// # Errors
    /// In words, when it cannot.
    pub fn run(
        self,
        form: Form,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
    ) -> Result<ExitCode, String> {
        match form {
            Form::Text => self.tell(form, input, out)?.end(),
            Form::Json => {
                let done = self.tell(form, input, &mut std::io::sink())?;
                write(out, &format!("{}\n", done.card))?;
                done.end()
            }
        }
    }

    fn tell(&self, form: Form, input: &mut dyn BufRead, out: &mut dyn Write) -> Outcome {
        if let Some(name) = &self.misplaced {
            return Err(format!(
                "a file of commands, or a story, is given so: --script {name}"
            ));
        }
        if self.list {
            write(out, &list())?;
            return Ok(Done {
                complaint: None,
                code: ExitCode::SUCCESS,
                card: catalogue(),
            });
        }
        let bug = self.bug.as_deref().map(Bug::named).transpose();
        let bug = bug.map_err(|error| error.to_string())?;
        self.view.check()?;
        end_in_words();
        if let Some(seed) = self.sim_seed {
            return self.open(seed, bug, out);
        }
        let text = match &self.script {
            Some(name) => Some(script(name)?),
            None if form == Form::Text && (self.prompt || std::io::stdin().is_terminal()) => None,
            None => {
                let mut text = String::new();
                let read = input.take(READ_BYTES_MAX).read_to_string(&mut text);
                read.map_err(|error| format!("cannot read the commands: {error}"))?;
                Some(text)
            }
        };
        let mut stage = Stage::new(self.seed, bug);
        let complaint = match text {
            Some(text) => {
                let script = Script::parse(&text).map_err(|error| error.to_string())?;
                self.play(&script, &mut stage, out).err()
            }
            None => {
                self.prompt(&mut stage, input, out)?;
                None
            }
        };
        // What was done until then is drawn and judged all the same: it is what one needs to see why.
        let finding = stage.finish();
        let done = self.end(&finding, &stage.events(), out)?;
        Ok(Done { complaint, ..done })
    }

    /// Carries a whole script out, or what comes before the line that cannot be.
    fn play(&self, script: &Script, stage: &mut Stage, out: &mut dyn Write) -> Result<(), String> {
        for (line, text, command) in script.commands() {
            write(out, &format!("> {text}\n"))?;
            if *command == Command::Quit {
                return Ok(());
            }
            self.carry_out(command, stage, out)
                .map_err(|error| format!("line {line}: {text}: {error}"))?;
        }
        Ok(())
    }

    /// Asks for one command after the other. What cannot be carried out is said, and it goes on.
    fn prompt(
        &self,
        stage: &mut Stage,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
    ) -> Result<(), String> {
        write(
            out,
            "three members of the production core, n1 n2 n3, and clients c1 to c9; `help` lists what may be typed\n",
        )?;
        loop {
            write(out, &format!("{} > ", stage.now()))?;
            let mut line = String::new();
            let n = input
                .take(READ_BYTES_MAX)
                .read_line(&mut line)
                .map_err(|error| format!("cannot read the command: {error}"))?;
            if n == 0 {
                return write(out, "\n");
            }
            match Command::parse(&line) {
                Ok(None) => {}
                Ok(Some(Command::Quit)) => return Ok(()),
                Ok(Some(command)) => {
                    if let Err(error) = self.carry_out(&command, stage, out) {
                        write(out, &format!("  {error}\n"))?;
                    }
                }
                Err(error) => write(out, &format!("  {error}\n"))?,
            }
        }
    }

    fn carry_out(
        &self,
        command: &Command,
        stage: &mut Stage,
        out: &mut dyn Write,
    ) -> Result<(), String> {
        match command {
            Command::Help => write(out, &help()),
            Command::Diagram => {
                let picture = self.picture(&stage.events(), SCRIPT_ROWS);
                write(out, &picture.0)
            }
            command => {
                let said = stage.run(command).map_err(|error| error.to_string())?;
                let said: Vec<String> = said.iter().map(|line| format!("  {line}\n")).collect();
                write(out, &said.concat())
            }
        }
    }

    /// What it came to: the whole picture when all is well, and the smallest proof when it is not.
    fn end(&self, finding: &Finding, events: &[Event], out: &mut dyn Write) -> Outcome {
        let proof = finding.guilt.as_ref().map(|guilt| &guilt.events[..]);
        let drawn = match (finding.holds(), proof) {
            (false, Some(proof)) => proof,
            _ => events,
        };
        let (text, picture) = self.picture(drawn, SCRIPT_ROWS);
        if !finding.holds() || !self.brief {
            write(out, &format!("\n{text}"))?;
        }
        self.keep(&picture, drawn)?;
        let lines = finding.lines().join("\n");
        write(out, &format!("\n{lines}\n"))?;
        let broken: Vec<String> = finding.claims().map(law).collect();
        if let Some(law) = broken.first() {
            write(out, &format!("\nlaw broken: {law}\n"))?;
        }
        let proof = finding.guilt.iter().flat_map(|guilt| &guilt.operations);
        Ok(Done {
            complaint: None,
            code: ExitCode::from(u8::from(!broken.is_empty())),
            card: serde_json::json!({
                "holds": broken.is_empty(),
                "broken": broken,
                "operations": finding.n_operations,
                "unknown": finding.n_unknown,
                "proof": proof.map(ToString::to_string).collect::<Vec<_>>(),
            }),
        })
    }

    /// The world of one seed of the simulator.
    fn open(&self, seed: u64, bug: Option<Bug>, out: &mut dyn Write) -> Outcome {
        if let Some(bug) = bug.and_then(Bug::of_shell) {
            let name = bug.name();
            return Err(format!(
                "{name} is planted in worlds that are driven by hand, not in those of the simulator's seeds: \
                 --script {name} --break {name}"
            ));
        }
        let (report, mut events) = open(seed, bug);
        let proof = report.violations.first().map(|first| &first.operations[..]);
        if let Some(proof) = proof.filter(|proof| !proof.is_empty() && !self.view.has_times()) {
            events = view::around(&events, proof);
        }
        write(out, &format!("seed {seed}: {}\n", report.plan))?;
        let (text, picture) = self.picture(&events, SEED_EVENTS);
        write(out, &format!("\n{text}\n"))?;
        self.keep(&picture, &events)?;
        write(
            out,
            &format!(
                "{} operations in {:.1} s, hash {:016x}\n",
                report.n_operations,
                report.simulated.as_secs_f64(),
                report.hash
            ),
        )?;
        let broken: Vec<String> = report
            .violations
            .iter()
            .map(|violation| law(violation.claim))
            .collect();
        match report.violations.first() {
            None => write(out, "no promise is broken\n")?,
            Some(violation) => write(
                out,
                &format!(
                    "{}\n\nlaw broken: {}\n",
                    violation.evidence,
                    law(violation.claim)
                ),
            )?,
        }
        Ok(Done {
            complaint: None,
            code: ExitCode::from(u8::from(!broken.is_empty())),
            card: serde_json::json!({
                "holds": broken.is_empty(),
                "broken": broken,
                "operations": report.n_operations,
                "hash": format!("{:016x}", report.hash),
            }),
        })
    }

    /// The picture of what the view lets through, and its text with a word about what it does not.
    fn picture(&self, events: &[Event], n_default: usize) -> (String, Picture) {
        let shown = self.view.choose(events, n_default);
        let picture = drawing::brief(&shown.events, self.view.all);
        let mut text = picture.text();
        if shown.events.is_empty() {
            text = "nothing happened that is to be drawn\n".to_owned();
        }
        if shown.n_left_out > 0 {
            text = format!(
                "{} events before are left out: --last, --from, --to, --members and --only choose\n{text}",
                shown.n_left_out
            );
        }
        (text, picture)
    }

    fn keep(&self, picture: &Picture, events: &[Event]) -> Result<(), String> {
        let save = |file: &Path, text: String| {
            std::fs::write(file, text)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))
        };
        if let Some(file) = &self.svg {
            save(file, picture.svg())?;
        }
        if let Some(file) = &self.trace {
            let shown = self.view.choose(events, usize::MAX);
            save(file, drawing::whole(&shown.events).trace())?;
        }
        Ok(())
    }
}

/// Where a panic is the end of the process, as in what ships, a broken invariant of the core is told as a broken law all the
/// same: what a member would say with its last breath, and the exit code 1. The simulator's own hook, which comes later,
/// calls this one.
fn end_in_words() {
    if cfg!(panic = "abort") {
        std::panic::set_hook(Box::new(|info| {
            println!("\na member stops itself: {info}\n\nlaw broken: no-invariant-breaks");
            std::process::exit(1);
        }));
    }
}

/// The commands of a story, or of a file.
fn script(name: &str) -> Result<String, String> {
    if let Some(story) = Script::STORIES.iter().find(|story| story.name == name) {
        return Ok(story.text.to_owned());
    }
    let names: Vec<&str> = Script::STORIES.iter().map(|story| story.name).collect();
    let file = std::fs::File::open(name).map_err(|error| {
        format!(
            "{name} is neither a story ({}) nor a file: {error}",
            names.join(", ")
        )
    })?;
    let mut text = String::new();
    let read = file.take(READ_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(text)
}

fn catalogue() -> serde_json::Value {
    let stories = Script::STORIES.iter();
    let bugs = ShellBug::ALL.iter();
    serde_json::json!({
        "stories": stories
            .map(|story| serde_json::json!({ "name": story.name, "line": story.about(), "bug": story.bug }))
            .collect::<Vec<_>>(),
        "bugs": bugs
            .map(|bug| serde_json::json!({ "name": bug.name(), "says": bug.about() }))
            .collect::<Vec<_>>(),
    })
}

fn list() -> String {
    let mut text = String::from("stories, for --script:\n");
    for story in Script::STORIES {
        text += &format!("  {:<14}{}\n", story.name, story.about());
    }
    text += "\nbugs, for --break:\n";
    for bug in ShellBug::ALL {
        text += &format!("  {:<14}{}\n", bug.name(), bug.about());
    }
    let n_more = Bug::names().count() - ShellBug::ALL.len();
    if n_more > 0 {
        text += &format!("  and {n_more} of the core, by the names that `sim mutants` prints\n");
    }
    text
}

fn help() -> String {
    let mut text = String::new();
    for (_, usage, about) in USAGE {
        text += &format!("  {usage:<46}{about}\n");
    }
    text + "  A is a member: n1 n2 n3, leader, follower, all, or a name that `let` gave\n"
}

/// A reader that has gone away is no error.
fn write(out: &mut dyn Write, text: &str) -> Result<(), String> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
