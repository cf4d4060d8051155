//! N members keep a value, W acknowledge a write, R answer a read.

use super::{Answer, several};
use base::quorum::{self, NoQuorums, Quorums};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The usual choices, N W R.
pub const USUAL: [(u32, u32, u32); 6] = [
    (5, 3, 3),
    (5, 4, 2),
    (5, 2, 4),
    (5, 1, 1),
    (3, 1, 3),
    (3, 2, 2),
];

/// Up to so many members a pair that meets in as few as possible is written out.
const SPELT_OUT_MAX: u32 = 9;

/// Compute what N copies, W of which acknowledge a write and R of which answer a read, promise and survive.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab calc quorums             the usual choices
  quorate lab calc quorums 5 3 3       one")]
pub struct Arguments {
    /// N: copies.
    #[arg(value_name = "N", requires = "writes")]
    members: Option<u32>,
    /// W: copies that acknowledge a write.
    #[arg(value_name = "W", requires = "reads")]
    writes: Option<u32>,
    /// R: copies that answer a read.
    #[arg(value_name = "R")]
    reads: Option<u32>,
}

impl Arguments {
    pub(super) fn answer(&self) -> Result<Answer, String> {
        let asked = match (self.members, self.writes, self.reads) {
            (Some(members), Some(writes), Some(reads)) => one(members, writes, reads),
            _ => usual(),
        };
        asked.map_err(|error| error.to_string())
    }
}

/// One choice.
///
/// # Errors
/// When it is none.
pub fn one(members: u32, writes: u32, reads: u32) -> Result<Answer, NoQuorums> {
    let it = Quorums::new(members, writes, reads)?;
    let mut text = match it.overlap() {
        0 => format!(
            "{}: weak: W + R <= N, so a read may miss the newest write\n",
            it.text()
        ),
        n => format!(
            "{}: strong: W + R > N, so every read meets the newest write, in {} at least\n",
            it.text(),
            several(n, "copy", "copies")
        ),
    };
    // A String takes everything.
    if members <= SPELT_OUT_MAX {
        let _ = writeln!(
            text,
            "  the least they can share: a write to {}, a read of {}",
            spelt(1..=writes),
            spelt(members - reads + 1..=members)
        );
    }
    let failures = |n| several(n, "failure", "failures");
    let _ = writeln!(text, "  reads survive {}", failures(it.read_failures()));
    let _ = writeln!(text, "  writes survive {}", failures(it.write_failures()));
    let _ = writeln!(text, "  both survive {}", failures(it.both_failures()));
    let _ = match it.writes_overlap() {
        0 => writeln!(
            text,
            "  2W <= N: two writes may both be acknowledged without meeting, and must be reconciled"
        ),
        n => writeln!(
            text,
            "  2W > N: any two writes meet, in {} at least",
            several(n, "copy", "copies")
        ),
    };
    Ok(Answer {
        text,
        json: card(it),
    })
}

/// The usual choices, and majorities.
///
/// # Errors
/// None: the choices are good.
pub fn usual() -> Result<Answer, NoQuorums> {
    let mut text = String::from(
        "N/W/R   strong  shared  reads survive  writes survive  both survive  two writes share\n",
    );
    let mut cards = Vec::new();
    for (members, writes, reads) in USUAL {
        let it = Quorums::new(members, writes, reads)?;
        let _ = writeln!(
            text,
            "{:<8}{:<8}{:<8}{:<15}{:<16}{:<14}{}",
            it.text(),
            if it.is_strong() { "yes" } else { "no" },
            it.overlap(),
            it.read_failures(),
            it.write_failures(),
            it.both_failures(),
            it.writes_overlap()
        );
        cards.push(card(it));
    }
    text += "\nthe smallest parts of which any two meet: majorities, ⌊N/2⌋ + 1\n\n";
    text += "N   majority  two of them share\n";
    let mut majorities = Vec::new();
    for members in 1..=SPELT_OUT_MAX {
        let it = quorum::of_majorities(members)?;
        let _ = writeln!(text, "{members:<4}{:<10}{}", it.writes(), it.overlap());
        majorities.push(card(it));
    }
    Ok(Answer {
        text,
        json: json!({ "usual": cards, "majorities": majorities }),
    })
}

fn spelt(members: impl Iterator<Item = u32>) -> String {
    let members: Vec<String> = members.map(|member| member.to_string()).collect();
    format!("{{{}}}", members.join(" "))
}

fn card(it: Quorums) -> Value {
    json!({
        "members": it.members(),
        "writes": it.writes(),
        "reads": it.reads(),
        "isStrong": it.is_strong(),
        "overlap": it.overlap(),
        "writesOverlap": it.writes_overlap(),
        "readFailures": it.read_failures(),
        "writeFailures": it.write_failures(),
        "bothFailures": it.both_failures(),
    })
}
