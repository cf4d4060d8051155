//! Golden scripts of requests as JSON against one member without a network. See `golden/`.
//!
//! | line | what |
//! | --- | --- |
//! | `kv/put {…}` | a call by its path, and its answer without its header, behind the revision of the header |
//! | `lock/await w {…}`, `lock/acquire w {…}` | a wait called `w`; how it ends is told when it does |
//! | `lock/observe o {…}`, `kv/watch w {…}` | a stream; what it tells is told when it does |
//! | `expire LEASE` | the lease runs out |
//! | `etcd KEY LEASE` | an etcd client puts a key |
//! | `timeout w` | a wait runs out of time; `acquire` leaves |

mod support;

use api::Method;
use base::Revision;
use native::{
    Encoding, Entered, Fault, ObserverId, Plan, QueueName, Reply, StreamId, Wait, WaitId, Woken,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use support::{FRESH, Member, PARTS};

struct Waiter {
    name: String,
    queue: QueueName,
    token: Revision,
    /// What `acquire` entered.
    entered: Option<Entered>,
}

struct Teller {
    member: Member,
    waits: BTreeMap<WaitId, Waiter>,
    observers: BTreeMap<ObserverId, String>,
    streams: BTreeMap<StreamId, String>,
    out: String,
}

impl Teller {
    fn new() -> Teller {
        Teller {
            member: Member::new(),
            waits: BTreeMap::new(),
            observers: BTreeMap::new(),
            streams: BTreeMap::new(),
            out: String::new(),
        }
    }

    fn tell(&mut self, step: &str) -> String {
        self.out.clear();
        for line in step.lines() {
            self.line(line);
            self.news();
            self.member.desk.check(&self.member.state());
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, who: &str, answer: Result<Reply, Fault>) {
        let text = match answer {
            Ok(reply) => told(&reply),
            Err(fault) => refused(&fault),
        };
        let who = if who.is_empty() {
            String::new()
        } else {
            format!("{who}: ")
        };
        let _ = writeln!(self.out, "{who}{text}");
    }

    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "expire" => {
                let lease = i64::from_str_radix(rest, 16).expect("a lease");
                self.member.expire(lease);
            }
            "etcd" => {
                let (key, lease) = rest.split_once(' ').expect("a key and a lease");
                let lease = i64::from_str_radix(lease, 16).expect("a lease");
                let revision = self.member.put_in(native::ETCD_ROOT, key.as_bytes(), lease);
                let _ = writeln!(self.out, "at {revision}");
            }
            "timeout" => self.timeout(rest),
            path => {
                let method = Method::of_json_path(&format!("/v1/{path}"));
                let method = method.unwrap_or_else(|| panic!("no call {path}"));
                let (name, json) = match rest.starts_with('{') || rest.is_empty() {
                    true => ("", rest),
                    false => rest.split_once(' ').expect("a name and JSON"),
                };
                if let Err(fault) = self.call(method, name, json) {
                    self.say(name, Err(fault));
                }
            }
        }
    }

    fn call(&mut self, method: Method, name: &str, json: &str) -> Result<(), Fault> {
        match self.member.plan(method, json)? {
            Plan::Propose {
                dialect,
                request,
                then,
                ..
            } => {
                let answer = self.member.propose(dialect, &request, then);
                self.say(name, answer);
            }
            Plan::Read { query, .. } => {
                let answer = self.member.read(&query);
                self.say(name, answer);
            }
            Plan::Await { queue, token, .. } => self.wait(name, queue, token, None),
            Plan::Acquire {
                dialect,
                request,
                queue,
                ..
            } => {
                let outcome = self.member.apply(dialect, &request);
                let entered = native::entered(&outcome)?;
                self.wait(name, queue, entered.token, Some(entered));
            }
            Plan::Watch(plan) => {
                let (id, reply) = self.member.watches.open(&plan, &self.member.state())?;
                self.streams.insert(id, name.to_owned());
                self.say(name, Ok(reply));
            }
            Plan::Observe(queue) => {
                let id = self.member.desk.observe(&queue).expect("there is room");
                self.observers.insert(id, name.to_owned());
            }
            plan => {
                let _ = writeln!(self.out, "{plan:?}");
            }
        }
        Ok(())
    }

    fn wait(&mut self, name: &str, queue: QueueName, token: Revision, entered: Option<Entered>) {
        let waiter = Waiter {
            name: name.to_owned(),
            queue,
            token,
            entered,
        };
        let state = self.member.state();
        match self.member.desk.wait(&waiter.queue, token, &state) {
            Ok(Wait::Over(woken)) => self.answer(&waiter, Some(woken)),
            Ok(Wait::Waits(id)) => {
                let _ = writeln!(self.out, "{name}: waits with token {token}");
                self.waits.insert(id, waiter);
            }
            Err(full) => {
                let _ = writeln!(self.out, "{name}: {full}");
            }
        }
    }

    fn answer(&mut self, waiter: &Waiter, woken: Option<Woken>) {
        let state = self.member.state();
        let Waiter { queue, token, .. } = waiter;
        let answer = match (waiter.entered.is_some(), woken) {
            (true, Some(woken)) => native::answer_acquired(&state, queue, *token, woken, &PARTS),
            (true, None) => Err(api::Code::WaitOver.into()),
            (false, woken) => native::answer_await(&state, queue, *token, woken, &PARTS, &FRESH),
        };
        self.say(&waiter.name, answer);
    }

    fn timeout(&mut self, name: &str) {
        let found = self.waits.iter().find(|(_, waiter)| waiter.name == name);
        let id = *found.expect("somebody waits").0;
        let waiter = self.waits.remove(&id).expect("somebody waits");
        self.member.desk.cancel(id);
        if let Some(entered) = &waiter.entered {
            let leave = entered.leave_request(&waiter.queue);
            self.member.apply(native::LINES, &leave);
        }
        self.answer(&waiter, None);
    }

    fn news(&mut self) {
        for (id, woken) in std::mem::take(&mut self.member.woken) {
            let waiter = self.waits.remove(&id).expect("somebody waits");
            self.answer(&waiter, Some(woken));
        }
        let state = self.member.state();
        for id in self.member.desk.ready() {
            let name = self.observers[&id].clone();
            if let Some(reply) = self.member.desk.look(id, &state, &PARTS) {
                self.say(&name, Ok(reply));
            }
        }
        for id in self.member.watches.ready() {
            let name = self.streams[&id].clone();
            let streamed = self.member.watches.poll(id, &state, 1 << 20);
            for reply in streamed.replies {
                self.say(&name, Ok(reply));
            }
            if let Some(fault) = streamed.end {
                self.say(&name, Err(fault));
            }
        }
    }
}

fn told(reply: &Reply) -> String {
    let json = reply.encode(Encoding::Json);
    let mut json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let fields = json.as_object_mut().expect("a message");
    let header = fields.remove("header").expect("a header");
    let revision = header["revision"].as_str().expect("a revision").to_owned();
    format!("@{revision} {json}")
}

fn refused(fault: &Fault) -> String {
    let error = &fault.0;
    let mut text = format!("{} {}", error.code, error.message);
    let numbers = [
        ("token", error.token),
        ("newest_token", error.newest_token),
        ("revision", error.revision),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            let _ = write!(text, " {name}={number}");
        }
    }
    text
}

#[test]
fn scripts_tell_what_clients_hear() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    testkit::check_all(directory, || {
        let mut teller = Teller::new();
        move |step| teller.tell(step)
    });
}
