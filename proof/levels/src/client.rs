//! A process whose operations are recorded: what it asked of whom through which door, and what it was told.

use crate::etcd::Etcd;
use crate::{Refused, Seen, World};
use checker::history::Time;
use checker::levels::{Access, Deed, Promise};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Through which API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// Quorate's own.
    Native,
    /// etcd's.
    Etcd,
}

impl Door {
    /// Both.
    pub const ALL: [Door; 2] = [Door::Native, Door::Etcd];

    /// The name of a register: each API has keys of its own.
    fn register(self, key: &str) -> Vec<u8> {
        format!("{self:?}/{key}").into()
    }
}

/// What all clients of a test did.
#[derive(Clone)]
pub struct History {
    began: Instant,
    accesses: Arc<Mutex<Vec<Access>>>,
}

impl Default for History {
    fn default() -> History {
        History {
            began: Instant::now(),
            accesses: Arc::default(),
        }
    }
}

impl History {
    /// Another one with the same past.
    pub fn starting_with(past: &History) -> History {
        History {
            began: past.began,
            accesses: Arc::new(Mutex::new(past.accesses())),
        }
    }

    /// For the judges.
    pub fn accesses(&self) -> Vec<Access> {
        let accesses = self.accesses.lock();
        accesses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn record(&self, process: u64, call: Time, returned: Option<Time>, key: Vec<u8>, deed: Deed) {
        let mut accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner);
        let number = accesses.len() as u64 + 1;
        accesses.push(Access {
            number,
            process,
            call,
            returned,
            key,
            deed,
        });
    }
}

/// One process. The token is that of its last answer: tokens only rise when they are carried.
pub struct Client {
    /// Its name in the history.
    pub process: u64,
    /// What the last answer gave it to carry.
    pub token: String,
    history: History,
}

impl Client {
    /// A process that has seen nothing.
    pub fn new(history: &History, process: u64) -> Client {
        Client {
            process,
            token: String::new(),
            history: history.clone(),
        }
    }

    /// Writes at a member.
    ///
    /// # Errors
    /// The server's words; the outcome is recorded as unknown.
    pub async fn put(
        &mut self,
        world: &World,
        member: usize,
        door: Door,
        key: &str,
        value: &str,
    ) -> Result<Seen, Refused> {
        let call = self.history.now();
        let written = match door {
            Door::Native => world.native(member).put(key, value).await,
            Door::Etcd => {
                let mut etcd = Etcd::connect(&world.endpoint(member)).await;
                etcd.put(key, value).await
            }
        };
        let returned = written.is_ok().then(|| self.history.now());
        let deed = Deed::Write(value.into());
        let register = door.register(key);
        self.history
            .record(self.process, call, returned, register, deed);
        self.carry(&written);
        written
    }

    /// Reads at a member, at a level said as through etcd's door.
    ///
    /// # Errors
    /// The server's words; nothing is recorded.
    pub async fn get(
        &mut self,
        world: &World,
        member: usize,
        door: Door,
        key: &str,
        level: &str,
    ) -> Result<Seen, Refused> {
        let call = self.history.now();
        let read = match door {
            Door::Native => world.native(member).get(key, level).await,
            Door::Etcd => {
                let mut etcd = Etcd::connect(&world.endpoint(member)).await;
                etcd.get(key, level).await
            }
        };
        if let Ok(seen) = &read {
            let value = seen.value.clone().map(Into::into);
            let deed = Deed::Read(value, promise(level));
            let (returned, register) = (Some(self.history.now()), door.register(key));
            self.history
                .record(self.process, call, returned, register, deed);
        }
        self.carry(&read);
        read
    }

    /// Reads not before what its token has seen.
    ///
    /// # Errors
    /// The server's words; nothing is recorded.
    pub async fn get_in_session(
        &mut self,
        world: &World,
        member: usize,
        door: Door,
        key: &str,
    ) -> Result<Seen, Refused> {
        let level = format!("session:{}", self.token);
        self.get(world, member, door, key, &level).await
    }

    fn carry(&mut self, answer: &Result<Seen, Refused>) {
        if let Ok(seen) = answer {
            self.token.clone_from(&seen.token);
        }
    }
}

fn promise(level: &str) -> Promise {
    match level.split_once(':') {
        Some(("session", _)) => Promise::Session,
        Some((_, bound)) => {
            let ms = bound.strip_suffix("ms").and_then(|ms| ms.parse().ok());
            let ms: u64 = ms.expect("bounded:…ms");
            Promise::Bounded(ms * 1_000_000)
        }
        None => match level {
            "linearizable" => Promise::Linearizable,
            "lease" => Promise::Lease,
            "sequential" => Promise::Sequential,
            other => panic!("no level: {other}"),
        },
    }
}
