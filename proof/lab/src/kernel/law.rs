//! What must hold, and what is said when it does not.

use super::process::Process;
use super::world::World;

/// When a law is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// After every step: nothing bad happens.
    Always,
    /// When nothing can happen any more but faults: something good has happened.
    AtRest,
}

/// A claim about every state of a run.
pub struct Law<P: Process> {
    /// Its name, in words joined by `-`: `agreement`.
    pub name: &'static str,
    /// What it claims, in a sentence.
    pub says: &'static str,
    /// When it is asked.
    pub when: When,
    /// `Err` says what is wrong, in terms of the run: "l1 learnt x, l2 learnt y".
    pub holds: fn(&World<P>) -> Result<(), String>,
}

/// A law that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// Which.
    pub law: &'static str,
    /// How.
    pub why: String,
}

/// The first law that this state breaks.
pub fn judge<P: Process>(laws: &[Law<P>], world: &World<P>) -> Option<Breach> {
    let mut is_at_rest = None;
    laws.iter().find_map(|law| {
        let is_asked = match law.when {
            When::Always => true,
            When::AtRest => *is_at_rest.get_or_insert_with(|| world.is_at_rest()),
        };
        let why = is_asked.then(|| (law.holds)(world).err()).flatten()?;
        Some(Breach { law: law.name, why })
    })
}
