//! The lab: every idea of the field, runnable, breakable, checked.
//!
//! ```text
//!    command.rs      what `quorate lab …` takes, and its exit codes
//!        │
//!    catalogue.rs    every exhibit, by name
//!        │
//!    exhibit.rs      a story, a picture, laws, rules that can be left out
//!        │
//!    algorithm.rs    how algorithms made of processes get all of that
//!        │
//!    algorithms/     one folder each: the lecture, the code (under 300 lines), the scenarios
//!        │
//!    measure/        figures of the literature, taken anew
//!    calculate/      its arithmetic
//!    questions/      eight questions, told, run, broken, answered
//!        │
//!    kernel/         processes, choices, worlds; everything explored, seeds, scripts
//!    diagram/        space-time pictures: text, SVG, traces
//!    cluster/        the production core, driven from a prompt or a script
//! ```
//!
//! The lab is for reading. What it shows is small and complete: no optimisation, nothing for production. The one
//! exception is the production core itself, which `quorate lab cluster` drives.
//!
//! Start with `algorithms/paxos`, then read the kernel from its `mod.rs`.
#![forbid(unsafe_code)]

pub mod command;

pub mod catalogue;

pub mod exhibit;

pub mod algorithm;

pub mod algorithms;

pub mod measure;

pub mod calculate;

pub mod questions;

pub mod cluster;

pub mod diagram;
pub mod kernel;
