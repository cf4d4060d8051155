//! etcd's messages: types to make requests of, and the methods with their descriptors.

use prost_reflect::{DescriptorPool, MethodDescriptor};
use std::sync::OnceLock;

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
mod generated {
    pub(crate) mod mvccpb {
        include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
    }
    pub(crate) mod authpb {
        include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
    }
    pub(crate) mod etcdserverpb {
        include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
    }
    pub(crate) mod v3lockpb {
        include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
    }
    pub(crate) mod v3electionpb {
        include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
    }
}

pub(crate) use generated::{authpb, etcdserverpb, v3electionpb, v3lockpb};

/// A method by its short name: `KV/Range`.
///
/// # Panics
/// There is none of that name: names stand in this crate alone.
pub(crate) fn method(name: &str) -> MethodDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
        DescriptorPool::decode(bytes.as_ref()).expect("what the build made")
    });
    let (service, method) = name.split_once('/').expect("a service and a method");
    let service = pool.services().find(|known| known.name() == service);
    let found = service.and_then(|service| service.methods().find(|known| known.name() == method));
    found.expect("a method that the protocol has")
}

/// Its path in HTTP/2.
pub(crate) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A pair as answers have it, for tests.
#[cfg(test)]
pub(crate) fn key_value(key: &[u8], lease: i64) -> generated::mvccpb::KeyValue {
    generated::mvccpb::KeyValue {
        key: key.to_vec(),
        lease,
        ..Default::default()
    }
}
