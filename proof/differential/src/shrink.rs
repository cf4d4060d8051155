//! From a long history that ends in a difference to a short one: parts are left out for as long as the same
//! difference comes, each time on a fresh pair (Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", 2002).

use crate::operation::Operation;
use crate::pair::{Failure, Finding, Programs};
use crate::play;

/// A part of `history` that still shows `finding`; at most `tries` fresh pairs are started.
pub(crate) async fn shrink(
    programs: &Programs,
    history: &[(usize, Operation)],
    finding: &Finding,
    mut tries: usize,
) -> Vec<(usize, Operation)> {
    let mut kept = history.to_vec();
    let mut part = kept.len().div_ceil(2).max(1);
    // The end of a history shows more than its beginning: try that first, it is cheap.
    for last in [10, 50, 200, 1000] {
        if last < kept.len() && tries > 0 {
            tries -= 1;
            let short = &kept[kept.len() - last..];
            if let Some(at) = shows(programs, short, finding).await {
                kept = short[..=at].to_vec();
                part = kept.len().div_ceil(2).max(1);
                break;
            }
        }
    }
    while tries > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < kept.len() && tries > 0 && kept.len() > 1 {
            let until = (from + part).min(kept.len());
            let shorter: Vec<_> = kept[..from].iter().chain(&kept[until..]).cloned().collect();
            tries -= 1;
            match shows(programs, &shorter, finding).await {
                Some(at) => {
                    kept = shorter[..=at].to_vec();
                    has_shrunk = true;
                }
                None => from = until,
            }
        }
        if part == 1 && !has_shrunk {
            break;
        }
        part = if has_shrunk && part == 1 {
            1
        } else {
            part.div_ceil(2).max(1)
        };
    }
    kept
}

/// Where the same difference comes in this history.
async fn shows(
    programs: &Programs,
    history: &[(usize, Operation)],
    finding: &Finding,
) -> Option<usize> {
    let (outcome, _) = play(programs, history, false, false).await;
    match outcome {
        Err((at, Failure::Differs(other))) => {
            let same =
                other.call == finding.call && other.difference.path == finding.difference.path;
            same.then_some(at)
        }
        _ => None,
    }
}
