//! The stage: carries commands out in a world, and lets time pass between them.

use super::bug::{Bug, ShellBug};
use super::command::{Command, Question, Whom};
use super::verdict::Finding;
use crate::asking::{brief, plain};
use crate::disk::PowerCut;
use crate::member::{Condition, Process, Settings};
use crate::plan::{Consensus, Corruption, Mix, Plan, Rates, Walls};
use crate::run::{catch_panics_quietly, last_panic};
use crate::tape::Event as TapeEvent;
use crate::world::{Event, World};
use base::{LeaseId, MemberId, Mutants};
use checker::{
    Compare, Level, Operation, Outcome, Relation, Request, Span, Target, Time, Violation,
};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Clients that may ask.
pub const CLIENTS_MAX: u64 = 9;

/// When a client gives up waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a leader is waited for.
const LEADER_MAX: Duration = Duration::from_secs(20);

/// True time that may pass in one world.
const LIFE_MAX: Duration = Duration::from_secs(1800);

/// Operations of one world: as many as a person reads.
const OPERATIONS_MAX: usize = 2000;

/// What passes between an answer and the next command: so that one is before the other, and does not overlap it.
const PAUSE: Duration = Duration::from_micros(50);

/// What passes until a cluster that has just elected somebody has nothing more to say.
const QUIET: Duration = Duration::from_millis(250);

/// Names that `let` may give.
const NAMES_MAX: usize = 100;

const MS: u64 = 1_000_000;

/// A command that cannot be carried out here and now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody has this name.
    #[error("there is no member {name}; there are {known}")]
    NoSuchMember {
        /// The name.
        name: String,
        /// Who there is.
        known: String,
    },
    /// Nobody leads, or nobody follows, at this moment.
    #[error("there is no {role} now; `wait leader` waits for one")]
    NobodyIs {
        /// What nobody is.
        role: &'static str,
    },
    /// One member is wanted.
    #[error("{name} is {n} members, and here one is wanted")]
    NotOne {
        /// What was said.
        name: String,
        /// How many that is.
        n: usize,
    },
    /// The judges tell values apart by their names.
    #[error(
        "{value} was put before, by #{by}: the judge needs each value to be put once, so put another"
    )]
    ValueNotNew {
        /// The value.
        value: String,
        /// By which operation.
        by: u64,
    },
    /// It is not so.
    #[error("{0}")]
    NotSo(String),
    /// Nobody was elected.
    #[error("nobody leads after {} s; `status` says who stands where", .0.as_secs())]
    NoLeader(Duration),
    /// Enough of this world.
    #[error("this world has {0}; begin another")]
    Enough(String),
}

/// A world that is driven by hand.
pub struct Stage {
    world: World,
    bug: Option<Bug>,
    names: BTreeMap<String, usize>,
    /// Whom each client asks, by the client's place.
    homes: BTreeMap<usize, usize>,
}

/// Three members in good weather, and nobody who asks by himself.
fn plan(seed: u64) -> Plan {
    let ms = Duration::from_millis;
    Plan {
        seed,
        n_members: 3,
        consensus: Consensus::Shipped,
        faults: Vec::new(),
        corruption: Corruption::Bits,
        trouble: LIFE_MAX,
        calm: LIFE_MAX,
        heartbeat: ms(100),
        election: ms(1000),
        snapshot_count: 10_000,
        log_tail_entries: 5_000,
        watch_queue_bytes: 4 << 20,
        segment_bytes: 64 * 1024,
        n_clients: CLIENTS_MAX,
        n_watchers: 0,
        n_keys: 1,
        mix: Mix {
            put: 1,
            get: 1,
            get_serializable: 0,
            range: 0,
            delete: 0,
            swap: 0,
            txn: 0,
            lease: 0,
        },
        workload: None,
        think: ms(20),
        patience: PATIENCE,
        compaction: None,
        sync: Duration::from_micros(200),
        aimed: false,
        once: false,
        curious: false,
        clock_error_permille: 0,
        drift_ppm: None,
        rates: Rates::True,
        walls: Walls::Right,
        long_pauses: false,
        natives: None,
        rules: None,
        upgrade: false,
    }
}

