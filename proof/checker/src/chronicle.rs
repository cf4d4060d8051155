//! What the members say that happened: the events of each revision, which all must tell alike.
//!
//! Every member publishes the events of the entries that it applies, again after each restart. The
//! first to publish a revision fixes it; everybody else must say the same, for ever. That alone finds
//! lost writes, double application and divergence; the other judges use the result as the order to
//! replay. Invariant: each key's versions are sorted by revision.

use crate::history::{Key, Row, Span, Time};
use crate::verdict::Violation;
use base::{MemberId, Revision};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A key was written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The version written; a tombstone has version 0.
    pub row: Row,
}

impl Event {
    /// Whether it is a delete.
    pub fn is_delete(&self) -> bool {
        self.row.version == 0
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            if self.is_delete() { "delete" } else { "put" },
            self.row
        )
    }
}

/// One revision: who told it first, when, and what happened.
#[derive(Clone, Debug)]
pub struct Page {
    /// When the first member published it; where members cannot be looked into, the first moment at which
    /// anybody outside knew of it (see [`Chronicle::known`]).
    pub first_seen: Time,
    /// Which member that was.
    pub by: MemberId,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// All revisions of a run, and what every key was at each of them.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    pages: BTreeMap<Revision, Page>,
    versions: BTreeMap<Key, Vec<Row>>,
    indexed: Revision,
    /// Revisions that changed nothing here, but something that has a chronicle of its own.
    elsewhere: BTreeSet<Revision>,
}

impl Chronicle {
    /// Takes what `member` published for one revision. Repetition is fine, contradiction is not.
    pub fn observe(
        &mut self,
        member: MemberId,
        now: Time,
        revision: Revision,
        events: Vec<Event>,
    ) -> Result<(), Violation> {
        if let Some(page) = self.pages.get(&revision) {
            if page.events == events {
                return Ok(());
            }
            return Err(Violation::new(
                "members_tell_the_same_history",
                format!(
                    "revision {revision}: member {} said [{}] at {}, member {member} says [{}] at {now}",
                    page.by,
                    list(&page.events),
                    page.first_seen,
                    list(&events)
                ),
            ));
        }
        self.pages.insert(
            revision,
            Page {
                first_seen: now,
                by: member,
                events,
            },
        );
        Ok(())
    }

    /// Takes that `member` published a revision that changed something else.
    ///
    /// # Errors
    /// Somebody said before that something happened here.
    pub fn observe_elsewhere(
        &mut self,
        member: MemberId,
        now: Time,
        revision: Revision,
    ) -> Result<(), Violation> {
        self.elsewhere.insert(revision);
        self.observe(member, now, revision, Vec::new())
    }

    /// Takes in what answers tell of when things happened: an answer at a revision comes after that revision and
    /// after all before it. For chronicles that were told by watchers, who may hear of a revision later than the
    /// client that made it.
    pub fn known(&mut self, answers: impl IntoIterator<Item = (Revision, Time)>) {
        let mut earliest: BTreeMap<Revision, Time> = BTreeMap::new();
        for (revision, time) in answers {
            let known = earliest.entry(revision).or_insert(time);
            *known = time.min(*known);
        }
        let mut answers = earliest.into_iter().rev().peekable();
        let mut soonest: Option<Time> = None;
        for (revision, page) in self.pages.iter_mut().rev() {
            while let Some((_, time)) = answers.next_if(|(told, _)| told >= revision) {
                soonest = Some(soonest.map_or(time, |known| known.min(time)));
            }
            if let Some(soonest) = soonest {
                page.first_seen = page.first_seen.min(soonest);
            }
        }
    }

    /// Brings the index by key up to date; call it before asking for rows.
    pub fn index(&mut self) {
        self.versions.clear();
        for page in self.pages.values() {
            for event in &page.events {
                self.versions
                    .entry(event.row.key.clone())
                    .or_default()
                    .push(event.row.clone());
            }
        }
        self.indexed = self.last();
    }

    /// The newest revision that anybody published; 1 is the fresh store.
    pub fn last(&self) -> Revision {
        self.pages
            .keys()
            .next_back()
            .copied()
            .unwrap_or(Revision(1))
    }

    /// What happened at `revision`.
    pub fn page(&self, revision: Revision) -> Option<&Page> {
        self.pages.get(&revision)
    }

    /// All revisions in order.
    pub fn pages(&self) -> impl Iterator<Item = (Revision, &Page)> {
        self.pages.iter().map(|(revision, page)| (*revision, page))
    }

    /// All revisions from `first` on, in order.
    pub fn pages_from(&self, first: Revision) -> impl Iterator<Item = (Revision, &Page)> {
        let pages = self.pages.range(first..);
        pages.map(|(revision, page)| (*revision, page))
    }

    /// Revisions are taken one by one and each does something (etcd: no effect, no revision).
    pub fn check_gapless(&self) -> Result<(), Violation> {
        let mut expected = Revision(2);
        for (revision, page) in &self.pages {
            let is_idle = page.events.is_empty() && !self.elsewhere.contains(revision);
            if *revision != expected || is_idle {
                return Err(Violation::new(
                    "revisions_are_gapless",
                    format!(
                        "after {} comes {revision} with {} events",
                        expected.previous(),
                        page.events.len()
                    ),
                ));
            }
            expected = revision.next();
        }
        Ok(())
    }

    /// The key as of `revision`.
    pub fn at(&self, key: &[u8], revision: Revision) -> Option<&Row> {
        let versions = self.versions.get(key)?;
        let n_before = versions.partition_point(|row| row.modified <= revision);
        versions[..n_before].last().filter(|row| row.version > 0)
    }

    /// All rows of `span` as of `revision`, in key order.
    pub fn rows(&self, span: &Span, revision: Revision) -> Vec<Row> {
        self.versions
            .range(span.first.clone()..)
            .take_while(|(key, _)| span.contains(key))
            .filter_map(|(key, _)| self.at(key, revision))
            .cloned()
            .collect()
    }

    /// The rows that hang on `lease` as of `revision`, in key order.
    pub fn rows_of_lease(&self, lease: base::LeaseId, revision: Revision) -> Vec<Row> {
        let mut rows = self.rows(&Span::all(), revision);
        rows.retain(|row| row.lease == lease);
        rows
    }
}

fn list(events: &[Event]) -> String {
    events
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
