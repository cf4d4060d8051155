//! How a run begins, and what may go wrong in it.

use super::process::{Process, ProcessId};

/// In which order messages between two processes arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// In any order.
    #[default]
    Any,
    /// As they were sent, as over one TCP connection. A crash loses what is under way to and from the process, and
    /// what is sent to one that is down is lost, too.
    Fifo,
}

/// What time is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Time {
    /// There is none: only an order of events. Timers are set with `anytime`.
    #[default]
    None,
    /// Ticks. A timer that is due runs out before the next tick, unless its process is paused or down.
    Ticks {
        /// How many ticks there are.
        horizon: u32,
        /// A message is delivered within so many ticks; `None`: whenever the network likes. It is lost when its
        /// time is over while its receiver is down or cut off.
        delay_max: Option<u32>,
    },
}

/// Who no longer hears whom while a cut lasts: processes of different sides. Who stands on no side hears everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// What scripts call it.
    pub name: &'static str,
    /// The sides.
    pub sides: Vec<Vec<ProcessId>>,
}

/// How much may go wrong. Nothing by default, except that messages are late.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// Crashes, of anybody unless [`Setup::mortal`] says who.
    pub crashes: u8,
    /// How many of the crashed come back.
    pub restarts: u8,
    /// Messages that are lost. (A message that is never delivered needs no fault: only laws about the rest state
    /// and first-in-first-out networks see the difference.)
    pub drops: u8,
    /// Messages that arrive twice.
    pub duplicates: u8,
    /// Pauses, of anybody unless [`Setup::mortal`] says who: a process stands still while its clock goes on.
    pub pauses: u8,
    /// How often the network is cut, each time in one of [`Setup::cuts`].
    pub cuts: u8,
    /// How often a clock jumps, each time by one of [`Setup::jumps`].
    pub jumps: u8,
}

/// How a run begins.
#[derive(Clone, Debug)]
pub struct Setup<P> {
    /// The processes, by the names that diagrams and scripts use.
    pub processes: Vec<(String, P)>,
    /// In which order messages arrive.
    pub delivery: Delivery,
    /// What time is.
    pub time: Time,
    /// How many ticks a process's clock goes on in how many of the world's: (1, 1) is a right one. Empty: all right.
    pub rates: Vec<(u32, u32)>,
    /// How much may go wrong.
    pub faults: Faults,
    /// Who may crash or pause; empty: anybody.
    pub mortal: Vec<ProcessId>,
    /// The cuts that may happen.
    pub cuts: Vec<Cut>,
    /// The jumps of clocks that may happen: whose, by how many ticks.
    pub jumps: Vec<(ProcessId, i64)>,
    /// A random run ends after so many steps.
    pub steps_max: u32,
}

impl<P: Process> Setup<P> {
    /// Processes in a network that is slow and nothing worse, without time.
    pub fn new<N: Into<String>>(processes: impl IntoIterator<Item = (N, P)>) -> Setup<P> {
        let processes = processes
            .into_iter()
            .map(|(name, process)| (name.into(), process));
        Setup {
            processes: processes.collect(),
            delivery: Delivery::default(),
            time: Time::default(),
            rates: Vec::new(),
            faults: Faults::default(),
            mortal: Vec::new(),
            cuts: Vec::new(),
            jumps: Vec::new(),
            steps_max: 400,
        }
    }
}
