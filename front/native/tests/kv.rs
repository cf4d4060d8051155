//! Keys, conditions and transactions against a model that is a map with all its pasts.

mod support;

use api::proto::{
    Condition, DeleteOperation, KeyValue, Keys, Operation, OperationResult, PutOperation,
    RangeOperation, TxnRequest, Write,
};
use base::{LeaseId, Revision, Rng};
use bytes::Bytes;
use native::{
    AnswerKind, At, KEYS, KEYS_ROOT, Query, RangeQuery, Refusal, Refused, Reply, Request,
};
use std::collections::BTreeMap;
use store::KeyRange;
use support::Member;

#[derive(Clone, Debug, PartialEq)]
struct Kv {
    value: Bytes,
    created: u64,
    modified: u64,
    version: u64,
    lease: i64,
}

type Map = BTreeMap<Bytes, Kv>;

#[derive(Clone)]
struct Model {
    now: Map,
    revision: u64,
    past: BTreeMap<u64, Map>,
}

fn said(key: &Bytes, kv: &Kv) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: kv.value.clone(),
        create_revision: kv.created,
        mod_revision: kv.modified,
        version: kv.version,
        lease: kv.lease,
        time: String::new(),
    }
}

fn in_keys(keys: &Keys, key: &[u8]) -> bool {
    if keys.all {
        true
    } else if !keys.key.is_empty() {
        key == keys.key
    } else if !keys.prefix.is_empty() {
        key.starts_with(&keys.prefix)
    } else {
        key >= &keys.start[..] && (keys.end.is_empty() || key < &keys.end[..])
    }
}

impl Model {
    fn holds(&self, condition: &Condition) -> bool {
        let kv = self.now.get(&condition.key);
        let number = |said: Option<u64>, of: fn(&Kv) -> u64| match said {
            Some(said) => said == kv.map_or(0, of),
            None => true,
        };
        number(condition.mod_revision, |kv| kv.modified)
            && number(condition.create_revision, |kv| kv.created)
            && number(condition.version, |kv| kv.version)
            && condition.exists.is_none_or(|exists| exists == kv.is_some())
            && match (&condition.value, kv) {
                (Some(value), Some(kv)) => *value == kv.value,
                (Some(_), None) => false,
                (None, _) => true,
            }
    }

    /// What the operations did, and whether they wrote.
    fn run(&mut self, operations: &[Operation]) -> Vec<OperationResult> {
        let next = self.revision + 1;
        let mut wrote = false;
        let mut results = Vec::new();
        for operation in operations {
            let mut result = OperationResult::default();
            if let Some(put) = &operation.put {
                let was = self.now.get(&put.key).cloned();
                result.count = 1;
                if put.previous {
                    result.kvs.extend(was.as_ref().map(|kv| said(&put.key, kv)));
                }
                let kv = Kv {
                    value: put.value.clone(),
                    created: was.as_ref().map_or(next, |kv| kv.created),
                    modified: next,
                    version: was.map_or(1, |kv| kv.version + 1),
                    lease: put.lease,
                };
                self.now.insert(put.key.clone(), kv);
                wrote = true;
            }
            if let Some(delete) = &operation.delete {
                let keys = delete.keys.as_ref().expect("keys");
                let doomed: Vec<Bytes> = self
                    .now
                    .keys()
                    .filter(|key| in_keys(keys, key))
                    .cloned()
                    .collect();
                result.count = doomed.len() as u64;
                for key in doomed {
                    let kv = self.now.remove(&key).expect("it was there");
                    if delete.previous {
                        result.kvs.push(said(&key, &kv));
                    }
                    wrote = true;
                }
            }
            if let Some(range) = &operation.range {
                let keys = range.keys.as_ref().expect("keys");
                let found = self.now.iter().filter(|(key, _)| in_keys(keys, key));
                let mut kvs: Vec<KeyValue> = found.map(|(key, kv)| said(key, kv)).collect();
                result.count = kvs.len() as u64;
                if range.descending {
                    kvs.reverse();
                }
                if range.limit > 0 {
                    kvs.truncate(range.limit as usize);
                }
                result.kvs = kvs;
            }
            results.push(result);
        }
        self.took(wrote);
        results
    }

