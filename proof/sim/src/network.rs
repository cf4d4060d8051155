//! Links between members: slow, lossy, cut one way or both, and healed.
//!
//! A frame of bytes goes in; out come the delays after which copies of it arrive: none when it is lost
//! or the link is cut, two when it is doubled. Delays differ from frame to frame, so frames overtake
//! each other. Links are directed.

use base::{MemberId, Rng};
use std::collections::BTreeSet;

/// How all links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The least delay, in microseconds.
    pub delay_us: u64,
    /// What is added at most, in microseconds.
    pub jitter_us: u64,
    /// How many of 1,000 frames are lost.
    pub loss_permille: u64,
    /// How many of 1,000 frames arrive twice.
    pub duplicate_permille: u64,
    /// How many of 1,000 frames arrive with a byte changed.
    pub corrupt_permille: u64,
}

impl Weather {
    /// A good local network.
    pub const FAIR: Weather = Weather {
        delay_us: 150,
        jitter_us: 200,
        loss_permille: 0,
        duplicate_permille: 0,
        corrupt_permille: 0,
    };

    /// Something between a busy rack and a bad continent.
    pub fn foul(rng: &mut Rng) -> Weather {
        Weather {
            delay_us: rng.between(50, 20_000),
            jitter_us: *rng.pick(&[500, 5_000, 60_000]).unwrap_or(&500),
            loss_permille: *rng.pick(&[0, 10, 100, 300]).unwrap_or(&0),
            duplicate_permille: *rng.pick(&[0, 10, 100]).unwrap_or(&0),
            corrupt_permille: *rng.pick(&[0, 0, 20]).unwrap_or(&0),
        }
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Arrives after so many microseconds.
    pub after_us: u64,
    /// Whether a byte of it is changed, and which draw decides.
    pub corrupt: Option<u64>,
}

/// The network of one world.
pub struct Network {
    rng: Rng,
    weather: Weather,
    cut: BTreeSet<(MemberId, MemberId)>,
}

impl Network {
    /// A whole network in fair weather.
    pub fn new(rng: Rng) -> Network {
        Network {
            rng,
            weather: Weather::FAIR,
            cut: BTreeSet::new(),
        }
    }

    /// Changes how all links behave.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts the link from one member to another; the way back stays.
    pub fn cut(&mut self, from: MemberId, to: MemberId) {
        self.cut.insert((from, to));
    }

    /// Makes the link from one member to another whole again.
    pub fn mend(&mut self, from: MemberId, to: MemberId) {
        self.cut.remove(&(from, to));
    }

    /// Whole again. The weather stays.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether any frame can pass.
    pub fn is_open(&self, from: MemberId, to: MemberId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Sends a frame of `bytes` bytes.
    pub fn send(&mut self, from: MemberId, to: MemberId, bytes: usize) -> Vec<Copy> {
        // Draw all chances for every frame, so that a cut elsewhere does not shift them.
        let lost = self.rng.permille(self.weather.loss_permille);
        let doubled = self.rng.permille(self.weather.duplicate_permille);
        let mut copy = || Copy {
            // A gigabit for big frames.
            after_us: self.weather.delay_us
                + self.rng.below(self.weather.jitter_us)
                + bytes as u64 / 125,
            corrupt: self
                .rng
                .permille(self.weather.corrupt_permille)
                .then(|| self.rng.next_u64()),
        };
        let (first, second) = (copy(), copy());
        if lost || !self.is_open(from, to) {
            return Vec::new();
        }
        if doubled {
            vec![first, second]
        } else {
            vec![first]
        }
    }
}

/// The shapes in which a network falls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Two sides that do not hear each other.
    TwoSides,
    /// One member hears nobody and is not heard.
    OneAlone,
    /// One member is heard and hears nobody.
    OneDeaf,
    /// One member hears everybody and is not heard.
    OneMute,
    /// Each pair is cut with some chance, each way on its own.
    Random,
    /// Each hears only its neighbours in a ring.
    Ring,
    /// Everybody hears one hub only.
    Hub,
}

impl Split {
    const ALL: [Split; 7] = [
        Split::TwoSides,
        Split::OneAlone,
        Split::OneDeaf,
        Split::OneMute,
        Split::Random,
        Split::Ring,
        Split::Hub,
    ];

    /// Any shape.
    pub fn draw(rng: &mut Rng) -> Split {
        *rng.pick(&Split::ALL).unwrap_or(&Split::TwoSides)
    }

    /// Cuts `network` in this shape; returns the cut links.
    pub fn apply(self, members: &[MemberId], network: &mut Network, rng: &mut Rng) {
        let Some(one) = rng.pick(members).copied() else {
            return;
        };
        let at = |member: MemberId| members.iter().position(|m| *m == member).unwrap_or(0);
        let side: Vec<bool> = members.iter().map(|_| rng.one_in(2)).collect();
        for from in members {
            for to in members.iter().filter(|to| *to != from) {
                let n = members.len();
                let apart = (at(*from) + n - at(*to)) % n;
                let cut = match self {
                    Split::TwoSides => side[at(*from)] != side[at(*to)],
                    Split::OneAlone => *from == one || *to == one,
                    Split::OneDeaf => *to == one,
                    Split::OneMute => *from == one,
                    Split::Random => rng.one_in(3),
                    Split::Ring => apart != 1 && apart != n - 1,
                    Split::Hub => *from != one && *to != one,
                };
                if cut {
                    network.cut(*from, *to);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<MemberId> {
        (1..=5).map(MemberId).collect()
    }

    #[test]
    fn one_way_cuts_pass_the_other_way() {
        let mut network = Network::new(Rng::new(1));
        network.cut(MemberId(1), MemberId(2));
        assert!(network.send(MemberId(1), MemberId(2), 100).is_empty());
        assert_eq!(network.send(MemberId(2), MemberId(1), 100).len(), 1);
        network.heal();
        assert_eq!(network.send(MemberId(1), MemberId(2), 100).len(), 1);
    }

    #[test]
    fn every_split_cuts_something_and_no_split_cuts_all() {
        for split in Split::ALL {
            let cuts: Vec<usize> = (0..20)
                .map(|seed| {
                    let mut network = Network::new(Rng::new(1));
                    split.apply(&members(), &mut network, &mut Rng::new(seed));
                    network.cut.len()
                })
                .collect();
            assert!(cuts.iter().any(|n| *n > 0), "{split:?}");
            assert!(cuts.iter().all(|n| *n < 20), "{split:?}");
        }
    }

    #[test]
    fn foul_weather_loses_doubles_and_reorders() {
        let mut network = Network::new(Rng::new(3));
        network.set_weather(Weather {
            delay_us: 100,
            jitter_us: 1000,
            loss_permille: 300,
            duplicate_permille: 100,
            corrupt_permille: 50,
        });
        let sent: Vec<_> = (0..1000)
            .map(|_| network.send(MemberId(1), MemberId(2), 10))
            .collect();
        assert!((200..400).contains(&sent.iter().filter(|copies| copies.is_empty()).count()));
        assert!(sent.iter().any(|copies| copies.len() == 2));
        assert!(sent.iter().flatten().any(|copy| copy.corrupt.is_some()));
        let delays: Vec<u64> = sent.iter().flatten().map(|copy| copy.after_us).collect();
        assert!(!delays.is_sorted());
    }
}
