#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// A lock in a majority of stores.
pub struct Redlock;

/// An assumption, taken away.
const NO_PAUSE: Break = Break {
    rule: "no-pause",
    law: "mutual-exclusion",
    says: "only one is to be inside even where a client stands still",
};
/// An assumption, taken away.
const NO_CLOCK_JUMP: Break = Break {
    rule: "no-clock-jump",
    law: "mutual-exclusion",
    says: "only one is to be inside even where the clock of a store jumps forward",
};
/// Without it two get their locks from different stores.
const MAJORITY: Break = Break {
    rule: "majority",
    law: "mutual-exclusion",
    says: "one store less than a majority is enough",
};
/// Without it a store whose clock is fast forgets too early.
const DRIFT_ALLOWANCE: Break = Break {
    rule: "drift-allowance",
    law: "mutual-exclusion",
    says: "a client stays inside for the whole time to live, as its own clock shows it",
};
/// Without it a crash makes room for a second one.
const RESTART_LATE: Break = Break {
    rule: "restart-late",
    law: "mutual-exclusion",
    says: "a store that has lost its keys in a crash answers at once when it is back",
};
/// Without it the resource believes everybody.
const CHECK_VERSION: Break = Break {
    rule: "check-version",
    law: "resource-safe",
    says: "the resource takes a write whatever version its writer has read",
};

/// Who, in which of its tries. Values have no order.
pub type Value = (char, u8);

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// To a store: `SET lock value NX PX ttl`.
    Set(Value),
    /// From a store.
    Yes(Value),
    /// From a store.
    No(Value),
    /// To a store: delete the key if it has this value.
    Release(Value),
    /// To the resource.
    Read(Value),
    /// From the resource: its version.
    Version(Value, u8),
    /// To the resource: a write upon this version.
    Write(Value, u8),
    /// From the resource: whether it has taken it.
    Wrote(Value, bool),
}

/// The resource has taken a write: whose, upon which version as read, and upon which in truth.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Took(char, u8, u8);

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// Wants to be alone with the resource.
    Client(Client),
    /// One of several that know nothing of each other.
    Store(Store),
    /// Counts its versions.
    Resource(Resource),
}

/// Wants to be alone with the resource.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    broken: Broken,
    stores: Vec<ProcessId>,
    resource: ProcessId,
    ttl: i64,
    patience: u32,
    tries_left: u8,
    value: Value,
    at: Stage,
}

/// How far a client is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Stage {
    Outside,
    Asking {
        since: i64,
        asked: usize,
        yes: usize,
    },
    Inside {
        until: i64,
        version: u8,
    },
}

/// Its memory is lost in a crash; that it has crashed it knows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Store {
    broken: Broken,
    ttl: i64,
    lock: Option<(Value, i64)>,
    deaf_until: i64,
}

/// All of it is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    broken: Broken,
    version: u8,
}

/// How long a client may be inside. The fastest clock goes on by four ticks in three: `ttl` of them are gone after
/// three quarters, and a tick is as short as time is seen.
fn inside_max(ttl: i64, broken: Broken) -> i64 {
    let allowance = i64::from(!broken.is(&DRIFT_ALLOWANCE)) * (ttl / 4 + 1);
    ttl - allowance
}

impl Process for Party {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Took;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Client(client) = self {
            client.again(cx);
        }
    }

    fn wake(&mut self, timer: &'static str, cx: &mut Context<'_, Self>) {
        let Party::Client(client) = self else {
            return;
        };
        match (timer, &client.at) {
            ("lock", _) => client.begin(cx),
            ("next", _) => client.next(cx),
            ("write", Stage::Inside { version, .. }) => {
                cx.send(client.resource, Message::Write(client.value, *version));
            }
            ("time is up", _) => client.leave(cx),
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Client(client) => client.receive(from, message, cx),
            Party::Store(store) => store.receive(from, message, cx),
            Party::Resource(resource) => resource.receive(from, message, cx),
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Client(client) => client.again(cx),
            Party::Store(store) => {
                store.lock = None;
                if !store.broken.is(&RESTART_LATE) {
                    store.deaf_until = cx.now() + store.ttl;
                }
            }
            Party::Resource(_) => {}
        }
    }
}