impl Stage {
    /// The stage of `seed`, perhaps with a planted bug; somebody leads already.
    pub fn new(seed: u64, bug: Option<Bug>) -> Stage {
        catch_panics_quietly();
        let mut plan = plan(seed);
        plan.consensus = bug.and_then(Bug::engine).unwrap_or(plan.consensus);
        let settings = Settings {
            plan,
            mutants: bug.map_or(Mutants::none(), Bug::of_core),
        };
        let mut world = World::new(settings, false);
        world.asking.are_quiet = true;
        world.misfortune.is_over = true;
        world.tape = Some(Box::default());
        world.shell_bug = bug.and_then(Bug::of_shell);
        if world.shell_bug == Some(ShellBug::LyingDisk) {
            world
                .members
                .iter_mut()
                .for_each(|member| member.disk.lie());
        }
        let mut stage = Stage {
            world,
            bug,
            names: BTreeMap::new(),
            homes: BTreeMap::new(),
        };
        // Three members in good weather elect somebody; if a planted bug keeps them from it, `status` shows it.
        stage.until(LEADER_MAX, |stage| {
            stage.leader().is_some() && stage.all_follow()
        });
        stage.pass(QUIET);
        if let Some(tape) = &mut stage.world.tape {
            tape.clear();
        }
        if let Some(leader) = stage.leader() {
            let what = format!("{} leads", stage.called(leader));
            stage.world.tell(what);
        }
        stage
    }

    /// Carries `command` out, and returns what to print. What is drawn and explained is the caller's business.
    ///
    /// # Errors
    /// It cannot be carried out. Nothing has happened then.
    pub fn run(&mut self, command: &Command) -> Result<Vec<String>, Refused> {
        if self.world.now().0 > LIFE_MAX.as_nanos() as u64 {
            let what = format!("lived for {} s", LIFE_MAX.as_secs());
            return Err(Refused::Enough(what));
        }
        match command {
            Command::Ask {
                client,
                at,
                question,
                is_background,
            } => self.ask(*client, at.as_deref(), question, *is_background),
            Command::Cut(these, those) => self.cut(these, those.as_ref(), true),
            Command::CutOneWay(these, those) => self.cut(these, Some(those), false),
            Command::Heal(whom) => self.heal(whom.as_ref()),
            Command::Pause(whom) => self.pause(whom),
            Command::Resume(whom) => self.resume(whom),
            Command::Skew(whom, by_ms) => self.skew(whom, *by_ms),
            Command::Drift(whom, percent) => self.drift(whom, *percent),
            Command::Kill(whom) => self.stop(whom, "kill"),
            Command::Crash(whom) => self.stop(whom, "crash"),
            Command::Restart(whom) => self.restart(whom),
            Command::Wait(time) => {
                self.pass(*time);
                Ok(Vec::new())
            }
            Command::WaitLeader => self.wait_leader(),
            Command::WaitAnswers => {
                self.settle();
                Ok(Vec::new())
            }
            Command::Let(name, member) => self.name(name, member),
            Command::Status => Ok(self.status()),
            Command::History => Ok(self.history().iter().map(line).collect()),
            Command::Check => Ok(self.finding().lines()),
            Command::Diagram | Command::Help | Command::Quit => Ok(Vec::new()),
        }
    }

    /// Whatever is under way comes to its end, and the whole is judged.
    pub fn finish(&mut self) -> Finding {
        self.settle();
        self.finding()
    }

    /// The judgement on what happened until now.
    pub fn finding(&mut self) -> Finding {
        let judged = catch_unwind(AssertUnwindSafe(|| self.world.judge()));
        let mut violations = self.world.violations.clone();
        violations.extend(
            judged.unwrap_or_else(|_| vec![Violation::new("no_invariant_breaks", last_panic())]),
        );
        Finding::new(
            violations,
            &self.world.asking.history,
            &self.events(),
            self.bug,
        )
    }

    /// All operations until now.
    pub fn history(&self) -> &[Operation] {
        &self.world.asking.history
    }

    /// What happened until now.
    pub fn events(&self) -> Vec<TapeEvent> {
        let tape = self.world.tape.iter();
        tape.flat_map(|tape| tape.events()).cloned().collect()
    }

    /// The true time.
    pub fn now(&self) -> Time {
        self.world.now()
    }

    // ---- time ---------------------------------------------------------------------------------

