//! Does what the plan says, on a thread of its own, and writes down when.
//!
//! ```text
//!   episode ─▶ agenda: begin and end of each fault, by time ─▶ done one after the other
//!                                                                   │
//!              peace: everybody serves and changes go on ◀──────────┘
//! ```
//!
//! What a fault must show beyond a right history is checked here: a member ends when a sync fails and
//! starts again clean; with all disks full every member refuses changes in etcd's words, starts while full, reads, and
//! takes changes again when there is room, without help.

use crate::Failure;
use crate::client::connect;
use crate::field::Field;
use crate::journal::Signals;
use crate::plan::{After, Episode, Fault, Kind, Plan};
use crate::strace::Tracer;
use base::Rng;
use checker::{Time, Violation};
use rustix::process::Signal;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long everything that must come is waited for. Long, since the machine may have been taken away; it is
/// no promise about time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a sync is waited for that is to fail: there is none while no leader is there.
const UNTIL_SYNC: Duration = Duration::from_secs(10);
/// How long a minority may keep silent on full disks before it is left alone, and the report says so.
const SILENT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// What was done, and what of it was wrong.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) strikes: Vec<Strike>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) rounds: u64,
    pub(crate) episodes: u64,
}

/// One fault that happened.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) kind: Kind,
    pub(crate) members: Vec<usize>,
    pub(crate) began: Time,
    pub(crate) ended: Time,
    /// What there was to see.
    pub(crate) note: String,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind)?;
        for member in &self.members {
            write!(f, " n{}", member + 1)?;
        }
        let lasted = Duration::from_nanos(self.ended.0 - self.began.0);
        write!(f, " for {lasted:.1?}")?;
        match self.note.is_empty() {
            true => Ok(()),
            false => write!(f, ", {}", self.note),
        }
    }
}

/// What ends a fault.
enum Undo {
    Release(Vec<usize>),
    Wake(Vec<usize>),
    Unfilter(Vec<(usize, String)>),
    Untrace(Tracer),
    Empty(Vec<usize>),
}

/// The one who does it.
pub(crate) struct Nemesis {
    field: Field,
    signals: Arc<Signals>,
    began: Instant,
    runtime: tokio::runtime::Runtime,
    trace: PathBuf,
    done: Done,
}

