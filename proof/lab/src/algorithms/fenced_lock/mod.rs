#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::VecDeque;

/// A lock whose holders carry numbers.
pub struct FencedLock;

/// Without it the resource believes everybody.
const CHECK_TOKEN: Break = Break {
    rule: "check-token",
    law: "no-overwrite",
    says: "the resource takes writes with old tokens",
};
/// Without it a new holder is unknown to the resource until it writes.
const FENCE_READS: Break = Break {
    rule: "fence-reads",
    law: "nothing-lost",
    says: "the resource looks at the tokens of writes only, and not at those of reads",
};
/// Without it the number says nothing.
const NEW_TOKEN: Break = Break {
    rule: "new-token",
    law: "no-overwrite",
    says: "the lock service hands out the same token to the next holder",
};

/// Which grant it was.
pub type Token = u8;
/// The grant before the first one bore this token, as in the picture that everybody knows.
const TOKEN_BEFORE: Token = 32;
/// What a client adds: who, in which of its rounds.
pub type Edit = (char, u8);
/// What the resource holds. Who writes it writes all of it.
pub type Content = Vec<Edit>;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// To the lock.
    Acquire,
    /// From the lock.
    Granted(Token),
    /// To the lock.
    Release(Token),
    /// To the resource.
    Read(Token),
    /// From the resource, to whom read with this token.
    Content(Token, Content),
    /// To the resource: this instead of what it holds.
    Write(Token, Content),
    /// From the resource.
    Written(Token),
    /// From the resource: your token, and the one that it has seen.
    Refused(Token, Token),
}

/// What laws are about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// The lock was granted.
    Holds(char, Token),
    /// The resource has taken a write, and said so.
    Wrote(Token, Edit),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// Wants to change the resource.
    Client(Client),
    /// Grants.
    Lock(Lock),
    /// Holds what must not be spoilt.
    Resource(Resource),
}

/// Changes the resource under the lock, several times.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    name: char,
    lock: ProcessId,
    resource: ProcessId,
    ttl: u32,
    rounds_left: u8,
    at: Stage,
}

/// How far a client is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Asked { since: i64 },
    Reading { token: Token, until: i64 },
    Writing { token: Token, content: Content },
}

/// The lock service. All of it is on its disk, and it has one history: how, is another exhibit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Lock {
    broken: Broken,
    ttl: u32,
    token: Token,
    holder: Option<ProcessId>,
    waiting: VecDeque<ProcessId>,
}

/// A store that knows no lock, only numbers. All of it is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    broken: Broken,
    highest: Token,
    content: Content,
}

impl Process for Party {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Client(client) = self {
            client.again(cx);
        }
    }

    fn wake(&mut self, timer: &'static str, cx: &mut Context<'_, Self>) {
        match self {
            Party::Client(client) if timer == "ask" => client.ask(cx),
            Party::Client(client) => client.write(cx),
            Party::Lock(lock) => {
                cx.say(format_args!("token {} has lapsed", lock.token));
                lock.holder = None;
                lock.grant(cx);
            }
            Party::Resource(_) => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Client(client) => client.receive(message, cx),
            Party::Lock(lock) => lock.receive(from, message, cx),
            Party::Resource(resource) => resource.receive(from, message, cx),
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Client(client) => client.again(cx),
            // It does not know how long it was gone: the holder gets a whole time to live once more.
            Party::Lock(lock) if lock.holder.is_some() => cx.after(lock.ttl, "lapse"),
            _ => {}
        }
    }
}

impl Client {
    fn again(&mut self, cx: &mut Context<'_, Party>) {
        self.at = Stage::Idle;
        if self.rounds_left > 0 {
            cx.anytime("ask");
        }
    }

    fn ask(&mut self, cx: &mut Context<'_, Party>) {
        self.rounds_left -= 1;
        self.at = Stage::Asked { since: cx.now() };
        cx.send(self.lock, Message::Acquire);
    }

    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        match (&self.at, message) {
            (Stage::Asked { since }, Message::Granted(token)) => {
                let until = since + i64::from(self.ttl);
                self.at = Stage::Reading { token, until };
                cx.send(self.resource, Message::Read(token));
            }
            (Stage::Reading { token, until }, Message::Content(of, mut content))
                if of == *token =>
            {
                if cx.now() >= *until {
                    cx.say(format_args!("too late by its own clock, so it leaves it"));
                    return self.again(cx);
                }
                // What follows happens a moment after this look at the clock, and a moment can be long.
                content.push((self.name, self.rounds_left));
                cx.say(format_args!("it has time left, so it will write"));
                self.at = Stage::Writing { token: of, content };
                cx.after(0, "write");
            }
            (Stage::Writing { token, .. }, Message::Written(of)) if of == *token => {
                cx.send(self.lock, Message::Release(of));
                self.again(cx);
            }
            (
                Stage::Reading { token, .. } | Stage::Writing { token, .. },
                Message::Refused(of, _),
            ) if of == *token => {
                cx.say(format_args!("it has lost the lock"));
                self.again(cx);
            }
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Context<'_, Party>) {
        if let Stage::Writing { token, content } = &self.at {
            cx.send(self.resource, Message::Write(*token, content.clone()));
        }
    }
}

impl Lock {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Acquire if !self.waiting.contains(&from) => {
                self.waiting.push_back(from);
                if self.holder.is_none() {
                    self.grant(cx);
                }
            }
            Message::Release(token) if self.holder == Some(from) && token == self.token => {
                cx.cancel(&"lapse");
                self.holder = None;
                self.grant(cx);
            }
            _ => {}
        }
    }

    fn grant(&mut self, cx: &mut Context<'_, Party>) {
        let Some(next) = self.waiting.pop_front() else {
            return;
        };
        if !self.broken.is(&NEW_TOKEN) || self.token == TOKEN_BEFORE {
            self.token += 1;
        }
        self.holder = Some(next);
        cx.fact(Fact::Holds(name(next), self.token));
        cx.send(next, Message::Granted(self.token));
        cx.after(self.ttl, "lapse");
    }
}

impl Resource {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        let (Message::Read(token) | Message::Write(token, _)) = message else {
            return;
        };
        let is_read = matches!(message, Message::Read(_));
        let is_seen = !(is_read && self.broken.is(&FENCE_READS));
        if is_seen && token < self.highest && !self.broken.is(&CHECK_TOKEN) {
            cx.say(format_args!("no: {token} < {}", self.highest));
            return cx.send(from, Message::Refused(token, self.highest));
        }
        if is_seen {
            self.highest = self.highest.max(token);
        }
        if let Message::Write(_, content) = message {
            self.content = content;
            if let Some(last) = self.content.last() {
                cx.fact(Fact::Wrote(token, *last));
            }
            cx.send(from, Message::Written(token));
        } else {
            cx.send(from, Message::Content(token, self.content.clone()));
        }
    }
}

/// Clients come first, in the order of the alphabet.
fn name(client: ProcessId) -> char {
    char::from(b'a' + client.0 as u8)
}
