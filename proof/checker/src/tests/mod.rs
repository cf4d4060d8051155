//! The judges judged: good histories pass, each doctored one is rejected by the judge it is meant for.

mod doctored;
mod invariants;
mod lines;
mod lines_and_levels;
mod matrix;
mod pictures;
mod toy;
mod watches;
