//! Which of the events are drawn.

use clap::Args;
use sim::tape::{Event, Kind, Link, Who};

/// What is drawn.
#[derive(Args, Debug, Default)]
pub(super) struct View {
    /// Draw this many events at most: the last ones.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Draw from this second on.
    #[arg(long, value_name = "SECONDS")]
    from: Option<f64>,
    /// Draw until this second.
    #[arg(long, value_name = "SECONDS")]
    to: Option<f64>,
    /// Draw these columns only, as n1,n2,c1.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    members: Vec<String>,
    /// Draw these kinds only: client, message, role, apply, disk, fault, broken.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Draw heartbeats, syncs and other things that go on all the time, too.
    #[arg(long)]
    pub(super) all: bool,
}

/// What a view lets through.
pub(super) struct Shown {
    /// The events, in order.
    pub(super) events: Vec<Event>,
    /// Events that would have been shown before them.
    pub(super) n_left_out: usize,
}

/// What happened while these operations were under way, from the first to the last.
pub(super) fn around(events: &[Event], operations: &[u64]) -> Vec<Event> {
    let is_theirs = |event: &&Event| event.operation.is_some_and(|op| operations.contains(&op));
    let times = || events.iter().filter(is_theirs).map(|event| event.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return events.to_vec();
    };
    let within = |event: &&Event| event.at >= first && event.at <= last;
    events.iter().filter(within).cloned().collect()
}

impl View {
    /// Whether it can be followed.
    pub(super) fn check(&self) -> Result<(), String> {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        match self.only.iter().find(|name| Kind::named(name).is_none()) {
            Some(name) => Err(format!(
                "there is no kind {name}; there are {}",
                names.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// Whether somebody said from when, or until when.
    pub(super) fn has_times(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// Chooses from `events`: `n_default` at most, when nobody says how many.
    pub(super) fn choose(&self, events: &[Event], n_default: usize) -> Shown {
        let kinds: Vec<Kind> = self
            .only
            .iter()
            .filter_map(|name| Kind::named(name))
            .collect();
        let mut shown: Vec<Event> = events
            .iter()
            .filter(|event| self.lets(event, &kinds))
            .cloned()
            .collect();
        let n = self.last.unwrap_or(n_default).max(1);
        let n_left_out = shown.len().saturating_sub(n);
        shown.drain(..n_left_out);
        Shown {
            events: shown,
            n_left_out,
        }
    }

    fn lets(&self, event: &Event, kinds: &[Kind]) -> bool {
        let at = event.at.0 as f64 / 1e9;
        let is_named = |who: &Who| {
            let name = who.to_string();
            self.members.contains(&name)
        };
        let is_theirs = match event.link {
            // A message is theirs when both ends are: an arrow needs two columns.
            Some(Link::Sends(_, other) | Link::Loses(_, other) | Link::Receives(_, other)) => {
                is_named(&event.who) && is_named(&other)
            }
            None => is_named(&event.who) || event.who == Who::World,
        };
        (self.all || !event.is_quiet)
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
            && (self.members.is_empty() || is_theirs)
            && (kinds.is_empty() || kinds.contains(&event.kind))
    }
}
