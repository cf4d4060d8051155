//! Whether the members have the same keys: compared by etcd's `HashKV`, and what becomes of one that differs.
//!
//! ```text
//!   leader, now and then   own hash at revision R ── GET /hashkv?revision=R ──► every other member, once it has R
//!                          answers that differ from most ──► alarm CORRUPT for each of those members
//!   that member            sees its alarm ── compares for itself ──► quarantine: it stops, its directory is marked
//!   a member that starts   compares before it serves, and does not start when it is not like most
//! ```
//!
//! The rolling digest in the log (`core/node`) finds members that *decide* differently. This finds what a digest of changes
//! cannot: rows that changed under it, in memory or in a checkpoint. Only hashes of the same revision behind the same
//! compaction can be compared; anything else says nothing and accuses nobody.

use crate::front::Front;
use crate::identity::Url;
use crate::member::Member;
use crate::peers::{HANDSHAKE_TIMEOUT, PAGE_TIMEOUT, ask_page};
use base::{Instant, MemberId, Revision};
use etcd::{Alarm, AlarmKind, Status};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;
use store::State;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// How long a member that is asked waits for a revision that it does not have yet, and one that asks for the hash of a
/// compaction that another has not taken yet.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Revisions that may be missing so that it is worth waiting: no cluster makes more in that time.
const CATCH_UP_REVISIONS_MAX: u64 = 1_000_000;

/// The pause between two looks whether it has come.
const CATCH_UP_LOOK: Duration = Duration::from_millis(20);

/// A member that is accused asks the others again after this time …
const DOUBT_MIN: Duration = Duration::from_secs(1);

/// … and then after twice as long each time, up to this: each answer reads everything that each of them has.
const DOUBT_MAX: Duration = Duration::from_secs(60);

/// Compactions whose hash is remembered, etcd's number.
const REMEMBERED_MAX: usize = 10;

/// What a member has at a revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct KvHash {
    /// Up to where history is forgotten: part of what is hashed.
    pub(crate) compacted: Revision,
    pub(crate) hash: u32,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compared {
    /// What the members have now.
    Now,
    /// What they had at the newest compaction.
    Compaction,
}

/// The hash of etcd's keys at `revision`; nothing when it is not there, or not any more.
fn hash_at(state: &State, revision: Revision) -> Option<KvHash> {
    let hash = state.root(etcd::ROOT).hash(revision).ok()?;
    Some(KvHash {
        compacted: hash.compact_revision,
        hash: hash.hash,
    })
}

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// Who is not like most; [`MemberId::NONE`] when nobody can say who is right.
    suspects: Vec<MemberId>,
    /// How many were compared, this member among them: those that answered for the same revision behind the same
    /// compaction.
    n_compared: usize,
    n_members: usize,
}

impl Verdict {
    fn of(found: &BTreeMap<MemberId, KvHash>, own: KvHash, n_members: usize) -> Verdict {
        let same = |it: &&KvHash| it.compacted == own.compacted;
        Verdict {
            suspects: suspects(found, n_members),
            n_compared: found.values().filter(same).count(),
            n_members,
        }
    }

    fn is_of_all(&self) -> bool {
        self.n_compared >= self.n_members
    }
}

/// When a member that is accused asks the others again.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    next: Option<(Instant, Duration)>,
}

impl Doubt {
    /// Whether to ask now.
    fn asks(&mut self, is_accused: bool, now: Instant) -> bool {
        if !is_accused {
            self.next = None;
            return false;
        }
        let pause = match self.next {
            Some((at, _)) if now < at => return false,
            Some((_, pause)) => (pause * 2).min(DOUBT_MAX),
            None => DOUBT_MIN,
        };
        self.next = Some((now + pause, pause));
        true
    }
}

/// [`hash_at`] on a thread of its own; nothing also when many wait for theirs.
async fn hash_beside(member: &Member, state: State, revision: Revision) -> Option<KvHash> {
    let turn = member.comparisons.enter().await.ok()?;
    // Reads every version there is: not on the thread that everybody waits for.
    let hashing = tokio::task::spawn_blocking(move || {
        let hash = hash_at(&state, revision);
        drop(turn);
        hash
    });
    hashing.await.ok().flatten()
}

