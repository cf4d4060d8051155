//! Raft's random ways are worth their time: without a rule some of them end in trouble.

use lab::catalogue;
use lab::exhibit::Ask;

/// The law that the first of so many random ways breaks without this rule.
fn found_by_chance(rule: &str, seeds: u64) -> Option<&'static str> {
    let raft = catalogue::find("raft").expect("raft is there");
    (0..seeds).find_map(|seed| {
        let ask = Ask {
            broken: Some(rule.into()),
            seed: Some(seed),
            is_brief: true,
            ..Ask::default()
        };
        let shown = raft.run(&ask, &mut String::new());
        let shown = shown.expect("its own rule can be broken");
        shown.fall.map(|fall| fall.law)
    })
}

#[test]
fn random_ways_find_what_is_broken() {
    for rule in [
        "one-vote-per-term",
        "vote-is-durable",
        "vote-for-up-to-date-log",
        "conflict-is-truncated",
        "previous-entry-matches",
        "higher-term-is-adopted",
        "commit-within-match",
    ] {
        assert_ne!(found_by_chance(rule, 500), None, "{rule}");
    }
}
