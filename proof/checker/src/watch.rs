//! What a watcher got, against what happened.
//!
//! A watcher is promised every event of its span from its start revision on: in order, each once,
//! none missing, a revision never torn in two, each with the exact row before it, and nothing that
//! runs ahead of a bookmark or goes back in time (reference: reliability §5.3, W1–W14).

use crate::chronicle::{Chronicle, Event};
use crate::history::{Row, Span, Time};
use crate::verdict::Violation;
use base::Revision;

/// One watch and everything that it was sent.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Unique in the run; for reports.
    pub number: u64,
    /// Which keys.
    pub span: Span,
    /// The first revision that it must see.
    pub start: Revision,
    /// Events of puts are filtered out.
    pub no_put: bool,
    /// Events of deletes are filtered out.
    pub no_delete: bool,
    /// Whether rows before were asked for.
    pub previous: bool,
    /// What came, in order.
    pub deliveries: Vec<Delivery>,
    /// The revision up to which everything must have come by the end, when the run waited for it.
    pub complete_to: Option<Revision>,
}

/// One response.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it came.
    pub time: Time,
    /// The header's revision.
    pub revision: Revision,
    /// History up to here may have been compacted when it was sent: of what happened at or before it,
    /// the rows before may be gone.
    pub compacted: Revision,
    /// What it says.
    pub content: Content,
}

/// What a response says.
#[derive(Clone, Debug)]
pub enum Content {
    /// Events, with the rows before them where asked.
    Events {
        /// In order.
        events: Vec<(Event, Option<Row>)>,
        /// More of the same revision follows in the next response.
        fragment: bool,
    },
    /// A bookmark: everything up to the header's revision has been sent.
    Progress,
    /// The watch ends: history up to here is gone.
    Compacted(Revision),
}

/// Judges one watch.
pub fn check(watch: &Watch, chronicle: &Chronicle) -> Result<(), Violation> {
    let fail = |claim, what: String| {
        let name = format!(
            "watch #{} of {} from {}",
            watch.number, watch.span, watch.start
        );
        Err(Violation::new(claim, format!("{name}: {what}")))
    };
    // Everything that must be sent, in order, and how much of it has been.
    let due = due(watch, chronicle);
    let mut sent = 0;
    let mut bookmark = watch.start.previous();
    for (at, delivery) in watch.deliveries.iter().enumerate() {
        match &delivery.content {
            Content::Events { events, fragment } => {
                for (event, previous) in events {
                    if event.row.modified <= bookmark {
                        return fail(
                            "a_watch_never_goes_back",
                            format!("{event} after everything up to {bookmark}"),
                        );
                    }
                    let Some((expected, expected_previous)) = due.get(sent) else {
                        return fail(
                            "a_watch_says_what_happened",
                            format!("{event} did not happen"),
                        );
                    };
                    if event != expected {
                        let claim = if event.row.modified > expected.row.modified {
                            "a_watch_misses_nothing"
                        } else {
                            "a_watch_says_what_happened"
                        };
                        return fail(claim, format!("expected {expected}, got {event}"));
                    }
                    let gone = previous.is_none() && event.row.modified <= delivery.compacted;
                    if watch.previous && previous != expected_previous && !gone {
                        return fail(
                            "a_watch_knows_the_row_before",
                            format!("{event}: expected {expected_previous:?}, got {previous:?}"),
                        );
                    }
                    if event.row.modified > delivery.revision {
                        return fail(
                            "a_header_covers_its_events",
                            format!("{event} under header revision {}", delivery.revision),
                        );
                    }
                    sent += 1;
                }
                let torn = sent > 0
                    && due
                        .get(sent)
                        .is_some_and(|(next, _)| next.row.modified == due[sent - 1].0.row.modified);
                if torn && !fragment && !events.is_empty() {
                    return fail(
                        "a_revision_arrives_whole",
                        format!("revision {} was torn in two", due[sent - 1].0.row.modified),
                    );
                }
                if let (Some((last, _)), false) = (events.last(), fragment) {
                    bookmark = bookmark.max(last.row.modified);
                }
            }
            Content::Progress => {
                if let Some((missed, _)) = due.get(sent)
                    && missed.row.modified <= delivery.revision
                {
                    return fail(
                        "a_bookmark_is_never_ahead",
                        format!("progress {} before {missed}", delivery.revision),
                    );
                }
                bookmark = bookmark.max(delivery.revision);
            }
            Content::Compacted(revision) => {
                if at + 1 != watch.deliveries.len() {
                    return fail(
                        "a_cancelled_watch_is_silent",
                        "something followed".to_owned(),
                    );
                }
                // A watcher that needs nothing below the compacted revision loses nothing to it.
                if bookmark.next() >= *revision {
                    return fail(
                        "a_watch_is_cancelled_for_a_reason",
                        format!(
                            "compacted at {revision}, and everything up to {bookmark} had come"
                        ),
                    );
                }
                return Ok(());
            }
        }
    }
    if let (Some(end), Some((missed, _))) = (watch.complete_to, due.get(sent))
        && missed.row.modified <= end
    {
        return fail(
            "a_watch_gets_everything",
            format!("by the end {missed} had not come"),
        );
    }
    Ok(())
}

fn due(watch: &Watch, chronicle: &Chronicle) -> Vec<(Event, Option<Row>)> {
    let mut due = Vec::new();
    for (revision, page) in chronicle.pages_from(watch.start) {
        for event in &page.events {
            let filtered = if event.is_delete() {
                watch.no_delete
            } else {
                watch.no_put
            };
            if watch.span.contains(&event.row.key) && !filtered {
                let previous = chronicle.at(&event.row.key, revision.previous()).cloned();
                due.push((event.clone(), previous));
            }
        }
    }
    due
}