    fn took(&mut self, wrote: bool) {
        if wrote {
            self.revision += 1;
            self.past.insert(self.revision, self.now.clone());
        }
    }
}

const KEYS_OF: [&str; 6] = ["a", "aa", "ab", "b", "ba", "c\u{7f}"];

fn key(rng: &mut Rng) -> Bytes {
    Bytes::from_static(rng.pick(&KEYS_OF).expect("there are keys").as_bytes())
}

fn keys(rng: &mut Rng) -> Keys {
    let mut keys = Keys::default();
    match rng.below(5) {
        0 => keys.all = true,
        1 => keys.prefix = key(rng).slice(..1),
        2 => keys.start = key(rng),
        3 => {
            keys.start = key(rng);
            keys.end = Bytes::from([&keys.start[..], b"b"].concat());
        }
        _ => keys.key = key(rng),
    }
    keys
}

fn operation(rng: &mut Rng, leases: &[i64]) -> Operation {
    let mut operation = Operation::default();
    match rng.below(4) {
        0 => {
            operation.delete = Some(DeleteOperation {
                keys: Some(keys(rng)),
                previous: rng.one_in(2),
            });
        }
        1 => {
            operation.range = Some(RangeOperation {
                keys: Some(keys(rng)),
                limit: rng.below(4) as u32,
                descending: rng.one_in(2),
            });
        }
        _ => {
            operation.put = Some(PutOperation {
                key: key(rng),
                value: rng.below(4).to_string().into(),
                lease: *rng.pick(leases).expect("there are leases"),
                previous: rng.one_in(2),
            });
        }
    }
    operation
}

fn condition(rng: &mut Rng, model: &Model) -> Condition {
    let key = key(rng);
    let kv = model.now.get(&key);
    let mut condition = Condition {
        key: key.clone(),
        ..Condition::default()
    };
    let about = |rng: &mut Rng, truth: u64| if rng.one_in(4) { rng.below(9) } else { truth };
    match rng.below(5) {
        0 => condition.mod_revision = Some(about(rng, kv.map_or(0, |kv| kv.modified))),
        1 => condition.create_revision = Some(about(rng, kv.map_or(0, |kv| kv.created))),
        2 => condition.version = Some(about(rng, kv.map_or(0, |kv| kv.version))),
        3 => condition.value = Some(rng.below(4).to_string().into()),
        _ => condition.exists = Some(kv.is_some() != rng.one_in(4)),
    }
    condition
}

/// Whether a list writes a key twice, said slowly.
fn writes_twice(operations: &[Operation]) -> bool {
    operations.iter().enumerate().any(|(at, operation)| {
        let Some(put) = &operation.put else {
            return false;
        };
        operations.iter().enumerate().any(|(other, it)| {
            let is_put = it.put.as_ref().is_some_and(|it| it.key == put.key);
            let is_deleted = it
                .delete
                .as_ref()
                .is_some_and(|delete| in_keys(delete.keys.as_ref().expect("keys"), &put.key));
            other != at && (is_put || is_deleted)
        })
    })
}

fn txn(rng: &mut Rng, model: &Model, leases: &[i64]) -> TxnRequest {
    let list = |rng: &mut Rng| {
        let n = rng.below(4);
        (0..n).map(|_| operation(rng, leases)).collect::<Vec<_>>()
    };
    let (then, otherwise) = (list(rng), list(rng));
    let conditions = (0..rng.below(3)).map(|_| condition(rng, model)).collect();
    TxnRequest {
        write: Some(Write {
            conditions,
            ..Write::default()
        }),
        then,
        otherwise,
    }
}

