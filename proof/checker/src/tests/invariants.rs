//! Small applications on the toy store: what adds up passes, what was doctored does not.

use super::toy::Toy;
use crate::history::*;
use crate::invariant::{self, Invariant, Look, bank, cycle, fence, sign_up, tellers};
use base::{LeaseId, Revision};

/// One operation after the other, ten moments each, on the toy store.
#[derive(Default)]
struct Story {
    toy: Toy,
}

impl Story {
    fn ask(&mut self, client: u64, request: Request) -> usize {
        let number = self.toy.history.len() as u64 + 1;
        let call = Time(number * 10);
        let (revision, answer) = self.toy.apply(call, &request);
        self.toy.history.push(Operation {
            number,
            client,
            call,
            returned: Time(call.0 + 5),
            request,
            outcome: Outcome::Answered { revision, answer },
        });
        number as usize - 1
    }

    fn look(&mut self) -> usize {
        let span = invariant::span();
        self.ask(9, whole(span))
    }

    fn rows(&mut self, at: usize) -> &mut Vec<Row> {
        match &mut self.toy.history[at].outcome {
            Outcome::Answered {
                answer: Answer::Rows(rows),
                ..
            } => rows,
            other => panic!("{other:?} has no rows"),
        }
    }

    /// The claim that is broken, or "" when all is well.
    fn broken(&self, invariant: Invariant) -> &'static str {
        let rows = self.toy.rows.values().cloned().collect();
        let end = Look::at_the_end("the toy", Revision(self.toy.revision), rows);
        match invariant::check(invariant, &self.toy.history, &[end]) {
            Ok(()) => "",
            Err(violation) => violation.claim,
        }
    }
}

fn whole(span: Span) -> Request {
    Request::Range {
        span,
        at: None,
        level: Level::Linearizable,
    }
}

fn put(key: Key, value: Value) -> Request {
    Request::Put {
        key,
        value,
        lease: LeaseId::NONE,
    }
}

fn always(then: Vec<Request>) -> Request {
    Request::Txn {
        compares: Vec::new(),
        then,
        otherwise: Vec::new(),
    }
}

fn if_absent(key: Key, then: Vec<Request>) -> Request {
    Request::Txn {
        compares: vec![Compare {
            key,
            target: Target::Modified(Revision(0)),
            relation: Relation::Equal,
        }],
        then,
        otherwise: vec![whole(invariant::span())],
    }
}

// ---- bank --------------------------------------------------------------------------------------

const BANK: Invariant = Invariant::Bank { n_accounts: 3 };

/// Three accounts, one transfer, and looks before, between and after: 0, 2 and 4.
fn bank() -> Story {
    let mut story = Story::default();
    story.look();
    let opened = (0..3).map(|n| put(bank::account(n), bank::value(100, &format!("open{n}"))));
    story.ask(1, always(opened.collect()));
    story.look();
    let (from, to) = (bank::value(70, "t1"), bank::value(130, "t2"));
    story.ask(
        1,
        always(vec![put(bank::account(0), from), put(bank::account(2), to)]),
    );
    story.look();
    story
}

#[test]
fn a_bank_that_keeps_its_money_passes_and_each_doctored_one_is_rejected() {
    assert_eq!(bank().broken(BANK), "");
    let doctored = |doctor: &dyn Fn(&mut Story)| {
        let mut story = bank();
        doctor(&mut story);
        story.broken(BANK)
    };
    // A read that mixes two revisions: one account as it was before the transfer.
    let mixed = doctored(&|story| story.rows(4)[0].value = bank::value(100, "open0"));
    assert_eq!(mixed, "money_is_neither_made_nor_lost");
    let dropped = doctored(&|story| drop(story.rows(4).remove(1)));
    assert_eq!(dropped, "no_account_is_lost");
    let gone = doctored(&|story| story.rows(4).clear());
    assert_eq!(gone, "what_was_opened_stays");
    let overdrawn = doctored(&|story| story.rows(2)[0].value = b"-20 t1".to_vec());
    assert_eq!(overdrawn, "no_account_is_overdrawn");
    // Half of the transfer is lost on the way to the last state.
    let torn = doctored(&|story| {
        let row = story.toy.rows.get_mut(&bank::account(2));
        row.expect("it was opened").value = bank::value(100, "open2");
    });
    assert_eq!(torn, "money_is_neither_made_nor_lost");
}

// ---- cycle -------------------------------------------------------------------------------------