    /// One event. What a member's broken invariant stops is that member.
    fn step(&mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.world.step()));
        if outcome.is_err() {
            let words = last_panic();
            if let Some(member) = self.world.acting {
                self.world.kill(member, "stopped");
                self.world.members[member].condition = Condition::Ruined(words.clone());
            }
            self.world
                .violate(Violation::new("no_invariant_breaks", words));
        }
    }

    fn until(&mut self, limit: Duration, done: impl Fn(&Stage) -> bool) -> bool {
        let end = Time(self.now().0 + limit.as_nanos() as u64);
        // When nobody runs nothing happens, and time passes all the same.
        self.world.schedule.after(limit, Event::Moment);
        while self.now() < end {
            if done(self) {
                return true;
            }
            self.step();
        }
        done(self)
    }

    fn pass(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    /// Until nobody waits for an answer.
    fn settle(&mut self) {
        self.until(PATIENCE * 2, |stage| {
            (0..CLIENTS_MAX as usize).all(|client| stage.world.asking.waits_for(client).is_none())
        });
    }

    // ---- members ------------------------------------------------------------------------------

    /// Whoever leads in the newest term.
    fn leader(&self) -> Option<usize> {
        let leads = |at: &usize| {
            let process = self.world.members[*at].process.as_ref()?;
            process
                .node
                .is_leader()
                .then(|| (process.node.status().term, *at))
        };
        let places: Vec<usize> = (0..self.world.members.len()).collect();
        places.iter().filter_map(leads).max().map(|(_, at)| at)
    }

    /// Whether everybody who runs has applied all that the leader has decided.
    fn all_follow(&self) -> bool {
        let applied = |at: &usize| {
            let process = self.world.members[*at].process.as_ref();
            process.map(|process| (process.state.applied(), process.node.leader()))
        };
        let first = applied(&0);
        let mut places = 0..self.world.members.len();
        first.is_some() && places.all(|at| applied(&at) == first)
    }

    fn id(&self, place: usize) -> MemberId {
        self.world.members[place].id
    }

    fn called(&self, place: usize) -> String {
        format!("n{}", self.id(place))
    }

    fn places(&self, whom: &Whom) -> Result<Vec<usize>, Refused> {
        let mut places = BTreeSet::new();
        for name in &whom.0 {
            places.extend(self.named(name)?);
        }
        Ok(places.into_iter().collect())
    }

    fn one(&self, name: &str) -> Result<usize, Refused> {
        match self.named(name)?[..] {
            [place] => Ok(place),
            ref places => Err(Refused::NotOne {
                name: name.to_owned(),
                n: places.len(),
            }),
        }
    }

    fn named(&self, name: &str) -> Result<Vec<usize>, Refused> {
        let all = 0..self.world.members.len();
        match name {
            "all" => return Ok(all.collect()),
            "leader" => {
                let leader = self.leader();
                return match leader {
                    Some(leader) => Ok(vec![leader]),
                    None => Err(Refused::NobodyIs { role: "leader" }),
                };
            }
            "follower" => {
                let runs = |at: &usize| self.world.members[*at].process.is_some();
                let follower = all
                    .clone()
                    .filter(runs)
                    .find(|at| self.leader().is_some_and(|leader| leader != *at));
                return match follower {
                    Some(follower) => Ok(vec![follower]),
                    None => Err(Refused::NobodyIs { role: "follower" }),
                };
            }
            _ => {}
        }
        if let Some(place) = self.names.get(name) {
            return Ok(vec![*place]);
        }
        let place = all.clone().find(|at| self.called(*at) == name);
        let known = || {
            let mut known: Vec<String> = all.clone().map(|at| self.called(at)).collect();
            known.extend(["leader", "follower", "all"].map(str::to_owned));
            known.extend(self.names.keys().cloned());
            known.join(", ")
        };
        place
            .map(|place| vec![place])
            .ok_or_else(|| Refused::NoSuchMember {
                name: name.to_owned(),
                known: known(),
            })
    }

    fn name(&mut self, name: &str, member: &str) -> Result<Vec<String>, Refused> {
        let place = self.one(member)?;
        let is_taken = ["all", "leader", "follower", "answers"].contains(&name)
            || (0..self.world.members.len()).any(|at| self.called(at) == name);
        if is_taken {
            let what = format!("{name} has a meaning already: take another name");
            return Err(Refused::NotSo(what));
        }
        if self.names.len() == NAMES_MAX && !self.names.contains_key(name) {
            return Err(Refused::Enough(format!("{NAMES_MAX} names")));
        }
        self.names.insert(name.to_owned(), place);
        Ok(vec![format!("{name} is {}", self.called(place))])
    }

    fn list(&self, places: &[usize]) -> String {
        let names: Vec<String> = places.iter().map(|at| self.called(*at)).collect();
        names.join(" and ")
    }

    // ---- trouble ------------------------------------------------------------------------------

    fn cut(
        &mut self,
        these: &Whom,
        those: Option<&Whom>,
        both_ways: bool,
    ) -> Result<Vec<String>, Refused> {
        let these = self.places(these)?;
        let those = match those {
            Some(those) => self.places(those)?,
            None => {
                let all = 0..self.world.members.len();
                all.filter(|at| !these.contains(at)).collect()
            }
        };
        if let Some(both) = these.iter().find(|at| those.contains(at)) {
            let what = format!("{} cannot be on both sides", self.called(*both));
            return Err(Refused::NotSo(what));
        }
        if those.is_empty() {
            return Err(Refused::NotSo("nobody is on the other side".to_owned()));
        }
        for from in &these {
            for to in &those {
                let (from, to) = (self.id(*from), self.id(*to));
                self.world.network.cut(from, to);
                if both_ways {
                    self.world.network.cut(to, from);
                }
            }
        }
        let sign = if both_ways { "/" } else { ">" };
        let what = format!("cut: {} {sign} {}", self.list(&these), self.list(&those));
        self.world.tell(what.clone());
        Ok(vec![what])
    }

    fn heal(&mut self, whom: Option<&Whom>) -> Result<Vec<String>, Refused> {
        let what = match whom {
            None => {
                self.world.network.heal();
                "all links are whole".to_owned()
            }
            Some(whom) => {
                let places = self.places(whom)?;
                for one in &places {
                    for other in 0..self.world.members.len() {
                        let (one, other) = (self.id(*one), self.id(other));
                        self.world.network.mend(one, other);
                        self.world.network.mend(other, one);
                    }
                }
                format!("all links of {} are whole", self.list(&places))
            }
        };
        self.world.tell(what.clone());
        Ok(vec![what])
    }

    /// Those of `whom` that run, and of whom `excuse` says nothing. `all` passes over the others; who is named is told why
    /// it is none of them.
    fn runners(
        &self,
        whom: &Whom,
        excuse: impl Fn(usize) -> Option<String>,
    ) -> Result<Vec<usize>, Refused> {
        let why_not = |at: usize| match self.world.members[at].process {
            None => Some(format!("{0} does not run: `restart {0}`", self.called(at))),
            Some(_) => excuse(at),
        };
        let mut places = BTreeSet::new();
        let mut passed_over = Vec::new();
        for name in &whom.0 {
            for at in self.named(name)? {
                match why_not(at) {
                    None => {
                        places.insert(at);
                    }
                    Some(what) if name == "all" => passed_over.push(what),
                    Some(what) => return Err(Refused::NotSo(what)),
                }
            }
        }
        if places.is_empty() {
            return Err(Refused::NotSo(passed_over.join(", ")));
        }
        Ok(places.into_iter().collect())
    }

    fn pause(&mut self, whom: &Whom) -> Result<Vec<String>, Refused> {
        let places = self.runners(whom, |_| None)?;
        for at in &places {
            if !std::mem::replace(&mut self.world.members[*at].is_paused, true) {
                self.world.note(*at, "pause", String::new);
            }
        }
        Ok(vec![format!("{}: paused", self.list(&places))])
    }

    fn resume(&mut self, whom: &Whom) -> Result<Vec<String>, Refused> {
        let is_paused = |at: usize| self.world.members[at].is_paused;
        let places = self.runners(whom, |at| {
            (!is_paused(at)).then(|| format!("{} is not paused", self.called(at)))
        })?;
        for member in &places {
            let event = Event::Resume { member: *member };
            self.world.schedule.after_us(1, event);
        }
        self.pass(Duration::from_micros(10));
        Ok(vec![format!("{}: goes on", self.list(&places))])
    }

    fn skew(&mut self, whom: &Whom, by_ms: i64) -> Result<Vec<String>, Refused> {
        let places = self.places(whom)?;
        for at in &places {
            self.world.members[*at].clock.jump_wall(by_ms);
            self.world
                .note(*at, "clock", || format!("wall jumps by {by_ms} ms"));
        }
        let names = self.list(&places);
        Ok(vec![format!("{names}: the wall clock jumps by {by_ms} ms")])
    }

    fn drift(&mut self, whom: &Whom, percent: i64) -> Result<Vec<String>, Refused> {
        let places = self.places(whom)?;
        let now = self.now();
        // What is said of leases at the end has to allow for the worst clock that there was.
        let worst = &mut self.world.settings.plan.clock_error_permille;
        *worst = (*worst).max(percent.unsigned_abs() * 10);
        for at in &places {
            let rate = 1000_u64.saturating_add_signed(percent * 10);
            self.world.members[*at].clock.set_rate(now, rate);
            self.world
                .note(*at, "clock", || format!("runs {percent}% too fast"));
        }
        let names = self.list(&places);
        Ok(vec![format!("{names}: clocks run {percent}% too fast")])
    }

    fn stop(&mut self, whom: &Whom, how: &'static str) -> Result<Vec<String>, Refused> {
        let places = self.places(whom)?;
        for at in &places {
            self.world.kill(*at, how);
            if how == "crash" {
                self.world.members[*at].disk.cut_power(PowerCut::Nothing);
            }
        }
        let what = match how {
            "crash" => "no power; what was not synced is lost",
            _ => "killed; the disk keeps everything",
        };
        Ok(vec![format!("{}: {what}", self.list(&places))])
    }

    fn restart(&mut self, whom: &Whom) -> Result<Vec<String>, Refused> {
        let places = self.places(whom)?;
        for member in &places {
            self.world.kill(*member, "kill");
            let after = 1000 + 100 * *member as u64;
            self.world
                .schedule
                .after_us(after, Event::Start { member: *member });
        }
        self.pass(Duration::from_millis(2));
        let mut lines = Vec::new();
        for at in &places {
            let member = &self.world.members[*at];
            lines.push(match (&member.process, &member.condition) {
                (Some(_), _) => format!("{}: runs", self.called(*at)),
                (None, Condition::Ruined(why)) => {
                    format!("{} refuses to start: {why}", self.called(*at))
                }
                (None, _) => format!("{} does not start", self.called(*at)),
            });
        }
        Ok(lines)
    }

    fn wait_leader(&mut self) -> Result<Vec<String>, Refused> {
        let is_led = |stage: &Stage| {
            let Some(leader) = stage.leader() else {
                return false;
            };
            let members = &stage.world.members;
            let Some(process) = members[leader].process.as_ref() else {
                return false;
            };
            let id = members[leader].id;
            // A majority that it hears, and that hears it, knows it in its term.
            let term = process.node.status().term;
            let network = &stage.world.network;
            let agrees = |at: &usize| {
                let (other, process) = (members[*at].id, members[*at].process.as_ref());
                let hears = network.is_open(id, other) && network.is_open(other, id);
                let knows = |it: &Process| it.node.leader() == id && it.node.status().term == term;
                hears && !members[*at].is_paused && process.is_some_and(knows)
            };
            let n_agree = (0..members.len()).filter(agrees).count();
            !members[leader].is_paused && n_agree > members.len() / 2
        };
        if !self.until(LEADER_MAX, is_led) {
            return Err(Refused::NoLeader(LEADER_MAX));
        }
        // It decides an entry of its own before it answers anybody.
        self.pass(Duration::from_millis(20));
        Ok(self
            .leader()
            .map_or(Vec::new(), |at| vec![format!("{} leads", self.called(at))]))
    }

    // ---- clients ------------------------------------------------------------------------------

    fn ask(
        &mut self,
        number: u64,
        at: Option<&str>,
        question: &Question,
        is_background: bool,
    ) -> Result<Vec<String>, Refused> {
        let client = number as usize - 1;
        let member = match at {
            Some(name) => self.one(name)?,
            None => match self.homes.get(&client) {
                Some(home) => *home,
                None => client % self.world.members.len(),
            },
        };
        if self.history().len() == OPERATIONS_MAX {
            return Err(Refused::Enough(format!("{OPERATIONS_MAX} operations")));
        }
        let request = request(question);
        self.is_new(question)?;
        self.homes.insert(client, member);
        let mut lines = Vec::new();
        if let Some(open) = self.world.asking.waits_for(client) {
            self.until(PATIENCE * 2, |stage| !stage.world.asking.is_open(open));
            lines.push(line(&self.history()[open as usize - 1]));
        }
        self.pass(PAUSE);
        let operation = self.world.ask(client, member, request);
        if is_background {
            lines.push(format!(
                "#{operation} c{number} asks {}",
                self.called(member)
            ));
            return Ok(lines);
        }
        self.until(PATIENCE * 2, |stage| !stage.world.asking.is_open(operation));
        lines.push(format!(
            "{}   by {}",
            line(&self.history()[operation as usize - 1]),
            self.called(member)
        ));
        Ok(lines)
    }

    /// The judges tell unknown writes apart by their values.
    fn is_new(&self, question: &Question) -> Result<(), Refused> {
        let (Question::Put { value, .. } | Question::Swap { new: value, .. }) = question else {
            return Ok(());
        };
        let puts = |request: &Request| matches!(request, Request::Put { value: it, .. } if *it == value.as_bytes());
        let before = self.history().iter().find(|op| match &op.request {
            Request::Txn { then, .. } => then.iter().any(puts),
            request => puts(request),
        });
        match before {
            None => Ok(()),
            Some(op) => Err(Refused::ValueNotNew {
                value: value.clone(),
                by: op.number,
            }),
        }
    }

    fn status(&self) -> Vec<String> {
        let mut lines = vec![format!("{} s", self.now())];
        for (at, member) in self.world.members.iter().enumerate() {
            let name = self.called(at);
            let Some(process) = &member.process else {
                lines.push(match &member.condition {
                    Condition::Ruined(why) => format!("  {name}: stopped: {why}"),
                    _ => format!("  {name}: down"),
                });
                continue;
            };
            let status = process.node.status();
            let role = match (status.is_leader, status.leader) {
                (true, _) => "leads".to_owned(),
                (false, MemberId(0)) => "knows no leader".to_owned(),
                (false, leader) => format!("follows n{leader}"),
            };
            let cut: Vec<String> = self
                .world
                .members
                .iter()
                .filter(|other| !self.world.network.is_open(member.id, other.id))
                .map(|other| format!("n{}", other.id))
                .collect();
            let mut line = format!(
                "  {name}: {role}, term {}, log to {}, committed {}, applied {}, revision {}",
                status.term,
                status.last.index,
                status.commit,
                status.applied,
                process.state.revision()
            );
            if member.is_paused {
                line += ", paused";
            }
            if !cut.is_empty() {
                line += &format!(", is not heard by {}", cut.join(", "));
            }
            lines.push(line);
        }
        lines
    }
}

