//! Many seeds over many sittings: what was run is kept in a file, and the next sitting goes on behind it.
//!
//! The file belongs to one commit of the product. Sums of two products prove nothing about either.

use crate::plan::Fault;
use crate::report::Totals;
use base::Mark;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is known of one product so far.
#[derive(Clone, Debug, Default)]
pub struct Night {
    /// Which product: a commit.
    pub commit: String,
    /// The first seed that was not run.
    pub next: u64,
    /// The sums of all before.
    pub totals: Totals,
    /// Seeds with a violation, and the first broken promise of each.
    pub failed: BTreeMap<u64, String>,
}

impl Night {
    /// Where the night of `commit` is kept.
    pub fn path(commit: &str) -> PathBuf {
        PathBuf::from(format!("target/sim/night-{commit}.txt"))
    }

    /// What is known of `commit`, or a new night.
    ///
    /// # Errors
    /// The file cannot be read, or says what it should not.
    pub fn load(path: &Path, commit: &str) -> io::Result<Night> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let night = Night::parse(&text);
                let night = night.filter(|night| night.commit == commit);
                night.ok_or_else(|| {
                    io::Error::other(format!("{} is not a night of {commit}", path.display()))
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Night {
                commit: commit.to_owned(),
                ..Night::default()
            }),
            Err(error) => Err(error),
        }
    }

    /// Keeps it: whole, or as it was.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        std::fs::write(&new, self.render())?;
        std::fs::rename(new, path)
    }

    fn render(&self) -> String {
        let totals = &self.totals;
        let mut text = format!(
            "commit {}\nnext {}\nseeds {}\noperations {}\nsimulated_ms {}\nevents {}\nsteps {}\n",
            self.commit,
            self.next,
            totals.n_seeds,
            totals.n_operations,
            totals.simulated.as_millis(),
            totals.n_events,
            totals.n_steps
        );
        for (fault, n) in &totals.faults {
            let _ = writeln!(text, "fault {fault:?} {n}");
        }
        for (mark, n) in &totals.marks {
            let _ = writeln!(text, "mark {} {n}", mark.name());
        }
        for (seed, claim) in &self.failed {
            let _ = writeln!(text, "failed {seed} {claim}");
        }
        text
    }

    fn parse(text: &str) -> Option<Night> {
        let mut night = Night::default();
        for line in text.lines() {
            let (what, rest) = line.split_once(' ')?;
            let number = || rest.parse::<u64>().ok();
            let totals = &mut night.totals;
            match what {
                "commit" => rest.clone_into(&mut night.commit),
                "next" => night.next = number()?,
                "seeds" => totals.n_seeds = number()?,
                "operations" => totals.n_operations = number()?,
                "simulated_ms" => totals.simulated = Duration::from_millis(number()?),
                "events" => totals.n_events = number()?,
                "steps" => totals.n_steps = number()?,
                "fault" => {
                    let (name, n) = rest.split_once(' ')?;
                    let mut all = Fault::ALL.into_iter();
                    let fault = all.find(|fault| format!("{fault:?}") == name)?;
                    totals.faults.insert(fault, n.parse().ok()?);
                }
                "mark" => {
                    let (name, n) = rest.split_once(' ')?;
                    let mark = Mark::ALL.iter().find(|mark| mark.name() == name)?;
                    totals.marks.insert(*mark, n.parse().ok()?);
                }
                "failed" => {
                    let (seed, claim) = rest.split_once(' ')?;
                    night.failed.insert(seed.parse().ok()?, claim.to_owned());
                }
                _ => return None,
            }
        }
        night.totals.n_violations = night.failed.len() as u64;
        Some(night)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_goes_on_where_it_was() {
        let mut night = Night {
            commit: "abc".to_owned(),
            next: 120,
            ..Night::default()
        };
        night.totals.n_seeds = 120;
        night.totals.simulated = Duration::from_millis(77_001);
        night.totals.faults.insert(Fault::Blackout, 9);
        night.totals.marks.insert(Mark::RecordTorn, 5);
        night.failed.insert(31, "members_stay_equal".to_owned());
        let again = Night::parse(&night.render()).expect("what was written can be read");
        assert_eq!(again.render(), night.render());
        assert_eq!(again.totals.n_violations, 1);
        assert!(Night::parse("commit abc\nnext x\n").is_none());
        assert!(Night::parse("commit abc\nfault Plague 3\n").is_none());
    }
}
