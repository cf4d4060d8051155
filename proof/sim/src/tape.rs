//! What happened, kept as events that can be drawn: who did it, what was sent and what of it arrived.
//!
//! The trace is one number and, when asked, lines for people; this is for pictures. It is kept only where somebody
//! asks for it, it decides nothing, and it draws no chance: a world with a tape is the world without one.
//!
//! ```text
//!   c1          n1            n2
//!   │ put x=1 ──►│             │        Sends and Receives carry the number of the message:
//!   │            │ append 5 ──►│        so an arrow can be drawn, and a cut shows as an arrow without an end
//! ```

use base::{MemberId, MessageKind, PeerMessage};
use checker::Time;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Events that are kept: of a longer run the last ones.
pub const EVENTS_MAX: usize = 400_000;

/// Letters of one event's text.
const LETTERS_MAX: usize = 120;

/// Whose column it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Who {
    /// A client, by its number.
    Client(u64),
    /// A member.
    Member(MemberId),
    /// Nobody in particular: the network, or whoever makes trouble.
    World,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Client(number) => write!(f, "c{number}"),
            Who::Member(id) => write!(f, "n{id}"),
            Who::World => f.write_str("world"),
        }
    }
}

/// What kind of thing happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A client asks, or is answered.
    Client,
    /// Members talk.
    Message,
    /// Who leads.
    Role,
    /// What was decided is applied.
    Apply,
    /// A disk works, or does not.
    Disk,
    /// Processes and power, links, pauses and clocks.
    Fault,
    /// A promise is broken.
    Broken,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Kind::Client,
        Kind::Message,
        Kind::Role,
        Kind::Apply,
        Kind::Disk,
        Kind::Fault,
        Kind::Broken,
    ];

    /// How the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Client => "client",
            Kind::Message => "message",
            Kind::Role => "role",
            Kind::Apply => "apply",
            Kind::Disk => "disk",
            Kind::Fault => "fault",
            Kind::Broken => "broken",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn of_note(note: &str) -> Kind {
        match note {
            "leadership" | "transfer" | "membership" => Kind::Role,
            "disk" | "checkpoint" | "durable" => Kind::Disk,
            "send-state" | "state" | "damaged" => Kind::Message,
            "ask-again" | "spy" | "watch" => Kind::Client,
            _ => Kind::Fault,
        }
    }
}

/// What an event has to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// It sends the message with this number, to whom.
    Sends(u64, Who),
    /// It sends a message that nobody will get.
    Loses(u64, Who),
    /// It gets the message with this number, from whom.
    Receives(u64, Who),
}

/// What a process becomes by an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It runs.
    Starts,
    /// It runs no more.
    Ends,
    /// It stands still.
    Pauses,
    /// It goes on.
    Resumes,
}

impl Change {
    fn of_note(note: &str, text: &str) -> Option<Change> {
        Some(match note {
            "start" if text == "runs" || text.starts_with("recovers") => Change::Starts,
            "start" | "kill" | "power-cut" | "crash" | "abort" | "upgrade" | "retire"
            | "stopped" => Change::Ends,
            "pause" => Change::Pauses,
            "resume" => Change::Resumes,
            _ => return None,
        })
    }
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, by the true clock.
    pub at: Time,
    /// Whose.
    pub who: Who,
    /// Of which kind.
    pub kind: Kind,
    /// In a few words.
    pub text: String,
    /// The message that it sends or gets.
    pub link: Option<Link>,
    /// Heartbeats and other things that go on all the time.
    pub is_quiet: bool,
    /// The operation that it is about, when it is a client's.
    pub operation: Option<u64>,
    /// What its process becomes by it.
    pub change: Option<Change>,
}

/// A message of a client: its question, or the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Letter {
    Question(u64),
    Answer(u64),
}

/// The tape of one run.
#[derive(Default)]
pub struct Tape {
    events: VecDeque<Event>,
    n_messages: u64,
    n_forgotten: u64,
    under_way: BTreeMap<Letter, (u64, Who)>,
}

impl Tape {
    /// What was kept, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// Begins anew: what happened until now is of no interest.
    pub fn clear(&mut self) {
        self.events.clear();
        self.n_forgotten = 0;
    }

    /// Events that happened before the first one that is kept.
    pub fn n_forgotten(&self) -> u64 {
        self.n_forgotten
    }

