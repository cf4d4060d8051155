//! Scenarios in the words of the model's actions.
//!
//! ```text
//! members 5              first of all: how many there are (3, unless said)
//! timeout n1             begins the next term and asks for votes
//! deliver n1 n2          the latest message under way between the two
//! lead n1                a candidate with a majority
//! command n1             a client's
//! append n1 n2           the next entry, or none
//! commit n1              what a majority has
//! restart n1             memory is lost, the disk is not
//! drop n1 n2             the latest message under way between the two is lost
//! ```

use super::draw::Drawing;
use super::why;
use crate::diagram::Picture;
use crate::exhibit::Fall;
use crate::kernel::Unscripted;
use spec::model::property::violated;
use spec::model::state::{State, Who};
use spec::model::{Action, Model, Property, Refusals, Rule, Scope};

/// Plays a script. The first property that is violated on the way is returned; the play goes on all the same.
pub(super) fn play(
    script: &str,
    broken: Option<Rule>,
) -> Result<(Picture, Option<Fall>), Unscripted> {
    let mut lines = script
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .peekable();
    let members = lines.next_if(|(_, line)| line.starts_with("members "));
    let members = members.and_then(|(_, line)| line.rsplit(' ').next()?.parse().ok());
    let model = model(members.unwrap_or(3), broken);
    let n = model.scope.members;
    let mut drawing = Drawing::new(n);
    let mut state = State::initial();
    let mut fall = None;
    for (number, line) in lines {
        let taken =
            meant(n, &state, line).and_then(|action| Some((action, model.take(&state, action)?)));
        let Some((action, after)) = taken else {
            return Err(Unscripted {
                line: number + 1,
                asked: line.into(),
                open: open(&model, &state),
            });
        };
        drawing.step(action, &state, &after);
        if fall.is_none()
            && let Some(property) = violated(&Property::ALL, n, &state, &after)
        {
            fall = Some(why::fall(property, n, &state, &after));
        }
        state = after;
    }
    Ok((drawing.picture(), fall))
}

/// A stage with room for everything: a script has no budget.
fn model(members: u8, broken: Option<Rule>) -> Model {
    let scope = Scope {
        refusals: Refusals::Answered,
        restarts_max: u8::MAX,
        drops_max: u8::MAX,
        requests_max: u8::MAX,
        ..Scope::logs("stage", members, 8, 4)
    };
    match broken {
        Some(rule) => Model::breaking(rule, scope),
        None => Model::sound(scope),
    }
}

fn meant(n: u8, state: &State, line: &str) -> Option<Action> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let who = |word: &str| {
        let number: u8 = word.strip_prefix('n')?.parse().ok()?;
        (1..=n).contains(&number).then(|| Who(number - 1))
    };
    let message = |from: Who, to: Who| {
        let mut all = state.messages.iter().copied();
        all.rfind(|message| message.from == from && message.to == to)
    };
    match words[..] {
        ["timeout", one] => Some(Action::Timeout(who(one)?)),
        ["lead", one] => Some(Action::BecomeLeader(who(one)?)),
        ["command", one] => Some(Action::ClientRequest(who(one)?)),
        ["commit", one] => Some(Action::AdvanceCommit(who(one)?)),
        ["restart", one] => Some(Action::Restart(who(one)?)),
        ["append", one, other] => Some(Action::Append(who(one)?, who(other)?)),
        ["deliver", one, other] => Some(Action::Handle(message(who(one)?, who(other)?)?)),
        ["drop", one, other] => Some(Action::Drop(message(who(one)?, who(other)?)?)),
        _ => None,
    }
}

/// What could have been asked for.
fn open(model: &Model, state: &State) -> String {
    let mut actions = Vec::new();
    model.candidates(state, &mut actions);
    let possible = actions
        .into_iter()
        .filter(|action| model.take(state, *action).is_some());
    let words = possible.filter_map(|action| {
        Some(match action {
            Action::Timeout(who) => format!("timeout {who}"),
            Action::BecomeLeader(who) => format!("lead {who}"),
            Action::ClientRequest(who) => format!("command {who}"),
            Action::AdvanceCommit(who) => format!("commit {who}"),
            Action::Restart(who) => format!("restart {who}"),
            Action::Append(from, to) => format!("append {from} {to}"),
            Action::Handle(message) => format!("deliver {} {}", message.from, message.to),
            Action::Drop(message) => format!("drop {} {}", message.from, message.to),
            Action::Heartbeat(..) | Action::ChangeMembership(..) => return None,
        })
    });
    words.collect::<Vec<String>>().join("; ")
}
