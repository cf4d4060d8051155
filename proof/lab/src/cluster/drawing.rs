//! Events of the production core, as a picture.
//!
//! A member acts a little after it was given something to do, so on the tape a message that arrives, what it leads to
//! and what is sent because of it are events of their own. In a picture for people they are one row. In a trace for
//! programs each stays what it is.

use crate::diagram::{Event as Row, Kind as RowKind, Picture, Sent};
use sim::tape::{Change, Event, Kind, Link, Who};
use std::collections::{BTreeMap, BTreeSet};

/// What a member does so soon after something came to it, it does because of it.
const BECAUSE_NS: u64 = 3_000_000;

/// When nothing happens for so long, the picture says how late it is.
const GAP_NS: u64 = 20_000_000;

/// A picture for people. `all`: what says nothing new is drawn, too.
pub(super) fn brief(events: &[Event], all: bool) -> Picture {
    Drawing::new(events, true, all).draw(events)
}

/// A picture for programs: every event is a row.
pub(super) fn whole(events: &[Event]) -> Picture {
    Drawing::new(events, false, true).draw(events)
}

struct Drawing {
    picture: Picture,
    columns: BTreeMap<Who, usize>,
    /// Where and when each column's last row is.
    last: Vec<Option<(usize, u64)>>,
    /// Messages that arrive, later in these events.
    arriving: BTreeSet<u64>,
    /// What each pair said last: who says the same again says nothing.
    said: BTreeMap<(Who, Who), String>,
    is_brief: bool,
    all: bool,
    now: Option<u64>,
}

impl Drawing {
    fn new(events: &[Event], is_brief: bool, all: bool) -> Drawing {
        let ends = events.iter().flat_map(|event| {
            let other = event.link.map(|link| match link {
                Link::Sends(_, who) | Link::Loses(_, who) | Link::Receives(_, who) => who,
            });
            [Some(event.who), other]
        });
        let who: BTreeSet<Who> = ends.flatten().filter(|who| *who != Who::World).collect();
        let arriving = events.iter().filter_map(|event| match event.link {
            Some(Link::Receives(number, _)) => Some(number),
            _ => None,
        });
        Drawing {
            picture: Picture::new(who.iter().map(ToString::to_string)),
            last: vec![None; who.len()],
            columns: who.into_iter().zip(0..).collect(),
            arriving: arriving.collect(),
            said: BTreeMap::new(),
            is_brief,
            all,
            now: None,
        }
    }

    fn draw(mut self, events: &[Event]) -> Picture {
        for event in events {
            self.event(event);
        }
        self.picture
    }

    fn event(&mut self, event: &Event) {
        let Some(column) = self.columns.get(&event.who).copied() else {
            self.clock(event);
            self.push(event, 0, RowKind::Everywhere, event.text.clone());
            return;
        };
        match event.link {
            Some(Link::Sends(..)) if self.is_brief && matches!(event.who, Who::Client(_)) => {
                self.asks(event, column);
            }
            Some(Link::Sends(number, to)) => self.sends(event, column, number, to),
            Some(Link::Loses(number, to)) => {
                let Some(to_column) = self.columns.get(&to).copied() else {
                    return;
                };
                if self.repeats(event, event.who, to) {
                    return;
                }
                let lost = RowKind::Lost {
                    from: column,
                    message: number as usize,
                };
                self.clock(event);
                self.push(event, to_column, lost, event.text.clone());
            }
            Some(Link::Receives(number, from)) => {
                let Some(from_column) = self.columns.get(&from).copied() else {
                    return;
                };
                if self.repeats(event, from, event.who) {
                    return;
                }
                let received = RowKind::Received {
                    from: from_column,
                    message: number as usize,
                };
                self.clock(event);
                self.push(event, column, received, event.text.clone());
            }
            None => self.happened(event, column),
        }
    }

    /// A question is drawn where it arrives; here only if it never does.
    fn asks(&mut self, event: &Event, column: usize) {
        let arrives = match event.link {
            Some(Link::Sends(number, _)) => self.arriving.contains(&number),
            _ => false,
        };
        if !arrives {
            self.clock(event);
            self.push(event, column, RowKind::Woke, event.text.clone());
        }
    }

    /// What is sent belongs to what it is sent because of; what is sent out of nothing has a row of its own.
    fn sends(&mut self, event: &Event, column: usize, number: u64, to: Who) {
        let Some(to) = self.columns.get(&to).copied() else {
            return;
        };
        let sent = Sent {
            message: number as usize,
            to,
            text: event.text.clone(),
        };
        if let Some(row) = self.cause(event, column) {
            row.sends.push(sent);
            return;
        }
        if self.is_brief && self.arriving.contains(&number) {
            // The row on which it arrives says it all.
            return;
        }
        self.clock(event);
        self.push(event, column, RowKind::Woke, event.text.clone());
        if let Some(row) = self.picture.events.last_mut() {
            row.sends.push(sent);
        }
    }

    fn happened(&mut self, event: &Event, column: usize) {
        let kind = match (event.change, event.kind) {
            (Some(Change::Starts), _) => RowKind::Restarted,
            (Some(Change::Ends), _) => RowKind::Crashed,
            (Some(Change::Pauses), _) => RowKind::Paused,
            (Some(Change::Resumes), _) => RowKind::Resumed,
            (None, Kind::Fault | Kind::Client) => RowKind::Fault,
            (None, _) => RowKind::Woke,
        };
        if kind == RowKind::Woke
            && let Some(row) = self.cause(event, column)
        {
            row.said.push(event.text.clone());
            return;
        }
        self.clock(event);
        self.push(event, column, kind, event.text.clone());
    }

    /// The row that `event` follows from, if it is drawn there.
    fn cause(&mut self, event: &Event, column: usize) -> Option<&mut Row> {
        let (row, at) = self.last[column].filter(|_| self.is_brief)?;
        let row = self.picture.events.get_mut(row)?;
        let is_cause = event.at.0 - at <= BECAUSE_NS && row.kind != RowKind::Crashed;
        is_cause.then_some(row)
    }

    /// Whether two say again what they said last.
    fn repeats(&mut self, event: &Event, from: Who, to: Who) -> bool {
        if !self.is_brief || self.all || event.kind != Kind::Message {
            return false;
        }
        let before = self.said.insert((from, to), event.text.clone());
        before.as_ref() == Some(&event.text)
    }

    /// Says how late it is when nothing happened for a while.
    fn clock(&mut self, event: &Event) {
        let now = event.at.0;
        let is_late = self.now.is_none_or(|before| now - before > GAP_NS);
        if is_late && self.is_brief {
            let row = Row {
                at: 0,
                kind: RowKind::Everywhere,
                text: format!("{:.3} s", now as f64 / 1e9),
                said: Vec::new(),
                sends: Vec::new(),
            };
            self.picture.push(row);
        }
        self.now = Some(now);
    }

    fn push(&mut self, event: &Event, column: usize, kind: RowKind, text: String) {
        let is_somebodys = !matches!(kind, RowKind::Everywhere | RowKind::Lost { .. });
        if is_somebodys {
            self.last[column] = Some((self.picture.events.len(), event.at.0));
        }
        self.picture.push(Row {
            at: column,
            kind,
            text,
            said: Vec::new(),
            sends: Vec::new(),
        });
    }
}
