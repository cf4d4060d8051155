//! Locks and elections, answer for answer: one script is played to the real etcd and to the server under test,
//! and every field of every answer is written down. What they wrote must be equal, and equal to `recipes.txt`.
//!
//! Revisions are told from the script's begin, the cluster, the member and the term by whether they are those
//! of every other answer, leases that the server chose by the order in which they came.

use etcd_client::{
    CampaignResponse, Client, Error, GetOptions, KeyValue, LeaderKey, LeaderResponse,
    LeaseGrantOptions, LeaseTimeToLiveOptions, LockOptions, LockResponse, ObserveStream,
    ProclaimOptions, ResignOptions, ResponseHeader,
};
use quorate_conformance::{PATIENCE, Target, alone, another, connect, eventually, is_ours};
use std::fmt::Write as _;
use std::path::Path;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const ETCD: &str = "/usr/bin/etcd";
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/recipes.txt");

#[tokio::test]
async fn locks_and_elections_answer_as_etcd_does() {
    let ours = Script::play(alone(1).await).await;
    if is_ours() && Path::new(ETCD).exists() {
        let etcds = Script::play(another(Path::new(ETCD)).await).await;
        assert_same("etcd", &etcds, "the server under test", &ours);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(EXPECTED, &ours).expect("the file is written");
    }
    let expected = std::fs::read_to_string(EXPECTED).expect("the file is there");
    assert_same("recipes.txt", &expected, "the server under test", &ours);
}

#[track_caller]
fn assert_same(left: &str, expected: &str, right: &str, found: &str) {
    let (mut expected_lines, mut found_lines) = (expected.lines(), found.lines());
    for line in 1.. {
        match (expected_lines.next(), found_lines.next()) {
            (None, None) => return,
            (a, b) if a == b => {}
            (a, b) => panic!(
                "line {line}\n{left}: {}\n{right}: {}\n\n--- {right}\n{found}",
                a.unwrap_or("(the end)"),
                b.unwrap_or("(the end)")
            ),
        }
    }
}

/// A script under way, and what it has written so far.
struct Script {
    target: Target,
    client: Client,
    /// The header of the first answer.
    first: ResponseHeader,
    /// Leases that the server chose.
    chosen: Vec<i64>,
    text: String,
}

type Waiting<T> = JoinHandle<Result<T, Error>>;

impl Script {
    async fn play(target: Target) -> String {
        let mut client = target.client.clone();
        let first = client.get("none", None).await.expect("get");
        let first = first.header().expect("a header").clone();
        let mut script = Script {
            client,
            target,
            first,
            chosen: Vec::new(),
            text: String::new(),
        };
        script.one_lock().await;
        script.a_line_of_contenders().await;
        script.holders_that_are_lost().await;
        script.waiting_in_vain().await;
        script.a_line_within_a_line().await;
        script.one_election().await;
        script.an_election_and_its_observer().await;
        script.elections_and_leases().await;
        script.text
    }

    async fn one_lock(&mut self) {
        self.title("one lock");
        self.grant(0x11, 60).await;
        self.lock("a", 0x11).await;
        self.line("a/").await;
        self.say("again, with the same lease");
        self.lock("a", 0x11).await;
        self.unlock("a/11").await;
        self.line("a/").await;
        self.say("not there");
        self.unlock("a/11").await;
        self.unlock("").await;
        self.lock("a", 0x99).await;
        self.lock("", 0x11).await;
        self.unlock("/11").await;
        self.say("with a lease that the server grants");
        let key = self.lock("a", 0).await.expect("a lock");
        let lease = i64::from_str_radix(&key[2..], 16).expect("a lease");
        self.time_to_live(lease).await;
        self.unlock(&key).await;
        self.time_to_live(lease).await;
    }

