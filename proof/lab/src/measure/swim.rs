//! SWIM in rounds: how often somebody who lives is taken for dead, because messages are lost.
//!
//! Nobody dies here. Everybody pings one other in each period, and every message is lost with the same probability
//! 1 - q. Das, Gupta and Motivala, "SWIM" (2002), §3.1:
//!
//! - the ping and its answer are two messages: an error in 1 - q² of the pings;
//! - with k others asked, four messages each: (1 - q²)(1 - q⁴)ᵏ;
//! - with a suspicion that lasts so long that the suspect is pinged once more, and refutes it when it hears: the
//!   square of that.
//!
//! None of it depends on N, and neither does what each member sends.

use super::{columns, rate};
use crate::kernel::{Context, Process, ProcessId, Rounds};
use base::Rng;
use std::fmt;

/// How many others are asked.
const HELPERS: u32 = 3;
/// Rounds from a ping to its verdict: there and back, and twice that through another.
const PERIOD: u32 = 8;
const PATIENCE: u32 = 3;
/// Pings for each row, at least.
const PINGS: usize = 200_000;

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum How {
    /// No answer is a death.
    Direct,
    /// Others are asked.
    Indirect,
    /// And who is silent is suspected first.
    Suspicion,
}

/// What they say. Each carries for whom it is, so that one answers wherever it is asked from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Who wants to know.
    Ping(ProcessId),
    /// Ping this one for me.
    PingFor(ProcessId),
    /// Who is there; who wanted to know.
    Ack(ProcessId, ProcessId),
}

/// Nothing is stated: members count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Never {}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Member {
    how: How,
    n: u64,
    rng: Rng,
    pinged: Option<ProcessId>,
    is_suspect: bool,
    n_pinged: u64,
    n_errors: u64,
}

impl Process for Member {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Never;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.after(1, "period");
    }

    fn wake(&mut self, timer: &'static str, cx: &mut Context<'_, Self>) {
        if timer == "period" {
            self.period(cx);
        } else if let Some(silent) = self.pinged
            && self.how != How::Direct
        {
            for _ in 0..HELPERS {
                let helper = self.another(&[cx.me(), silent]);
                cx.send(helper, Message::PingFor(silent));
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        let me = cx.me();
        match message {
            Message::Ping(asking) => cx.send(from, Message::Ack(me, asking)),
            Message::PingFor(whom) => cx.send(whom, Message::Ping(from)),
            Message::Ack(who, asking) if asking == me => {
                if self.pinged == Some(who) {
                    self.pinged = None;
                    self.is_suspect = false;
                }
            }
            Message::Ack(who, asking) => cx.send(asking, Message::Ack(who, asking)),
        }
    }
}

impl Member {
    fn period(&mut self, cx: &mut Context<'_, Self>) {
        let next = match self.pinged {
            // It is pinged once more, and hears that it is suspected.
            Some(silent) if self.how == How::Suspicion && !self.is_suspect => {
                self.is_suspect = true;
                silent
            }
            silent => {
                self.n_errors += u64::from(silent.is_some());
                self.is_suspect = false;
                self.n_pinged += 1;
                self.another(&[cx.me()])
            }
        };
        self.pinged = Some(next);
        cx.send(next, Message::Ping(cx.me()));
        cx.after(PATIENCE, "ask others");
        cx.after(PERIOD, "period");
    }

    fn another(&mut self, not: &[ProcessId]) -> ProcessId {
        loop {
            let drawn = ProcessId(self.rng.below(self.n) as usize);
            if !not.contains(&drawn) {
                return drawn;
            }
        }
    }
}

/// One row.
pub struct Errors {
    /// How many members.
    pub n: usize,
    /// How many of a hundred messages are lost.
    pub loss_percent: u64,
    /// What is left out.
    pub how: How,
    /// Pings whose verdict is there.
    pub n_pinged: u64,
    /// How many of them took the living for dead.
    pub n_errors: u64,
    /// Which part should have.
    pub expected: f64,
    /// Messages for each member and period.
    pub sent: f64,
}

/// All rows.
pub fn measure() -> Vec<Errors> {
    let mut rows = Vec::new();
    for loss_percent in [5, 20] {
        for how in [How::Direct, How::Indirect, How::Suspicion] {
            rows.extend([100, 1_000, 10_000].map(|n| one(n, loss_percent, how)));
        }
    }
    rows
}

fn one(n: usize, loss_percent: u64, how: How) -> Errors {
    let mut rng = Rng::new(loss_percent);
    let member = |at: usize| Member {
        how,
        n: n as u64,
        rng: rng.fork(at as u64),
        pinged: None,
        is_suspect: false,
        n_pinged: 0,
        n_errors: 0,
    };
    let mut all = Rounds::new((0..n).map(member).collect(), n as u64);
    all.loss_permille = 10 * loss_percent;
    let periods = PINGS.div_ceil(n) as u32 + 2;
    for _ in 0..periods * PERIOD {
        all.round();
    }
    let sum = |count: fn(&Member) -> u64| all.processes().iter().map(count).sum::<u64>();
    // The last ping of each has no verdict yet.
    let n_pinged = sum(|member| member.n_pinged) - n as u64;
    Errors {
        n,
        loss_percent,
        how,
        n_pinged,
        n_errors: sum(|member| member.n_errors),
        expected: expected(loss_percent, how),
        sent: all.n_sent as f64 / (n as f64 * f64::from(periods)),
    }
}

/// What the paper's formula gives.
fn expected(loss_percent: u64, how: How) -> f64 {
    let q = 1.0 - loss_percent as f64 / 100.0;
    let direct = 1.0 - q.powi(2);
    let indirect = direct * (1.0 - q.powi(4)).powi(HELPERS as i32);
    match how {
        How::Direct => direct,
        How::Indirect => indirect,
        How::Suspicion => indirect * indirect,
    }
}

/// The table.
pub fn table(rows: &[Errors]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|one| {
            let how = match one.how {
                How::Direct => "ping alone",
                How::Indirect => "and ask 3",
                How::Suspicion => "and suspect first",
            };
            vec![
                how.to_string(),
                format!("{} %", one.loss_percent),
                one.n.to_string(),
                one.n_errors.to_string(),
                one.n_pinged.to_string(),
                rate(one.n_errors as f64 / one.n_pinged as f64),
                rate(one.expected),
                format!("{:.1}", one.sent),
            ]
        })
        .collect();
    let heads = [
        "",
        "lost",
        "N",
        "errors",
        "of pings",
        "rate",
        "formula",
        "sent per member and period",
    ];
    columns(
        "swim: the living taken for dead, nobody has died",
        &heads,
        &rows,
    )
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Message::Ping(_) => "ping",
            Message::PingFor(_) => "please ping",
            Message::Ack(..) => "is there",
        })
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