/// 0 → 1 → 2 → 3 → 0; then 1 moves behind 2; then 3 is taken out. Looks: 1, 3 and 5.
fn cycle() -> Story {
    let mut story = Story::default();
    let node = |n, next, tag: &str| put(cycle::node(n), cycle::value(next, tag));
    let opened = (0..4).map(|n| node(n, (n + 1) % 4, &format!("open{n}")));
    story.ask(1, always(opened.collect()));
    story.look();
    let moved = vec![node(0, 2, "a"), node(2, 1, "b"), node(1, 3, "c")];
    story.ask(1, always(moved));
    story.look();
    let span = Span::single(cycle::node(3));
    story.ask(2, always(vec![node(1, 0, "d"), Request::Delete { span }]));
    story.look();
    story
}

#[test]
fn a_cycle_passes_and_each_doctored_one_is_rejected() {
    assert_eq!(cycle().broken(Invariant::Cycle), "");
    let doctored = |at: usize, doctor: &dyn Fn(&mut Vec<Row>)| {
        let mut story = cycle();
        doctor(story.rows(at));
        story.broken(Invariant::Cycle)
    };
    let old_node = |rows: &mut Vec<Row>| rows[0].value = cycle::value(1, "open0");
    assert_eq!(doctored(3, &old_node), "a_cycle_stays_a_cycle");
    let lost_node = |rows: &mut Vec<Row>| drop(rows.remove(2));
    assert_eq!(doctored(1, &lost_node), "a_cycle_stays_a_cycle");
    let two_cycles = |rows: &mut Vec<Row>| {
        rows[1].value = cycle::value(0, "x");
        rows[3].value = cycle::value(2, "y");
    };
    assert_eq!(doctored(1, &two_cycles), "a_cycle_stays_a_cycle");
    // The delete was lost and the put was not.
    let mut story = cycle();
    let kept = Row {
        key: cycle::node(3),
        value: cycle::value(0, "open3"),
        ..Row::default()
    };
    story.toy.rows.insert(cycle::node(3), kept);
    assert_eq!(story.broken(Invariant::Cycle), "a_cycle_stays_a_cycle");
}

// ---- one e-mail, two sign-ups --------------------------------------------------------------------

fn sign_up(client: u64) -> Request {
    let (mail, user) = (sign_up::mail(0), sign_up::user(0, client));
    let of = |what: &str| format!("c{client}{what}");
    if_absent(
        mail.clone(),
        vec![
            put(mail.clone(), sign_up::owned_by(&user, &of("m"))),
            put(user, sign_up::owner_of(&mail, &of("u"))),
        ],
    )
}

/// Client 1 wins (1), client 2 loses (2); looks: 0 and 3.
fn sign_ups() -> Story {
    let mut story = Story::default();
    story.look();
    story.ask(1, sign_up(1));
    story.ask(2, sign_up(2));
    story.look();
    story
}

#[test]
fn one_sign_up_wins_and_each_doctored_outcome_is_rejected() {
    assert_eq!(sign_ups().broken(Invariant::SignUp), "");
    let doctored = |doctor: &dyn Fn(&mut Story)| {
        let mut story = sign_ups();
        doctor(&mut story);
        story.broken(Invariant::SignUp)
    };
    let both =
        doctored(&|story| story.toy.history[2].outcome = story.toy.history[1].outcome.clone());
    assert_eq!(both, "one_of_two_sign_ups_wins");
    let no_user = doctored(&|story| drop(story.rows(3).remove(1)));
    assert_eq!(no_user, "an_email_and_its_user_come_together");
    let torn = doctored(&|story| story.rows(3)[1].modified = Revision(9));
    assert_eq!(torn, "an_email_and_its_user_come_together");
    let stale = doctored(&|story| story.rows(3).clear());
    assert_eq!(stale, "who_won_is_signed_up");
    let loser = doctored(&|story| {
        // Client 1 was lost without a word, and the state has the one that was told to have lost.
        story.toy.history.remove(1);
        let mut other = Story::default();
        other.ask(2, sign_up(2));
        story.toy.rows = other.toy.rows;
        *story.rows(2) = story.toy.rows.values().cloned().collect();
    });
    assert_eq!(loser, "who_lost_is_not_signed_up");
    let nobody = doctored(&|story| {
        story.toy.history[1].outcome = Outcome::Unknown;
        story.rows(3).clear();
        story.toy.rows.clear();
    });
    assert_eq!(nobody, "a_taken_email_has_an_owner");
}

// ---- two tellers -------------------------------------------------------------------------------

fn pay(from: &str, left: i64, amount: u64, tag: &str) -> Request {
    let key = tellers::till(0);
    Request::Txn {
        compares: vec![Compare {
            key: key.clone(),
            target: Target::Value(from.into()),
            relation: Relation::Equal,
        }],
        then: vec![put(key, tellers::value(left, amount, tag))],
        otherwise: vec![whole(invariant::span())],
    }
}

