//! What a member says about itself and about the time.

use super::Native;
use crate::clock;
use crate::member::Member;
use ::clock::{HybridTime, Interval, UnixNanos, commit_wait};
use api::proto;
use native::{Fault, Freshness, Reply, header};
use std::time::Duration;
use storage::Space;
use store::LargestValue;

/// Between two looks at the clock while a commit waits, at least: a millisecond is what hybrid time counts in.
const COMMIT_LOOK: Duration = Duration::from_micros(200);

/// Keys that are looked at between two looks at other work: about 0.1 ms.
const KEYS_PER_STEP: usize = 1000;

/// Where a bound of the wall clock's error comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Kernel,
    Configured,
    Unknown,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Kernel => "kernel",
            Source::Configured => "configured",
            Source::Unknown => "unknown",
        }
    }
}

impl Member {
    /// By how much the wall clock may be wrong: as the kernel says, else as it was configured.
    fn clock_error(&self) -> (Option<Duration>, Source) {
        match (clock::error_bound(), self.config.clock_error_max) {
            (Some(error), _) => (Some(error), Source::Kernel),
            (None, Some(error)) => (Some(error), Source::Configured),
            (None, None) => (None, Source::Unknown),
        }
    }

    fn clock_report(&self) -> proto::Clock {
        let (error, source) = self.clock_error();
        let wall = clock::wall();
        let interval = error.map(|error| Interval::around(wall, error));
        let text = |time: UnixNanos| HybridTime::new(time.0 / 1_000_000, 0).to_rfc3339();
        let last = self.with_state(store::State::time);
        let offsets = self.clock_offsets();
        proto::Clock {
            hybrid: last.next(wall.0 / 1_000_000).to_rfc3339(),
            earliest: interval.map_or_else(String::new, |it| text(it.earliest())),
            latest: interval.map_or_else(String::new, |it| {
                // Rounded up: the true time is not after it.
                text(it.latest().plus(Duration::from_nanos(999_999)))
            }),
            error_us: error.map(|error| error.as_micros() as u64),
            source: source.name().to_owned(),
            drift_ppm: self.config.read_lease_drift_ppm,
            jumped: self.vitals.has_jumped(clock::now()),
            offset_worst_ms: offsets.into_iter().max(),
        }
    }
}

impl Native {
    /// Refuses a commit-wait that could never end.
    pub(super) fn check_clock(&self) -> Result<(), Fault> {
        match self.0.clock_error().0 {
            Some(_) => Ok(()),
            None => Err(api::Code::NoClockBound.into()),
        }
    }

    /// Waits until `stamp` is surely in the past, for everybody whose clock keeps the same bound: the stamp is a
    /// reading of the leader's clock, which may be behind by the error, and so may whoever comes after.
    pub(super) async fn commit_wait(&self, stamp: HybridTime) {
        let mut known = Duration::ZERO;
        loop {
            // A bound that is lost on the way does not end the wait early.
            known = known.max(self.0.clock_error().0.unwrap_or(known));
            let after = UnixNanos((stamp.physical_ms() + 1) * 1_000_000).plus(known);
            let wait = commit_wait(Interval::around(clock::wall(), known), after);
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.max(COMMIT_LOOK)).await;
        }
    }

    pub(super) fn now(&self) -> Reply {
        let parts = self.0.native_header();
        let header = self
            .0
            .with_state(|state| header(&parts, &Freshness::LOCAL, state, state.revision()));
        proto::NowResponse {
            header: Some(header),
            clock: Some(self.0.clock_report()),
        }
        .into()
    }

    /// Bytes of the largest value of all fronts. Found by looking at every key, in steps that hold nobody up, and kept
    /// for a while: who asks every second must not have everything read every second.
    async fn largest_value(&self) -> u64 {
        let now = clock::now();
        if let Some(bytes) = self.0.vitals.largest_value(now) {
            return bytes;
        }
        let state = self.0.state();
        let mut largest = 0;
        for root in state.roots() {
            let mut scan = LargestValue::of(root);
            while scan.step(&state, KEYS_PER_STEP) {
                tokio::task::yield_now().await;
            }
            largest = largest.max(scan.value_bytes());
        }
        self.0.vitals.found_largest_value(largest, now);
        largest
    }

    pub(super) async fn status(&self) -> Reply {
        let value_bytes_largest = self.largest_value().await;
        let status = self.0.status();
        let parts = self.0.native_header();
        let now = clock::now();
        let quota = self.0.session.borrow().limits().quota_bytes;
        let state = self.0.state();
        let alarms =
            etcd::alarms(&state).map(|alarm| format!("{} at {}", alarm.kind.name(), alarm.member));
        let mut alarms: Vec<String> = alarms.collect();
        if let Some(reason) = &status.stopped {
            alarms.push(format!("stopped: {reason:?}"));
        }
        let members = state.members().into_iter().map(|member| proto::MemberLine {
            id: member.id.0,
            name: member.name,
            is_learner: member.is_learner,
            client_urls: member.client_urls,
            peer_urls: member.peer_urls,
        });
        proto::StatusResponse {
            header: Some(header(&parts, &Freshness::LOCAL, &state, state.revision())),
            name: self.0.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leader: status.leader.0,
            is_leader: status.is_leader,
            is_learner: status.is_learner,
            is_recovering: status.is_recovering,
            commit_index: status.commit.0,
            applied_index: status.applied.index.0,
            digest: status.digest,
            bytes_in_use: state.bytes_in_use(),
            quota_bytes: quota,
            disk: match self.0.space() {
                Space::Normal => "normal",
                Space::Low => "low",
                Space::Full => "full",
            }
            .to_owned(),
            sync_worst_us: self.0.vitals.sync_worst(now).as_micros() as u64,
            value_bytes_largest,
            backup_age_s: self.0.vitals.backup_age(now).map(|age| age.as_secs()),
            clock: Some(self.0.clock_report()),
            members: members.collect(),
            alarms,
        }
        .into()
    }
}