    fn add(&mut self, mut event: Event) {
        if event.text.chars().count() > LETTERS_MAX {
            event.text = event.text.chars().take(LETTERS_MAX - 1).collect();
            event.text.push('…');
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.n_forgotten += 1;
        }
        self.events.push_back(event);
    }

    /// Something happened that is no message.
    pub fn happened(&mut self, at: Time, who: Who, kind: Kind, text: impl Into<String>) {
        self.add(Event {
            at,
            who,
            kind,
            text: text.into(),
            link: None,
            is_quiet: kind == Kind::Disk,
            operation: None,
            change: None,
        });
    }

    /// A member's note in the trace, under its name there.
    pub(crate) fn noted(&mut self, at: Time, member: MemberId, note: &str, text: &str) {
        let kind = Kind::of_note(note);
        let change = Change::of_note(note, text);
        let text = match (note, text) {
            ("leadership", text) => match text.split_once(" leader ") {
                Some((term, "n0")) => format!("nobody leads {term}"),
                Some((term, leader)) => format!("{leader} leads {term}"),
                None => text.to_owned(),
            },
            (note, "") => note.to_owned(),
            (note, text) => format!("{note}: {text}"),
        };
        self.happened(at, Who::Member(member), kind, text);
        if let Some(event) = self.events.back_mut() {
            event.is_quiet = matches!(note, "checkpoint" | "durable" | "spy" | "watch");
            event.change = change;
        }
    }

    /// A member sends a frame; the number goes with it. `arrives`: the network does not lose it.
    pub(crate) fn sends(
        &mut self,
        at: Time,
        from: MemberId,
        to: MemberId,
        message: &PeerMessage,
        arrives: bool,
    ) -> u64 {
        self.n_messages += 1;
        let (number, to) = (self.n_messages, Who::Member(to));
        self.add(Event {
            at,
            who: Who::Member(from),
            kind: Kind::Message,
            text: words(message),
            link: Some(match arrives {
                true => Link::Sends(number, to),
                false => Link::Loses(number, to),
            }),
            is_quiet: is_quiet(message),
            operation: None,
            change: None,
        });
        number
    }

    /// A frame arrives.
    pub(crate) fn receives(
        &mut self,
        at: Time,
        to: MemberId,
        from: MemberId,
        number: u64,
        message: &PeerMessage,
    ) {
        self.add(Event {
            at,
            who: Who::Member(to),
            kind: Kind::Message,
            text: words(message),
            link: Some(Link::Receives(number, Who::Member(from))),
            is_quiet: is_quiet(message),
            operation: None,
            change: None,
        });
    }

    /// A client asks `to`.
    pub(crate) fn asks(
        &mut self,
        at: Time,
        client: u64,
        to: MemberId,
        operation: u64,
        text: String,
    ) {
        self.letter(
            at,
            Letter::Question(operation),
            Who::Client(client),
            Who::Member(to),
            text,
        );
    }

    /// A question reaches its member.
    pub(crate) fn is_asked(&mut self, at: Time, member: MemberId, operation: u64, text: String) {
        self.opened(
            at,
            Letter::Question(operation),
            Who::Member(member),
            operation,
            text,
        );
    }

    /// `from` answers.
    pub(crate) fn answers(
        &mut self,
        at: Time,
        from: MemberId,
        client: u64,
        operation: u64,
        text: String,
    ) {
        self.letter(
            at,
            Letter::Answer(operation),
            Who::Member(from),
            Who::Client(client),
            text,
        );
    }

    /// The answer reaches its client.
    pub(crate) fn is_answered(&mut self, at: Time, client: u64, operation: u64, text: String) {
        self.opened(
            at,
            Letter::Answer(operation),
            Who::Client(client),
            operation,
            text,
        );
    }

    /// A client waits no longer.
    pub(crate) fn gives_up(&mut self, at: Time, client: u64, operation: u64) {
        self.happened(
            at,
            Who::Client(client),
            Kind::Client,
            format!("#{operation} gives up: unknown"),
        );
        if let Some(event) = self.events.back_mut() {
            event.operation = Some(operation);
        }
    }

    fn letter(&mut self, at: Time, letter: Letter, from: Who, to: Who, text: String) {
        self.n_messages += 1;
        self.under_way.insert(letter, (self.n_messages, from));
        let (Letter::Question(operation) | Letter::Answer(operation)) = letter;
        self.add(Event {
            at,
            who: from,
            kind: Kind::Client,
            text,
            link: Some(Link::Sends(self.n_messages, to)),
            is_quiet: false,
            operation: Some(operation),
            change: None,
        });
    }

