//! `etcd::WatchDesk::handle`: the requests of a client's watch stream, with writes in between.
//!
//! Each part of the input is one `WatchRequest` on stream `tag % 2`; a tag of 8 and more is something
//! else that happens: a put, a deletion, a compaction, time.

use super::{Target, Verdict};
use crate::parts::{self, Part, part};
use crate::world::{World, body};
use crate::{heap, mutate};
use base::Rng;
use bytes::Bytes;
use etcd::proto::etcdserverpb as pb;
use etcd::proto::etcdserverpb::watch_request::RequestUnion as Union;
use etcd::{Method, StreamId};
use prost::Message;
use std::collections::BTreeMap;

/// See the module.
pub const TARGET: Target = Target {
    name: "watch_desk",
    run,
    corpus,
    mutate,
    one_in: 2,
};

const PUT: u8 = 8;
const DELETE: u8 = 9;
const COMPACT: u8 = 10;
const TICK: u8 = 11;
const RESTORED: u8 = 12;

/// What one stream was told.
#[derive(Default)]
struct Listener {
    /// For each watch that is open, the revision of its last events.
    open: BTreeMap<i64, i64>,
    /// For each watch and key, the version of the last put.
    versions: BTreeMap<(i64, Bytes), i64>,
}

impl Listener {
    /// A watch is created before it says anything, its events rise, and after its end it is
    /// silent. No version of a key is left out.
    fn hear(&mut self, message: Bytes) {
        let response = pb::WatchResponse::decode(message).expect("a response is a response");
        let id = response.watch_id;
        if response.created {
            if !response.canceled {
                assert!(self.open.insert(id, 0).is_none(), "watch {id} twice");
            }
            return;
        }
        // Progress of the whole stream.
        if id == -1 && response.events.is_empty() {
            return;
        }
        let last = self.open.get_mut(&id).expect("a watch that was created");
        for event in &response.events {
            let kv = event.kv.as_ref().expect("an event is of a key");
            // Several keys may have changed in one revision.
            assert!(kv.mod_revision >= *last, "{} after {last}", kv.mod_revision);
            *last = kv.mod_revision;
            if event.r#type == 0 {
                // The next version, or the first one of another life.
                let before = self.versions.insert((id, kv.key.clone()), kv.version);
                let follows = kv.version == 1 || before.is_none_or(|v| kv.version == v + 1);
                assert!(follows, "version {} after {before:?}: a gap", kv.version);
            }
        }
        if response.canceled {
            self.open.remove(&id);
            self.versions.retain(|(watch, _), _| *watch != id);
        }
    }
}

/// A malformed request ends its stream and nothing else. What each stream hears makes sense, polling
/// ends, and when all streams are closed the desk knows no watch any more.
pub fn run(input: &[u8]) -> Verdict {
    let mut world = World::lived_in();
    let mut streams = [world.desk.open(), world.desk.open()];
    let mut listeners = [Listener::default(), Listener::default()];
    let mut all_accepted = !input.is_empty();
    for (n, request) in parts::unpack(input).into_iter().take(48).enumerate() {
        let at = usize::from(request.tag % 2);
        match request.tag {
            0..PUT => {
                let bytes = Bytes::from(request.bytes);
                let bytes_max = 65_536 + 64 * bytes.len();
                let handled = heap::bounded(bytes_max, "a watch request", || {
                    world.desk.handle(streams[at], &bytes, &world.state)
                });
                match handled {
                    Ok(said) => said.into_iter().for_each(|m| listeners[at].hear(m)),
                    Err(_) => {
                        all_accepted = false;
                        world.desk.close(streams[at]);
                        streams[at] = world.desk.open();
                        listeners[at] = Listener::default();
                    }
                }
            }
            PUT => world.put(["a", "b", "dir/x"][n % 3], "later", 0),
            DELETE => world.delete("a"),
            COMPACT => compact(&mut world),
            TICK => {
                let now = world.now();
                for (stream, said) in world.desk.tick(now) {
                    let at = usize::from(stream == streams[1]);
                    said.into_iter().for_each(|m| listeners[at].hear(m));
                }
            }
            RESTORED => world.desk.restored(&world.state),
            _ => {}
        }
        for (stream, listener) in streams.iter().zip(&mut listeners) {
            drain(&mut world, *stream, listener);
        }
    }
    for stream in streams {
        world.desk.close(stream);
    }
    assert_eq!(world.desk.n_watches(), 0, "nobody watches");
    assert_eq!(world.desk.n_streams(), 0, "nobody listens");
    Verdict::of(all_accepted)
}

fn drain(world: &mut World, stream: StreamId, listener: &mut Listener) {
    let mut turns = 0;
    while world.desk.is_ready(stream) {
        turns += 1;
        assert!(turns < 10_000, "a stream that is never drained");
        let said = world.desk.poll(stream, &world.state, 4096);
        said.into_iter().for_each(|m| listener.hear(m));
    }
}

fn compact(world: &mut World) {
    let revision = world.state.revision().0 as i64 - 2;
    let request = pb::CompactionRequest {
        revision,
        physical: false,
    };
    // It may be compacted already.
    let _ = world.call(Method::Compact, body(&request));
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if rng.one_in(16) {
        return mutate::bytes(input, other, rng);
    }
    let mut requests = parts::unpack(input);
    let other = parts::unpack(other);
    for _ in 0..rng.between(1, 4) {
        parts::edit(&mut requests, &other, u64::from(RESTORED) + 1, rng);
    }
    *input = parts::pack(&requests);
}

fn request(stream: u8, union: Union) -> Part {
    let request = pb::WatchRequest {
        request_union: Some(union),
    };
    part(stream, body(&request))
}

fn corpus() -> Vec<Vec<u8>> {
    let plain = pb::WatchCreateRequest {
        key: "a".into(),
        ..Default::default()
    };
    let all = pb::WatchCreateRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        start_revision: 8,
        progress_notify: true,
        prev_kv: true,
        watch_id: 5,
        fragment: true,
        ..Default::default()
    };
    let filtered = pb::WatchCreateRequest {
        key: "dir/".into(),
        range_end: "dir0".into(),
        filters: vec![0, 1],
        ..Default::default()
    };
    let old = pb::WatchCreateRequest {
        start_revision: 1,
        ..plain.clone()
    };
    let future = pb::WatchCreateRequest {
        start_revision: 40,
        ..plain.clone()
    };
    let create = Union::CreateRequest;
    let cancel = |watch_id| Union::CancelRequest(pb::WatchCancelRequest { watch_id });
    let progress = || Union::ProgressRequest(pb::WatchProgressRequest {});
    let happens = |tag| part(tag, []);
    let stories = [
        vec![
            request(0, create(plain.clone())),
            happens(PUT),
            happens(PUT),
            happens(DELETE),
        ],
        vec![
            request(0, create(all.clone())),
            request(0, progress()),
            happens(PUT),
        ],
        vec![request(1, create(old)), happens(PUT)],
        vec![
            request(0, create(filtered)),
            request(0, create(plain)),
            request(1, create(future)),
            happens(PUT),
            request(0, cancel(0)),
            happens(TICK),
            happens(COMPACT),
            happens(TICK),
            request(0, progress()),
            request(0, create(all)),
            happens(PUT),
            happens(RESTORED),
            happens(PUT),
            request(0, cancel(5)),
        ],
    ];
    stories.iter().map(|story| parts::pack(story)).collect()
}
