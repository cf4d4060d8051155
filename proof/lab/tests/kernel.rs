//! The kernel itself: what may happen, how much of it there is, and what is left of a way into trouble.

use lab::kernel::*;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

/// Sends its letters to the last process at the beginning; the last one keeps what comes, in order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Letters {
    sends: Vec<char>,
    kept: Vec<char>,
    wakes: Vec<(u32, char)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Got(char);

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "got {}", self.0)
    }
}

impl Process for Letters {
    type Message = char;
    type Timer = char;
    type Fact = Got;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        for letter in &self.sends {
            cx.send(LAST, *letter);
        }
        for (delay, letter) in &self.wakes {
            cx.after(*delay, *letter);
        }
    }

    fn receive(&mut self, _: ProcessId, letter: char, cx: &mut Context<'_, Self>) {
        self.kept.push(letter);
        cx.fact(Got(letter));
    }

    fn wake(&mut self, letter: char, cx: &mut Context<'_, Self>) {
        cx.send(LAST, letter);
    }
}

const LAST: ProcessId = ProcessId(2);
const FIRST: ProcessId = ProcessId(0);

fn letters(first: &str, second: &str) -> Setup<Letters> {
    let sender = |sends: &str| Letters {
        sends: sends.chars().collect(),
        ..Letters::default()
    };
    Setup::new([
        ("s1", sender(first)),
        ("s2", sender(second)),
        ("r", Letters::default()),
    ])
}

fn anything(_: &World<Letters>) -> bool {
    true
}

fn count(setup: Setup<Letters>) -> u64 {
    let explored = explore(&Rc::new(setup), &[], anything);
    assert!(explored.is_whole);
    explored.states
}

#[test]
fn all_interleavings_are_counted_once() {
    // What r has kept tells the state: (), a, b, ab, ba.
    assert_eq!(count(letters("a", "b")), 5);
    // a and b from one sender, in order: (), a, ab. Out of order: five again.
    assert_eq!(
        count(Setup {
            delivery: Delivery::Fifo,
            ..letters("ab", "")
        }),
        3
    );
    assert_eq!(count(letters("ab", "")), 5);
    // Equal letters are one message each, and no more states for being two.
    assert_eq!(count(letters("aa", "")), 3);
    // A loss: each of the five, with a or b gone (each with one or no delivery), or nothing gone.
    let faults = Faults {
        drops: 1,
        ..Faults::default()
    };
    assert_eq!(
        count(Setup {
            faults,
            ..letters("a", "b")
        }),
        5 + 2 + 2
    );
}

#[test]
fn what_is_explored_is_what_a_naive_search_finds() {
    let faults = Faults {
        crashes: 1,
        restarts: 1,
        drops: 1,
        duplicates: 1,
        pauses: 1,
        ..Faults::default()
    };
    let setup = Rc::new(Setup {
        faults,
        ..letters("ab", "c")
    });
    let mut seen = HashSet::new();
    let mut open = vec![World::new(&setup)];
    while let Some(world) = open.pop() {
        if seen.insert(world.fingerprint()) {
            for choice in world.choices() {
                let mut next = world.clone();
                assert!(next.apply(&choice), "{} was offered", choice.tell(&world));
                open.push(next);
            }
        }
    }
    assert_eq!(explore(&setup, &[], anything).states, seen.len() as u64);
    assert!(seen.len() > 500, "{}", seen.len());
}

#[test]
fn a_bag_of_messages_has_no_order() {
    let setup = Rc::new(letters("a", "b"));
    let mut both = [World::new(&setup), World::new(&setup)];
    // The same message taken away and sent again lies at another place.
    assert!(both[0].apply(&Choice::Duplicate(FIRST, LAST, 'a')));
    assert!(both[0].apply(&Choice::Drop(FIRST, LAST, 'a')));
    assert!(both[1].apply(&Choice::Drop(FIRST, LAST, 'a')));
    assert!(both[0].fingerprint() != both[1].fingerprint());
    assert!(both[0].apply(&Choice::Drop(FIRST, LAST, 'a')));
    assert!(
        !both[0].apply(&Choice::Drop(FIRST, LAST, 'a')),
        "there is none left"
    );
}

fn never_ba() -> Law<Letters> {
    Law {
        name: "in-order",
        says: "b never comes before a",
        when: When::Always,
        holds: |world| match world
            .process(LAST)
            .kept
            .iter()
            .find(|letter| "ab".contains(**letter))
        {
            Some('b') => Err("b came first".into()),
            _ => Ok(()),
        },
    }
}

#[test]
fn the_way_into_trouble_is_a_shortest_one() {
    let setup = Rc::new(letters("xyza", "b"));
    let way = explore(&setup, &[never_ba()], anything)
        .trouble
        .expect("b can come first");
    assert_eq!(
        way.breach,
        Breach {
            law: "in-order",
            why: "b came first".into()
        }
    );
    assert_eq!(way.choices.len(), 1);
    // Whoever looks deep first delivers b on the way.
    let both = Law {
        name: "not-both",
        says: "r never has x and y",
        when: When::Always,
        holds: |world: &World<Letters>| {
            let kept = &world.process(LAST).kept;
            match kept.contains(&'x') && kept.contains(&'y') {
                true => Err("it has".into()),
                false => Ok(()),
            }
        },
    };
    let setup = Rc::new(letters("xy", "b"));
    let way = explore(&setup, &[both], anything)
        .trouble
        .expect("it can have both");
    assert_eq!(way.choices.len(), 2);
}