    fn opened(&mut self, at: Time, letter: Letter, who: Who, operation: u64, text: String) {
        let link = self.under_way.remove(&letter);
        self.add(Event {
            at,
            who,
            kind: Kind::Client,
            text,
            link: link.map(|(number, from)| Link::Receives(number, from)),
            is_quiet: false,
            operation: Some(operation),
            change: None,
        });
    }
}

/// What goes on all the time and says nothing new. A heartbeat that confirms a read is something else.
fn is_quiet(message: &PeerMessage) -> bool {
    match message {
        PeerMessage::Raft(message) => {
            let beats = matches!(
                message.kind,
                MessageKind::Heartbeat | MessageKind::HeartbeatResponse
            );
            beats && message.context.is_empty()
        }
        PeerMessage::PromiseRequest { .. }
        | PeerMessage::PromiseReply { .. }
        | PeerMessage::ClockRequest { .. }
        | PeerMessage::ClockReply { .. }
        | PeerMessage::Knows { .. } => true,
        _ => false,
    }
}

/// A message in a few words.
fn words(message: &PeerMessage) -> String {
    let message = match message {
        PeerMessage::Raft(message) => message,
        PeerMessage::Forward { .. } => return "forward a command".to_owned(),
        PeerMessage::ReadIndexRequest { .. } => return "read: how far must I be?".to_owned(),
        PeerMessage::ReadIndexReply { index, .. } => return format!("read: up to {index}"),
        PeerMessage::LeaseRenewRequest { lease, .. } => return format!("renew lease {lease}"),
        PeerMessage::LeaseRemainingRequest { lease, .. } => {
            return format!("how long lives lease {lease}?");
        }
        PeerMessage::LeaseReply { remaining_ms, .. } => {
            return remaining_ms.map_or("lease is gone".to_owned(), |ms| format!("{ms} ms left"));
        }
        PeerMessage::Recovering { .. } => return "my log is damaged".to_owned(),
        PeerMessage::SnapshotOutcome { .. } => return "about the state".to_owned(),
        PeerMessage::Removed => return "you were removed".to_owned(),
        PeerMessage::Leaving => return "may I go?".to_owned(),
        PeerMessage::PromiseRequest { .. } => return "promise?".to_owned(),
        PeerMessage::PromiseReply { .. } => return "promised".to_owned(),
        PeerMessage::ClockRequest { .. } => return "what time is it?".to_owned(),
        PeerMessage::ClockReply { .. } => return "it is so late".to_owned(),
        PeerMessage::Knows { .. } => return "I know versions".to_owned(),
        PeerMessage::Bounce { .. } => return "a command comes back".to_owned(),
    };
    let term = message.term;
    match message.kind {
        MessageKind::Append => {
            let (after, commit) = (message.position, message.commit);
            match (message.entries.first(), message.entries.last()) {
                (Some(first), Some(last)) => {
                    let (first, last) = (first.position.index, last.position.index);
                    match first == last {
                        true => format!("append {last}, commit {commit}"),
                        false => format!("append {first}-{last}, commit {commit}"),
                    }
                }
                _ if message.position.index <= commit => format!("commit {commit}"),
                _ => format!("do you have {after}? commit {commit}"),
            }
        }
        MessageKind::AppendResponse if message.reject => {
            format!("no: I end at {}", message.reject_hint)
        }
        MessageKind::AppendResponse => format!("have {}", message.position.index),
        MessageKind::Heartbeat if !message.context.is_empty() => {
            format!("read: do I lead term {term}?")
        }
        MessageKind::HeartbeatResponse if !message.context.is_empty() => {
            format!("read: yes, term {term}")
        }
        MessageKind::Heartbeat => format!("heartbeat, commit {}", message.commit),
        MessageKind::HeartbeatResponse => "alive".to_owned(),
        MessageKind::Vote => format!("vote for me, term {term}?"),
        MessageKind::VoteResponse => format!("{}, term {term}", yes(!message.reject)),
        MessageKind::PreVote => format!("would you vote for me, term {term}?"),
        MessageKind::PreVoteResponse => format!("{}, would, term {term}", yes(!message.reject)),
        MessageKind::Snapshot => "a state follows".to_owned(),
        MessageKind::TimeoutNow => "campaign now".to_owned(),
    }
}

fn yes(is_yes: bool) -> &'static str {
    match is_yes {
        true => "yes",
        false => "no",
    }
}