/// Who is not like most, given what each of `n_members` has, as far as it is known. [`MemberId::NONE`] when they differ
/// and nobody can say who is right.
fn suspects(found: &BTreeMap<MemberId, KvHash>, n_members: usize) -> Vec<MemberId> {
    let mut alike: BTreeMap<KvHash, Vec<MemberId>> = BTreeMap::new();
    for (member, hash) in found {
        alike.entry(*hash).or_default().push(*member);
    }
    // Behind another compaction the same keys have another hash.
    let differ = |a: &KvHash, b: &KvHash| a.compacted == b.compacted && a.hash != b.hash;
    let disputed = |it: &KvHash| alike.keys().any(|other| differ(it, other));
    if !alike.keys().any(disputed) {
        return Vec::new();
    }
    let right = alike.iter().find(|(_, who)| who.len() > n_members / 2);
    match right {
        None => vec![MemberId::NONE],
        Some((right, _)) => {
            let wrong = alike.iter().filter(|(hash, _)| differ(hash, right));
            wrong.flat_map(|(_, who)| who.iter().copied()).collect()
        }
    }
}

/// What a member remembers of compactions: the hash at each, which never changes again.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    hashes: VecDeque<(Revision, u32)>,
}

impl Remembered {
    fn newest(&self) -> Revision {
        self.hashes.back().map_or(Revision(0), |(at, _)| *at)
    }

    fn note(&mut self, at: Revision, hash: u32) {
        if at > self.newest() {
            if self.hashes.len() == REMEMBERED_MAX {
                self.hashes.pop_front();
            }
            self.hashes.push_back((at, hash));
        }
    }

    fn at(&self, revision: Revision) -> Option<u32> {
        let mut hashes = self.hashes.iter();
        hashes
            .find(|(at, _)| *at == revision)
            .map(|(_, hash)| *hash)
    }

    /// As text, for another member: a line for each compaction.
    pub(crate) fn page(&self) -> String {
        let mut text = String::new();
        for (at, hash) in &self.hashes {
            // A String takes everything.
            let _ = writeln!(text, "{at} {hash:08x}");
        }
        text
    }
}

fn parse_remembered(text: &str) -> Option<Vec<(Revision, u32)>> {
    let line = |line: &str| {
        let (at, hash) = line.split_once(' ')?;
        let at = Revision(at.parse().ok()?);
        Some((at, u32::from_str_radix(hash, 16).ok()?))
    };
    text.lines().take(REMEMBERED_MAX).map(line).collect()
}

fn parse_hash(text: &str) -> Option<KvHash> {
    let (compacted, hash) = text.trim_end().split_once(' ')?;
    Some(KvHash {
        compacted: Revision(compacted.parse().ok()?),
        hash: u32::from_str_radix(hash, 16).ok()?,
    })
}

/// Answers `GET /hashkv?revision=R`: the compaction and the hash. Nothing when this member does not have the revision.
async fn hash_page(member: &Member, query: &str) -> Option<String> {
    let revision = query.strip_prefix("revision=")?.parse().ok()?;
    let revision = Revision(revision);
    let began = tokio::time::Instant::now();
    loop {
        let missing = revision
            .0
            .saturating_sub(member.with_state(State::revision).0);
        if missing == 0 {
            break;
        }
        if missing > CATCH_UP_REVISIONS_MAX || began.elapsed() > CATCH_UP {
            return None;
        }
        tokio::time::sleep(CATCH_UP_LOOK).await;
    }
    let found = hash_beside(member, member.state(), revision).await?;
    Some(format!("{} {:08x}\n", found.compacted, found.hash))
}

impl Front {
    /// The peer URLs of all other members.
    fn others(&self) -> Vec<(MemberId, Vec<Url>)> {
        let own = self.0.identity.member;
        let members = self.0.with_state(State::members);
        let others = members.into_iter().filter(|member| member.id != own);
        let urls = |urls: &[String]| urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
        others
            .map(|member| (member.id, urls(&member.peer_urls)))
            .collect()
    }

    /// Asks all others at once.
    async fn ask_others(&self, page: &str, patience: Duration) -> BTreeMap<MemberId, String> {
        let mut asked = JoinSet::new();
        for (member, urls) in self.others() {
            let (way, page) = (self.0.way(), page.to_owned());
            asked.spawn_local(async move {
                for url in &urls {
                    if let Some(text) = ask_page(url, &way, &page, patience).await {
                        return Some((member, text));
                    }
                }
                None
            });
        }
        let answers = asked.join_all().await;
        answers.into_iter().flatten().collect()
    }

    /// Who is not like most, as far as can be told now.
    async fn compare(&self) -> Verdict {
        let state = self.0.state();
        let (own, revision) = (self.0.identity.member, state.revision());
        let n_members = state.members().len();
        let Some(hash) = hash_beside(&self.0, state, revision).await else {
            return Verdict {
                n_members,
                ..Verdict::default()
            };
        };
        let page = format!("/hashkv?revision={revision}");
        let answers = self.ask_others(&page, PAGE_TIMEOUT).await;
        let mut found: BTreeMap<MemberId, KvHash> = answers
            .iter()
            .filter_map(|(member, text)| Some((*member, parse_hash(text)?)))
            .collect();
        found.insert(own, hash);
        Verdict::of(&found, hash, n_members)
    }

