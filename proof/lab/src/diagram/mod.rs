//! What happened, as a picture: a column for each process, time downwards, messages across.
//!
//! A [`Picture`] knows no algorithm. The kernel draws into one, and so does the production core
//! (`quorate lab cluster`); it comes out as text, as SVG, or as a trace of JSON lines with vector clocks.

mod svg;
mod text;
mod trace;

pub use trace::SHIVIZ;

/// What kind of thing happened to a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It began.
    Start,
    /// It did something by itself: a timer, a client's request.
    Woke,
    /// A message came.
    Received {
        /// Who sent it.
        from: usize,
        /// Which it was: [`Sent::message`].
        message: usize,
    },
    /// A message to it was lost.
    Lost {
        /// Who sent it.
        from: usize,
        /// Which it was.
        message: usize,
    },
    /// It crashed.
    Crashed,
    /// It came back.
    Restarted,
    /// It stands still from here.
    Paused,
    /// It goes on.
    Resumed,
    /// Something went wrong with it.
    Fault,
    /// Something happened to all: the network parted. `at` means nothing.
    Everywhere,
    /// Time went on by a tick, for all. `at` means nothing.
    Tick,
}

/// A message that left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its number: unique in the picture.
    pub message: usize,
    /// To whom.
    pub to: usize,
    /// What it says.
    pub text: String,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// To whom: the place in [`Picture::processes`].
    pub at: usize,
    /// What.
    pub kind: Kind,
    /// In words: the message, the timer, the fault.
    pub text: String,
    /// What the process remarked.
    pub said: Vec<String>,
    /// What it sent.
    pub sends: Vec<Sent>,
}

/// A space-time diagram.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// The columns.
    pub processes: Vec<String>,
    /// The rows, in the order in which they happened.
    pub events: Vec<Event>,
}

impl Picture {
    /// An empty one.
    pub fn new(processes: impl IntoIterator<Item = String>) -> Picture {
        Picture {
            processes: processes.into_iter().collect(),
            events: Vec::new(),
        }
    }

    /// Adds what happened next.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Event {
    /// One line of words: who, what, and what it remarked.
    fn line(&self, processes: &[String]) -> String {
        let name = |at: usize| processes.get(at).map_or("?", String::as_str);
        let mut line = match &self.kind {
            Kind::Everywhere | Kind::Tick => self.text.clone(),
            Kind::Received { from, .. } | Kind::Lost { from, .. } => {
                format!("{} → {}  {}", name(*from), name(self.at), self.text)
            }
            Kind::Start | Kind::Woke if self.text.is_empty() => name(self.at).to_string(),
            _ => format!("{}  {}", name(self.at), self.text),
        };
        if !self.said.is_empty() {
            line += ": ";
            line += &self.said.join(", ");
        }
        line
    }
}
