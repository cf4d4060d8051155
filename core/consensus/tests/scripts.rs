//! The stories of Raft as golden scripts: `tests/scripts/*.txt`, refreshed by `UPDATE=1`.
//!
//! ```text
//!   members 1 2 3 [learners 4]      a fresh world; nobody leads
//!   elect                           time passes until somebody leads
//!   campaign n1 · run 50            one member campaigns; 50 ticks (10 ms) for everybody
//!   propose n1 x · read n1 · change n1 +4 ~5 -3 · transfer n1 n2 · step-down n1
//!   cut n1 [n2] · cut-to n1 n2 · heal   links
//!   hold n1 · write n1 · release n1 the disk hangs, finishes one write, is well again
//!   crash n1 · restart n1 · lose n1 7   a crash; the log on disk loses everything from index 7
//!   forget n1 7                     the same, and storage does not notice
//!   join n4 · compact n1 9 · messages on|off · show · peers n1
//! ```

mod support;

use base::{Change, Entry, Index, LogPosition, MemberId};
use quorate_consensus::{Engine, Refused};
use std::fmt::Write;
use support::{World, name};

#[test]
fn stories() {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    testkit::check_all(scripts, || {
        let mut world = None;
        move |commands: &str| {
            let mut out = String::new();
            for line in commands.lines() {
                play(&mut world, line, &mut out);
            }
            out
        }
    });
}

fn member(word: &str) -> MemberId {
    let digits = word.trim_start_matches('n');
    MemberId(
        digits
            .parse()
            .unwrap_or_else(|_| panic!("{word:?} is no member")),
    )
}

fn changes(words: &[&str]) -> Vec<Change> {
    let step = |word: &&str| {
        let who = member(&word[1..]);
        match &word[..1] {
            "+" => Change::AddVoter(who),
            "~" => Change::AddLearner(who),
            "-" => Change::Remove(who),
            _ => panic!("{word:?} is no change"),
        }
    };
    words.iter().map(step).collect()
}

fn play(world: &mut Option<World>, line: &str, out: &mut String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words[0] == "members" {
        let mut lists = words[1..].split(|word| *word == "learners");
        let mut list = || -> Vec<u64> {
            let words = lists.next().unwrap_or_default();
            words.iter().map(|word| member(word).0).collect()
        };
        let (voters, learners) = (list(), list());
        *world = Some(World::new(&voters, &learners, 1));
        return;
    }
    let world = world.as_mut().expect("a script begins with its members");
    let who = || member(words[1]);
    let mut refused: Option<Refused> = None;
    match words[0] {
        "elect" => {
            let ticks = world.elect();
            world.settle();
            world.note(format!("elected after {} ms", ticks * 10));
        }
        "run" => world.run(words[1].parse().expect("a number of ticks")),
        "campaign" => refused = world.campaign(who()).err(),
        "propose" => {
            for command in &words[2..] {
                refused = refused.or(world.propose(who(), command).err());
            }
        }
        "read" => refused = world.read(who()).err(),
        "change" => refused = world.change(who(), changes(&words[2..])).err(),
        "transfer" => {
            refused = world.raft_mut(who()).transfer(member(words[2])).err();
            world.drain(who());
        }
        "step-down" => {
            world.raft_mut(who()).step_down();
            world.drain(who());
        }
        "cut" => match words.get(2) {
            Some(other) => world.cut(who(), member(other)),
            None => world.isolate(who()),
        },
        "cut-to" => world.cut_one_way(who(), member(words[2])),
        "heal" => world.heal(),
        "hold" => disk(world, who(), true),
        "release" => disk(world, who(), false),
        "write" => assert!(world.flush_one(who()), "nothing to write"),
        "crash" => world.crash(who()),
        "restart" => world.restart(who()),
        "forget" => {
            // As `lose`, but storage has no watermark to notice it by.
            lose(world, who(), words[2].parse().expect("an index"));
            world
                .members
                .get_mut(&who())
                .expect("it exists")
                .disk
                .recovering = None;
        }
        "lose" => lose(world, who(), words[2].parse().expect("an index")),
        "join" => world.join(who()),
        "compact" => world.compact(who(), words[2].parse().expect("an index")),
        "messages" => world.show_messages = words[1] == "on",
        "show" | "peers" => {}
        _ => panic!("{line:?} is no command"),
    }
    world.settle();
    assert_eq!(world.violations, [] as [&str; 0]);
    for event in world.events.drain(..) {
        let _ = writeln!(out, "{event}");
    }
    if let Some(refused) = refused {
        let _ = writeln!(out, "refused: {refused}");
    }
    if words[0] == "show" {
        *out += &world.table();
    }
    if words[0] == "peers" {
        for peer in world.raft(who()).peers() {
            let (member, matched, next) = (name(peer.member), peer.matched, peer.next);
            let _ = writeln!(out, "{member} has {matched} next {next} {:?}", peer.state);
        }
    }
}

fn disk(world: &mut World, who: MemberId, is_held: bool) {
    let member = world.members.get_mut(&who).expect("it exists");
    member.is_disk_held = is_held;
}

/// The log on disk loses everything from `index` on, and storage notices by its watermark.
fn lose(world: &mut World, who: MemberId, index: u64) {
    let disk = &mut world.members.get_mut(&who).expect("it exists").disk;
    let last = disk.entries.last().map(|entry: &Entry| entry.position);
    disk.recovering = last.map(|last| LogPosition {
        term: disk.hard_state.term,
        index: last.index,
    });
    disk.entries
        .retain(|entry| entry.position.index < Index(index));
    world.note(format!("{} lost its log from {index} on", name(who)));
}
