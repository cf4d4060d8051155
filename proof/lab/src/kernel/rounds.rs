//! The same processes in lock step, thousands of them: in each round all that was sent arrives, then what is due
//! runs out. For figures ("how many rounds until all know"), not for laws: only chance decides, nothing is explored.

use super::process::{Context, Due, Outbox, Process, ProcessId};
use base::Rng;

/// A large system that goes on round by round.
pub struct Rounds<P: Process> {
    processes: Vec<P>,
    inbox: Vec<(ProcessId, ProcessId, P::Message)>,
    timers: Vec<Vec<(i64, P::Timer)>>,
    facts: Vec<(u32, ProcessId, P::Fact)>,
    now: u32,
    rng: Rng,
    /// How many of a thousand messages are lost.
    pub loss_permille: u64,
    /// Who is down: hears nothing, says nothing.
    pub is_down: Vec<bool>,
    /// Messages sent so far.
    pub n_sent: u64,
}

impl<P: Process> Rounds<P> {
    /// All have started; nothing is delivered.
    pub fn new(processes: Vec<P>, seed: u64) -> Rounds<P> {
        let n = processes.len();
        let mut rounds = Rounds {
            processes,
            inbox: Vec::new(),
            timers: vec![Vec::new(); n],
            facts: Vec::new(),
            now: 0,
            rng: Rng::new(seed),
            loss_permille: 0,
            is_down: vec![false; n],
            n_sent: 0,
        };
        for at in 0..n {
            rounds.act(ProcessId(at), |process, cx| process.start(cx));
        }
        rounds
    }

    /// The processes.
    pub fn processes(&self) -> &[P] {
        &self.processes
    }

    /// What was stated: in which round, by whom, what.
    pub fn facts(&self) -> &[(u32, ProcessId, P::Fact)] {
        &self.facts
    }

    /// How many rounds have been.
    pub fn now(&self) -> u32 {
        self.now
    }

    /// One round.
    pub fn round(&mut self) {
        self.now += 1;
        for (from, to, message) in std::mem::take(&mut self.inbox) {
            let is_lost = self.rng.permille(self.loss_permille);
            if !is_lost && !self.is_down[to.0] {
                self.act(to, |process, cx| process.receive(from, message, cx));
            }
        }
        for at in 0..self.processes.len() {
            if self.is_down[at] {
                continue;
            }
            let now = i64::from(self.now);
            let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.timers[at])
                .into_iter()
                .partition(|(due, _)| *due <= now);
            self.timers[at] = later;
            for (_, timer) in due {
                self.act(ProcessId(at), |process, cx| process.wake(timer, cx));
            }
        }
    }

    fn act(&mut self, who: ProcessId, answer: impl FnOnce(&mut P, &mut Context<'_, P>)) {
        let mut out = Outbox::default();
        let now = i64::from(self.now);
        let mut cx = Context {
            me: who,
            now,
            is_heard: false,
            out: &mut out,
        };
        answer(&mut self.processes[who.0], &mut cx);
        let timers = &mut self.timers[who.0];
        timers.retain(|(_, timer)| !out.cancelled.contains(timer));
        timers.extend(out.timers.into_iter().map(|(due, timer)| match due {
            Due::At(due) => (due, timer),
            Due::Anytime => (now, timer),
        }));
        self.n_sent += out.sent.len() as u64;
        self.inbox
            .extend(out.sent.into_iter().map(|(to, message)| (who, to, message)));
        self.facts
            .extend(out.facts.into_iter().map(|fact| (self.now, who, fact)));
    }
}
