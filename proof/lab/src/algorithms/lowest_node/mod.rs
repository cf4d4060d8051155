#![doc = include_str!("story.md")]

mod exhibit;

pub use exhibit::{crowd, woken};

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::{BTreeMap, BTreeSet};

/// Election by the lowest sequential ephemeral node.
pub struct LowestNode;

/// Without it everybody waits for the first.
const WATCH_PREDECESSOR_ONLY: Break = Break {
    rule: "watch-predecessor-only",
    law: "one-woken",
    says: "whoever waits watches the first node, not the one before its own",
};
/// Without it the dead stay in the queue.
const EPHEMERAL: Break = Break {
    rule: "ephemeral",
    law: "somebody-leads",
    says: "a node stays when the session of who created it has ended",
};
/// Without it a contender takes a sign for the thing itself.
const LOOK_AGAIN: Break = Break {
    rule: "look-again",
    law: "one-leader",
    says: "a contender whose watch fires leads, without looking whether it is the first",
};
/// Without it the moment between looking and watching is not covered.
const LOOK_WHEN_WATCHING: Break = Break {
    rule: "look-when-watching",
    law: "somebody-leads",
    says: "a watch is set without looking whether the node is still there",
};

/// The number of a node.
type Number = u32;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Create a node for me.
    Create,
    /// It has this number.
    Created(Number),
    /// Which nodes are there?
    List,
    /// These, in order.
    Nodes(Vec<Number>),
    /// Tell me when this node is gone.
    Watch(Number),
    /// It is gone, and was when you asked.
    Missing(Number),
    /// It has gone just now: your watch.
    Gone(Number),
    /// Your session has ended, and your node with it.
    Ended,
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// The store.
    Store(Store),
    /// One that wants to lead.
    Contender(Contender),
}

/// Nodes, and who watches them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Store {
    broken: Broken,
    /// Sessions that will end, and after how many ticks; `None`: at any time.
    ends: Vec<(ProcessId, Option<u32>)>,
    ended: BTreeSet<ProcessId>,
    next: Number,
    nodes: BTreeMap<Number, ProcessId>,
    watches: BTreeMap<Number, BTreeSet<ProcessId>>,
}

/// Wants to lead.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Contender {
    broken: Broken,
    store: ProcessId,
    mine: Option<Number>,
    /// It believes so.
    leads: bool,
}

impl Process for Party {
    type Message = Message;
    type Timer = SessionEnds;
    type Fact = Woken;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Store(store) => {
                for (who, after) in &store.ends {
                    match after {
                        Some(ticks) => cx.after(*ticks, SessionEnds(*who)),
                        None => cx.anytime(SessionEnds(*who)),
                    }
                }
            }
            Party::Contender(contender) => cx.send(contender.store, Message::Create),
        }
    }

    fn wake(&mut self, SessionEnds(who): SessionEnds, cx: &mut Context<'_, Self>) {
        if let Party::Store(store) = self {
            store.end(who, cx);
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Store(store) => store.receive(from, message, cx),
            Party::Contender(contender) => contender.receive(message, cx),
        }
    }
}

impl Store {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        if self.ended.contains(&from) {
            return cx.say(format_args!("no: this session has ended"));
        }
        match message {
            Message::Create => {
                self.next += 1;
                self.nodes.insert(self.next, from);
                cx.send(from, Message::Created(self.next));
            }
            Message::List => {
                let nodes = self.nodes.keys().copied().collect();
                cx.send(from, Message::Nodes(nodes));
            }
            Message::Watch(node) => {
                let is_there =
                    self.nodes.contains_key(&node) || self.broken.is(&LOOK_WHEN_WATCHING);
                if is_there {
                    self.watches.entry(node).or_default().insert(from);
                } else {
                    cx.send(from, Message::Missing(node));
                }
            }
            _ => {}
        }
    }

    /// Nobody has heard of it for too long: its nodes and watches go.
    fn end(&mut self, who: ProcessId, cx: &mut Context<'_, Party>) {
        self.ended.insert(who);
        cx.send(who, Message::Ended);
        for watchers in self.watches.values_mut() {
            watchers.remove(&who);
        }
        let owned = self.nodes.iter().find(|(_, owner)| **owner == who);
        let Some(node) = owned.map(|(node, _)| *node) else {
            return;
        };
        if self.broken.is(&EPHEMERAL) {
            return;
        }
        self.nodes.remove(&node);
        let watchers = self.watches.remove(&node).unwrap_or_default();
        cx.fact(Woken(node, watchers.len()));
        cx.send_all(watchers, &Message::Gone(node));
    }
}

impl Contender {
    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Created(number) => {
                self.mine = Some(number);
                cx.send(self.store, Message::List);
            }
            Message::Nodes(nodes) => self.look(&nodes, cx),
            Message::Missing(_) => cx.send(self.store, Message::List),
            Message::Gone(_) if self.broken.is(&LOOK_AGAIN) => self.lead(cx),
            Message::Gone(_) => cx.send(self.store, Message::List),
            Message::Ended => {
                self.mine = None;
                self.leads = false;
            }
            _ => {}
        }
    }

    fn look(&mut self, nodes: &[Number], cx: &mut Context<'_, Party>) {
        let Some(mine) = self.mine else {
            return;
        };
        let mut before = nodes.iter().copied().filter(|node| *node < mine);
        let watched = if self.broken.is(&WATCH_PREDECESSOR_ONLY) {
            before.next()
        } else {
            before.next_back()
        };
        match watched {
            Some(node) => cx.send(self.store, Message::Watch(node)),
            None => self.lead(cx),
        }
    }

    fn lead(&mut self, cx: &mut Context<'_, Party>) {
        self.leads = true;
        cx.say(format_args!("leads"));
    }
}

/// The store gives a session up. If its contender lives, it does not know yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionEnds(ProcessId);

/// This node has gone, and so many were told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Woken(Number, usize);
