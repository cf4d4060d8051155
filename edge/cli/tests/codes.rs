//! Every code is met by a test: here is where. A code that is in no list fails the build, and so does a list that
//! names a file which does not meet its code.

use api::Code;
use std::fs;
use std::path::Path;

/// For each code, tests in which it happens.
const MET: &[(Code, &[&str])] = &[
    (
        Code::Malformed,
        &[
            "edge/cli/tests/cluster/txn.txt",
            "front/native/tests/golden/kv.txt",
        ],
    ),
    (
        Code::BadName,
        &[
            "edge/cli/tests/cluster/lock.txt",
            "front/native/tests/golden/lines.txt",
        ],
    ),
    (Code::TooLarge, &["edge/cli/tests/cluster/errors.txt"]),
    (Code::BadToken, &["edge/cli/tests/cluster/keys.txt"]),
    (
        Code::BadKeys,
        &[
            "edge/cli/tests/cluster/keys.txt",
            "front/native/tests/golden/kv.txt",
        ],
    ),
    (
        Code::TooManyOperations,
        &["edge/cli/tests/cluster/errors.txt"],
    ),
    (Code::BadTime, &["edge/cli/tests/cluster/keys.txt"]),
    (Code::BadLevel, &["edge/cli/tests/refused.rs"]),
    (Code::NotBuilt, &["edge/cli/tests/refused.rs"]),
    (
        Code::Busy,
        &[
            "front/native/tests/watches.rs",
            "edge/client/tests/client/retries.rs",
        ],
    ),
    (
        Code::NoAnswer,
        &[
            "edge/cli/tests/cluster.rs",
            "edge/client/tests/client/retries.rs",
        ],
    ),
    (Code::Stopped, &["edge/client/tests/client/retries.rs"]),
    (
        Code::OutcomeUnknown,
        &[
            "edge/cli/tests/cluster.rs",
            "edge/client/tests/client/retries.rs",
        ],
    ),
    (Code::NoSpace, &["edge/cli/tests/refused.rs"]),
    (Code::Learner, &["edge/client/tests/client/retries.rs"]),
    (Code::Corrupt, &["edge/cli/tests/refused.rs"]),
    (
        Code::Compacted,
        &[
            "edge/cli/tests/cluster/errors.txt",
            "front/native/tests/golden/watch.txt",
        ],
    ),
    (
        Code::Future,
        &[
            "edge/cli/tests/cluster/keys.txt",
            "front/native/tests/golden/kv.txt",
        ],
    ),
    (Code::Behind, &["edge/client/tests/client/retries.rs"]),
    (Code::NoLease, &["edge/cli/tests/cluster/keys.txt"]),
    (Code::BoundNotMet, &["edge/client/tests/client/retries.rs"]),
    (
        Code::NoSuchTime,
        &[
            "edge/cli/tests/cluster/keys.txt",
            "front/native/tests/golden/kv.txt",
        ],
    ),
    (Code::NoClockBound, &["edge/cli/tests/refused.rs"]),
    (
        Code::StaleToken,
        &[
            "edge/cli/tests/cluster/lock.txt",
            "front/native/tests/golden/fences.txt",
        ],
    ),
    (
        Code::NotHeld,
        &[
            "edge/cli/tests/cluster/lock.txt",
            "front/native/tests/golden/fences.txt",
        ],
    ),
    (Code::QueueFull, &["front/native/tests/session.rs"]),
    (
        Code::BadPermits,
        &[
            "edge/cli/tests/cluster/lock.txt",
            "front/native/tests/golden/lines.txt",
        ],
    ),
    (
        Code::LockLost,
        &[
            "edge/cli/tests/lock.rs",
            "edge/client/tests/client/locks.rs",
        ],
    ),
    (
        Code::WaitOver,
        &[
            "edge/cli/tests/cluster/lock.txt",
            "front/native/tests/golden/lines.txt",
        ],
    ),
    (
        Code::ConditionFailed,
        &[
            "edge/cli/tests/cluster/keys.txt",
            "front/native/tests/golden/kv.txt",
        ],
    ),
    (Code::KeyNotFound, &["edge/cli/tests/cluster/keys.txt"]),
    (
        Code::LeaseNotFound,
        &[
            "edge/cli/tests/cluster/lease.txt",
            "front/native/tests/golden/leases.txt",
        ],
    ),
    (
        Code::LeaseExists,
        &[
            "edge/cli/tests/cluster/lease.txt",
            "front/native/tests/golden/leases.txt",
        ],
    ),
    (Code::SessionOver, &["edge/cli/tests/cluster/errors.txt"]),
    (Code::Superseded, &["edge/cli/tests/cluster/errors.txt"]),
    (Code::NumberReused, &["edge/cli/tests/cluster/errors.txt"]),
    (Code::AnswerNotKept, &["edge/cli/tests/cluster/errors.txt"]),
    (Code::NotConnected, &["edge/cli/tests/cluster/keys.txt"]),
    (Code::NoContext, &["edge/cli/tests/local/context.txt"]),
    (
        Code::Unauthenticated,
        &[
            "edge/cli/tests/as_user.rs",
            "proof/conformance/tests/auth_matrix.rs",
        ],
    ),
    (
        Code::Denied,
        &[
            "edge/cli/tests/as_user.rs",
            "proof/conformance/tests/auth_matrix.rs",
        ],
    ),
    (Code::Internal, &["front/native/tests/session.rs"]),
];

/// The name of a code in Rust, `StaleToken`.
fn name(code: Code) -> String {
    format!("Code::{code:?}")
}

#[test]
fn every_code_is_met_where_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for code in Code::ALL {
        let lists: Vec<_> = MET.iter().filter(|(listed, _)| listed == code).collect();
        assert_eq!(
            lists.len(),
            1,
            "{} is listed {} times",
            code.text(),
            lists.len()
        );
        let (_, files) = lists[0];
        assert!(!files.is_empty(), "{} is met nowhere", code.text());
        for file in *files {
            assert!(file.contains("/tests/"), "{file} is no test");
            let text = fs::read_to_string(root.join(file)).expect(file);
            let is_met = text.contains(code.text()) || text.contains(&name(*code));
            assert!(is_met, "{file} does not meet {}", code.text());
        }
    }
}

/// What no test of the command line meets on its way through a real member; the page of each says why it is rare.
/// It may only shrink.
const NOT_THROUGH_A_MEMBER: &[Code] = &[
    Code::Busy,
    Code::Stopped,
    Code::Learner,
    Code::Behind,
    Code::BoundNotMet,
    Code::QueueFull,
    Code::Internal,
];

#[test]
fn all_but_a_few_are_met_through_the_whole_program() {
    for code in Code::ALL {
        let (_, files) = MET
            .iter()
            .find(|(listed, _)| listed == code)
            .expect("listed");
        let through_all = files.iter().any(|file| file.starts_with("edge/cli/tests/"));
        let is_known = NOT_THROUGH_A_MEMBER.contains(code);
        assert_ne!(through_all, is_known, "{}", code.text());
    }
}
