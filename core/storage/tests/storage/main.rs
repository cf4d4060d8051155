//! The claims about the log and the checkpoints, one file per kind of adversity.

mod common;
mod crashes;
mod damage;
mod model;