#[test]
fn equal_messages_are_one_choice() {
    assert_eq!(
        told(&World::new(&Rc::new(letters("aa", "a")))),
        ["deliver s1 r a", "deliver s2 r a"]
    );
}

#[test]
fn a_random_way_is_cut_down_to_what_matters() {
    let faults = Faults {
        crashes: 1,
        restarts: 1,
        drops: 2,
        ..Faults::default()
    };
    let setup = Rc::new(Setup {
        faults,
        ..letters("xyza", "b")
    });
    let laws = [never_ba()];
    let mut n_long = 0;
    for seed in 0..200 {
        let mut rng = base::Rng::new(seed);
        let Some(way) = walk(&setup, &laws, &mut rng).trouble else {
            continue;
        };
        n_long += u32::from(way.choices.len() > 1);
        let short = shorten(&setup, &laws, way);
        assert_eq!(short.choices.len(), 1, "seed {seed}");
        assert_eq!(short.breach.law, "in-order");
    }
    assert!(n_long > 20, "{n_long}");
}

#[test]
fn laws_of_the_rest_state_are_asked_at_rest_only() {
    let all_came = Law {
        name: "all-came",
        says: "in the end r has everything",
        when: When::AtRest,
        holds: |world: &World<Letters>| match world.process(LAST).kept.len() {
            3 => Ok(()),
            n => Err(format!("r has {n}")),
        },
    };
    let sound = Rc::new(letters("ab", "c"));
    assert!(
        explore(&sound, std::slice::from_ref(&all_came), anything)
            .trouble
            .is_none()
    );
    let faults = Faults {
        drops: 1,
        ..Faults::default()
    };
    let lossy = Rc::new(Setup {
        faults,
        ..letters("ab", "c")
    });
    let way = explore(&lossy, &[all_came], anything)
        .trouble
        .expect("one can be lost");
    assert_eq!((way.choices.len(), way.breach.why.as_str()), (3, "r has 2"));
}

fn timed(wakes: &[(u32, char)]) -> Setup<Letters> {
    let time = Time::Ticks {
        horizon: 5,
        delay_max: Some(1),
    };
    let first = Letters {
        wakes: wakes.to_vec(),
        ..Letters::default()
    };
    let processes = [
        ("s1", first),
        ("s2", Letters::default()),
        ("r", Letters::default()),
    ];
    Setup {
        time,
        ..Setup::new(processes)
    }
}

fn told(world: &World<Letters>) -> Vec<String> {
    world
        .choices()
        .iter()
        .map(|choice| choice.tell(world))
        .collect()
}

#[test]
fn time_waits_for_timers_and_for_messages_that_are_due() {
    let setup = Rc::new(timed(&[(2, 'a')]));
    let mut world = World::new(&setup);
    assert_eq!(told(&world), ["tick"]);
    assert!(world.apply(&Choice::Tick) && world.apply(&Choice::Tick));
    assert_eq!(told(&world), ["wake s1 a"], "no tick before it has run out");
    assert!(!world.apply(&Choice::Tick));
    assert!(world.apply(&Choice::Wake(FIRST, 'a')));
    assert_eq!(told(&world), ["deliver s1 r a", "tick"]);
    assert!(world.apply(&Choice::Tick));
    assert_eq!(
        told(&world),
        ["deliver s1 r a"],
        "it may be a tick late, not two"
    );
}

#[test]
fn a_paused_process_does_not_stop_time_and_a_crashed_one_forgets_its_timers() {
    let setup = Rc::new(timed(&[(1, 'a')]));
    let mut world = World::new(&setup);
    assert!(world.apply(&Choice::Pause(FIRST)));
    assert!(world.apply(&Choice::Tick) && world.apply(&Choice::Tick));
    assert_eq!(told(&world), ["resume s1", "tick"]);
    assert!(world.apply(&Choice::Resume(FIRST)));
    assert_eq!(told(&world), ["wake s1 a"]);
    assert!(world.apply(&Choice::Crash(FIRST)));
    assert_eq!(world.condition(FIRST), Condition::Down);
    assert_eq!(told(&world), ["tick"], "no restart without a budget");
    assert!(world.apply(&Choice::Restart(FIRST)), "but a script may");
    assert_eq!(told(&world), ["tick"]);
}

