//! One line: etcd's fields in etcd's order, as JSON, or as text for people.
//!
//! ```text
//!   {"level":"info","ts":"2026-11-29T20:50:48.033720Z","caller":"server/run.rs:101","msg":"…","took":"1.2ms"}
//!   2026-11-29T20:50:48.033720Z    info    server/run.rs:101    …    {"took": "1.2ms"}
//! ```

use clock::HybridTime;
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The shape of lines.
pub(super) struct Lines {
    /// One JSON object a line, or text for people.
    pub(super) json: bool,
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
        let line = Line {
            level: event.metadata().level(),
            caller: caller(event.metadata()),
            message: &fields.message,
            rest: &fields.rest,
        };
        out.write_str(&line.render(self.json, &timestamp()))
    }
}

/// What a line says, but for when.
struct Line<'a> {
    level: &'a Level,
    caller: String,
    message: &'a str,
    rest: &'a [(&'static str, Value)],
}

impl Line<'_> {
    fn render(&self, json: bool, ts: &str) -> String {
        let level = match *self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut line = String::with_capacity(256);
        // Into a string nothing can fail.
        let _ = match json {
            true => write!(
                line,
                "{{\"level\":\"{level}\",\"ts\":\"{ts}\",\"caller\":{},\"msg\":{}",
                Value::from(self.caller.as_str()),
                Value::from(self.message)
            ),
            false => write!(
                line,
                "{ts}\t{level}\t{}\t{}",
                self.caller,
                escaped(self.message)
            ),
        };
        for (at, (name, value)) in self.rest.iter().enumerate() {
            let name = Value::from(*name);
            let _ = match (json, at) {
                (true, _) => write!(line, ",{name}:{value}"),
                (false, 0) => write!(line, "\t{{{name}: {value}"),
                (false, _) => write!(line, ", {name}: {value}"),
            };
        }
        if json || !self.rest.is_empty() {
            line.push('}');
        }
        line.push('\n');
        line
    }
}

/// A message that came from outside in parts must not look like several lines.
fn escaped(message: &str) -> String {
    let is_plain = !message.chars().any(char::is_control);
    match is_plain {
        true => message.to_owned(),
        false => message.escape_debug().to_string(),
    }
}

/// Lines were dropped: said in a line of its own.
pub(super) fn lost(json: bool, lost: u64) -> String {
    let line = Line {
        level: &Level::WARN,
        caller: "log/output.rs".to_owned(),
        message: "log lines were dropped",
        rest: &[("lost", lost.into())],
    };
    line.render(json, &timestamp())
}

/// Where in the program: the crate, the file in it, the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let (Some(file), Some(line)) = (metadata.file(), metadata.line()) else {
        return metadata.target().to_owned();
    };
    format!("{}:{line}", short(file))
}

/// `edge/server/src/run.rs` is `server/run.rs`; a library's file keeps its folder, as etcd's do.
fn short(file: &str) -> String {
    let parts: Vec<&str> = file.split('/').filter(|part| *part != "src").collect();
    match &parts[..] {
        [_, rest @ ..] if matches!(parts[0], "core" | "front" | "edge" | "proof") => rest.join("/"),
        [.., folder, name] => format!("{folder}/{name}"),
        _ => file.to_owned(),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.rest.push((field.name(), value));
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
    rfc3339(since)
}

/// A moment in UTC, so long after 1970, with microseconds as etcd's lines have them.
pub(super) fn rfc3339(since: Duration) -> String {
    let mut text = HybridTime::new(since.as_millis() as u64, 0).to_rfc3339();
    // `….123Z` has milliseconds: three more digits before the zone.
    text.pop();
    text + &format!("{:03}Z", since.subsec_micros() % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |seconds, nanos| rfc3339(Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 5_999), "2000-02-29T00:00:00.000005Z");
        assert_eq!(at(951_782_400, 123_045_678), "2000-02-29T00:00:00.123045Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    fn line<'a>(message: &'a str, rest: &'a [(&'static str, Value)]) -> Line<'a> {
        Line {
            level: &Level::INFO,
            caller: short("edge/server/src/run.rs") + ":101",
            message,
            rest,
        }
    }

    /// The first is etcd 3.6's own line but for the caller, the second the same in its console format.
    #[test]
    fn a_line_has_etcds_fields_in_etcds_order() {
        let rest = [("signal", Value::from("terminated")), ("n", Value::from(7))];
        let line = line("received signal; shutting down", &rest);
        let ts = "2026-11-29T20:50:51.212804Z";
        assert_eq!(
            line.render(true, ts),
            "{\"level\":\"info\",\"ts\":\"2026-11-29T20:50:51.212804Z\",\"caller\":\"server/run.rs:101\",\
             \"msg\":\"received signal; shutting down\",\"signal\":\"terminated\",\"n\":7}\n"
        );
        assert_eq!(
            line.render(false, ts),
            "2026-11-29T20:50:51.212804Z\tinfo\tserver/run.rs:101\treceived signal; shutting down\t\
             {\"signal\": \"terminated\", \"n\": 7}\n"
        );
    }

    #[test]
    fn what_is_said_never_makes_a_second_line() {
        let rest = [("reason", Value::from("a\nb\u{0}"))];
        for json in [true, false] {
            let text = line("x\ny", &rest).render(json, "t");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
        }
    }

    #[test]
    fn a_caller_is_the_crate_and_the_file() {
        assert_eq!(
            short("edge/server/src/peers/link.rs"),
            "server/peers/link.rs"
        );
        assert_eq!(
            short("/home/x/.cargo/registry/src/x/h2-0.4.20/src/server.rs"),
            "h2-0.4.20/server.rs"
        );
        assert_eq!(short("main.rs"), "main.rs");
    }
}
