//! `quorate quorum N W R`: what a choice of quorums gives.

use crate::complaint::Complaint;
use crate::output::Voice;
use crate::table::Table;
use base::quorum::{self, Quorums};
use serde::Serialize;
use std::fmt::Write as _;

/// The usual choices, N W R.
const USUAL: [(u32, u32, u32); 6] = [
    (5, 3, 3),
    (5, 4, 2),
    (5, 2, 4),
    (5, 1, 1),
    (3, 1, 3),
    (3, 2, 2),
];

/// The largest size in the table of majorities.
const SIZE_MAX: u32 = 7;

/// Compute what N copies, W of which acknowledge a write and R of which answer a read, promise and survive.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate quorum 5 3 3       strong? and how many failures do reads, writes and both survive?
  quorate quorum             the usual choices, and majorities by size")]
pub(crate) struct Quorum {
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    members: u32,
    writes: u32,
    reads: u32,
    is_strong: bool,
    overlap: u32,
    writes_overlap: u32,
    read_failures: u32,
    write_failures: u32,
    both_failures: u32,
}

#[derive(Serialize)]
struct Answers {
    usual: Vec<Answer>,
    majorities: Vec<Answer>,
}

fn answer(it: Quorums) -> Answer {
    Answer {
        members: it.members(),
        writes: it.writes(),
        reads: it.reads(),
        is_strong: it.is_strong(),
        overlap: it.overlap(),
        writes_overlap: it.writes_overlap(),
        read_failures: it.read_failures(),
        write_failures: it.write_failures(),
        both_failures: it.both_failures(),
    }
}

fn checked(members: u32, writes: u32, reads: u32) -> Result<Quorums, Complaint> {
    Quorums::new(members, writes, reads).map_err(|error| Complaint::usage(error.to_string()))
}

/// Prints it, or the tables.
pub(crate) fn run(quorum: &Quorum, voice: Voice) -> Result<(), Complaint> {
    if let (Some(members), Some(writes), Some(reads)) =
        (quorum.members, quorum.writes, quorum.reads)
    {
        let it = checked(members, writes, reads)?;
        return voice.answer("Quorum", &answer(it), || sentences(it));
    }
    let usual: Result<Vec<_>, _> = USUAL.iter().map(|(n, w, r)| checked(*n, *w, *r)).collect();
    let usual = usual?;
    let majorities = (1..=SIZE_MAX).filter_map(|n| quorum::of_majorities(n).ok());
    let majorities: Vec<_> = majorities.collect();
    let answers = Answers {
        usual: usual.iter().map(|it| answer(*it)).collect(),
        majorities: majorities.iter().map(|it| answer(*it)).collect(),
    };
    voice.answer("Quorums", &answers, || tables(&usual, &majorities))
}

fn failures(n: u32) -> String {
    match n {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        n => format!("{n} failures"),
    }
}

fn copies(n: u32) -> String {
    match n {
        1 => "1 copy".to_owned(),
        n => format!("{n} copies"),
    }
}

fn sentences(it: Quorums) -> String {
    let overlap = it.overlap();
    let mut text = match it.is_strong() {
        true => format!(
            "{}: strong: every read meets the newest write, in {} at least (W + R > N)\n",
            it.text(),
            copies(overlap),
        ),
        false => format!(
            "{}: weak: a read may miss the newest write (W + R <= N)\n",
            it.text()
        ),
    };
    // A String takes everything.
    let _ = writeln!(text, "reads survive  {}", failures(it.read_failures()));
    let _ = writeln!(text, "writes survive {}", failures(it.write_failures()));
    let _ = writeln!(text, "both survive   {}", failures(it.both_failures()));
    if it.writes_overlap() == 0 {
        text.push_str(
            "two writes may both be acknowledged without meeting (2W <= N): conflicts must be resolved\n",
        );
    }
    text
}

fn tables(usual: &[Quorums], majorities: &[Quorums]) -> String {
    let mut table = Table::new([
        "N/W/R",
        "STRONG",
        "OVERLAP",
        "READS SURVIVE",
        "WRITES SURVIVE",
        "BOTH",
    ]);
    for it in usual {
        let strong = if it.is_strong() { "yes" } else { "no" };
        table.row([
            it.text(),
            strong.to_owned(),
            it.overlap().to_string(),
            it.read_failures().to_string(),
            it.write_failures().to_string(),
            it.both_failures().to_string(),
        ]);
    }
    let mut sizes = Table::new(["MEMBERS", "MAJORITY", "SURVIVES", ""]);
    for (it, size) in majorities.iter().zip(1_u32..) {
        let word = match quorum::is_wasteful(size) {
            true => format!(
                "no more than {}, and one more can fail: prefer odd sizes",
                size - 1
            ),
            false => String::new(),
        };
        sizes.row([
            size.to_string(),
            quorum::majority(size).to_string(),
            it.both_failures().to_string(),
            word,
        ]);
    }
    format!(
        "{}\nQuorate asks majorities, for reads and for writes:\n\n{}",
        table.text(),
        sizes.text()
    )
}
