//! `quorate lab measure`: figures of the literature, taken anew.
//!
//! A measurement is a small experiment with fixed seeds: it prints the same table every time. What the literature
//! says stands beside what was measured. The bounds within which both must agree are in `tests/measure.rs`, with
//! their reasons.
//!
//! ```text
//!    gossip.rs        rounds until all know           on kernel::Rounds
//!    swim.rs          the living taken for dead       on kernel::Rounds
//!    phi.rs           how often φ is wrong            arithmetic and chance
//!    split_vote.rs    elections that nobody wins      a small election of its own
//!    staleness.rs     reads that miss the last write  replicas and delays
//! ```

pub mod gossip;
pub mod phi;
pub mod split_vote;
pub mod staleness;
pub mod swim;

use base::Rng;

/// One measurement.
pub struct Measure {
    /// What `quorate lab measure` takes.
    pub name: &'static str,
    /// What it measures, in one line.
    pub line: &'static str,
    /// Takes it, and gives the table.
    pub table: fn() -> String,
}

/// All of them.
pub static ALL: &[Measure] = &[
    Measure {
        name: "gossip",
        line: "rounds until a rumour has reached N nodes, and how many it misses",
        table: || gossip::table(&gossip::reach(), &gossip::residue()),
    },
    Measure {
        name: "swim",
        line: "the living taken for dead, with and without indirect pings and suspicion",
        table: || swim::table(&swim::measure()),
    },
    Measure {
        name: "phi",
        line: "how often a suspicion of φ is wrong, up to once in 10⁸",
        table: || phi::table(&phi::measure()),
    },
    Measure {
        name: "split-vote",
        line: "elections that nobody wins, by the width of the range of timeouts",
        table: || split_vote::table(&split_vote::measure()),
    },
    Measure {
        name: "staleness",
        line: "reads that miss the last write, by N, W and R",
        table: || staleness::table(&staleness::measure()),
    },
];

/// The measurement of this name.
pub fn find(name: &str) -> Option<&'static Measure> {
    ALL.iter().find(|measure| measure.name == name)
}

/// A title, and columns under their heads: the first to the left, the others to the right.
pub(crate) fn columns(title: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(at, (cell, width))| {
            let pad = " ".repeat(width - cell.chars().count().min(*width));
            if at == 0 {
                format!("{cell}{pad}")
            } else {
                format!("{pad}{cell}")
            }
        });
        let text: Vec<String> = padded.collect();
        format!("  {}\n", text.join("   ").trim_end())
    };
    let mut text = format!("{title}\n\n{}", line(&mut heads.iter().copied()));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A number in 0..1, never 0.
pub(crate) fn uniform(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// A probability or a rate: `0.0975`, `6.2e-4`, `0`.
pub(crate) fn rate(rate: f64) -> String {
    if rate == 0.0 {
        "0".into()
    } else if rate < 1e-3 {
        format!("{rate:.1e}")
    } else {
        format!("{rate:.4}")
    }
}
