//! Split votes: an election that nobody wins, because too many stand at the same time.
//!
//! Ongaro and Ousterhout, "In search of an understandable consensus algorithm" (2014), §9.3 and figure 16: five
//! servers, the leader crashes just after a heartbeat, the others wait for an election timeout drawn from a range
//! that begins at 150 ms, and vote once in a term for who asks first. Without any width elections go on without end; a
//! few milliseconds help much, and with the 150 ms of the paper one term is mostly enough.
//!
//! Two networks. In the first a request is there within a millisecond and the vote is written to disk before it is
//! given, 12 to 15 ms: about what the paper had, for its broadcasts took 15 ms. In the second messages take 10 to
//! 15 ms one way: two regions.
//!
//! A vote can split only when a second server's timeout runs out before the first one's request has come: the least two
//! of four timeouts must be closer than a request is under way, and the spread of the last heartbeat more. With c ms
//! for both, a range of w ms splits in at most 1 - (1 - c/w)⁴ of the elections: what helps is not the width, but
//! the width beside the time that a message takes.

use super::{columns, rate};
use base::Rng;
use std::collections::BTreeMap;

/// Who is left of five.
const LIVE: usize = 4;
/// Votes to win.
const MAJORITY: usize = 3;
/// The shortest timeout, in microseconds.
const TIMEOUT_US: u64 = 150_000;
/// What a message takes, in microseconds.
struct Network {
    name: &'static str,
    request: (u64, u64),
    vote: (u64, u64),
}

const NETWORKS: [Network; 2] = [
    Network {
        name: "1 ms, and a disk",
        request: (300, 1_000),
        vote: (12_000, 15_000),
    },
    Network {
        name: "10-15 ms",
        request: (10_000, 15_000),
        vote: (10_000, 15_000),
    },
];

/// An election that takes longer has failed, in microseconds.
const GIVE_UP_US: u64 = 10_000_000;
/// Elections for each width.
const TRIALS: u64 = 2_000;

/// One row.
pub struct Split {
    /// Which network.
    pub network: &'static str,
    /// The width of the range of timeouts, in milliseconds.
    pub width_ms: u64,
    /// Which part of the elections was not decided in its first term.
    pub split: f64,
    /// At most so many.
    pub bound: f64,
    /// Which part had no leader after ten seconds.
    pub never: f64,
    /// From the last heartbeat to the new leader, in milliseconds.
    pub median_ms: u64,
    /// The longest, in milliseconds; 10,000 for those without a leader.
    pub max_ms: u64,
}

/// For both networks, and widths from nothing to that of the paper.
pub fn measure() -> Vec<Split> {
    let widths = [0, 1, 5, 10, 25, 50, 100, 150];
    let each = |network| widths.map(|width_ms| one(network, width_ms));
    NETWORKS.iter().flat_map(each).collect()
}

fn one(network: &Network, width_ms: u64) -> Split {
    let mut rng = Rng::new(width_ms);
    let (mut n_split, mut n_never) = (0, 0);
    let mut elect_once = || match elect(network, width_ms * 1000, &mut rng) {
        Some((term, at)) => {
            n_split += u64::from(term > 1);
            at / 1000
        }
        None => {
            n_split += 1;
            n_never += 1;
            GIVE_UP_US / 1000
        }
    };
    let mut times: Vec<u64> = (0..TRIALS).map(|_| elect_once()).collect();
    times.sort_unstable();
    let (least, most) = network.request;
    let close = (2 * most - least) as f64 / (1000 * width_ms.max(1)) as f64;
    Split {
        network: network.name,
        width_ms,
        split: n_split as f64 / TRIALS as f64,
        bound: 1.0 - (1.0 - close.min(1.0)).powi(LIVE as i32),
        never: n_never as f64 / TRIALS as f64,
        median_ms: times[times.len() / 2],
        max_ms: times[times.len() - 1],
    }
}