/// Opened (0), 30 paid (1), 50 refused for its old value (2), 70 paid (3); looks: 4 and the end.
fn tellers() -> Story {
    let mut story = Story::default();
    let open = put(tellers::till(0), tellers::value(100, 0, "o"));
    story.ask(1, if_absent(tellers::till(0), vec![open]));
    story.ask(1, pay("100 0 o", 70, 30, "a"));
    story.ask(2, pay("100 0 o", 50, 50, "b"));
    story.ask(2, pay("70 30 a", 0, 70, "c"));
    story.look();
    story
}

#[test]
fn two_tellers_pay_what_is_there_and_each_doctored_till_is_rejected() {
    assert_eq!(tellers().broken(Invariant::Tellers), "");
    let doctored = |doctor: &dyn Fn(&mut Story)| {
        let mut story = tellers();
        doctor(&mut story);
        story.broken(Invariant::Tellers)
    };
    let both =
        doctored(&|story| story.toy.history[2].outcome = story.toy.history[3].outcome.clone());
    assert_eq!(both, "what_was_paid_is_gone");
    let stale = doctored(&|story| story.rows(4)[0].value = tellers::value(70, 30, "a"));
    assert_eq!(stale, "what_was_paid_is_gone");
    let below = doctored(&|story| story.rows(4)[0].value = tellers::value(-20, 50, "b"));
    assert_eq!(below, "a_till_is_never_below_zero");
    let unpaid = doctored(&|story| {
        story.toy.history[3].outcome = Outcome::Refused {
            reason: "no leader".to_owned(),
        }
    });
    assert_eq!(unpaid, "nothing_is_gone_unpaid");
    let lost = doctored(&|story| story.rows(4).clear());
    assert_eq!(lost, "what_was_opened_stays");
    // What nobody knows may have been paid, or not.
    let unknown = doctored(&|story| story.toy.history[3].outcome = Outcome::Unknown);
    assert_eq!(unknown, "");
}

#[test]
fn an_old_read_may_be_old_and_a_read_of_everything_is_a_look() {
    let mut story = tellers();
    if let Request::Range { level, span, .. } = &mut story.toy.history[4].request {
        (*level, *span) = (Level::Serializable, Span::all());
    }
    story.rows(4)[0].value = tellers::value(70, 30, "a");
    assert_eq!(story.broken(Invariant::Tellers), "");
    story.rows(4)[0].value = tellers::value(10, 90, "z");
    assert_eq!(story.broken(Invariant::Tellers), "");
    // From the future: it shows what was only asked after it was answered.
    story.toy.history[4].call = Time(11);
    story.toy.history[4].returned = Time(12);
    assert_eq!(story.broken(Invariant::Tellers), "nothing_is_gone_unpaid");
}

// ---- work under a lock ---------------------------------------------------------------------------

/// A lock (0), work (1), the lock given back and taken anew (2, 3), work again (4); a look: 5.
fn locks() -> Story {
    let mut story = Story::default();
    let lock = |tag: &str| if_absent(fence::lock(), vec![put(fence::lock(), tag.into())]);
    let work = |n, token, tag: &str| put(fence::work(n), fence::value(Revision(token), tag));
    story.ask(1, lock("c1"));
    story.ask(1, always(vec![work(0, 2, "a")]));
    let span = Span::single(fence::lock());
    story.ask(1, Request::Delete { span });
    story.ask(2, lock("c2"));
    story.ask(2, always(vec![work(1, 5, "b")]));
    story.look();
    story
}

#[test]
fn only_the_holder_works_and_each_doctored_lock_is_rejected() {
    assert_eq!(locks().broken(Invariant::Fence), "");
    let doctored = |doctor: &dyn Fn(&mut Vec<Row>)| {
        let mut story = locks();
        doctor(story.rows(5));
        story.broken(Invariant::Fence)
    };
    // The holder of token 2 wrote after token 5 was given.
    let late = doctored(&|rows| rows[2].value = fence::value(Revision(2), "late"));
    assert_eq!(late, "only_the_holder_works");
    // A look that mixes the old lock with the new work.
    let mixed = doctored(&|rows| rows[0].create = Revision(2));
    assert_eq!(mixed, "only_the_holder_works");
    let bare = doctored(&|rows| rows[1].value = b"without".to_vec());
    assert_eq!(bare, "work_has_a_token");
    // Half of it is lost in the last state: the lock is the one that was given back.
    let mut story = locks();
    let row = story.toy.rows.get_mut(&fence::lock());
    row.expect("it is held").create = Revision(2);
    assert_eq!(story.broken(Invariant::Fence), "only_the_holder_works");
}
