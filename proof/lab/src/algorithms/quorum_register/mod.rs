#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::{BTreeMap, BTreeSet};

/// A quorum register.
pub struct QuorumRegister;

/// Without it a read may meet none of the homes that have the write.
const OVERLAP: Break = Break {
    rule: "overlap",
    law: "no-stale-read",
    says: "a read is content with N - W answers, so that W + R = N",
};
/// Without it a read may return what the next one does not find.
const WRITE_BACK: Break = Break {
    rule: "write-back",
    law: "monotonic-reads",
    says: "a read answers without seeing to it that W homes have its version",
};
/// Without it a write is done where no read looks.
const STRICT_QUORUM: Break = Break {
    rule: "strict-quorum",
    law: "no-stale-read",
    says: "a hint at the stand-in counts as if it were at the home",
};
/// Without it a home that missed a write goes on missing it.
const HAND_OVER: Break = Break {
    rule: "hand-over",
    law: "homes-get-it",
    says: "the stand-in keeps its hints to itself",
};

/// Which write: 1, 2, 3; 0 is none.
type Version = u8;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Have this version.
    Store(Version),
    /// This home has it.
    Stored(Version),
    /// What have you got? With the number of the read.
    Fetch(u8),
    /// That.
    Got(u8, Version),
    /// To the stand-in: keep this for that home.
    Hint(ProcessId, Version),
    /// It does.
    Kept(ProcessId, Version),
}

/// What clients see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A write is done.
    Written(Version),
    /// This reader begins its read of this number.
    Begun(ProcessId, u8),
    /// And it has read that.
    Read(ProcessId, u8, Version),
}

/// What everybody knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Register {
    broken: Broken,
    homes: Vec<ProcessId>,
    stand_in: Option<ProcessId>,
    w: usize,
    r: usize,
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It has a copy, on its disk.
    Home(Version),
    /// It keeps hints, on its disk.
    StandIn(Broken, BTreeSet<(ProcessId, Version)>),
    /// It writes.
    Writer(Writer),
    /// It reads.
    Reader(Reader),
}

/// It writes, one version after another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    register: Register,
    writes_left: u8,
    version: Version,
    is_done: bool,
    /// For whom each version counts as stored.
    counted: BTreeMap<Version, BTreeSet<ProcessId>>,
}

/// It reads, one read after another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reader {
    register: Register,
    reads_left: u8,
    read: u8,
    phase: Phase,
}

/// Where a reader stands.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It does nothing.
    Idle,
    /// It asks the homes.
    Asks(BTreeMap<ProcessId, Version>),
    /// It knows what it will return, and waits until W homes have it.
    WritesBack(Version, BTreeSet<ProcessId>),
}

/// What they do by themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The writer begins a write.
    Write,
    /// The writer has waited for long enough for the homes.
    Impatient(Version),
    /// The reader begins a read.
    Read,
    /// The stand-in tries a home again.
    HandOver,
}

