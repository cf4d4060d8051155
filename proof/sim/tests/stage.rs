//! Worlds driven by hand.

use quorate_sim::stage::{Bug, Script, Stage};

fn play(text: &str, seed: u64, bug: Option<&str>) -> (String, Option<&'static str>) {
    let bug = bug.map(|name| Bug::named(name).expect("a bug of the shell"));
    let mut stage = Stage::new(seed, bug);
    let mut told = String::new();
    let script = Script::parse(text).expect("a script");
    let outcome = script.run(&mut stage, &mut |line| {
        told += line;
        told.push('\n');
    });
    if let Err(error) = outcome {
        told += &format!("error: {error}\n");
    }
    let finding = stage.finish();
    for line in finding.lines() {
        told += &line;
        told.push('\n');
    }
    (told, finding.broken())
}

#[test]
fn show() {
    for story in Script::STORIES {
        println!("===== {} {:?}\n{}", story.name, story.bug, play(story.text, 0, story.bug).0);
    }
}

#[test]
fn debug_early() {
    let mut stage = Stage::new(0, Some(Bug::named("answer-early").unwrap()));
    let script = Script::parse(Script::STORIES[1].text).unwrap();
    script.run(&mut stage, &mut |_| ()).unwrap();
    for op in stage.history() { println!("{op}"); }
    for v in stage.finish().violations { println!("{v}"); }
}
