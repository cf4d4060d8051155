//! How the chat is shown: its laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// A participant for each name, who writes so many posts.
fn setup(parties: &[(&str, u8)], broken: Broken) -> Setup<Party> {
    let n = parties.len();
    let party = |(at, (name, posts_left)): (usize, &(&str, u8))| {
        let party = Party {
            broken,
            others: (0..n).filter(|other| *other != at).map(ProcessId).collect(),
            posts_left: *posts_left,
            vector: vec![0; n],
            kept: Vec::new(),
        };
        (name.to_string(), party)
    };
    let sides = vec![vec![ProcessId(0)], vec![ProcessId(n - 1)]];
    Setup {
        faults: Faults {
            duplicates: 1,
            ..Faults::default()
        },
        cuts: vec![Cut {
            name: "first-from-last",
            sides,
        }],
        ..Setup::new(parties.iter().enumerate().map(party))
    }
}

impl Algorithm for CausalChat {
    type Process = Party;

    const NAME: &'static str = "causal-chat";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "question, answer, onlooker: no answer is seen before its question";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[WAIT_FOR_CAUSES, CARRY_WHAT_WAS_SEEN, SHOW_ONCE, LOOK_AGAIN];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "overtaken",
            says: "bob's answer reaches the onlooker eve before ann's question, and waits for it",
            broken: None,
            script: include_str!("scenarios/overtaken.txt"),
        },
        Scenario {
            name: "aside",
            says: "two posts that know nothing of each other: bob reads them in one order, eve in the other",
            broken: None,
            script: include_str!("scenarios/aside.txt"),
        },
        Scenario {
            name: "answer-first",
            says: "nobody waits: eve reads the answer, and then what was asked",
            broken: Some("wait-for-causes"),
            script: include_str!("scenarios/overtaken.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 participants who write a post each; messages in any order, one comes twice";
    const LARGE: &'static str =
        "4 participants who write 4 posts each; duplicates, the network parts";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "causes-first",
                says: "nobody is shown a post before those after which it was written",
                when: When::Always,
                holds: causes_first,
            },
            Law {
                name: "shown-once",
                says: "nobody is shown a post twice",
                when: When::Always,
                holds: shown_once,
            },
            Law {
                name: "all-is-shown",
                says: "in the end everybody has been shown everything",
                when: When::AtRest,
                holds: all_is_shown,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(&[("ann", 1), ("bob", 1), ("eve", 1)], broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(&[("ann", 2), ("bob", 2), ("eve", 2)], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        let mut setup = setup(&[("ann", 4), ("bob", 4), ("eve", 4), ("joe", 4)], broken);
        setup.faults = Faults {
            duplicates: 8,
            cuts: 2,
            ..Faults::default()
        };
        setup
    }
}

/// What `who` has written or been shown, in these facts.
fn seen(facts: &[Fact], who: ProcessId) -> impl Iterator<Item = PostId> {
    facts.iter().filter_map(move |fact| match fact {
        Fact::Written(post) if post.author == who => Some(*post),
        Fact::Shown(to, post) if *to == who => Some(*post),
        _ => None,
    })
}

/// The last fact, when somebody was shown something, and all facts before it.
fn last_shown(world: &World<Party>) -> Option<(ProcessId, PostId, &[Fact])> {
    match world.facts().split_last()? {
        (Fact::Shown(to, post), earlier) => Some((*to, *post, earlier)),
        _ => None,
    }
}

/// Every fact is checked when it is stated, those of one step together.
fn causes_first(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    let Some((to, ..)) = last_shown(world) else {
        return Ok(());
    };
    for (at, fact) in facts.iter().enumerate() {
        let Fact::Shown(who, post) = fact else {
            continue;
        };
        if *who != to {
            continue;
        }
        let written = facts.iter().position(|fact| *fact == Fact::Written(*post));
        let causes = seen(&facts[..written.unwrap_or(0)], post.author);
        let is_missing = |cause: &PostId| !seen(&facts[..at], to).any(|shown| shown == *cause);
        if let Some(cause) = { causes }.find(is_missing) {
            return Err(format!(
                "{} was shown {}, written after {}, which it had not been shown",
                world.name(to),
                told(world, *post),
                told(world, cause)
            ));
        }
    }
    Ok(())
}

fn shown_once(world: &World<Party>) -> Result<(), String> {
    match last_shown(world) {
        Some((to, post, earlier)) if seen(earlier, to).any(|shown| shown == post) => Err(format!(
            "{} was shown {} twice",
            world.name(to),
            told(world, post)
        )),
        _ => Ok(()),
    }
}

fn all_is_shown(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    for who in (0..world.setup().processes.len()).map(ProcessId) {
        let missed = facts.iter().find_map(|fact| match fact {
            Fact::Written(post) if !seen(facts, who).any(|shown| shown == *post) => Some(*post),
            _ => None,
        });
        if let Some(post) = missed {
            return Err(format!(
                "{} is never shown {}",
                world.name(who),
                told(world, post)
            ));
        }
    }
    Ok(())
}

fn told(world: &World<Party>, post: PostId) -> String {
    format!("post {} of {}", post.number, world.name(post.author))
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.author.0 + 1, self.number)
    }
}

impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self.vector.iter().map(u8::to_string).collect();
        write!(f, "{} [{}]", self.id, entries.join(" "))
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Written(post) => write!(f, "{post}"),
            Fact::Shown(_, post) => write!(f, "shows {post}"),
        }
    }
}
