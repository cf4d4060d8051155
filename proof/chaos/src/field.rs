//! The members under attack, and what the machine lets us do to them.
//!
//! Faults overlap, so each hold on a member is counted: it is started again when the last fault that wants it
//! down has let go. A member that ends while nobody holds it down has ended by itself, which no fault here
//! allows; it is written down as a violation, and started again.

use crate::Failure;
use crate::plan::{Kind, Need};
use cluster::{Cluster, Image, Net, Server, TempDir};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The cluster, its disks and its network. Everything ends with the value.
pub(crate) struct Field {
    // In the order in which they must go: processes, file systems, namespaces, folder.
    pub(crate) cluster: Cluster,
    seats: Vec<Seat>,
    pub(crate) net: Option<Net>,
    /// What cannot be done here, and why.
    pub(crate) missing: Vec<(Need, String)>,
    /// Members that ended by themselves, with their last words.
    pub(crate) deaths: Vec<String>,
    _folder: TempDir,
}

/// What holds a member.
#[derive(Default)]
struct Seat {
    image: Option<Image>,
    /// Faults that want it down.
    n_down: usize,
    /// Faults that want its disk full.
    n_full: usize,
}

impl Field {
    /// Starts `n` members with data under `disk`, each with as much of its own as the machine gives.
    pub(crate) fn start(command: &str, disk: &Path, n: usize, mib: u64) -> Result<Field, Failure> {
        let folder = TempDir::under(disk)?;
        let mut missing = Vec::new();
        let net = match namespaces(n) {
            Ok(net) => Some(net),
            Err(why) => {
                missing.push((Need::Namespaces, why.to_string()));
                None
            }
        };
        let mut seats: Vec<Seat> = (0..n).map(|_| Seat::default()).collect();
        if let Err(why) = images(&mut seats, folder.path(), mib) {
            seats.iter_mut().for_each(|seat| seat.image = None);
            missing.push((Need::Images, why.to_string()));
        }
        if let Err(why) = crate::strace::is_there() {
            missing.push((Need::Strace, why.to_string()));
        }
        let server = Server::new("chaos", command, folder.path())?;
        let cluster = match &net {
            None => Cluster::start(&server, folder.path(), n)?,
            Some(net) => {
                let places = (1..=n).map(|member| net.place(member)).collect();
                Cluster::start_at(&server, folder.path(), places)?
            }
        };
        Ok(Field {
            cluster,
            seats,
            net,
            missing,
            deaths: Vec::new(),
            _folder: folder,
        })
    }

    /// How many members.
    pub(crate) fn n(&self) -> usize {
        self.seats.len()
    }

    /// The kinds of fault that can be done here.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let can = |kind: &Kind| self.missing.iter().all(|(need, _)| *need != kind.need());
        Kind::ALL.into_iter().filter(can).collect()
    }

    /// Whether nobody wants it down.
    pub(crate) fn is_up(&self, member: usize) -> bool {
        self.seats[member].n_down == 0
    }

    /// `kill -9`, and nobody starts it before [`Field::release`].
    pub(crate) fn kill(&mut self, member: usize) {
        self.seats[member].n_down += 1;
        self.cluster.members[member].kill();
    }

    /// Holds down a member that is expected to end by itself; whether it does so in time.
    pub(crate) fn ends(&mut self, member: usize, patience: Duration) -> bool {
        self.seats[member].n_down += 1;
        let ended = self.cluster.members[member].ends_within(patience);
        self.cluster.members[member].kill();
        ended
    }

    /// Cuts the power of members, all before any of them is told otherwise: what was not synced is gone.
    pub(crate) fn cut_power(&mut self, members: &[usize]) -> Result<(), Failure> {
        for member in members {
            let seat = &mut self.seats[*member];
            seat.n_down += 1;
            if let Some(image) = seat.image.as_ref().filter(|image| image.is_mounted()) {
                image.cut_power()?;
            }
        }
        for member in members {
            self.cluster.members[*member].kill();
        }
        for member in members {
            if let Some(image) = &mut self.seats[*member].image {
                image.unmount()?;
            }
        }
        Ok(())
    }

    /// Lets go of a member that was held down; the last to do so starts it.
    pub(crate) fn release(&mut self, member: usize) -> Result<(), Failure> {
        let seat = &mut self.seats[member];
        seat.n_down -= 1;
        if seat.n_down > 0 {
            return Ok(());
        }
        if let Some(image) = &mut seat.image {
            image.mount()?;
            if seat.n_full == 0 {
                image.empty()?;
            }
        }
        Ok(self.cluster.members[member].start()?)
    }

    /// Fills a member's disk.
    pub(crate) fn fill(&mut self, member: usize) -> Result<(), Failure> {
        let seat = &mut self.seats[member];
        seat.n_full += 1;
        match seat.image.as_ref().filter(|image| image.is_mounted()) {
            Some(image) => Ok(image.fill()?),
            None => Ok(()),
        }
    }

    /// Gives its room back, when nobody else wants it full.
    pub(crate) fn empty(&mut self, member: usize) -> Result<(), Failure> {
        let seat = &mut self.seats[member];
        seat.n_full -= 1;
        let image = seat.image.as_ref().filter(|image| image.is_mounted());
        match image.filter(|_| seat.n_full == 0) {
            Some(image) => Ok(image.empty()?),
            None => Ok(()),
        }
    }

    /// Sends a signal to a member, if it runs.
    pub(crate) fn signal(&self, member: usize, signal: Signal) {
        let pid = self.cluster.members[member].pid();
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid as i32)) {
            // It may have ended a moment ago; then there is nobody to stop or wake.
            let _ = kill_process(pid, signal);
        }
    }

    /// Writes down, and starts again, who has ended although nobody wanted it.
    pub(crate) fn look_after(&mut self) -> Result<(), Failure> {
        for member in 0..self.n() {
            let process = &mut self.cluster.members[member];
            if self.seats[member].n_down == 0 && process.ends_within(Duration::ZERO) {
                self.deaths
                    .push(format!("{}:\n{}", process.name, process.last_words(12)));
                process.start()?;
            }
        }
        Ok(())
    }
}

/// Namespaces in which packets can be filtered; this thread is among the clients afterwards.
fn namespaces(n: usize) -> Result<Net, Failure> {
    needs_root("network namespaces")?;
    let net = Net::new(n)?;
    net.filter(1, "-L -n")?;
    net.enter()?;
    Ok(net)
}

/// An image for everybody, whose power can be cut.
fn images(seats: &mut [Seat], folder: &Path, mib: u64) -> Result<(), Failure> {
    needs_root("mounting images")?;
    let mut trial = Image::new(folder, "trial", 16)?;
    trial.cut_power()?;
    trial.unmount()?;
    for (i, seat) in seats.iter_mut().enumerate() {
        seat.image = Some(Image::new(folder, &format!("n{}", i + 1), mib)?);
    }
    Ok(())
}

pub(crate) fn needs_root(what: &str) -> Result<(), Failure> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(format!("{what}: needs root").into()),
    }
}

/// The first line that `program --version` or the like prints.
pub(crate) fn version(program: &str, flag: &str) -> Option<String> {
    let run = Command::new(program).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
