//! Two hundred wait, one key ends, one wakes.

use super::*;
use clock::HybridTime;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use store::{Genesis, KeyRange, Stamp, Store};

fn key(number: usize) -> Bytes {
    Bytes::from(format!("jobs/{number:03}"))
}

/// What happens when these keys are deleted in one transaction.
fn ends(keys: &[Bytes]) -> Vec<(RootId, Event)> {
    let mut store = Store::new(Genesis::default());
    let stamp = Stamp {
        time: HybridTime::new(1, 0),
        ..Default::default()
    };
    let mut txn = store.begin(etcd::ROOT, &stamp);
    keys.iter().for_each(|key| {
        txn.put(key, b"", LeaseId::NONE);
    });
    txn.finish();
    let mut txn = store.begin(etcd::ROOT, &stamp);
    for key in keys {
        txn.delete(&KeyRange::single(key.clone()));
    }
    txn.finish().events
}

fn is_ended(wait: &Wait) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(pin!(wait.ended()).poll(&mut cx), Poll::Ready(()))
}

#[test]
fn the_end_of_a_key_wakes_who_waits_for_it_and_nobody_else() {
    let contenders = Rc::new(Contenders::default());
    let mut waits: Vec<Wait> = (1..200)
        .map(|at| contenders.wait([key(at - 1), key(at)]))
        .collect();
    // The first holds the lock and waits for nothing; each of the others is woken once, by the one before.
    for at in 0..199 {
        let n_woken = contenders.publish(&ends(&[key(at)]));
        assert_eq!(n_woken, 1, "{at}");
        let woken: Vec<bool> = waits.iter().map(is_ended).collect();
        assert!(woken[0] && !woken[1..].contains(&true), "{at}");
        waits.remove(0);
    }
    assert_eq!(contenders.publish(&ends(&[key(199)])), 0);
    assert!(contenders.waiting.borrow().is_empty());
}

#[test]
fn who_loses_its_own_key_hears_it_at_once() {
    let contenders = Rc::new(Contenders::default());
    let wait = contenders.wait([key(0), key(1)]);
    assert_eq!(contenders.publish(&ends(&[key(2)])), 0);
    assert!(!is_ended(&wait));
    assert_eq!(contenders.publish(&ends(&[key(1)])), 1);
    assert!(is_ended(&wait));
}

#[test]
fn a_wait_that_is_dropped_waits_for_nothing() {
    let contenders = Rc::new(Contenders::default());
    drop(contenders.wait([key(0), key(1)]));
    assert_eq!(contenders.publish(&ends(&[key(0), key(1)])), 0);
    assert!(contenders.waiting.borrow().is_empty());
}

#[test]
fn a_new_state_wakes_all() {
    let contenders = Rc::new(Contenders::default());
    let waits = [1, 2].map(|at| contenders.wait([key(0), key(at)]));
    contenders.restored();
    assert!(waits.iter().all(is_ended));
}

#[test]
fn the_slots_are_counted_and_a_call_that_leaves_keeps_its_own() {
    let contenders = Rc::new(Contenders::default());
    let mut slots: Vec<Slot> = std::iter::from_fn(|| contenders.take_slot()).collect();
    assert_eq!(slots.len(), CONTENDERS_MAX);
    let slot = slots.pop().expect("one of many");
    contenders.leave(Leaving {
        contender: None,
        granted: None,
        _slot: slot,
    });
    assert!(contenders.take_slot().is_none());
    let mut cx = Context::from_waker(Waker::noop());
    let left = pin!(contenders.left()).poll(&mut cx);
    let Poll::Ready(left) = left else {
        panic!("one has left");
    };
    drop(left);
    assert!(contenders.take_slot().is_some());
}
