//! Reviews turned into checks: what a machine can see of our habits, it checks on every build.
//!
//! ```text
//!   claims.rs   whether a table that says "works" names a test for it
//!   field.rs    whether every claim of the field that is called shown has a command and a test
//!   guides.rs   what pages must say, where somebody decides by them
//!   layers.rs   which crate may use which: the arrows of docs/architecture.md
//!   source.rs   what one source file may contain, by the folder that it lies in
//! ```
//!
//! Each rule is a function from text to complaints, so that the rules have tests of their own (a check
//! that cannot fail is worth nothing); `tests/tidy.rs` runs them over the whole tree.

pub mod claims;
pub mod field;
pub mod guides;
pub mod layers;
pub mod source;
