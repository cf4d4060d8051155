//! Writers that never stop, remember every acknowledgement, and check them.
//!
//! Each writer puts new keys, one after the other, at the members in turn. One that is not answered within
//! [`PATIENCE`] is left to itself (its answer still counts when it comes) and the next key goes to the next member: so
//! the time without writes is seen to some 10 ms, and a request that hangs at a dead member holds nobody up.
//!
//! What was acknowledged must be there. What was not may be there or not. What was never asked must not.

use crate::Failure;
use crate::keys::{end_of, key, mix, value};
use crate::load::connect;
use etcd_client::{Client, GetOptions};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long a writer waits before it turns to the next member.
const PATIENCE: Duration = Duration::from_millis(30);
/// How many requests of one writer may be without an answer.
const OPEN_MAX: u64 = 200;
const VALUE_BYTES: usize = 256;

/// A put that was answered with success.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) writer: u64,
    pub(crate) number: u64,
    pub(crate) at: Duration,
}

struct Shared {
    began: Instant,
    stop: Cell<bool>,
    acks: RefCell<Vec<Ack>>,
    /// How many keys each writer has asked for.
    asked: RefCell<Vec<u64>>,
    open: RefCell<Vec<u64>>,
    refused: Cell<u64>,
}

/// Writers at work. Must be made within a `LocalSet`.
pub(crate) struct Writers {
    shared: Rc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) async fn start(endpoints: &[String], n: u64) -> Result<Writers, Failure> {
        let writers = usize::try_from(n)?;
        let shared = Rc::new(Shared {
            began: Instant::now(),
            stop: Cell::new(false),
            acks: RefCell::new(Vec::new()),
            asked: RefCell::new(vec![0; writers]),
            open: RefCell::new(vec![0; writers]),
            refused: Cell::new(0),
        });
        let mut tasks = Vec::new();
        for writer in 0..n {
            let mut clients = Vec::new();
            for endpoint in endpoints {
                clients.push(connect(endpoint).await?);
            }
            tasks.push(tokio::task::spawn_local(write(
                writer,
                clients,
                shared.clone(),
            )));
        }
        Ok(Writers { shared, tasks })
    }

    /// Now, as acknowledgements tell it.
    pub(crate) fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    pub(crate) fn n_acks(&self) -> usize {
        self.shared.acks.borrow().len()
    }

    /// Puts that were answered with an error so far.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.get()
    }

    /// Waits until `n` puts more were acknowledged that were answered after `after`.
    pub(crate) async fn until_acks_after(
        &self,
        after: Duration,
        n: usize,
        patience: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        loop {
            let late = self
                .shared
                .acks
                .borrow()
                .iter()
                .rev()
                .take_while(|ack| ack.at > after)
                .count();
            if late >= n {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("no writes for {patience:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The longest time between two neighbouring acknowledgements since `since`, and to the last before it.
    pub(crate) fn longest_gap_since(&self, since: Duration) -> Duration {
        let acks = self.shared.acks.borrow();
        // In the order of their answers, since that is when they were pushed.
        let first = acks.partition_point(|ack| ack.at < since).saturating_sub(1);
        let gaps = acks[first..].windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.max().unwrap_or_default()
    }

    /// Ends the writers and waits for all their answers.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop.set(true);
        for task in self.tasks.drain(..) {
            task.await.ok();
        }
        let until = Instant::now() + Duration::from_secs(15);
        while self.shared.open.borrow().iter().any(|open| *open > 0) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads all keys at one member and compares them with what was asked and acknowledged.
    pub(crate) async fn check(&self, endpoint: &str) -> Result<Found, Failure> {
        let mut client = connect(endpoint).await?;
        let mut acked: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        // Taken first: acknowledgements that come while we read are not judged.
        for ack in self.shared.acks.borrow().iter() {
            acked.entry(ack.writer).or_default().push(ack.number);
        }
        let mut found = Found::default();
        for (writer, mut numbers) in acked {
            numbers.sort_unstable();
            let there = read(&mut client, writer, &mut found.wrong_value).await?;
            let asked = self.shared.asked.borrow()[usize::try_from(writer)?];
            found.never_asked += there.iter().filter(|number| **number >= asked).count();
            found.present += there.len();
            found.acknowledged += numbers.len();
            let lost = numbers
                .iter()
                .filter(|number| there.binary_search(number).is_err());
            found
                .lost
                .extend(lost.map(|number| format!("writer {writer}, number {number}")));
        }
        Ok(found)
    }
}

/// What a member holds, against what it should.
#[derive(Default, Debug)]
pub(crate) struct Found {
    pub(crate) acknowledged: usize,
    pub(crate) present: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) wrong_value: usize,
    pub(crate) never_asked: usize,
}

impl Found {
    pub(crate) fn is_right(&self) -> bool {
        self.lost.is_empty() && self.wrong_value == 0 && self.never_asked == 0
    }
}

fn space(writer: u64) -> String {
    format!("wr{writer:03}")
}

fn value_of(writer: u64, number: u64) -> Vec<u8> {
    value(mix(writer << 40 | number), VALUE_BYTES)
}

async fn write(writer: u64, clients: Vec<Client>, shared: Rc<Shared>) {
    let own = usize::try_from(writer).unwrap_or(0);
    let mut turn = own;
    let mut number = 0;
    while !shared.stop.get() {
        if shared.open.borrow()[own] >= OPEN_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        shared.open.borrow_mut()[own] += 1;
        shared.asked.borrow_mut()[own] = number + 1;
        let mut client = clients[turn % clients.len()].clone();
        let (at_work, this) = (shared.clone(), number);
        let put = tokio::task::spawn_local(async move {
            let put = client.put(key(&space(writer), this), value_of(writer, this), None);
            let outcome = tokio::time::timeout(Duration::from_secs(12), put).await;
            at_work.open.borrow_mut()[own] -= 1;
            let done = matches!(outcome, Ok(Ok(_)));
            if done {
                let at = at_work.began.elapsed();
                at_work.acks.borrow_mut().push(Ack {
                    writer,
                    number: this,
                    at,
                });
            } else {
                at_work.refused.set(at_work.refused.get() + 1);
            }
            done
        });
        match tokio::time::timeout(PATIENCE, put).await {
            Ok(Ok(true)) => {}
            // Refused: not at once again, and elsewhere.
            Ok(_) => {
                turn += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(_) => turn += 1,
        }
        number += 1;
    }
}

/// The numbers of a writer's keys, in order, page by page at one revision.
async fn read(client: &mut Client, writer: u64, wrong: &mut usize) -> Result<Vec<u64>, Failure> {
    let (space, mut numbers, mut revision) = (space(writer), Vec::new(), 0);
    let mut from = key(&space, 0);
    loop {
        let options = GetOptions::new()
            .with_range(end_of(&space))
            .with_limit(5000)
            .with_revision(revision);
        let page = client.get(from.clone(), Some(options)).await?;
        if revision == 0 {
            revision = page
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
        }
        for kv in page.kvs() {
            let text = std::str::from_utf8(&kv.key()[6..])?;
            let number: u64 = text.parse()?;
            *wrong += usize::from(kv.value() != value_of(writer, number));
            numbers.push(number);
        }
        match numbers.last() {
            Some(last) if page.more() => from = key(&space, last + 1),
            _ => return Ok(numbers),
        }
    }
}