    async fn a_line_of_contenders(&mut self) {
        self.title("a line of contenders");
        for lease in 0x21..=0x24 {
            self.grant(lease, 60).await;
        }
        self.lock("b", 0x21).await;
        let second = self.contend("b", 0x22, 2).await;
        let third = self.contend("b", 0x23, 3).await;
        self.line("b/").await;
        self.unlock("b/21").await;
        self.locked(second).await;
        self.still_waits(&third);
        self.unlock("b/22").await;
        self.locked(third).await;
        self.say("a key that another client put stands in line, too");
        self.client
            .put("b/x", "y", None)
            .await
            .expect("a key in line");
        let fourth = self.contend("b", 0x24, 3).await;
        self.unlock("b/23").await;
        self.still_waits(&fourth);
        self.unlock("b/x").await;
        self.locked(fourth).await;
        self.unlock("b/24").await;
    }

    async fn holders_that_are_lost(&mut self) {
        self.title("holders that are lost");
        for (lease, ttl) in [(0x31, 60), (0x32, 2), (0x33, 60), (0x34, 60)] {
            self.grant(lease, ttl).await;
        }
        self.lock("c", 0x31).await;
        let next = self.contend("c", 0x33, 2).await;
        self.revoke(0x31).await;
        self.locked(next).await;
        self.unlock("c/33").await;
        self.say("its lease runs out");
        self.lock("c", 0x32).await;
        let next = self.contend("c", 0x34, 2).await;
        self.locked(next).await;
        self.line("c/").await;
        self.unlock("c/34").await;
    }

    async fn waiting_in_vain(&mut self) {
        self.title("waiting in vain");
        for lease in 0x41..=0x44 {
            self.grant(lease, 60).await;
        }
        self.lock("d", 0x41).await;
        self.say("the call is cancelled");
        let second = self.contend("d", 0x42, 2).await;
        let third = self.contend("d", 0x43, 3).await;
        second.abort();
        self.line_of("d/", 2).await;
        self.line("d/").await;
        self.unlock("d/41").await;
        self.locked(third).await;
        self.say("the connection is closed");
        let fourth = self.contend("d", 0x44, 2).await;
        fourth.abort();
        self.line_of("d/", 1).await;
        self.line("d/").await;
        self.unlock("d/43").await;
        self.line("d/").await;
    }

    async fn a_line_within_a_line(&mut self) {
        self.title("a line within a line");
        for lease in 0x51..=0x52 {
            self.grant(lease, 60).await;
        }
        self.lock("e/f", 0x51).await;
        let outer = self.contend("e", 0x52, 2).await;
        self.still_waits(&outer);
        self.unlock("e/f/51").await;
        self.locked(outer).await;
        self.unlock("e/52").await;
    }

    async fn one_election(&mut self) {
        self.title("one election");
        self.grant(0x61, 60).await;
        self.leader("g").await;
        self.campaign("g", "one", 0x61).await;
        self.leader("g").await;
        self.say("again, and with another value");
        self.campaign("g", "one", 0x61).await;
        let key = self.campaign("g", "two", 0x61).await.expect("won");
        self.leader("g").await;
        self.proclaim("three", Some(key.clone())).await;
        self.proclaim("", Some(key.clone())).await;
        self.leader("g").await;
        self.say("by a wrong revision");
        let wrong = key.clone().with_rev(key.rev() + 1);
        self.proclaim("four", Some(wrong.clone())).await;
        self.resign(Some(wrong)).await;
        self.leader("g").await;
        self.resign(Some(key.clone())).await;
        self.leader("g").await;
        self.say("too late");
        self.resign(Some(key.clone())).await;
        self.proclaim("five", Some(key)).await;
        self.say("without what must be there");
        self.proclaim("", None).await;
        self.resign(None).await;
        self.proclaim("", Some(LeaderKey::new())).await;
        self.resign(Some(LeaderKey::new())).await;
        self.campaign("g", "", 0x99).await;
        self.leader("").await;
        self.line("g/").await;
    }