#[test]
fn what_nobody_can_hear_in_time_is_lost() {
    let cut = Cut {
        name: "off",
        sides: vec![vec![FIRST], vec![LAST]],
    };
    let setup = Rc::new(Setup {
        cuts: vec![cut],
        ..timed(&[(1, 'a'), (1, 'b')])
    });
    for fault in [Choice::Crash(LAST), Choice::Cut(0), Choice::Pause(LAST)] {
        let mut world = World::new(&setup);
        world.apply(&Choice::Tick);
        world.apply(&Choice::Wake(FIRST, 'a'));
        world.apply(&Choice::Wake(FIRST, 'b'));
        assert!(world.apply(&fault) && world.apply(&Choice::Tick));
        assert_eq!(world.in_flight().count(), 2, "one tick is allowed");
        assert!(world.apply(&Choice::Tick));
        let kept = if fault == Choice::Pause(LAST) { 2 } else { 0 };
        assert_eq!(world.in_flight().count(), kept, "{}", fault.tell(&world));
    }
}

#[test]
fn clocks_go_wrong_as_they_are_told() {
    let setup = Setup {
        rates: vec![(3, 2)],
        jumps: vec![(FIRST, -4)],
        ..timed(&[(3, 'a')])
    };
    let mut world = World::new(&Rc::new(setup));
    assert!(world.apply(&Choice::Tick) && world.apply(&Choice::Tick));
    assert_eq!((world.clock(FIRST), world.clock(LAST)), (3, 2));
    assert_eq!(told(&world), ["wake s1 a"], "a fast clock is early");
    assert!(world.apply(&Choice::Jump(0)));
    assert_eq!(world.clock(FIRST), -1);
    assert_eq!(told(&world), ["tick"], "and one that was put back is late");
}

#[test]
fn a_cut_parts_its_sides_and_nobody_else() {
    let cut = Cut {
        name: "off",
        sides: vec![vec![FIRST], vec![LAST]],
    };
    let setup = Rc::new(Setup {
        cuts: vec![cut],
        ..letters("a", "b")
    });
    let mut world = World::new(&setup);
    assert!(world.apply(&Choice::Cut(0)));
    assert_eq!(told(&world), ["deliver s2 r b", "heal"]);
    assert!(!world.apply(&Choice::Deliver(FIRST, LAST, 'a')));
    assert!(world.apply(&Choice::Heal));
    assert!(world.apply(&Choice::Deliver(FIRST, LAST, 'a')));
}

#[test]
fn a_crash_loses_what_a_connection_held() {
    let setup = Rc::new(Setup {
        delivery: Delivery::Fifo,
        ..letters("ab", "c")
    });
    let mut world = World::new(&setup);
    assert!(world.apply(&Choice::Crash(FIRST)));
    assert_eq!(told(&world), ["deliver s2 r c"]);
}

#[test]
fn a_line_that_means_nothing_says_what_would() {
    let setup = Rc::new(letters("a", "b"));
    let mut world = World::new(&setup);
    let error = play(&mut world, &[], "deliver s1\n\ndeliver s1 # again").expect_err("it has come");
    assert_eq!(error.line, 3);
    let text = error.to_string();
    assert!(
        text.starts_with("line 3: cannot deliver s1; what can happen: deliver s2 r b; "),
        "{text}"
    );
    assert!(
        text.contains("crash r") && !text.contains("restart"),
        "{text}"
    );
}

#[test]
fn a_script_goes_on_after_a_broken_law_and_tells_the_first() {
    let mut world = World::new(&Rc::new(letters("a", "b")));
    let breach = play(&mut world, &[never_ba()], "deliver s2\ndeliver all").expect("it plays");
    assert_eq!(breach.expect("b came first").law, "in-order");
    assert_eq!(world.facts().len(), 2);
}

#[test]
fn rounds_deliver_what_was_sent_in_the_round_before() {
    let mut processes = vec![Letters::default(); 3];
    processes[0].sends = vec!['a', 'b'];
    processes[1].wakes = vec![(2, 'c')];
    let mut rounds = Rounds::new(processes.clone(), 1);
    rounds.round();
    assert_eq!(rounds.processes()[2].kept, ['a', 'b']);
    rounds.round();
    assert_eq!(
        rounds.processes()[2].kept.len(),
        2,
        "c was sent at the end of this round"
    );
    rounds.round();
    assert_eq!(rounds.processes()[2].kept, ['a', 'b', 'c']);
    assert_eq!(
        (rounds.now(), rounds.n_sent, rounds.facts().len()),
        (3, 3, 3)
    );

    let mut deaf = Rounds::new(processes, 1);
    deaf.loss_permille = 1000;
    (0..5).for_each(|_| deaf.round());
    assert!(deaf.facts().is_empty());
}

#[test]
fn the_same_choices_are_the_same_run() {
    let faults = Faults {
        crashes: 1,
        restarts: 1,
        drops: 1,
        duplicates: 2,
        ..Faults::default()
    };
    let setup = Rc::new(Setup {
        faults,
        ..letters("abc", "de")
    });
    for seed in 0..50 {
        let walked = walk(&setup, &[], &mut base::Rng::new(seed));
        let again = walk(&setup, &[], &mut base::Rng::new(seed));
        assert!(walked.choices == again.choices);
        let (mut one, mut other) = (World::drawn(&setup), World::new(&setup));
        for choice in &walked.choices {
            assert!(one.apply(choice) && other.apply(choice));
        }
        assert_eq!(
            one.fingerprint(),
            other.fingerprint(),
            "drawing changes nothing"
        );
    }
}
