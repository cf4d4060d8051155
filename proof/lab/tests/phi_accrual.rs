//! Phi accrual's random networks are worth their time: without a rule some of them end in trouble. And its traces have
//! arrows.

use lab::catalogue;
use lab::exhibit::{Ask, Exhibit, Shown};
use std::collections::BTreeSet;

fn phi() -> &'static dyn Exhibit {
    catalogue::find("phi-accrual").expect("it is there")
}

fn shown(ask: &Ask) -> Shown {
    let shown = phi().run(ask, &mut String::new());
    shown.expect("what it has can be shown")
}

#[test]
fn random_networks_find_what_is_broken() {
    for rule in phi().breaks() {
        let found = (0..300).filter_map(|seed| {
            let ask = Ask {
                broken: Some(rule.rule.into()),
                seed: Some(seed),
                is_brief: true,
                ..Ask::default()
            };
            shown(&ask).fall.map(|fall| fall.law)
        });
        let found: BTreeSet<&str> = found.collect();
        assert_eq!(found, BTreeSet::from([rule.law]), "{}", rule.rule);
    }
}

#[test]
fn whoever_hears_a_heartbeat_knows_of_its_sender() {
    let ask = Ask {
        scenario: Some("jitter".into()),
        is_brief: true,
        ..Ask::default()
    };
    let trace = shown(&ask).picture.trace();
    let heard: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("heartbeat after"))
        .collect();
    assert_eq!(heard.len(), 15, "{trace}");
    for (at, line) in heard.iter().enumerate() {
        let clock = format!("\"clock\":{{\"sender\":{0},\"watcher\":{0}}}", at + 1);
        assert!(line.contains(&clock), "{clock}: {line}");
    }
}