    async fn an_election_and_its_observer(&mut self) {
        self.title("an election and its observer");
        for lease in 0x71..=0x73 {
            self.grant(lease, 60).await;
        }
        let mut early = self.client.clone();
        let early = tokio::spawn(async move {
            let mut stream = early.observe("h").await?;
            let first = stream.message().await;
            first.map(|first| (first, stream))
        });
        let first = self.campaign("h", "first", 0x71).await.expect("won");
        let seen = timeout(PATIENCE, early).await.expect("in time");
        let (seen, mut stream) = seen.expect("no panic").expect("observed");
        // Whether it looked or watched first decides which header it has; the key is the same.
        let kv = seen
            .as_ref()
            .and_then(LeaderResponse::kv)
            .map(|kv| self.kv(kv));
        self.say(&format!("observed {}", kv.unwrap_or_default()));
        self.proclaim("second", Some(first.clone())).await;
        self.observed(&mut stream).await;
        let next = self.candidate("h", "third", 0x72, 2).await;
        let last = self.candidate("h", "fourth", 0x73, 3).await;
        self.resign(Some(first)).await;
        let next = self.elected(next).await.expect("won");
        self.observed(&mut stream).await;
        assert!(!last.is_finished(), "two lead at once");
        let mut late = self.client.observe("h").await.expect("observe");
        self.observed(&mut late).await;
        self.proclaim("fifth", Some(next)).await;
        self.observed(&mut stream).await;
        self.observed(&mut late).await;
        self.say("the leader's lease is revoked");
        self.revoke(0x72).await;
        let last = self.elected(last).await.expect("won");
        self.observed(&mut stream).await;
        self.resign(Some(last)).await;
        self.leader("h").await;
    }

    async fn elections_and_leases(&mut self) {
        self.title("elections and leases");
        for (lease, ttl) in [(0x81, 2), (0x82, 60), (0x83, 60)] {
            self.grant(lease, ttl).await;
        }
        self.say("the leader's lease runs out");
        self.campaign("i", "short", 0x81).await;
        let next = self.candidate("i", "long", 0x82, 2).await;
        let gone = self.candidate("i", "gone", 0x83, 3).await;
        let next = self.elected(next).await.expect("won");
        self.say("a candidate's call is cancelled");
        gone.abort();
        self.line_of("i/", 1).await;
        self.line("i/").await;
        self.say("with a lease that the server grants");
        self.proclaim("adopted", Some(next.clone().with_lease(0)))
            .await;
        self.leader("i").await;
        self.resign(Some(next.with_lease(0))).await;
        let key = self.campaign("i", "", 0).await.expect("won");
        self.time_to_live(key.lease()).await;
        self.revoke(key.lease()).await;
        self.leader("i").await;
    }

    // ---- requests, and what is written about them ---------------------------------------------

