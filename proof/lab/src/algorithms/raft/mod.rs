#![doc = include_str!("story.md")]

mod draw;
mod exhibit;
mod script;
mod walk;
mod why;

pub use exhibit::Raft;