    /// The same by what everybody remembers of the newest compaction that this member knows.
    async fn compare_compaction(&self) -> Verdict {
        let n_members = self.0.with_state(|state| state.members().len());
        let newest = self.0.compacted.borrow().newest();
        let Some(hash) = self.0.compacted.borrow().at(newest) else {
            return Verdict {
                n_members,
                ..Verdict::default()
            };
        };
        let at_newest = |hash| KvHash {
            compacted: newest,
            hash,
        };
        let own = at_newest(hash);
        let began = tokio::time::Instant::now();
        loop {
            let answers = self.ask_others("/compact-hash", HANDSHAKE_TIMEOUT).await;
            let mut found = BTreeMap::from([(self.0.identity.member, own)]);
            for (member, text) in &answers {
                let remembered = parse_remembered(text).unwrap_or_default();
                if let Some((_, hash)) = remembered.iter().find(|(at, _)| *at == newest) {
                    found.insert(*member, at_newest(*hash));
                }
            }
            let verdict = Verdict::of(&found, own, n_members);
            // Whoever answered without it may not have looked since: with its word it can be told who is wrong.
            let is_early = answers.len() >= found.len();
            let is_of_nobody = verdict.suspects.contains(&MemberId::NONE);
            if !(is_early && is_of_nobody) || began.elapsed() > CATCH_UP {
                return verdict;
            }
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
    }

    /// Compares before this member serves.
    ///
    /// # Errors
    /// It is not like most, or nobody can say who is right.
    pub(crate) async fn check_initial(&self) -> Result<(), String> {
        // Its log is applied once the leader has told how far it is decided.
        if let Err(status) = self.0.read_index().await {
            warn!(
                reason = %status.message,
                "nobody says how far the log goes: comparing what is there"
            );
        }
        let verdict = self.compare().await;
        let (own, suspects) = (self.0.identity.member, &verdict.suspects);
        if suspects.contains(&own) || suspects.contains(&MemberId::NONE) {
            return Err(
                "found data inconsistency with peers: its keys are not those of the other members"
                    .to_owned(),
            );
        }
        let (n_compared, n_members) = (verdict.n_compared, verdict.n_members);
        match verdict.is_of_all() || n_compared > 1 {
            true => info!(
                n_compared,
                n_members, "initial corruption checking passed; no corruption"
            ),
            false => warn!(
                n_members,
                "initial corruption checking: no other member could be compared with"
            ),
        }
        Ok(())
    }

    /// Remembers the hash of a compaction that was applied since.
    pub(crate) async fn note_compaction(&self) {
        let state = self.0.state();
        let at = state.root(etcd::ROOT).compacted();
        if at == Revision(0) || at <= self.0.compacted.borrow().newest() {
            return;
        }
        if let Some(found) = hash_beside(&self.0, state, at).await {
            self.0.compacted.borrow_mut().note(at, found.hash);
        }
    }

    /// The leader compares all members and accuses who differs.
    pub(crate) async fn check_members(&self, what: Compared) {
        let verdict = match what {
            Compared::Compaction => self.compare_compaction().await,
            Compared::Now => self.compare().await,
        };
        let (n_compared, n_members) = (verdict.n_compared, verdict.n_members);
        // Without an own one there is nothing to compare with, as before the first compaction.
        if verdict.suspects.is_empty() && n_compared > 0 {
            match verdict.is_of_all() {
                true => info!(compared = ?what, n_compared, n_members, "corruption check passed"),
                false => warn!(
                    compared = ?what, n_compared, n_members,
                    "corruption check found nothing, and did not hear of all members"
                ),
            }
        }
        for member in verdict.suspects {
            if let Err(status) = self.accuse(member).await {
                warn!(reason = %status.message, "the alarm cannot be raised now");
            }
        }
    }

    async fn accuse(&self, member: MemberId) -> Result<(), Status> {
        let alarm = Alarm {
            kind: AlarmKind::Corrupt,
            member,
        };
        let is_raised = self
            .0
            .with_state(|state| etcd::alarms(state).any(|it| it == alarm));
        if !is_raised {
            error!(%member, "found data inconsistency: alarm CORRUPT");
            self.0
                .propose(etcd::alarm_request(alarm), None, self.0.own_word())
                .await?;
        }
        Ok(())
    }

    /// Whether this member is accused and finds it to be true.
    pub(crate) async fn is_corrupt(&self, doubt: &mut Doubt) -> bool {
        let own = Alarm {
            kind: AlarmKind::Corrupt,
            member: self.0.identity.member,
        };
        let is_accused = self
            .0
            .with_state(|state| etcd::alarms(state).any(|it| it == own));
        if !doubt.asks(is_accused, crate::clock::now()) {
            return false;
        }
        self.compare().await.suspects.contains(&own.member)
    }
}

/// Answers a question of another member about what this one has.
pub(crate) async fn page(member: &Member, target: &str) -> Option<String> {
    match target.split_once('?') {
        Some(("/hashkv", query)) => hash_page(member, query).await,
        None if target == "/compact-hash" => Some(member.compacted.borrow().page()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hashes: &[(u64, u64, u32)]) -> BTreeMap<MemberId, KvHash> {
        let hash = |(member, compacted, hash): &(u64, u64, u32)| {
            let compacted = Revision(*compacted);
            (
                MemberId(*member),
                KvHash {
                    compacted,
                    hash: *hash,
                },
            )
        };
        hashes.iter().map(hash).collect()
    }

    fn who(hashes: &[(u64, u64, u32)], n_members: usize) -> Vec<u64> {
        let suspects = suspects(&found(hashes), n_members);
        suspects.into_iter().map(|member| member.0).collect()
    }

    #[test]
    fn most_are_right_and_nobody_is_accused_without_most() {
        assert_eq!(who(&[(1, 5, 7), (2, 5, 7), (3, 5, 7)], 3), [0; 0]);
        assert_eq!(who(&[(1, 5, 7), (2, 5, 8), (3, 5, 7)], 3), [2]);
        assert_eq!(who(&[(1, 5, 8), (2, 5, 7), (3, 5, 7)], 3), [1]);
        // One did not answer: two against two cannot say, two of three can.
        assert_eq!(who(&[(1, 5, 8), (2, 5, 7)], 3), [0]);
        assert_eq!(who(&[(1, 5, 8), (2, 5, 7), (3, 5, 7)], 5), [0]);
        assert_eq!(who(&[(1, 5, 8), (2, 5, 7), (3, 5, 9)], 3), [0]);
    }

    #[test]
    fn hashes_behind_different_compactions_accuse_nobody() {
        assert_eq!(who(&[(1, 5, 7), (2, 6, 8), (3, 5, 7)], 3), [0; 0]);
        assert_eq!(who(&[(1, 5, 7), (2, 6, 8), (3, 7, 9)], 3), [0; 0]);
        assert_eq!(who(&[(1, 5, 7)], 3), [0; 0]);
    }

    #[test]
    fn a_verdict_says_of_how_many_it_is() {
        let of = |hashes: &[(u64, u64, u32)]| {
            let found = found(hashes);
            Verdict::of(&found, found[&MemberId(1)], 3)
        };
        assert!(of(&[(1, 5, 7), (2, 5, 7), (3, 5, 7)]).is_of_all());
        let one_is_silent = of(&[(1, 5, 7), (2, 5, 7)]);
        assert!(one_is_silent.suspects.is_empty() && !one_is_silent.is_of_all());
        let alone = of(&[(1, 5, 7), (2, 6, 7), (3, 4, 7)]);
        assert_eq!((alone.n_compared, alone.n_members), (1, 3));
    }

    #[test]
    fn whoever_is_accused_asks_less_and_less_often() {
        let at = |seconds: u64| Instant(seconds * 1_000_000_000);
        let mut doubt = Doubt::default();
        assert!(!doubt.asks(false, at(0)));
        let asks: Vec<u64> = (0..300).filter(|s| doubt.asks(true, at(*s))).collect();
        assert_eq!(asks, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert!(!doubt.asks(false, at(300)));
        assert!(doubt.asks(true, at(301)), "another accusation");
    }

    #[test]
    fn what_members_say_of_themselves_is_understood() {
        let mut remembered = Remembered::default();
        for at in 1..=12 {
            remembered.note(Revision(at), at as u32 * 16);
            remembered.note(Revision(at), 0);
        }
        let said = parse_remembered(&remembered.page()).expect("our own words");
        assert_eq!(said.len(), REMEMBERED_MAX);
        assert_eq!(said[0], (Revision(3), 48));
        assert_eq!(remembered.at(Revision(12)), Some(192));
        let hash = KvHash {
            compacted: Revision(9),
            hash: 0xab,
        };
        assert_eq!(parse_hash("9 000000ab\n"), Some(hash));
        for bad in ["", "9", "x 1", "9 x", "9 1 1"] {
            assert_eq!(parse_hash(bad), None, "{bad:?}");
            assert!(bad.is_empty() || parse_remembered(bad).is_none(), "{bad:?}");
        }
    }
}