#[test]
fn transactions_do_what_a_map_would_do() {
    let (mut n_done, mut n_twice, mut n_otherwise) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut member = Member::new();
        let mut model = Model {
            now: Map::new(),
            revision: 1,
            past: BTreeMap::from([(1, Map::new())]),
        };
        let mut granted = [false; 4];
        let mut compacted = 0;
        for step in 0..200 {
            let story = format!("seed {seed}, step {step}");
            match rng.below(12) {
                0 => {
                    let lease = rng.between(1, 3) as i64;
                    let is_granted = &mut granted[lease as usize];
                    match std::mem::replace(is_granted, !*is_granted) {
                        true => {
                            member.expire(lease);
                            let before = model.now.len();
                            model.now.retain(|_, kv| kv.lease != lease);
                            model.took(before != model.now.len());
                        }
                        false => member.grant(lease),
                    }
                }
                1 if rng.one_in(4) => {
                    let to = rng.between(1, model.revision + 1);
                    let request = Request::Compact(api::proto::CompactRequest { revision: to });
                    let outcome = member.apply(KEYS, &request.encode());
                    let refused = Refused::of_outcome(&outcome).map(|refused| refused.refusal);
                    let expected = match to {
                        to if to > model.revision => Some(Refusal::Future),
                        to if to < compacted => Some(Refusal::Compacted),
                        _ => None,
                    };
                    assert_eq!(refused, expected, "{story}");
                    if expected.is_none() {
                        compacted = to;
                    }
                }
                _ => {
                    let leases: Vec<i64> = (0..4).filter(|it| *it == 0 || rng.one_in(2)).collect();
                    let request = txn(&mut rng, &model, &leases);
                    let write = request.write.as_ref().expect("a write");
                    let succeeded = write.conditions.iter().all(|it| model.holds(it));
                    let list = match succeeded {
                        true => &request.then,
                        false => &request.otherwise,
                    };
                    let lacks_lease = list.iter().any(|it| {
                        let lease = it.put.as_ref().map_or(0, |put| put.lease);
                        lease != 0 && !granted[lease as usize]
                    });
                    let expected =
                        if writes_twice(&request.then) || writes_twice(&request.otherwise) {
                            n_twice += 1;
                            Err(Refusal::WrittenTwice)
                        } else if lacks_lease {
                            Err(Refusal::NoLease)
                        } else {
                            n_otherwise += usize::from(!succeeded);
                            let list = list.clone();
                            Ok(model.run(&list))
                        };
                    let bytes = Request::Txn(request).encode();
                    let answer = member.propose(KEYS, &bytes, AnswerKind::Txn);
                    match (answer, expected) {
                        (Ok(Reply::Txn(answer)), Ok(results)) => {
                            n_done += 1;
                            assert_eq!(answer.succeeded, succeeded, "{story}");
                            assert_eq!(answer.results, results, "{story}");
                        }
                        (Err(fault), Err(refusal)) => {
                            assert_eq!(fault.code(), refusal.code(), "{story}");
                        }
                        (answer, expected) => panic!("{story}: {answer:?}, not {expected:?}"),
                    }
                }
            }
            assert_eq!(
                member.state().revision(),
                Revision(model.revision),
                "{story}"
            );
            check_reads(&member, &model, compacted, &mut rng, &story);
        }
        member.state().check();
    }
    assert!(n_done > 2000 && n_twice > 200 && n_otherwise > 200);
}

