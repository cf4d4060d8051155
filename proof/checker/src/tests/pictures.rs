//! The picture of one stale read, byte for byte, and the orders that could not explain it.

use crate::Chronicle;
use crate::history::*;
use crate::{Violation, picture, project, witness};
use base::{LeaseId, MemberId, Revision};

fn operation(number: u64, client: u64, call: u64, request: Request, outcome: Outcome) -> Operation {
    Operation {
        number,
        client,
        call: Time(call * 1_000_000),
        returned: Time((call + 10) * 1_000_000),
        request,
        outcome,
    }
}

fn put(value: &str) -> Request {
    Request::Put {
        key: b"k".to_vec(),
        value: value.into(),
        lease: LeaseId::NONE,
    }
}

fn get() -> Request {
    Request::Range {
        span: Span::single("k"),
        at: None,
        level: Level::Linearizable,
    }
}

fn row(value: &str, modified: u64) -> Row {
    Row {
        key: b"k".to_vec(),
        value: value.into(),
        create: Revision(2),
        modified: Revision(modified),
        version: modified - 1,
        lease: LeaseId::NONE,
    }
}

/// Two puts, a good read between them, an unknown put of another key, and a read that is too old.
fn stale_read() -> (Vec<Operation>, Vec<Violation>) {
    let done = |revision, answer| Outcome::Answered {
        revision: Revision(revision),
        answer,
    };
    let put_done = |revision| done(revision, Answer::Put { previous: None });
    let other = Request::Put {
        key: b"<other>".to_vec(),
        value: b"&".to_vec(),
        lease: LeaseId::NONE,
    };
    let history = vec![
        operation(1, 1, 0, put("old"), put_done(2)),
        operation(2, 2, 15, get(), done(2, Answer::Rows(vec![row("old", 2)]))),
        operation(3, 3, 22, other, Outcome::Unknown),
        operation(4, 1, 20, put("new"), put_done(3)),
        operation(5, 2, 40, get(), done(3, Answer::Rows(vec![row("old", 2)]))),
    ];
    let mut chronicle = Chronicle::default();
    for (at, value) in [(2, "old"), (3, "new")] {
        let row = row(value, at);
        let when = Time((20 * at - 35) * 1_000_000);
        let told = chronicle.observe(MemberId(1), when, Revision(at), vec![crate::Event { row }]);
        told.expect("each revision is told once");
    }
    chronicle.index();
    let (attribution, _) = witness::check(&history, &chronicle, &[]);
    let found = project::check(&history, &chronicle, &attribution, 100_000);
    (history, found)
}

#[test]
fn a_stale_read_is_proved_by_two_writes_and_the_read() {
    let (_, found) = stale_read();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].operations, [1, 4, 5]);
    let attempts = &found[0].attempts;
    assert_eq!(attempts[0].order, [1, 4]);
    assert_eq!(
        attempts[0].stuck,
        ["#5 tells of old, and here the key is new"]
    );
}

#[test]
fn the_picture_of_a_stale_read() {
    let (history, found) = stale_read();
    let html = picture::html(&found[0], &history, "a doctored history").expect("it has operations");
    for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(
            !html.contains(outside),
            "it needs nothing but itself: {outside}"
        );
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/tests/golden/stale-read.html"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &html).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is there");
    assert!(
        golden == html,
        "UPDATE=1 draws it anew; read the difference"
    );
}

#[test]
fn what_is_not_about_operations_has_no_picture() {
    let (history, _) = stale_read();
    let violation = Violation::new("members_have_equal_digests", "at 5@1 …");
    assert_eq!(picture::html(&violation, &history, ""), None);
}
