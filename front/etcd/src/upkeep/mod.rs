//! What a member does of itself while it runs: forgets history, and takes back alarms.
//!
//! Both are decided here, without a clock or a socket; the driver calls them now and then and proposes what they say,
//! as it would for a client.

mod compactor;
mod vigil;

pub use compactor::{By, Compactor, Due, Retention};
pub use vigil::Vigil;