impl Nemesis {
    /// `trace` is a file for what tracers see.
    pub(crate) fn new(
        field: Field,
        signals: Arc<Signals>,
        began: Instant,
        trace: PathBuf,
    ) -> Result<Nemesis, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Nemesis {
            field,
            signals,
            began,
            runtime,
            trace,
            done: Done::default(),
        })
    }

    /// Does the plan until it is enough, then ends every fault; gives the field back in peace.
    pub(crate) fn run(mut self, mut plan: Plan, rounds_min: u64) -> Result<(Field, Done), Failure> {
        self.peace("at the beginning")?;
        while let Some(episode) = plan.next() {
            let mut names: Vec<String> =
                episode.faults.iter().map(|f| f.kind.to_string()).collect();
            names.dedup();
            let at = self.began.elapsed();
            let n_ended = self.signals.n_ended.load(Ordering::Relaxed);
            eprintln!("{at:>8.1?}  {n_ended:>8} operations  {}", names.join(" + "));
            self.episode(&episode)?;
            self.field.look_after()?;
            self.done.episodes += 1;
            self.done.rounds = plan.rounds_done();
            if episode.after == After::Peace {
                self.peace(&names.join(" + "))?;
            }
            let enough = self.signals.enough.load(Ordering::Relaxed);
            let broken_off = self.signals.broken_off.load(Ordering::Relaxed);
            let is_done = broken_off || (enough && plan.rounds_done() >= rounds_min);
            if is_done || !self.done.violations.is_empty() {
                break;
            }
        }
        self.peace("at the end")?;
        for death in std::mem::take(&mut self.field.deaths) {
            self.fail("a_member_ends_only_when_it_is_ended", death);
        }
        Ok((self.field, self.done))
    }

    fn fail(&mut self, claim: &'static str, evidence: String) {
        eprintln!("VIOLATION {claim}: {evidence}");
        self.done.violations.push(Violation::new(claim, evidence));
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn episode(&mut self, episode: &Episode) -> Result<(), Failure> {
        let began = Instant::now();
        let mut agenda: Vec<(Duration, usize, Turn)> = Vec::new();
        for (at, fault) in episode.faults.iter().enumerate() {
            agenda.push((fault.starts, at, Turn::Begin));
            agenda.push((fault.starts + fault.lasts, at, Turn::End));
        }
        agenda.sort_by_key(|(time, at, turn)| (*time, *turn, *at));
        let mut under_way: Vec<Option<(Strike, Undo)>> =
            episode.faults.iter().map(|_| None).collect();
        for (time, at, turn) in agenda {
            sleep(time.saturating_sub(began.elapsed()));
            match turn {
                Turn::Begin => under_way[at] = self.begin(&episode.faults[at])?,
                Turn::End => {
                    if let Some((mut strike, undo)) = under_way[at].take() {
                        self.end(undo)?;
                        strike.ended = self.now();
                        eprintln!("{:>10} {strike}", "");
                        self.done.strikes.push(strike);
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins a fault; nothing if it cannot be had now.
    fn begin(&mut self, fault: &Fault) -> Result<Option<(Strike, Undo)>, Failure> {
        let mut rng = Rng::new(fault.draw);
        let members = self.targets(fault.kind, &mut rng);
        let (first, began) = (members[0], self.now());
        let mut note = String::new();
        let undo = match fault.kind {
            Kind::KillMember | Kind::KillLeader | Kind::KillAll => {
                members.iter().for_each(|member| self.field.kill(*member));
                Undo::Release(members.clone())
            }
            Kind::PauseMember | Kind::PauseLeader | Kind::PauseAll => {
                for member in &members {
                    self.field.signal(*member, Signal::STOP);
                }
                Undo::Wake(members.clone())
            }
            Kind::PowerMember | Kind::PowerLeader | Kind::PowerAll => {
                self.field.cut_power(&members)?;
                Undo::Release(members.clone())
            }
            Kind::FullMember => {
                self.field.fill(first)?;
                Undo::Empty(members.clone())
            }
            Kind::FullAll => {
                note = self.all_full(&mut rng)?;
                Undo::Empty(members.clone())
            }
            Kind::SyncError => match self.sync_error(first, &mut rng)? {
                Some(words) => {
                    note = words;
                    Undo::Release(members.clone())
                }
                None => return Ok(None),
            },
            Kind::SlowSync => {
                let pid = self.field.cluster.members[first].pid();
                let Some(pid) = pid.filter(|_| self.field.is_up(first)) else {
                    return Ok(None);
                };
                let delay_us = rng.between(20_000, 300_000);
                note = format!("{} ms each", delay_us / 1000);
                let what = format!("delay_enter={delay_us}");
                Undo::Untrace(Tracer::inject(pid, &what, &self.trace)?)
            }
            Kind::IsolateMember
            | Kind::IsolateLeader
            | Kind::OneWay
            | Kind::CutLink
            | Kind::Flap
            | Kind::Loss
            | Kind::ClientsCut => {
                let rules = self.rules(fault.kind, first, &mut rng);
                for (member, rule) in &rules {
                    self.filter(*member, &format!("-A {rule}"))?;
                }
                Undo::Unfilter(rules)
            }
        };
        let strike = Strike {
            kind: fault.kind,
            members,
            began,
            ended: began,
            note,
        };
        Ok(Some((strike, undo)))
    }

    fn end(&mut self, undo: Undo) -> Result<(), Failure> {
        match undo {
            Undo::Release(members) => {
                for member in members {
                    self.field.release(member)?;
                }
            }
            Undo::Wake(members) => {
                for (n, member) in members.iter().enumerate() {
                    // One by one: who was woken first must not be believed by who was woken last.
                    sleep(Duration::from_millis(150 * n as u64));
                    self.field.signal(*member, Signal::CONT);
                }
            }
            Undo::Unfilter(rules) => {
                for (member, rule) in &rules {
                    self.filter(*member, &format!("-D {rule}"))?;
                }
            }
            Undo::Untrace(tracer) => drop(tracer),
            Undo::Empty(members) => {
                for member in members {
                    self.field.empty(member)?;
                }
            }
        }
        Ok(())
    }

    /// Whom a fault hits.
    fn targets(&mut self, kind: Kind, rng: &mut Rng) -> Vec<usize> {
        let n = self.field.n();
        match kind {
            Kind::KillAll | Kind::PauseAll | Kind::PowerAll | Kind::FullAll => {
                let first = rng.below(n as u64) as usize;
                (0..n).map(|i| (first + i) % n).collect()
            }
            Kind::KillLeader | Kind::PauseLeader | Kind::PowerLeader | Kind::IsolateLeader => {
                vec![self.leader().unwrap_or(rng.below(n as u64) as usize)]
            }
            // The leader as often as any other.
            _ => vec![rng.below(n as u64) as usize],
        }
    }

    /// The packets that are dropped, by the member that drops them.
    fn rules(&self, kind: Kind, member: usize, rng: &mut Rng) -> Vec<(usize, String)> {
        let Some(net) = &self.field.net else {
            return Vec::new();
        };
        let n = self.field.n();
        let host = |member: usize| net.host(member + 1);
        let from = |at: usize, host: String| (at, format!("INPUT -s {host} -j DROP"));
        let others = (0..n).filter(|other| *other != member);
        let deaf: Vec<_> = others
            .clone()
            .map(|other| from(member, host(other)))
            .collect();
        let dumb: Vec<_> = others
            .clone()
            .map(|other| from(other, host(member)))
            .collect();
        match kind {
            Kind::OneWay if rng.one_in(2) => deaf,
            Kind::OneWay => dumb,
            Kind::CutLink if n < 4 => {
                let other = (member + 1 + rng.below(n as u64 - 1) as usize) % n;
                vec![from(member, host(other)), from(other, host(member))]
            }
            Kind::CutLink => {
                // Halves: this member and the next one against the rest.
                let minority = [member, (member + 1) % n];
                let rest = (0..n).filter(|other| !minority.contains(other));
                rest.flat_map(|other| minority.map(|one| (one, other)))
                    .flat_map(|(a, b)| [from(a, host(b)), from(b, host(a))])
                    .collect()
            }
            Kind::Loss => {
                let probability = rng.between(5, 40);
                let rule = format!(
                    "INPUT -m statistic --mode random --probability 0.{probability:02} -j DROP"
                );
                match rng.one_in(2) {
                    true => vec![(member, rule)],
                    false => (0..n).map(|member| (member, rule.clone())).collect(),
                }
            }
            Kind::ClientsCut => vec![from(member, net.client_host())],
            _ => [deaf, dumb].concat(),
        }
    }

    fn filter(&self, member: usize, rule: &str) -> Result<(), Failure> {
        match &self.field.net {
            Some(net) => Ok(net.filter(member + 1, rule)?),
            None => Ok(()),
        }
    }

    /// One sync of a member fails: it must end at once. Nothing if there was no sync to fail.
    fn sync_error(&mut self, member: usize, rng: &mut Rng) -> Result<Option<String>, Failure> {
        let process = &self.field.cluster.members[member];
        let Some(pid) = process.pid().filter(|_| self.field.is_up(member)) else {
            return Ok(None);
        };
        let stopped = "the member stops";
        let said_before = process.said(stopped).len();
        let which = rng.between(1, 40);
        // Nothing of an earlier tracer may be taken for this one's.
        let _ = std::fs::remove_file(&self.trace);
        let what = format!("error=EIO:when={which}");
        let tracer = Tracer::inject(pid, &what, &self.trace)?;
        let until = Instant::now() + UNTIL_SYNC;
        while !tracer.has_injected() && Instant::now() < until {
            sleep(LOOK);
        }
        if !tracer.has_injected() {
            return Ok(None);
        }
        let ended = self.field.ends(member, PATIENCE);
        drop(tracer);
        let process = &self.field.cluster.members[member];
        let said = process.said(stopped);
        let (name, last_words) = (process.name.clone(), process.last_words(12));
        if !ended {
            self.fail(
                "a_failed_sync_ends_the_member",
                format!("{name} lives after its sync number {which} failed\n{last_words}"),
            );
        } else if said.len() == said_before {
            self.fail(
                "a_member_says_why_it_ends",
                format!("{name} ended after a failed sync without a word of it\n{last_words}"),
            );
        }
        Ok(Some(format!("sync number {which} of a thread")))
    }

    /// Fills every disk; all must refuse changes in etcd's words, start again while full, and read.
    fn all_full(&mut self, rng: &mut Rng) -> Result<String, Failure> {
        // Everybody must be there to refuse; the episode before may not have been waited for.
        self.peace("before all disks are full")?;
        for member in 0..self.field.n() {
            self.field.fill(member)?;
        }
        let silent = self.all_refuse("all disks full");
        if !self.done.violations.is_empty() {
            return Ok(String::new());
        }
        let victims: Vec<usize> = match rng.one_in(2) {
            true => (0..self.field.n()).collect(),
            false => vec![rng.below(self.field.n() as u64) as usize],
        };
        for member in &victims {
            self.field.kill(*member);
        }
        for member in &victims {
            self.field.release(*member)?;
        }
        for member in (0..self.field.n()).filter(|member| !silent.contains(member)) {
            let patience = Instant::now() + PATIENCE;
            if !self.serves(member, patience) {
                let words = self.field.cluster.last_words();
                self.fail("a_member_reads_with_a_full_disk", words);
            }
        }
        let silent_later = self.all_refuse("started while full");
        let mut note = format!("{} of them killed while full", victims.len());
        for member in silent.iter().chain(&silent_later) {
            note += &format!(", n{} answered no change while full", member + 1);
        }
        Ok(note)
    }

    /// Waits until the members have refused a change for want of room; answers who has not. A minority may have
    /// nothing to say: a member that was receiving a snapshot when its disk filled has no state to refuse from.
    fn all_refuse(&mut self, when: &str) -> Vec<usize> {
        let before: Vec<u64> = self.without_room();
        let n = self.field.n();
        let began = Instant::now();
        loop {
            let now = self.without_room();
            let silent: Vec<usize> = (0..n).filter(|m| now[*m] <= before[*m]).collect();
            let is_minority = silent.len() <= (n - 1) / 2;
            if silent.is_empty() || (is_minority && began.elapsed() > SILENT) {
                for member in &silent {
                    let process = &self.field.cluster.members[*member];
                    let (name, words) = (&process.name, process.last_words(30));
                    eprintln!("{name} answers no change: {when}\n{words}");
                }
                return silent;
            }
            if began.elapsed() > PATIENCE {
                let words = self.field.cluster.last_words();
                let counts = format!("{before:?} refusals before, now {now:?}");
                let evidence = format!("{when}: {counts}\n{words}");
                self.fail("full_disks_refuse_changes", evidence);
                return silent;
            }
            sleep(LOOK);
        }
    }

    fn without_room(&self) -> Vec<u64> {
        let counts = self.signals.without_room.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Everybody answers a linearizable read, and changes go on.
    fn peace(&mut self, after: &str) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        for member in 0..self.field.n() {
            while !self.serves(member, Instant::now() + Duration::from_secs(1)) {
                self.field.look_after()?;
                if Instant::now() > until {
                    let words = self.field.cluster.last_words();
                    let name = &self.field.cluster.members[member].name;
                    let evidence = format!("{name} does not serve after {after}\n{words}");
                    self.fail("everybody_serves_again", evidence);
                    return Ok(());
                }
            }
        }
        let before = self.signals.n_acknowledged();
        while self.signals.n_acknowledged() < before + 20 {
            if Instant::now() > until {
                let words = self.field.cluster.last_words();
                self.fail("changes_go_on", format!("not after {after}\n{words}"));
                return Ok(());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    fn serves(&self, member: usize, until: Instant) -> bool {
        let url = self.field.cluster.members[member].client_url();
        self.runtime.block_on(async {
            while Instant::now() < until {
                let read = async {
                    let mut client = connect(&url).await?;
                    client.get("no-such-key", None).await.ok()
                };
                if let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(1), read).await {
                    return true;
                }
                tokio::time::sleep(LOOK).await;
            }
            false
        })
    }

    /// Who says that it leads; nobody while an election goes on.
    fn leader(&self) -> Option<usize> {
        let urls = self.field.cluster.endpoints();
        self.runtime.block_on(async {
            for (member, url) in urls.iter().enumerate() {
                let ask = async {
                    let status = connect(url).await?.status().await.ok()?;
                    let own = status.header()?.member_id();
                    (own == status.leader()).then_some((member, status.raft_term()))
                };
                if let Ok(Some((leader, _))) =
                    tokio::time::timeout(Duration::from_millis(300), ask).await
                {
                    return Some(leader);
                }
            }
            None
        })
    }
}

/// A fault of no length begins before it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Begin,
    End,
}