fn request(question: &Question) -> Request {
    let lease = |number: &u32| LeaseId(i64::from(*number));
    match question {
        Question::Put {
            key,
            value,
            lease: on,
        } => Request::Put {
            key: key.clone().into_bytes(),
            value: value.clone().into_bytes(),
            lease: on.as_ref().map_or(LeaseId::NONE, lease),
        },
        Question::Get { key, is_stale } => Request::Range {
            span: Span::single(key.clone()),
            at: None,
            level: match is_stale {
                true => Level::Serializable,
                false => Level::Linearizable,
            },
        },
        Question::Delete { key } => Request::Delete {
            span: Span::single(key.clone()),
        },
        Question::Swap { key, old, new } => Request::Txn {
            compares: vec![Compare {
                key: key.clone().into_bytes(),
                target: match old {
                    Some(old) => Target::Value(old.clone().into_bytes()),
                    None => Target::Version(0),
                },
                relation: Relation::Equal,
            }],
            then: vec![Request::Put {
                key: key.clone().into_bytes(),
                value: new.clone().into_bytes(),
                lease: LeaseId::NONE,
            }],
            otherwise: Vec::new(),
        },
        Question::Grant { lease: it, ttl_s } => Request::Grant {
            lease: lease(it),
            ttl: ttl_s * 1000 * MS,
        },
        Question::Renew { lease: it } => Request::Renew { lease: lease(it) },
        Question::Revoke { lease: it } => Request::Revoke { lease: lease(it) },
    }
}

/// An operation in one line.
pub(super) fn line(operation: &Operation) -> String {
    let head = format!(
        "#{} c{} {} -> {}",
        operation.number,
        operation.client,
        plain(&operation.request),
        brief(&operation.outcome)
    );
    match operation.outcome {
        Outcome::Unknown => head,
        _ => format!(
            "{head}   in {:.1} ms",
            (operation.returned.0 - operation.call.0) as f64 / MS as f64
        ),
    }
}
