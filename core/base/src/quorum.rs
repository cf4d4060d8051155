//! What a choice of quorums gives: N members keep a value, W of them acknowledge a write, R answer a read.
//!
//! Arithmetic only. Every answer is one that a look at all subsets would give, and the tests look at all of
//! them. Quorate itself always asks majorities ([`majority`]); the other choices are what availability-first
//! stores offer, and what people want to compare.

use std::fmt;

/// Members that are worth talking about.
pub const MEMBERS_MAX: u32 = 1000;

/// N, W and R. `1 <= writes <= members` and `1 <= reads <= members` hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorums {
    members: u32,
    writes: u32,
    reads: u32,
}

/// Why three numbers are no choice of quorums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoQuorums {
    /// There is no cluster of so many members.
    Members(u32),
    /// There is no such part of it.
    Part {
        /// W or R.
        name: &'static str,
        /// What was asked for.
        value: u32,
        /// N.
        members: u32,
    },
}

impl fmt::Display for NoQuorums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoQuorums::Members(members) => {
                write!(
                    f,
                    "N is {members}: a cluster has 1 to {MEMBERS_MAX} members"
                )
            }
            NoQuorums::Part {
                name,
                value,
                members,
            } => write!(
                f,
                "{name} is {value}: of {members} members, 1 to {members} can be asked"
            ),
        }
    }
}

impl std::error::Error for NoQuorums {}

impl Quorums {
    /// Checks the three numbers.
    ///
    /// # Errors
    /// When one of them is 0 or too large.
    pub fn new(members: u32, writes: u32, reads: u32) -> Result<Quorums, NoQuorums> {
        if !(1..=MEMBERS_MAX).contains(&members) {
            return Err(NoQuorums::Members(members));
        }
        for (name, value) in [("W", writes), ("R", reads)] {
            if !(1..=members).contains(&value) {
                return Err(NoQuorums::Part {
                    name,
                    value,
                    members,
                });
            }
        }
        Ok(Quorums {
            members,
            writes,
            reads,
        })
    }

    /// N.
    pub fn members(self) -> u32 {
        self.members
    }

    /// W.
    pub fn writes(self) -> u32 {
        self.writes
    }

    /// R.
    pub fn reads(self) -> u32 {
        self.reads
    }

    /// Members that any read shares with any write, at least. With one, a read meets the newest write.
    pub fn overlap(self) -> u32 {
        (self.writes + self.reads).saturating_sub(self.members)
    }

    /// Members that any two writes share, at least. With none, two writes may both be acknowledged, neither
    /// knowing of the other.
    pub fn writes_overlap(self) -> u32 {
        (2 * self.writes).saturating_sub(self.members)
    }

    /// Whether every read meets the newest write (W + R > N).
    pub fn is_strong(self) -> bool {
        self.overlap() > 0
    }

    /// Members that may fail, whichever they are, while reads go on.
    pub fn read_failures(self) -> u32 {
        self.members - self.reads
    }

    /// Members that may fail, whichever they are, while writes go on.
    pub fn write_failures(self) -> u32 {
        self.members - self.writes
    }

    /// Members that may fail, whichever they are, while both go on.
    pub fn both_failures(self) -> u32 {
        self.read_failures().min(self.write_failures())
    }

    /// `5/3/3`.
    pub fn text(self) -> String {
        format!("{}/{}/{}", self.members, self.writes, self.reads)
    }
}

/// The smallest part of which any two share a member.
pub fn majority(members: u32) -> u32 {
    members / 2 + 1
}

/// A cluster that asks majorities for both, as Quorate's members do.
///
/// # Errors
/// When there is no cluster of so many members.
pub fn of_majorities(members: u32) -> Result<Quorums, NoQuorums> {
    let majority = majority(members);
    Quorums::new(members, majority, majority)
}

/// What even sizes cost.
pub fn is_wasteful(members: u32) -> bool {
    members > 0 && members.is_multiple_of(2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    /// All subsets of `0..members` with `size` elements, as bit sets.
    fn subsets(members: u32, size: u32) -> Vec<u32> {
        (0..1_u32 << members)
            .filter(|set| set.count_ones() == size)
            .collect()
    }

    fn least_overlap(one: &[u32], other: &[u32]) -> u32 {
        let pairs = one.iter().flat_map(|a| other.iter().map(move |b| a & b));
        pairs.map(u32::count_ones).min().unwrap()
    }

    /// The largest number of failed members such that, whichever they are, a quorum is left.
    fn tolerated(members: u32, quorums: &[u32]) -> u32 {
        let survives = |failed: &u32| quorums.iter().any(|quorum| quorum & failed == 0);
        let survives_any = |n: &u32| subsets(members, *n).iter().all(survives);
        (0..=members).take_while(survives_any).last().unwrap()
    }

    #[test]
    fn every_number_is_what_all_subsets_say() {
        for members in 1..=7 {
            for writes in 1..=members {
                for reads in 1..=members {
                    let it = Quorums::new(members, writes, reads).unwrap();
                    let (w, r) = (subsets(members, writes), subsets(members, reads));
                    assert_eq!(it.overlap(), least_overlap(&w, &r), "{}", it.text());
                    assert_eq!(it.writes_overlap(), least_overlap(&w, &w), "{}", it.text());
                    assert_eq!(it.is_strong(), least_overlap(&w, &r) > 0, "{}", it.text());
                    let (by_reads, by_writes) = (tolerated(members, &r), tolerated(members, &w));
                    assert_eq!(it.read_failures(), by_reads, "{}", it.text());
                    assert_eq!(it.write_failures(), by_writes, "{}", it.text());
                    assert_eq!(it.both_failures(), by_reads.min(by_writes), "{}", it.text());
                }
            }
        }
    }

    #[test]
    fn a_majority_is_the_smallest_part_that_meets_itself() {
        for members in 1..=10 {
            let meets = |size: &u32| {
                let all = subsets(members, *size);
                least_overlap(&all, &all) > 0
            };
            assert_eq!((1..=members).find(meets), Some(majority(members)));
            let it = of_majorities(members).unwrap();
            assert!(it.is_strong());
            // An even size tolerates no more than the odd one below it.
            if is_wasteful(members) {
                let below = of_majorities(members - 1).unwrap();
                assert_eq!(it.both_failures(), below.both_failures());
            }
        }
    }

    #[test]
    fn numbers_that_are_no_quorums_are_refused() {
        let text = |n, w, r| Quorums::new(n, w, r).unwrap_err().to_string();
        assert_eq!(text(0, 1, 1), "N is 0: a cluster has 1 to 1000 members");
        assert_eq!(
            text(1001, 1, 1),
            "N is 1001: a cluster has 1 to 1000 members"
        );
        assert_eq!(text(3, 4, 1), "W is 4: of 3 members, 1 to 3 can be asked");
        assert_eq!(text(3, 1, 0), "R is 0: of 3 members, 1 to 3 can be asked");
    }
}