    fn title(&mut self, title: &str) {
        let _ = write!(self.text, "\n# {title}\n");
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    async fn grant(&mut self, lease: i64, ttl: i64) {
        let options = LeaseGrantOptions::new().with_id(lease);
        let granted = self.client.lease_grant(ttl, Some(options)).await;
        granted.expect("grant");
    }

    async fn revoke(&mut self, lease: i64) {
        let revoked = self.client.lease_revoke(lease).await;
        let told = told(revoked.map(|answer| self.header(answer.header())));
        let lease = self.lease(lease);
        self.say(&format!("revoke {lease}: {told}"));
    }

    async fn time_to_live(&mut self, lease: i64) {
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let left = self.client.lease_time_to_live(lease, Some(options)).await;
        let left = left.expect("time to live");
        let told = format!(
            "granted {} s, {} keys",
            left.granted_ttl(),
            left.keys().len()
        );
        let lease = self.lease(lease);
        self.say(&format!("{lease}: {told}"));
    }

    async fn line(&mut self, prefix: &str) {
        let got = self
            .client
            .get(prefix, Some(GetOptions::new().with_prefix()));
        let got = got.await.expect("get");
        let header = self.header(got.header());
        self.say(&format!("in {prefix}: {} {header}", got.count()));
        for kv in got.kvs() {
            let kv = self.kv(kv);
            self.say(&format!("  {kv}"));
        }
    }

    /// Waits until so many stand in a line.
    async fn line_of(&self, prefix: &str, n: i64) {
        eventually(&format!("{n} stand in {prefix}"), || async {
            let options = GetOptions::new().with_prefix().with_count_only();
            let got = self.client.clone().get(prefix, Some(options)).await;
            (got.expect("get").count() == n).then_some(())
        })
        .await;
    }

    async fn lock(&mut self, name: &str, lease: i64) -> Option<String> {
        let options = LockOptions::new().with_lease(lease);
        let locked = self.client.lock(name, Some(options)).await;
        self.say_locked(&format!("lock {name} {lease:x}"), locked)
    }

    fn say_locked(&mut self, what: &str, locked: Result<LockResponse, Error>) -> Option<String> {
        let key = locked.as_ref().ok().map(|answer| text(answer.key()));
        if let Some((_, lease)) = key.as_ref().and_then(|key| key.rsplit_once('/')) {
            // The server may have chosen it.
            self.lease(i64::from_str_radix(lease, 16).expect("a lease"));
        }
        let told = told(locked.map(|answer| {
            let key = self.key(answer.key());
            format!("{key} {}", self.header(answer.header()))
        }));
        self.say(&format!("{what}: {told}"));
        key
    }

    async fn unlock(&mut self, key: &str) {
        let unlocked = self.client.unlock(key).await;
        let told = told(unlocked.map(|answer| self.header(answer.header())));
        let key = self.key(key.as_bytes());
        self.say(&format!("unlock {key}: {told}"));
    }

    /// Begins to wait for a lock, by a connection of its own; goes on when it is the `n`th in line.
    async fn contend(&self, name: &str, lease: i64, n: i64) -> Waiting<LockResponse> {
        let (endpoints, called) = (self.target.endpoints.clone(), name.to_owned());
        let waiting = tokio::spawn(async move {
            let options = LockOptions::new().with_lease(lease);
            connect(&endpoints).await.lock(called, Some(options)).await
        });
        self.line_of(&format!("{name}/"), n).await;
        waiting
    }

    async fn locked(&mut self, waiting: Waiting<LockResponse>) {
        let locked = timeout(PATIENCE, waiting).await.expect("in time");
        self.say_locked("its turn", locked.expect("no panic"));
    }

    fn still_waits(&self, waiting: &Waiting<LockResponse>) {
        assert!(!waiting.is_finished(), "two hold a lock\n{}", self.text);
    }

    async fn campaign(&mut self, name: &str, value: &str, lease: i64) -> Option<LeaderKey> {
        let won = self.client.campaign(name, value, lease).await;
        self.say_elected(&format!("campaign {name} {value:?} {lease:x}"), won)
    }

    /// Begins to wait for an office; goes on when it is the `n`th in line.
    async fn candidate(
        &self,
        name: &str,
        value: &str,
        lease: i64,
        n: i64,
    ) -> Waiting<CampaignResponse> {
        let endpoints = self.target.endpoints.clone();
        let (called, said) = (name.to_owned(), value.to_owned());
        let waiting = tokio::spawn(async move {
            connect(&endpoints)
                .await
                .campaign(called, said, lease)
                .await
        });
        self.line_of(&format!("{name}/"), n).await;
        waiting
    }

    async fn elected(&mut self, waiting: Waiting<CampaignResponse>) -> Option<LeaderKey> {
        let won = timeout(PATIENCE, waiting).await.expect("in time");
        self.say_elected("its turn", won.expect("no panic"))
    }

    fn say_elected(
        &mut self,
        what: &str,
        won: Result<CampaignResponse, Error>,
    ) -> Option<LeaderKey> {
        let key = won
            .as_ref()
            .ok()
            .and_then(|answer| answer.leader().cloned());
        let told = told(won.map(|answer| {
            let header = self.header(answer.header());
            let leader = answer.leader().map(|leader| {
                let lease = self.lease(leader.lease());
                let key = self.key(leader.key());
                let rev = self.revision(leader.rev());
                format!("{} {key} rev {rev} {lease}", text(leader.name()))
            });
            format!("{} {header}", leader.unwrap_or("no leader".to_owned()))
        }));
        self.say(&format!("{what}: {told}"));
        key
    }

    async fn proclaim(&mut self, value: &str, leader: Option<LeaderKey>) {
        let options = leader.map(|leader| ProclaimOptions::new().with_leader(leader));
        let proclaimed = self.client.proclaim(value, options).await;
        let told = told(proclaimed.map(|answer| self.header(answer.header())));
        self.say(&format!("proclaim {value:?}: {told}"));
    }

    async fn resign(&mut self, leader: Option<LeaderKey>) {
        let options = leader.map(|leader| ResignOptions::new().with_leader(leader));
        let resigned = self.client.resign(options).await;
        let told = told(resigned.map(|answer| self.header(answer.header())));
        self.say(&format!("resign: {told}"));
    }

    async fn leader(&mut self, name: &str) {
        let leader = self.client.leader(name).await;
        let told = told(leader.map(|answer| self.leading(&answer)));
        self.say(&format!("leader of {name}: {told}"));
    }

    async fn observed(&mut self, stream: &mut ObserveStream) {
        let seen = timeout(PATIENCE, stream.message()).await.expect("in time");
        let told = match seen.expect("no error") {
            Some(answer) => self.leading(&answer),
            None => "the end".to_owned(),
        };
        self.say(&format!("observed {told}"));
    }

    fn leading(&mut self, answer: &LeaderResponse) -> String {
        let header = self.header(answer.header());
        let kv = answer.kv().map(|kv| self.kv(kv));
        format!("{} {header}", kv.unwrap_or("no key".to_owned()))
    }

    // ---- fields -------------------------------------------------------------------------------

    fn revision(&self, revision: i64) -> String {
        match revision {
            0 => "0".to_owned(),
            _ => format!("+{}", revision - self.first.revision()),
        }
    }

    fn header(&self, header: Option<&ResponseHeader>) -> String {
        let Some(header) = header else {
            return "without a header".to_owned();
        };
        let first = &self.first;
        let same = [
            ("cluster", header.cluster_id() == first.cluster_id()),
            ("member", header.member_id() == first.member_id()),
            ("term", header.raft_term() == first.raft_term()),
        ];
        let mut told = format!("@{}", self.revision(header.revision()));
        for (field, _) in same.iter().filter(|(_, same)| !same) {
            let _ = write!(told, " another {field}");
        }
        told
    }

    fn kv(&mut self, kv: &KeyValue) -> String {
        let lease = self.lease(kv.lease());
        format!(
            "{}={:?} c{} m{} v{} {lease}",
            self.key(kv.key()),
            text(kv.value()),
            self.revision(kv.create_revision()),
            self.revision(kv.mod_revision()),
            kv.version(),
        )
    }

    /// A lease by its number, or by the order in which it came if the server chose it.
    fn lease(&mut self, lease: i64) -> String {
        if (0..0x100).contains(&lease) {
            return format!("lease {lease:x}");
        }
        let known = self.chosen.iter().position(|known| *known == lease);
        let at = known.unwrap_or_else(|| {
            self.chosen.push(lease);
            self.chosen.len() - 1
        });
        format!("lease #{at}")
    }

    fn key(&self, key: &[u8]) -> String {
        let mut key = text(key);
        for (at, lease) in self.chosen.iter().enumerate() {
            key = key.replace(&format!("{lease:x}"), &format!("#{at}"));
        }
        key
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn told(answer: Result<String, Error>) -> String {
    match answer {
        Ok(told) => told,
        Err(Error::GRpcStatus(status)) => {
            format!("{:?}: {}", status.code(), status.message())
        }
        Err(other) => format!("not an answer of the server: {other}"),
    }
}
