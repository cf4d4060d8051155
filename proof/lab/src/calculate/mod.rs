//! `quorate lab calc`: the arithmetic of the field.
//!
//! ```text
//!    quorums.rs        N, W, R: whom a read meets, what survives     base::quorum does the counting
//!    failures.rs       what each size of a cluster tolerates
//!    availability.rs   how often a majority is up
//!    phi.rs            how surprising a silence is                   algorithms::phi_accrual
//!    lease.rs          who must stop when                            clock::guard
//! ```
//!
//! Each calculation is a value that comes out as text or as JSON. Numbers that make no sense are refused in a sentence.
//! What the product computes too is computed once, where the product has it.

pub mod availability;
pub mod failures;
pub mod lease;
pub mod phi;
pub mod quorums;

use crate::command::Form;
use clap::Subcommand;
use serde_json::Value;

/// What came out.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

/// Do the arithmetic of the field.
#[derive(Subcommand, Debug)]
pub enum Calc {
    /// Compute what N copies, W of which acknowledge a write and R of which answer a read, promise and survive.
    Quorums(quorums::Arguments),
    /// Compute how many members of each size of cluster may fail.
    Failures(failures::Arguments),
    /// Compute how often a majority is up.
    Availability(availability::Arguments),
    /// Compute φ from the gaps between heartbeats and the silence since the last.
    Phi(phi::Arguments),
    /// Compute when the holder of a lease must stop, and when its grantor may let go.
    Lease(lease::Arguments),
}

impl Calc {
    /// The answer.
    ///
    /// # Errors
    /// When the numbers make no sense: what is wrong with which.
    pub fn answer(&self) -> Result<Answer, String> {
        match self {
            Calc::Quorums(arguments) => arguments.answer(),
            Calc::Failures(arguments) => arguments.answer(),
            Calc::Availability(arguments) => arguments.answer(),
            Calc::Phi(arguments) => arguments.answer(),
            Calc::Lease(arguments) => arguments.answer(),
        }
    }

    /// The answer as it is printed.
    ///
    /// # Errors
    /// As [`Calc::answer`].
    pub fn print(&self, form: Form) -> Result<String, String> {
        let answer = self.answer()?;
        Ok(match form {
            Form::Text => answer.text,
            Form::Json => answer.json.to_string() + "\n",
        })
    }
}

/// `1 copy`, `2 copies`, with the words for one and for several.
fn several(n: u32, one: &str, more: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {more}"),
    }
}
