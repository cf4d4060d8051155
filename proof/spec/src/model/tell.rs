//! Actions told as a play: who does what, and what becomes of it.

use super::action::Action;
use super::state::{Member, Message, Role, State, Who, Word};

/// One line about `action`, which led from `before` to `after`.
pub fn tell(action: Action, before: &State, after: &State) -> String {
    match action {
        Action::Timeout(who) => {
            let term = after.member(who).term;
            format!("{who} times out, asks for votes in term {term}")
        }
        Action::Handle(message) => handled(message, before, after),
        Action::BecomeLeader(who) => {
            let Member { term, votes, .. } = before.member(who);
            format!("{who} becomes leader of term {term} by the votes of {votes}")
        }
        Action::ClientRequest(who) => {
            format!(
                "{who} takes a command, its log is {}",
                after.member(who).log
            )
        }
        Action::Append(from, to) | Action::Heartbeat(from, to) => {
            let sent = after.messages.last().map(|m| said(m.word));
            format!("{from} tells {to}: {}", sent.unwrap_or_default())
        }
        Action::AdvanceCommit(who) => {
            let Member {
                commit, log, term, ..
            } = after.member(who);
            format!("{who} commits up to {commit} in term {term}, its log is {log}")
        }
        Action::ChangeMembership(leader, who) => {
            let log = after.member(leader).log;
            format!("{leader} adds or removes {who}, its log is {log}")
        }
        Action::Restart(who) => {
            let Member { term, log, .. } = after.member(who);
            format!("{who} restarts in term {term} with {log}")
        }
        Action::Drop(message) => {
            let Message { from, to, word, .. } = message;
            format!("the network loses what {from} told {to}: {}", said(word))
        }
    }
}

/// What came of a message: heard, then everything that it changed.
fn handled(message: Message, before: &State, after: &State) -> String {
    let Message {
        from,
        to,
        term,
        word,
    } = message;
    let changes = changes(before.member(to), after.member(to), from);
    let answer = after
        .messages
        .iter()
        .find(|m| m.from == to && m.to == from && !before.messages.contains(m))
        .map(|m| format!("answers: {}", said(m.word)));
    let all: Vec<String> = changes.into_iter().chain(answer).collect();
    let all = if all.is_empty() {
        String::from("nothing changes")
    } else {
        all.join(", ")
    };
    format!("{to} hears {from} in term {term}: {}; {all}", said(word))
}

/// What a member has changed because of what `other` said.
pub fn changes(was: &Member, is: &Member, other: Who) -> Vec<String> {
    let mut all = Vec::new();
    if was.term != is.term {
        all.push(format!("enters term {}", is.term));
    }
    if was.role != is.role && is.role == Role::Follower {
        all.push(String::from("follows"));
    }
    if let Some(vote) = is.vote.filter(|_| is.vote != was.vote) {
        all.push(format!("votes for {vote}"));
    }
    if was.log != is.log {
        all.push(format!("its log becomes {}", is.log));
    }
    if was.commit != is.commit {
        all.push(format!("commits up to {}", is.commit));
    }
    if was.votes != is.votes && is.role == Role::Candidate {
        all.push(format!("has the votes of {}", is.votes));
    }
    let place = other.place();
    if is.role == Role::Leader && was.matched[place] != is.matched[place] {
        all.push(format!("knows that {other} has {}", is.matched[place]));
    } else if is.role == Role::Leader && was.next[place] != is.next[place] {
        all.push(format!("goes back to {} for {other}", is.next[place]));
    }
    all
}

/// What a message says, in words.
pub fn said(word: Word) -> String {
    match word {
        Word::VoteRequest { last } => format!("vote for me, my log ends at {last}"),
        Word::VoteResponse { granted: true } => String::from("you have my vote"),
        Word::VoteResponse { granted: false } => String::from("not my vote"),
        Word::Append {
            previous,
            entry,
            commit,
        } => {
            let what = entry.map_or(String::from("nothing"), |entry| entry.to_string());
            format!("{what} comes after {previous}, commit up to {commit}")
        }
        Word::AppendResponse {
            success: true,
            index,
        } => format!("agreed up to {index}"),
        Word::AppendResponse {
            success: false,
            index,
        } => format!("not what I have at {index}"),
    }
}