impl Client {
    fn again(&mut self, cx: &mut Context<'_, Party>) {
        self.at = Stage::Outside;
        if self.tries_left > 0 {
            cx.anytime("lock");
        }
    }

    fn quorum(&self) -> usize {
        self.stores.len() / 2 + 1 - usize::from(self.broken.is(&MAJORITY))
    }

    fn begin(&mut self, cx: &mut Context<'_, Party>) {
        self.tries_left -= 1;
        self.value.1 += 1;
        self.at = Stage::Asking {
            since: cx.now(),
            asked: 0,
            yes: 0,
        };
        // Neither asking nor being inside lasts longer.
        cx.after(inside_max(self.ttl, self.broken) as u32, "time is up");
        self.next(cx);
    }

    /// Asks the next store; when all are asked, counts.
    fn next(&mut self, cx: &mut Context<'_, Party>) {
        let quorum = self.quorum();
        let Stage::Asking { since, asked, yes } = &mut self.at else {
            return;
        };
        cx.cancel(&"next");
        if let Some(store) = self.stores.get(*asked) {
            *asked += 1;
            cx.after(self.patience, "next");
            return cx.send(*store, Message::Set(self.value));
        }
        let until = *since + inside_max(self.ttl, self.broken);
        if *yes < quorum || cx.now() >= until {
            return self.leave(cx);
        }
        cx.say(format_args!("a majority, and time left: it is inside"));
        self.at = Stage::Inside { until, version: 0 };
        cx.send(self.resource, Message::Read(self.value));
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        let is_yes = matches!(message, Message::Yes(_));
        match (&mut self.at, message) {
            (Stage::Asking { asked, yes, .. }, Message::Yes(of) | Message::No(of))
                if of == self.value =>
            {
                *yes += usize::from(is_yes);
                if self.stores.get(*asked - 1) == Some(&from) {
                    self.next(cx);
                }
            }
            (Stage::Inside { until, version }, Message::Version(of, read)) if of == self.value => {
                *version = read;
                // Its work takes as long as it takes; whether it is in time it looks now, and not again.
                if cx.now() < *until {
                    cx.anytime("write");
                }
            }
            (Stage::Inside { .. }, Message::Wrote(of, _)) if of == self.value => self.leave(cx),
            _ => {}
        }
    }

    fn leave(&mut self, cx: &mut Context<'_, Party>) {
        for timer in ["next", "write", "time is up"] {
            cx.cancel(&timer);
        }
        cx.send_all(self.stores.iter().copied(), &Message::Release(self.value));
        self.again(cx);
    }
}

impl Store {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        self.lock = self.lock.filter(|(_, until)| cx.now() < *until);
        match message {
            _ if cx.now() < self.deaf_until => {}
            Message::Set(value) if self.lock.is_none() => {
                self.lock = Some((value, cx.now() + self.ttl));
                cx.send(from, Message::Yes(value));
            }
            Message::Set(value) => cx.send(from, Message::No(value)),
            Message::Release(value) => self.lock = self.lock.filter(|(held, _)| *held != value),
            _ => {}
        }
    }
}

impl Resource {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Read(of) => cx.send(from, Message::Version(of, self.version)),
            Message::Write(of, upon) => {
                let is_taken = upon == self.version || self.broken.is(&CHECK_VERSION);
                if is_taken {
                    cx.fact(Took(of.0, upon, self.version));
                    self.version += 1;
                } else {
                    cx.say(format_args!("no: it is at version {}", self.version));
                }
                cx.send(from, Message::Wrote(of, is_taken));
            }
            _ => {}
        }
    }
}
