//! Watches while rules change, in generated stories, against a model that knows no intervals: a watch tells what its user may
//! read at that moment, all of it, and ends with the first change that takes a part of it away.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::Rng;
use bytes::Bytes;
use etcd::proto::{authpb, etcdserverpb as pb};
use etcd::{Method, StreamId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use support::World;

const STORIES: u64 = 1_000;
const STEPS: u64 = 200;

const USERS: [&str; 3] = ["ann", "bob", "eve"];
const ROLES: [&str; 3] = ["r1", "r2", "r3"];

/// All keys. Those with a tilde stand for all others of their letter: ranges have them, and nobody is granted one alone.
const KEYS: [&str; 9] = ["a1", "a2", "a~", "b1", "b2", "b~", "c1", "c2", "c~"];

/// What can be granted and watched: single keys, letters, and all three letters.
const RANGES: [(&str, &str); 10] = [
    ("a1", ""),
    ("a2", ""),
    ("b1", ""),
    ("b2", ""),
    ("c1", ""),
    ("a", "b"),
    ("b", "c"),
    ("c", "d"),
    ("a", "c"),
    ("a", "d"),
];

type Keys = BTreeSet<&'static str>;
type Range = (&'static str, &'static str);

fn keys_of((key, end): Range) -> Keys {
    let is_in = |it: &&str| match end {
        "" => *it == key,
        end => *it >= key && *it < end,
    };
    KEYS.iter().copied().filter(is_in).collect()
}

/// Who may read what.
#[derive(Default)]
struct Model {
    roles: BTreeMap<&'static str, BTreeSet<Range>>,
    users: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Model {
    fn readable(&self, user: &str) -> Keys {
        let roles = self.users.get(user).into_iter().flatten();
        let ranges = roles.flat_map(|role| self.roles.get(role).into_iter().flatten());
        ranges.flat_map(|range| keys_of(*range)).collect()
    }

    fn may_watch(&self, user: &str, range: Range) -> bool {
        keys_of(range).is_subset(&self.readable(user))
    }
}

/// A watch that was created, what it owes, and whether a change has ended it.
struct Watch {
    stream: StreamId,
    user: &'static str,
    range: Range,
    owed: Vec<String>,
    told: Vec<String>,
    is_over: bool,
    was_canceled: bool,
}

struct Story {
    world: World,
    rng: Rng,
    model: Model,
    watches: Vec<Watch>,
    n_puts: u64,
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut story = Story {
            world: World::new(),
            rng: Rng::new(seed),
            model: Model::default(),
            watches: Vec::new(),
            n_puts: 0,
        };
        story.add_user("root");
        let role = pb::AuthUserGrantRoleRequest {
            user: "root".into(),
            role: "root".into(),
        };
        story.ask(Method::UserGrantRole, &role);
        story.ask(Method::AuthEnable, &pb::AuthEnableRequest {});
        for user in USERS {
            story.add_user(user);
        }
        for role in ROLES {
            story.add_role(role);
        }
        story
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize]
    }

    /// root asks; whether it was done.
    fn ask(&mut self, method: Method, request: &impl Message) -> bool {
        if etcd::auth::is_enabled(&self.world.state) {
            self.world.ask_as(Some("root"));
        }
        let asked = self
            .world
            .call_bytes(method, request.encode_to_vec().into());
        asked.is_ok()
    }

    fn add_user(&mut self, name: &'static str) {
        let options = Some(authpb::UserAddOptions { no_password: true });
        let name_of = name.to_owned();
        let add = pb::AuthUserAddRequest {
            name: name_of,
            options,
            ..Default::default()
        };
        if self.ask(Method::UserAdd, &add) && name != "root" {
            self.model.users.insert(name, BTreeSet::new());
        }
    }

    fn add_role(&mut self, name: &'static str) {
        let add = pb::AuthRoleAddRequest { name: name.into() };
        if self.ask(Method::RoleAdd, &add) {
            self.model.roles.insert(name, BTreeSet::new());
        }
    }

    /// One change of the rules, or a try.
    fn change(&mut self) {
        let (user, role, range) = (self.pick(&USERS), self.pick(&ROLES), self.pick(&RANGES));
        let pair = pb::AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        };
        match self.rng.below(12) {
            0..=3 => {
                let perm = authpb::Permission {
                    perm_type: *[0, 2].get(self.rng.below(2) as usize).unwrap(),
                    key: bytes(range.0),
                    range_end: bytes(range.1),
                };
                let name = role.into();
                let perm = Some(perm);
                let grant = pb::AuthRoleGrantPermissionRequest { name, perm };
                if self.ask(Method::RoleGrantPermission, &grant) {
                    self.model.roles.get_mut(role).unwrap().insert(range);
                }
            }
            4..=5 => {
                let revoke = pb::AuthRoleRevokePermissionRequest {
                    role: role.into(),
                    key: bytes(range.0),
                    range_end: bytes(range.1),
                };
                if self.ask(Method::RoleRevokePermission, &revoke) {
                    self.model.roles.get_mut(role).unwrap().remove(&range);
                }
            }
            6..=8 => {
                if self.ask(Method::UserGrantRole, &pair) {
                    self.model.users.get_mut(user).unwrap().insert(role);
                }
            }
            9 => {
                if self.ask(Method::UserRevokeRole, &pair) {
                    self.model.users.get_mut(user).unwrap().remove(role);
                }
            }
            10 => {
                let delete = pb::AuthRoleDeleteRequest { role: role.into() };
                if self.ask(Method::RoleDelete, &delete) {
                    self.model.roles.remove(role);
                    for roles in self.model.users.values_mut() {
                        roles.remove(role);
                    }
                } else {
                    self.add_role(role);
                }
            }
            _ => {
                let delete = pb::AuthUserDeleteRequest { name: user.into() };
                if self.ask(Method::UserDelete, &delete) {
                    self.model.users.remove(user);
                } else {
                    self.add_user(user);
                }
            }
        }
        for watch in &mut self.watches {
            watch.is_over |= !self.model.may_watch(watch.user, watch.range);
        }
    }

    fn put(&mut self) {
        let key = self.pick(&KEYS);
        self.n_puts += 1;
        let value = format!("{key}={}", self.n_puts);
        let put = pb::PutRequest {
            key: bytes(key),
            value: bytes(&value),
            ..Default::default()
        };
        assert!(self.ask(Method::Put, &put));
        for watch in self.watches.iter_mut().filter(|watch| !watch.is_over) {
            if keys_of(watch.range).contains(key) {
                watch.owed.push(value.clone());
            }
        }
    }

    fn watch(&mut self) {
        let (user, range) = (self.pick(&USERS), self.pick(&RANGES));
        let create = pb::WatchCreateRequest {
            key: bytes(range.0),
            range_end: bytes(range.1),
            ..Default::default()
        };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let request = pb::WatchRequest {
            request_union: Some(union),
        };
        let stream = self.world.desk.open();
        self.world.ask_as(Some(user));
        let created = self.world.watch(stream, request).remove(0);
        let may = self.model.may_watch(user, range);
        assert_eq!(created.canceled, !may, "{user} {range:?}: {created:?}");
        if may {
            self.watches.push(Watch {
                stream,
                user,
                range,
                owed: Vec::new(),
                told: Vec::new(),
                is_over: false,
                was_canceled: false,
            });
        }
    }

    /// A watch says what it has. What it could not say in time, before a change, it must not say now.
    fn drain(&mut self, at: usize) {
        let told = self.world.drain(self.watches[at].stream);
        let watch = &mut self.watches[at];
        for response in told {
            if response.canceled {
                assert!(watch.is_over && !watch.was_canceled, "ended for nothing");
                assert!(response.cancel_reason.ends_with("permission denied"));
                watch.was_canceled = true;
            }
            for event in response.events {
                assert!(!watch.is_over, "{} hears of {event:?}", watch.user);
                let kv = event.kv.unwrap();
                watch
                    .told
                    .push(String::from_utf8(kv.value.to_vec()).unwrap());
            }
        }
        assert_eq!(watch.was_canceled, watch.is_over);
        if watch.is_over {
            assert!(watch.owed.starts_with(&watch.told), "in order");
        } else {
            assert_eq!(watch.told, watch.owed, "all that may be read is told");
        }
    }

    fn tell(mut self) -> (usize, usize, usize) {
        for _ in 0..STEPS {
            match self.rng.below(8) {
                0..=2 => self.change(),
                3..=4 => self.put(),
                5..=6 => self.watch(),
                _ if self.watches.is_empty() => {}
                _ => {
                    let at = self.rng.below(self.watches.len() as u64) as usize;
                    self.drain(at);
                }
            }
        }
        (0..self.watches.len()).for_each(|at| self.drain(at));
        let n_over = self.watches.iter().filter(|watch| watch.is_over).count();
        let n_told = self.watches.iter().map(|watch| watch.told.len()).sum();
        (self.watches.len(), n_over, n_told)
    }
}

#[test]
fn watches_tell_what_may_be_read_while_rules_change() {
    let (mut n_watches, mut n_over, mut n_told) = (0, 0, 0);
    for seed in 0..STORIES {
        let (watches, over, told) = Story::new(seed).tell();
        n_watches += watches;
        n_over += over;
        n_told += told;
    }
    println!("{STORIES} stories, {n_watches} watches, {n_over} ended, {n_told} events");
    // Watches that all end at once, or never, would show little.
    let stories = STORIES as usize;
    assert!(n_over > stories && n_watches - n_over > stories / 2 && n_told > stories);
}
