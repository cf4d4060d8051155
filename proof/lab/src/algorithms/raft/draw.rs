//! What the members do, as a picture: a message is an arrow, everything else a mark.

use crate::diagram::{Event, Kind, Picture, Sent};
use spec::model::state::{Message, State, Who, Word};
use spec::model::tell::{changes, said, tell};
use spec::model::{Action, Model};

/// Draws steps one after the other.
pub(super) struct Drawing {
    picture: Picture,
    /// The messages under way, by the number under which they left.
    under_way: Vec<(Message, usize)>,
    numbers: usize,
}

impl Drawing {
    /// Of `n` members.
    pub(super) fn new(n: u8) -> Drawing {
        Drawing {
            picture: Picture::new((0..n).map(|at| Who(at).to_string())),
            under_way: Vec::new(),
            numbers: 0,
        }
    }

    /// The picture of a whole way.
    pub(super) fn of(model: &Model, way: &[Action]) -> Picture {
        let mut drawing = Drawing::new(model.scope.members);
        let mut state = State::initial();
        for action in way {
            let Some(after) = model.take(&state, *action) else {
                break;
            };
            drawing.step(*action, &state, &after);
            state = after;
        }
        drawing.picture()
    }

    /// What has been drawn.
    pub(super) fn picture(self) -> Picture {
        self.picture
    }

    /// One step, from one state to another.
    pub(super) fn step(&mut self, action: Action, before: &State, after: &State) {
        let (who, kind, text, said) = match action {
            Action::Handle(message) => {
                let kind = Kind::Received {
                    from: message.from.place(),
                    message: self.number(&message),
                };
                (
                    message.to,
                    kind,
                    words(&message),
                    heard(&message, before, after),
                )
            }
            Action::Drop(message) => {
                let kind = Kind::Lost {
                    from: message.from.place(),
                    message: self.number(&message),
                };
                let text = format!("{} is lost", words(&message));
                (message.to, kind, text, Vec::new())
            }
            Action::Restart(who) => (
                who,
                Kind::Restarted,
                text(who, action, before, after),
                vec![],
            ),
            Action::Timeout(who)
            | Action::BecomeLeader(who)
            | Action::ClientRequest(who)
            | Action::Append(who, _)
            | Action::Heartbeat(who, _)
            | Action::AdvanceCommit(who)
            | Action::ChangeMembership(who, _) => {
                (who, Kind::Woke, text(who, action, before, after), vec![])
            }
        };
        let sends = self.sends(before, after);
        self.picture.push(Event {
            at: who.place(),
            kind,
            text,
            said,
            sends,
        });
    }

    /// What is under way after the step and was not before it.
    fn sends(&mut self, before: &State, after: &State) -> Vec<Sent> {
        let is_new = |message: &&Message| !before.messages.contains(message);
        let new: Vec<Message> = after.messages.iter().filter(is_new).copied().collect();
        new.into_iter()
            .map(|message| {
                let number = self.numbers;
                self.numbers += 1;
                self.under_way.retain(|(other, _)| *other != message);
                self.under_way.push((message, number));
                Sent {
                    message: number,
                    to: message.to.place(),
                    text: words(&message),
                }
            })
            .collect()
    }

    fn number(&self, message: &Message) -> usize {
        let known = self.under_way.iter().find(|(other, _)| other == message);
        known.map_or(usize::MAX, |(_, number)| *number)
    }
}

/// A message in words, with its term.
fn words(message: &Message) -> String {
    format!("{} (term {})", said(message.word), message.term)
}

/// What became of a message.
fn heard(message: &Message, before: &State, after: &State) -> Vec<String> {
    let (was, is) = (before.member(message.to), after.member(message.to));
    let mut heard = changes(was, is, message.from);
    if matches!(message.word, Word::VoteRequest { .. }) {
        let votes = format!("votes for {}", message.from);
        let is_given = is.vote == Some(message.from) && message.term >= is.term;
        match (is_given, heard.contains(&votes)) {
            // The same one as in an earlier term.
            (true, false) => heard.push(votes),
            (true, true) => {}
            (false, _) => heard.push("gives no vote".into()),
        }
    }
    heard
}

/// What a member does, without its name in front.
fn text(who: Who, action: Action, before: &State, after: &State) -> String {
    if let Action::Append(_, to) | Action::Heartbeat(_, to) = action {
        // What it says stands where it arrives.
        return format!("appends to {to}");
    }
    let told = tell(action, before, after);
    let name = format!("{who} ");
    told.strip_prefix(&name).unwrap_or(&told).to_string()
}
