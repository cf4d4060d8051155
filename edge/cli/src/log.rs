//! The log: one line per event on standard error, written by a thread of its own.
//!
//! ```text
//!   any thread ── format ──► bounded queue ──► one thread ──► standard error
//!                              │ full: the line is dropped and counted; the count is a line later
//! ```
//!
//! Logging never waits (reliability rule R17): a terminal that is not read or a full disk behind a
//! redirection must not stop heartbeats. Lines are JSON in etcd's shape (`level`, `ts`, `caller`, `msg` and the
//! event's own fields), or text for people.

use crate::flags::LogChoice;
use serde_json::{Map, Value};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Lines that may wait for the writing thread.
const QUEUE_LINES_MAX: usize = 4096;

/// Keeps the log's thread; dropping it writes what is queued.
pub(crate) struct LogGuard {
    queue: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The subscriber keeps its own sender for ever, so the end is a message: an empty line.
        if let Some(queue) = self.queue.take() {
            let _ = queue.send(Vec::new());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the log. Call it once.
pub(crate) fn start(choice: LogChoice) -> LogGuard {
    let (queue, lines) = sync_channel::<Vec<u8>>(QUEUE_LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let sink = Sink {
        queue: queue.clone(),
        lost: lost.clone(),
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            for line in lines {
                if line.is_empty() {
                    break;
                }
                let mut out = io::stderr().lock();
                // Nobody is left to tell when standard error fails.
                let _ = out.write_all(&line);
                let dropped = lost.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    let _ = writeln!(out, "{}", lost_line(choice.json, dropped));
                }
            }
        })
        .ok();
    tracing_subscriber::fmt()
        .with_max_level(choice.level)
        .event_format(Lines { json: choice.json })
        .with_writer(sink)
        .init();
    LogGuard {
        queue: Some(queue),
        thread,
    }
}

fn lost_line(json: bool, lost: u64) -> String {
    if json {
        format!(
            "{{\"level\":\"warn\",\"ts\":\"{}\",\"msg\":\"log lines were dropped\",\"lost\":{lost}}}",
            timestamp()
        )
    } else {
        format!("{}  WARN log lines were dropped lost={lost}", timestamp())
    }
}

#[derive(Clone)]
struct Sink {
    queue: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// One line on its way to the queue.
struct Line<'a> {
    sink: &'a Sink,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line {
            sink: self,
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
        if self.bytes.is_empty() {
            return;
        }
        let line = std::mem::take(&mut self.bytes);
        if let Err(TrySendError::Full(_)) = self.sink.queue.try_send(line) {
            self.sink.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The shape of a line.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        if !self.json {
            let target = event.metadata().target();
            write!(
                out,
                "{} {level:>5} {target}: {}",
                timestamp(),
                fields.message
            )?;
            for (name, value) in &fields.rest {
                write!(out, " {name}={value}")?;
            }
            return writeln!(out);
        }
        let mut line = Map::new();
        line.insert("level".into(), level.as_str().to_ascii_lowercase().into());
        line.insert("ts".into(), timestamp().into());
        line.insert("caller".into(), event.metadata().target().into());
        line.insert("msg".into(), fields.message.into());
        line.extend(fields.rest);
        writeln!(out, "{}", Value::Object(line))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.rest.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

fn timestamp() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_micros())
}

/// A moment in UTC. The calendar is Howard Hinnant's "civil from days".
fn rfc3339(seconds: u64, micros: u32) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(rfc3339(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
        assert_eq!(rfc3339(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (queue, _lines) = sync_channel(1);
        let sink = Sink {
            queue,
            lost: Arc::default(),
        };
        for _ in 0..3 {
            sink.make_writer().write_all(b"x\n").expect("memory");
        }
        assert_eq!(sink.lost.load(Ordering::Relaxed), 2);
    }
}
