//! Scripts: commands in a file, one on each line; and the stories that come with the program.

use super::command::{Command, NotACommand};
use super::drive::{Refused, Stage};

/// Bytes of a script.
pub(super) const SCRIPT_BYTES_MAX: usize = 64 * 1024;

/// Commands of a script.
pub(super) const COMMANDS_MAX: usize = 2000;

/// A script that cannot be run, or not to its end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScriptError {
    /// A line is no command.
    #[error("line {line}: {source}")]
    NotACommand {
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: NotACommand,
    },
    /// A command cannot be carried out.
    #[error("line {line}: {text}: {source}")]
    Refused {
        /// Which line, from 1.
        line: usize,
        /// What it says.
        text: String,
        /// Why not.
        source: Refused,
    },
    /// It is too long.
    #[error("the script is longer than {0}")]
    TooLong(String),
}

/// A script: its commands, with the numbers of their lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    commands: Vec<(usize, String, Command)>,
}

/// A story that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// The script.
    pub text: &'static str,
    /// The bug that it was written for.
    pub bug: Option<&'static str>,
}

impl Story {
    /// What it tells, from its first line.
    pub fn about(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches(['#', ' '])
    }
}

impl Script {
    /// The stories.
    pub const STORIES: [Story; 5] = [
        Story {
            name: "partition",
            text: include_str!("scripts/partition.txt"),
            bug: None,
        },
        Story {
            name: "answer-early",
            text: include_str!("scripts/answer-early.txt"),
            bug: Some("answer-early"),
        },
        Story {
            name: "lying-disk",
            text: include_str!("scripts/lying-disk.txt"),
            bug: Some("lying-disk"),
        },
        Story {
            name: "read-locally",
            text: include_str!("scripts/read-locally.txt"),
            bug: Some("read-locally"),
        },
        Story {
            name: "clocks",
            text: include_str!("scripts/clocks.txt"),
            bug: None,
        },
    ];

    /// Reads a script.
    ///
    /// # Errors
    /// A line is no command, or there are too many.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        if text.len() > SCRIPT_BYTES_MAX {
            return Err(ScriptError::TooLong(format!("{SCRIPT_BYTES_MAX} bytes")));
        }
        let mut commands = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let command = Command::parse(line).map_err(|source| ScriptError::NotACommand {
                line: at + 1,
                source,
            })?;
            if let Some(command) = command {
                commands.push((at + 1, line.trim().to_owned(), command));
            }
            if commands.len() > COMMANDS_MAX {
                return Err(ScriptError::TooLong(format!("{COMMANDS_MAX} commands")));
            }
        }
        Ok(Script { commands })
    }

    /// Its commands, with the numbers of their lines and their texts.
    pub fn commands(&self) -> impl Iterator<Item = (usize, &str, &Command)> {
        let all = self.commands.iter();
        all.map(|(line, text, command)| (*line, text.as_str(), command))
    }

    /// Carries everything out and tells it, each command followed by what came of it.
    ///
    /// # Errors
    /// A command cannot be carried out. What came before has happened, and `tell` has heard of it.
    pub fn run(&self, stage: &mut Stage, tell: &mut dyn FnMut(&str)) -> Result<(), ScriptError> {
        for (line, text, command) in self.commands() {
            tell(&format!("> {text}"));
            if matches!(command, Command::Quit) {
                return Ok(());
            }
            let said = stage.run(command).map_err(|source| ScriptError::Refused {
                line,
                text: text.to_owned(),
                source,
            })?;
            said.iter().for_each(|line| tell(&format!("  {line}")));
        }
        Ok(())
    }
}