/// A range at some revision, page by page, is what the map was.
fn check_reads(member: &Member, model: &Model, compacted: u64, rng: &mut Rng, story: &str) {
    let at = rng.between(compacted.max(1), model.revision);
    let descending = rng.one_in(2);
    let mut found = Vec::new();
    let mut range = KeyRange::all();
    loop {
        let query = Query::Range(RangeQuery {
            range: range.clone(),
            at: At::Revision(Revision(at)),
            rows_max: 2,
            bytes_max: u64::MAX,
            descending,
            keys_only: false,
            count_only: false,
        });
        let Ok(Reply::Range(page)) = member.read(&query) else {
            panic!("{story}: no page at {at}");
        };
        assert_eq!(page.header.as_ref().map(|it| it.revision), Some(at));
        found.extend(page.kvs.iter().cloned());
        if !page.more {
            assert_eq!(page.count as usize, page.kvs.len(), "{story}");
            break;
        }
        assert_eq!(page.kvs.len(), 2, "{story}");
        range = match descending {
            true => KeyRange::between(Bytes::new(), page.next.clone()),
            false => KeyRange::from(page.next.clone()),
        };
    }
    let mut expected: Vec<KeyValue> = model.past[&at]
        .iter()
        .map(|(key, kv)| said(key, kv))
        .collect();
    if descending {
        expected.reverse();
    }
    assert_eq!(found, expected, "{story}, at {at}");
    if compacted > 1 {
        let query = Query::Get {
            key: "a".into(),
            at: At::Revision(Revision(compacted - 1)),
        };
        let fault = member.read(&query).expect_err("it is compacted");
        assert_eq!(
            (fault.code(), fault.0.revision),
            (api::Code::Compacted, Some(compacted))
        );
    }
}

#[test]
fn a_transaction_that_only_reads_says_the_same_through_the_log_and_beside_it() {
    let mut rng = Rng::new(11);
    let mut member = Member::new();
    let model = Model {
        now: Map::new(),
        revision: 1,
        past: BTreeMap::new(),
    };
    for _ in 0..300 {
        let mut request = txn(&mut rng, &model, &[0]);
        let bytes = Request::Txn(request.clone()).encode();
        let _ = member.propose(KEYS, &bytes, AnswerKind::Txn);
        for list in [&mut request.then, &mut request.otherwise] {
            list.retain(|it| it.range.is_some());
        }
        let bytes = Request::Txn(request.clone()).encode();
        let before = member.state().revision();
        let logged = member.propose(KEYS, &bytes, AnswerKind::Txn);
        assert_eq!(member.state().revision(), before, "no revision was taken");
        let read = member.read(&Query::Txn(Box::new(request)));
        match (logged, read) {
            (Ok(Reply::Txn(mut logged)), Ok(Reply::Txn(mut read))) => {
                (logged.header, read.header) = (None, None);
                assert_eq!(logged, read);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_there_before_is_bounded() {
    let mut member = Member::new();
    for n in 0..5 {
        let request = api::proto::PutRequest {
            key: format!("k{n}").into(),
            value: vec![b'x'; 1024 * 1024].into(),
            ..Default::default()
        };
        assert!(
            member
                .apply(KEYS, &Request::Put(request).encode())
                .is_done()
        );
    }
    let all = Some(Keys {
        all: true,
        ..Keys::default()
    });
    let mut request = api::proto::DeleteRequest {
        keys: all.clone(),
        previous: true,
        write: None,
    };
    let outcome = member.apply(KEYS, &Request::Delete(request.clone()).encode());
    assert_eq!(outcome.status, Refusal::PreviousTooLarge as u16);
    let txn = TxnRequest {
        then: vec![Operation {
            range: Some(RangeOperation {
                keys: all.clone(),
                ..RangeOperation::default()
            }),
            ..Operation::default()
        }],
        ..TxnRequest::default()
    };
    let Ok(Reply::Txn(answer)) = member.read(&Query::Txn(Box::new(txn))) else {
        panic!("it can be read");
    };
    assert_eq!(
        (answer.results[0].kvs.len(), answer.results[0].count),
        (3, 5)
    );
    request.previous = false;
    assert!(
        member
            .apply(KEYS, &Request::Delete(request).encode())
            .is_done()
    );
    assert_eq!(
        member.state().root(KEYS_ROOT).count(&KeyRange::all(), None),
        Ok(0)
    );
    assert!(member.state().lease(LeaseId(1)).is_none());
}
