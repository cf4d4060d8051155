//! Spies: watches of users in governed worlds, left lying until the rules have changed.
//!
//! ```text
//!   a user's watch of one of its keys ─► an event waits ─► the permission goes ─► somebody looks: what does it tell?
//! ```
//!
//! A spy sits at one member and looks now and then. What it is told must be what the user may read by the rules that this
//! member knows at that moment, read here from the roles themselves; another member may know of a change later. Spies
//! die with their member's process.

use crate::world::{Event, World};
use base::Rng;
use bytes::Bytes;
use checker::Violation;
use etcd::StreamId;
use etcd::proto::etcdserverpb as pb;
use prost::Message;
use store::State;

/// Watches of spies at once.
const SPIES_MAX: usize = 12;

/// Bytes that a spy takes at once.
const BUDGET_BYTES: usize = 1 << 16;

struct Spy {
    user: u64,
    key: Bytes,
    member: usize,
    life: u32,
    stream: StreamId,
}

/// All spies.
pub struct Spying {
    spies: Vec<Spy>,
    rng: Rng,
}

impl Spying {
    /// None yet, in the world of `seed`.
    pub fn new(seed: u64) -> Spying {
        Spying {
            spies: Vec::new(),
            rng: Rng::new(seed ^ 0x5350_5945_5350_5901),
        }
    }
}

/// Whether the role that is the user's, and named after it, has this key. Users have no other role, and roles no ranges.
fn may_read(state: &State, user: &[u8], key: &[u8]) -> bool {
    let Some(user) = etcd::auth::user(state, user) else {
        return false;
    };
    let roles = user.roles.iter();
    let mut roles = roles.filter_map(|name| etcd::auth::role(state, name.as_bytes()));
    roles.any(|role| role.key_permission.iter().any(|it| it.key == key))
}

impl World {
    /// Lets spies look, in worlds with rules.
    pub fn begin_spying(&mut self) {
        if self.governing.is_governed() {
            self.spy_later();
        }
    }

    fn spy_later(&mut self) {
        let after = self.spying.rng.between(20_000, 400_000);
        self.schedule.after_us(after, Event::Spy);
    }

    /// One more spy, or the oldest looks.
    pub fn spy(&mut self) {
        self.spy_later();
        let (members, spies) = (&self.members, &mut self.spying.spies);
        spies.retain(|spy| members[spy.member].life == spy.life);
        let is_full = spies.len() >= SPIES_MAX;
        if !is_full && self.spying.rng.one_in(2) {
            return self.place_spy();
        }
        if self.spying.spies.is_empty() {
            return;
        }
        let spy = self.spying.spies.remove(0);
        match self.look(&spy) {
            true => self.spying.spies.push(spy),
            false => self.withdraw(&spy),
        }
    }

    fn place_spy(&mut self) {
        let running = self.running();
        let Some(member) = self.spying.rng.pick(&running).copied() else {
            return;
        };
        let Some((user, key)) = self.governing.any_key(&mut self.spying.rng) else {
            return;
        };
        let it = &mut self.members[member];
        let life = it.life;
        let Some(process) = it.process.as_mut().filter(|_| !it.is_paused) else {
            return;
        };
        let key = Bytes::from(key);
        let create = pb::WatchCreateRequest {
            key: key.clone(),
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        let request = request.encode_to_vec().into();
        let name = crate::governing::name(user);
        let who = Ok(Some(etcd::auth::user_identity(&process.state, name)));
        let stream = process.desk.open();
        let sent = process
            .desk
            .handle_as(stream, &request, &process.state, &who);
        let is_created = sent.is_ok_and(|sent| {
            let mut sent = sent
                .into_iter()
                .filter_map(|it| pb::WatchResponse::decode(it).ok());
            sent.any(|it| it.created && !it.canceled)
        });
        let spy = Spy {
            user,
            key,
            member,
            life,
            stream,
        };
        match is_created {
            true => self.spying.spies.push(spy),
            false => self.withdraw(&spy),
        }
    }

    /// What a spy is told now; whether it goes on.
    fn look(&mut self, spy: &Spy) -> bool {
        let it = &mut self.members[spy.member];
        if it.is_paused {
            return true;
        }
        let Some(process) = &mut it.process else {
            return false;
        };
        let state = process.state.clone();
        let told = process.desk.poll(spy.stream, &state, BUDGET_BYTES);
        let told: Vec<pb::WatchResponse> = told
            .into_iter()
            .filter_map(|it| pb::WatchResponse::decode(it).ok())
            .collect();
        let name = crate::governing::name(spy.user);
        let may = !etcd::auth::is_enabled(&state) || may_read(&state, &name, &spy.key);
        let n_events: usize = told.iter().map(|it| it.events.len()).sum();
        self.note(spy.member, "spy", || {
            format!("user {} may: {may}, {n_events} events", spy.user)
        });
        if n_events > 0 && !may {
            let what = format!(
                "member {} tells user {} of {:?}",
                spy.member, spy.user, spy.key
            );
            self.violate(Violation::new("no_event_without_permission", what));
        }
        !told.iter().any(|it| it.canceled)
    }

    fn withdraw(&mut self, spy: &Spy) {
        let it = &mut self.members[spy.member];
        if let Some(process) = it.process.as_mut().filter(|_| it.life == spy.life) {
            process.desk.close(spy.stream);
        }
    }
}
