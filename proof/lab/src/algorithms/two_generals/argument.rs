//! The argument for all protocols at once: whatever the rule, it decides from what a general has seen.
//!
//! The generals take turns, and each message tells all that its sender has seen: no protocol can tell more. Each
//! *pattern* says which messages arrive. Two patterns look alike to a general who sees the same in both, so it does
//! the same in both; and when the two generals do the same in each pattern, the decision is the same all along a
//! chain of patterns, each of which looks like the next one to somebody. If one chain joins all patterns, there is
//! only one decision, whether everything arrives or nothing does.

use std::collections::{BTreeMap, VecDeque};

/// What came of looking at every pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// How many messages the protocol has.
    pub n_messages: u32,
    /// Patterns: 2 to the number of messages.
    pub n_patterns: usize,
    /// Sets of patterns that no chain joins. One: every rule that keeps the two together always does the same.
    pub n_parts: usize,
    /// A shortest chain from the pattern in which all arrive to the one in which none does: the patterns, a bit for
    /// each message from the first, and to whom it looks like the one before.
    pub chain: Vec<(u32, Option<usize>)>,
}

/// Looks at every pattern of `n_messages` messages, at most 16.
pub fn argument(n_messages: u32) -> Argument {
    let n_messages = n_messages.min(16);
    let n_patterns = 1usize << n_messages;
    let mut names = BTreeMap::new();
    let seen: Vec<[u32; 2]> = (0..n_patterns as u32)
        .map(|pattern| views(n_messages, pattern, &mut names))
        .collect();
    let mut alike: [BTreeMap<u32, Vec<u32>>; 2] = Default::default();
    for (pattern, views) in seen.iter().enumerate() {
        for general in [0, 1] {
            let like = alike[general].entry(views[general]).or_default();
            like.push(pattern as u32);
        }
    }
    // From each pattern not yet reached: all that chains reach from it. The first is that in which all arrive.
    let mut before: Vec<Option<(u32, Option<usize>)>> = vec![None; n_patterns];
    let mut n_parts = 0;
    for first in (0..n_patterns as u32).rev() {
        if before[first as usize].is_some() {
            continue;
        }
        n_parts += 1;
        before[first as usize] = Some((first, None));
        let mut queue = VecDeque::from([first]);
        while let Some(here) = queue.pop_front() {
            for general in [0, 1] {
                for next in &alike[general][&seen[here as usize][general]] {
                    if before[*next as usize].is_none() {
                        before[*next as usize] = Some((here, Some(general)));
                        queue.push_back(*next);
                    }
                }
            }
        }
    }
    let mut chain = Vec::new();
    let mut at = 0u32;
    while let Some((from, general)) = before[at as usize] {
        chain.push((at, general));
        if general.is_none() {
            break;
        }
        at = from;
    }
    chain.reverse();
    Argument {
        n_messages,
        n_patterns,
        n_parts,
        chain,
    }
}

/// What each general has seen in the end. Equal numbers: equal views.
fn views(n_messages: u32, pattern: u32, names: &mut BTreeMap<(u32, u32, u32), u32>) -> [u32; 2] {
    // A view is the one before, and what came next: nothing (0), or the sender's view.
    let mut views = [0, 1];
    for message in 0..n_messages {
        let from = (message % 2) as usize;
        let content = match pattern >> message & 1 {
            1 => views[from] + 1,
            _ => 0,
        };
        let new = names.len() as u32 + 2;
        let to = 1 - from;
        views[to] = *names.entry((views[to], message, content)).or_insert(new);
    }
    views
}

/// An order that is sent `times` times, over a link that loses every other message: in how many of all patterns the
/// second general has heard of nothing, while the first attacks.
pub fn n_alone(times: u32) -> usize {
    let is_alone = |pattern: &u32| *pattern == 0;
    (0..1u32 << times.min(16)).filter(is_alone).count()
}