impl Process for Party {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Writer(writer) if writer.writes_left > 0 => cx.anytime(Timer::Write),
            Party::Reader(reader) if reader.reads_left > 0 => cx.anytime(Timer::Read),
            _ => {}
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        if matches!(self, Party::StandIn(_, hints) if !hints.is_empty()) {
            cx.anytime(Timer::HandOver);
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match (self, timer) {
            (Party::Writer(writer), Timer::Write) => writer.write(cx),
            (Party::Writer(writer), Timer::Impatient(version)) => writer.hint(version, cx),
            (Party::Reader(reader), _) => reader.ask(cx),
            (Party::StandIn(broken, hints), _) if !broken.is(&HAND_OVER) => {
                for (home, version) in hints.iter() {
                    cx.send(*home, Message::Store(*version));
                }
            }
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match (self, message) {
            (Party::Home(held), Message::Store(version)) => {
                *held = version.max(*held);
                cx.send(from, Message::Stored(version));
            }
            (Party::Home(held), Message::Fetch(read)) => cx.send(from, Message::Got(read, *held)),
            (Party::StandIn(_, hints), Message::Hint(home, version)) => {
                hints.insert((home, version));
                cx.send(from, Message::Kept(home, version));
                cx.anytime(Timer::HandOver);
            }
            (Party::StandIn(_, hints), Message::Stored(version)) => {
                hints.remove(&(from, version));
            }
            (Party::Writer(writer), Message::Stored(version)) => writer.count(from, version, cx),
            (Party::Writer(writer), Message::Kept(home, version))
                if writer.register.broken.is(&STRICT_QUORUM) =>
            {
                writer.count(home, version, cx);
            }
            (Party::Reader(reader), Message::Got(read, version)) if read == reader.read => {
                reader.got(from, version, cx);
            }
            (Party::Reader(reader), Message::Stored(version)) => reader.stored(from, version, cx),
            _ => {}
        }
    }
}

impl Writer {
    fn write(&mut self, cx: &mut Context<'_, Party>) {
        self.writes_left -= 1;
        self.version += 1;
        self.is_done = false;
        let homes = self.register.homes.iter().copied();
        cx.send_all(homes, &Message::Store(self.version));
        if self.register.stand_in.is_some() {
            cx.anytime(Timer::Impatient(self.version));
        }
    }

    /// For every home that has not answered, a hint to the stand-in.
    fn hint(&mut self, version: Version, cx: &mut Context<'_, Party>) {
        let counted = self.counted.entry(version).or_default();
        let missing = self
            .register
            .homes
            .iter()
            .filter(|home| !counted.contains(home));
        for home in missing {
            let stand_in = self.register.stand_in.into_iter();
            cx.send_all(stand_in, &Message::Hint(*home, version));
        }
    }

    fn count(&mut self, home: ProcessId, version: Version, cx: &mut Context<'_, Party>) {
        let counted = self.counted.entry(version).or_default();
        counted.insert(home);
        if version == self.version && !self.is_done && counted.len() >= self.register.w {
            self.is_done = true;
            cx.fact(Fact::Written(version));
            if self.writes_left > 0 {
                cx.anytime(Timer::Write);
            }
        }
    }
}

impl Reader {
    fn ask(&mut self, cx: &mut Context<'_, Party>) {
        self.reads_left -= 1;
        self.read += 1;
        self.phase = Phase::Asks(BTreeMap::new());
        cx.fact(Fact::Begun(cx.me(), self.read));
        let homes = self.register.homes.iter().copied();
        cx.send_all(homes, &Message::Fetch(self.read));
    }

    fn got(&mut self, home: ProcessId, version: Version, cx: &mut Context<'_, Party>) {
        let Phase::Asks(answers) = &mut self.phase else {
            return;
        };
        answers.insert(home, version);
        if answers.len() < self.register.r {
            return;
        }
        let newest = answers.values().copied().max().unwrap_or(0);
        let have = answers.iter().filter(|(_, version)| **version == newest);
        let have: BTreeSet<ProcessId> = have.map(|(home, _)| *home).collect();
        let homes = self.register.homes.iter().copied();
        let missing: Vec<ProcessId> = homes.filter(|home| !have.contains(home)).collect();
        // What nobody has written everybody has.
        let is_enough = newest == 0 || have.len() >= self.register.w;
        if is_enough || self.register.broken.is(&WRITE_BACK) {
            self.end(newest, cx);
        } else {
            self.phase = Phase::WritesBack(newest, have);
            cx.send_all(missing, &Message::Store(newest));
        }
    }

    fn stored(&mut self, home: ProcessId, stored: Version, cx: &mut Context<'_, Party>) {
        if let Phase::WritesBack(version, have) = &mut self.phase
            && *version == stored
        {
            have.insert(home);
            if have.len() >= self.register.w {
                self.end(stored, cx);
            }
        }
    }

    fn end(&mut self, version: Version, cx: &mut Context<'_, Party>) {
        self.phase = Phase::Idle;
        cx.fact(Fact::Read(cx.me(), self.read, version));
        if self.reads_left > 0 {
            cx.anytime(Timer::Read);
        }
    }
}
