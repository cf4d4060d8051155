//! The log: one line per event, written by threads of its own.
//!
//! ```text
//!   any thread ── line.rs ──┬─► bounded queue ──► thread ──► standard error
//!                           └─► bounded queue ──► thread ──► rotate.rs ──► a file
//!                                 │ full: the line is dropped and counted; the count is a line later
//! ```
//!
//! Logging never waits (reliability rule R17): a terminal that is not read or a full disk behind a
//! redirection must not stop heartbeats, and one place that is slow does not hold up another. Lines are JSON in etcd's
//! shape (`level`, `ts`, `caller`, `msg` and the event's own fields), or text for people. No value of a key, no password
//! and no token is ever said: messages name keys at most.

mod line;
mod output;
mod rotate;

use crate::flags::LogChoice;
use line::Lines;
use output::{Ends, Outputs, Place};
use rotate::{RotatingFile, Rotation};
use std::io::{self, Write};
use std::path::Path;
use tracing_subscriber::fmt::MakeWriter;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The rotation is not said as it should be.
    #[error("--log-rotation-config-json is not as it should be")]
    Rotation(#[source] serde_json::Error),
    /// Files can be rotated, terminals cannot.
    #[error("--enable-log-rotation needs a path in --log-outputs")]
    NothingToRotate,
    /// A file cannot be opened.
    #[error("cannot open the log file {path}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No thread.
    #[error("cannot start the log")]
    Start(#[source] io::Error),
}

/// Keeps the log; dropping it writes what is queued, unless that takes too long.
pub(crate) struct LogGuard {
    outputs: Outputs,
    ends: Ends,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.outputs.end();
        self.ends.wait();
    }
}

/// Starts the log. Call it once.
///
/// # Errors
/// A place cannot be written to.
pub(crate) fn start(choice: &LogChoice) -> Result<LogGuard, LogError> {
    let places = places(choice)?;
    let dropped = server::log_lines_dropped();
    let started = Outputs::start(places, choice.json, dropped);
    let (outputs, ends) = started.map_err(LogError::Start)?;
    tracing_subscriber::fmt()
        .with_max_level(choice.level)
        .event_format(Lines { json: choice.json })
        .with_writer(Sink(outputs.clone()))
        .init();
    Ok(LogGuard { outputs, ends })
}

fn places(choice: &LogChoice) -> Result<Vec<Place>, LogError> {
    let rotation = choice.rotation.as_deref().map(Rotation::parse);
    let rotation = rotation.transpose().map_err(LogError::Rotation)?;
    let mut places = Vec::new();
    for output in &choice.outputs {
        places.push(match output.as_str() {
            // Under systemd standard error is the journal.
            "default" | "stderr" | "systemd/journal" => Place::Stderr,
            "stdout" => Place::Stdout,
            path => {
                let opened = RotatingFile::open(Path::new(path), rotation.clone());
                Place::File(opened.map_err(|source| LogError::Open {
                    path: path.to_owned(),
                    source,
                })?)
            }
        });
    }
    let has_file = places.iter().any(|place| matches!(place, Place::File(_)));
    if rotation.is_some() && !has_file {
        return Err(LogError::NothingToRotate);
    }
    Ok(places)
}

#[derive(Clone)]
struct Sink(Outputs);

/// One line on its way to the queues.
struct Line<'a> {
    outputs: &'a Outputs,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line {
            outputs: &self.0,
            bytes: Vec::with_capacity(256),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.outputs.send(std::mem::take(&mut self.bytes));
        }
    }
}
