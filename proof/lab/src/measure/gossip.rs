//! Gossip in rounds: how fast a rumour reaches all, and how many it misses when who tells it loses heart.
//!
//! In the first experiment everybody who knows tells one other, by chance, in every round. Pittel, "On spreading a
//! rumor" (1987): that takes log₂ N + ln N + O(1) rounds, in probability. The first summand is the doubling, as long
//! as nearly everybody who is told is new; the second is the search for the last ones.
//!
//! In the second everybody falls silent after k answers "I knew". Demers and others, "Epidemic algorithms for
//! replicated database maintenance" (1987), §1.4: everybody who has heard of it is told of it k times in vain and once
//! not, so (k + 1)(1 - s) messages are sent for each node, where s is the part that never hears of it; and by chance a
//! node is missed by all of them with s = e^-(k + 1)(1 - s). One in five for k = 1, 6 % for k = 2, and never none.

use super::{columns, rate};
use crate::kernel::{Context, Process, ProcessId, Rounds};
use base::Rng;
use std::fmt;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// The rumour.
    Tell,
    /// Whether it was known.
    Heard(bool),
}

/// It knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Knows;

/// One of many, with a chance of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    n: u64,
    knows: bool,
    /// After so many "I knew" it falls silent; `None`: never.
    doubts_left: Option<u8>,
    rng: Rng,
}

impl Process for Node {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Knows;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if cx.me() == ProcessId(0) {
            self.learn(cx);
            // The first message is under way before the first round.
            self.tell(cx);
        }
    }

    fn wake(&mut self, _: &'static str, cx: &mut Context<'_, Self>) {
        self.tell(cx);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Tell => {
                if self.doubts_left.is_some() {
                    cx.send(from, Message::Heard(self.knows));
                }
                if !self.knows {
                    self.learn(cx);
                    cx.after(0, "tell");
                }
            }
            Message::Heard(was_known) => {
                let left = self.doubts_left.unwrap_or(0);
                self.doubts_left = Some(left - u8::from(was_known && left > 0));
                if self.doubts_left > Some(0) {
                    cx.after(0, "tell");
                }
            }
        }
    }
}

impl Node {
    fn learn(&mut self, cx: &mut Context<'_, Self>) {
        self.knows = true;
        cx.fact(Knows);
    }

    fn tell(&mut self, cx: &mut Context<'_, Self>) {
        let other = self.rng.below(self.n - 1) as usize;
        let whom = if other >= cx.me().0 { other + 1 } else { other };
        cx.send(ProcessId(whom), Message::Tell);
        // Who waits for an answer tells nobody before it has come.
        if self.doubts_left.is_none() {
            cx.after(1, "tell");
        }
    }
}

fn nodes(n: usize, doubts: Option<u8>, seed: u64) -> Rounds<Node> {
    let mut rng = Rng::new(seed);
    let node = |at: usize| Node {
        n: n as u64,
        knows: false,
        doubts_left: doubts,
        rng: rng.fork(at as u64),
    };
    Rounds::new((0..n).map(node).collect(), seed)
}

/// How fast.
pub struct Reach {
    /// How many nodes.
    pub n: usize,
    /// The median of the rounds until all knew.
    pub median: u32,
    /// The most of them.
    pub max: u32,
    /// The most messages that a node has sent, for each round that there was.
    pub sent_per_node_round: f64,
    /// log₂ N + ln N.
    pub expected: f64,
}

/// How many runs there are for each N.
const SEEDS: u64 = 21;

/// Rounds until all know, for N up to 10,000.
pub fn reach() -> Vec<Reach> {
    let one = |n: usize| {
        let mut sent_per_node_round: f64 = 0.0;
        let mut rounds: Vec<u32> = (0..SEEDS)
            .map(|seed| {
                let mut all = nodes(n, None, seed);
                while all.facts().len() < n {
                    all.round();
                }
                let sent = all.n_sent as f64 / (n as f64 * f64::from(all.now()));
                sent_per_node_round = sent_per_node_round.max(sent);
                all.now()
            })
            .collect();
        rounds.sort_unstable();
        Reach {
            n,
            median: rounds[rounds.len() / 2],
            max: rounds[rounds.len() - 1],
            sent_per_node_round,
            expected: (n as f64).log2() + (n as f64).ln(),
        }
    };
    [10, 100, 1_000, 10_000].into_iter().map(one).collect()
}

/// How many it misses.
pub struct Residue {
    /// After so many "I knew" one falls silent.
    pub doubts: u8,
    /// Which part has never heard of it.
    pub missed: f64,
    /// Rumours sent for each node.
    pub traffic: f64,
    /// Which part should not have.
    pub expected: f64,
}

/// How many of 1,000 a rumour misses, and what it costs.
pub fn residue() -> Vec<Residue> {
    let (n, runs) = (1_000, 100);
    let one = |doubts: u8| {
        let (mut missed, mut sent) = (0, 0);
        for seed in 0..runs {
            let mut all = nodes(n, Some(doubts), seed);
            let mut quiet = 0;
            while quiet < 3 {
                let before = all.n_sent;
                all.round();
                quiet = if all.n_sent == before { quiet + 1 } else { 0 };
            }
            missed += n - all.facts().len();
            // Half of the messages are answers.
            sent += all.n_sent / 2;
        }
        let all = (n as u64 * runs) as f64;
        Residue {
            doubts,
            missed: missed as f64 / all,
            traffic: sent as f64 / all,
            expected: missed_by_chance(doubts),
        }
    };
    (1..=5).map(one).collect()
}

/// s = e^-(k + 1)(1 - s), by coming nearer.
fn missed_by_chance(doubts: u8) -> f64 {
    (0..200).fold(0.0, |missed: f64, _| {
        (-f64::from(doubts + 1) * (1.0 - missed)).exp()
    })
}

/// Both tables.
pub fn table(reach: &[Reach], residue: &[Residue]) -> String {
    let rows: Vec<Vec<String>> = reach
        .iter()
        .map(|one| {
            vec![
                one.n.to_string(),
                one.median.to_string(),
                one.max.to_string(),
                format!("{:.1}", one.expected),
                format!("{:.2}", one.sent_per_node_round),
            ]
        })
        .collect();
    let title = format!(
        "gossip: rounds until all of N know, everybody who knows tells one other in each; {SEEDS} runs"
    );
    let heads = [
        "N",
        "median",
        "max",
        "log₂N + lnN",
        "sent per node and round",
    ];
    let first = columns(&title, &heads, &rows);
    let rows: Vec<Vec<String>> = residue
        .iter()
        .map(|one| {
            vec![
                one.doubts.to_string(),
                rate(one.missed),
                rate(one.expected),
                format!("{:.2}", one.traffic),
                format!("{:.2}", f64::from(one.doubts + 1) * (1.0 - one.expected)),
            ]
        })
        .collect();
    let heads = ["k", "missed", "formula", "sent per node", "formula"];
    let second = columns(
        "silent after k times \"I knew\": the part of 1,000 that never hears of it",
        &heads,
        &rows,
    );
    format!("{first}\n{second}")
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Message::Tell => "news",
            Message::Heard(true) => "I knew",
            Message::Heard(false) => "new to me",
        })
    }
}

impl fmt::Display for Knows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("knows")
    }
}