#[derive(Clone, Copy)]
enum What {
    /// Its timeout has run out, if it has not been set anew since.
    Timeout(u64),
    /// A request for a vote in this term.
    Ask(usize, u64),
    /// A vote in this term.
    Vote(u64),
}

#[derive(Clone, Default)]
struct Server {
    term: u64,
    has_voted: bool,
    /// Votes that it has, when it stands.
    votes: Option<usize>,
    /// Which setting of its timeout counts.
    timeout: u64,
}

struct Election<'a> {
    network: &'a Network,
    width_us: u64,
    rng: &'a mut Rng,
    servers: Vec<Server>,
    /// What happens when, to whom: by time, and in the order in which it was planned.
    agenda: BTreeMap<(u64, u64), (usize, What)>,
    planned: u64,
}

/// One election: in which term, and after what time, there is a leader. Microseconds.
fn elect(network: &Network, width_us: u64, rng: &mut Rng) -> Option<(u64, u64)> {
    let mut election = Election {
        network,
        width_us,
        rng,
        servers: vec![Server::default(); LIVE],
        agenda: BTreeMap::new(),
        planned: 0,
    };
    for at in 0..LIVE {
        let (least, most) = network.request;
        let heard = election.rng.between(least, most);
        election.wait(at, heard);
    }
    while let Some(((now, _), (at, what))) = election.agenda.pop_first() {
        if now > GIVE_UP_US {
            return None;
        }
        if let Some(term) = election.happen(now, at, what) {
            return Some((term, now));
        }
    }
    None
}

impl Election<'_> {
    fn plan(&mut self, when: u64, whom: usize, what: What) {
        self.planned += 1;
        self.agenda.insert((when, self.planned), (whom, what));
    }

    fn wait(&mut self, at: usize, now: u64) {
        self.servers[at].timeout += 1;
        let timeout = self.servers[at].timeout;
        let long = self.rng.between(TIMEOUT_US, TIMEOUT_US + self.width_us);
        self.plan(now + long, at, What::Timeout(timeout));
    }

    /// The term, when that makes a leader.
    fn happen(&mut self, now: u64, at: usize, what: What) -> Option<u64> {
        match what {
            What::Timeout(timeout) if timeout == self.servers[at].timeout => {
                let server = &mut self.servers[at];
                server.term += 1;
                server.has_voted = true;
                server.votes = Some(1);
                let term = server.term;
                self.wait(at, now);
                for other in (0..LIVE).filter(|other| *other != at) {
                    let (least, most) = self.network.request;
                    let delay = self.rng.between(least, most);
                    self.plan(now + delay, other, What::Ask(at, term));
                }
            }
            What::Ask(who, term) => {
                let server = &mut self.servers[at];
                if term > server.term {
                    server.term = term;
                    server.has_voted = false;
                    server.votes = None;
                }
                if term == server.term && !server.has_voted {
                    server.has_voted = true;
                    self.wait(at, now);
                    let (least, most) = self.network.vote;
                    let delay = self.rng.between(least, most);
                    self.plan(now + delay, who, What::Vote(term));
                }
            }
            What::Vote(term) if term == self.servers[at].term => {
                let votes = self.servers[at].votes.as_mut()?;
                *votes += 1;
                return (*votes >= MAJORITY).then_some(term);
            }
            _ => {}
        }
        None
    }
}

/// The table.
pub fn table(rows: &[Split]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|one| {
            vec![
                one.network.to_string(),
                format!("150-{} ms", 150 + one.width_ms),
                rate(one.split),
                rate(one.bound),
                rate(one.never),
                one.median_ms.to_string(),
                one.max_ms.to_string(),
            ]
        })
        .collect();
    let title =
        format!("split-vote: five servers whose leader has crashed; {TRIALS} elections each");
    let heads = [
        "messages",
        "timeouts",
        "split",
        "at most",
        "no leader in 10 s",
        "median ms",
        "longest ms",
    ];
    columns(&title, &heads, &rows)
}
