//! What the scheduler may let happen next. A run is nothing but a list of these.

use super::process::{Process, ProcessId};
use super::world::World;

/// One step. It names what it acts on and not a place in a list, so that a list of choices still makes sense when
/// some of them are left out: that is how counter-examples are cut down, and what scripts are written in.
#[derive(Clone, PartialEq, Eq)]
pub enum Choice<P: Process> {
    /// A message arrives.
    Deliver(ProcessId, ProcessId, P::Message),
    /// A message is lost.
    Drop(ProcessId, ProcessId, P::Message),
    /// A message will arrive twice.
    Duplicate(ProcessId, ProcessId, P::Message),
    /// A timer runs out.
    Wake(ProcessId, P::Timer),
    /// A process is gone, with its timers.
    Crash(ProcessId),
    /// A crashed process is back.
    Restart(ProcessId),
    /// A process stands still.
    Pause(ProcessId),
    /// A paused process goes on.
    Resume(ProcessId),
    /// The network parts, as [`super::Setup::cuts`] says at this place.
    Cut(usize),
    /// The network is whole again.
    Heal,
    /// A clock jumps, as [`super::Setup::jumps`] says at this place.
    Jump(usize),
    /// Time goes on by one tick.
    Tick,
}

impl<P: Process> Choice<P> {
    /// Something that only goes wrong, and need never happen.
    pub fn is_fault(&self) -> bool {
        use Choice::*;
        matches!(
            self,
            Drop(..) | Duplicate(..) | Crash(_) | Pause(_) | Cut(_) | Jump(_)
        )
    }

    /// How scripts and `--step` write it: `deliver p1 a2 prepare 1`, `wake p1 retry`, `crash a1`, `tick`.
    pub fn tell(&self, world: &World<P>) -> String {
        let name = |process: &ProcessId| world.name(*process);
        match self {
            Choice::Deliver(from, to, message) => {
                format!("deliver {} {} {message}", name(from), name(to))
            }
            Choice::Drop(from, to, message) => {
                format!("drop {} {} {message}", name(from), name(to))
            }
            Choice::Duplicate(from, to, message) => {
                format!("duplicate {} {} {message}", name(from), name(to))
            }
            Choice::Wake(process, timer) => format!("wake {} {timer}", name(process)),
            Choice::Crash(process) => format!("crash {}", name(process)),
            Choice::Restart(process) => format!("restart {}", name(process)),
            Choice::Pause(process) => format!("pause {}", name(process)),
            Choice::Resume(process) => format!("resume {}", name(process)),
            Choice::Cut(at) => format!("cut {}", world.setup().cuts[*at].name),
            Choice::Heal => "heal".into(),
            Choice::Jump(at) => {
                let (process, by) = world.setup().jumps[*at];
                format!("jump {} {by:+}", name(&process))
            }
            Choice::Tick => "tick".into(),
        }
    }
}
