//! How Byzantine counting is shown: every lie of one traitor, then random lies of more, then every rule of three.

use super::*;
use crate::diagram::{Event, Kind as Mark, Picture, Sent};
use crate::exhibit::{Ask, Exhibit, Fall, Kind, Scenario, Shown, Unable, asked};
use base::Rng;
use std::fmt::{self, Write};

/// What is shown.
pub struct ByzantineCount;

const LAWS: [(&str, &str, Judge); 2] = [
    ("agreement", "all loyal lieutenants do the same", agreement),
    (
        "obedience",
        "when the commander is loyal, every loyal lieutenant does what it ordered",
        obedience,
    ),
];

type Judge = fn(&Army, &[Order]) -> Result<(), String>;

/// Writes a line. Writing into a string never fails.
macro_rules! say {
    ($out:expr, $($words:tt)*) => { let _ = writeln!($out, $($words)*); };
}

/// One run, and the law that it breaks.
struct Tried {
    army: Army,
    done: Vec<Order>,
    words: Vec<Word>,
    fall: Option<Fall>,
}

fn tried(army: &Army, m: usize, lie: &mut Lie<'_>) -> Tried {
    let (done, words) = OralMessages::run(army, m, &mut |path, to, order| lie(path, to, order));
    let fall = LAWS.iter().find_map(|(law, _, holds)| {
        let why = holds(army, &done).err()?;
        Some(Fall { law, why })
    });
    Tried {
        army: army.clone(),
        done,
        words,
        fall,
    }
}

/// Every traitor, every order, every lie: a message of a traitor is "attack", "retreat" or nothing.
fn every_lie(n: usize, m: usize, mut look: impl FnMut(Tried) -> bool) -> u64 {
    let mut n_runs = 0;
    for traitor in 0..n {
        for order in [Order::Attack, Order::Retreat] {
            let army = Army {
                n,
                is_traitor: (0..n).map(|who| who == traitor).collect(),
                order,
            };
            // The lies of a run are the digits of a number. How many there are shows when it runs.
            let (mut lies, mut n_lies) = (0u32, 0);
            loop {
                let mut rest = lies;
                let mut asked = 0;
                let it = tried(&army, m, &mut |_, _, _| {
                    let digit = rest % 3;
                    rest /= 3;
                    asked += 1;
                    [Some(Order::Attack), Some(Order::Retreat), None][digit as usize]
                });
                n_lies = asked.max(n_lies);
                n_runs += 1;
                if !look(it) {
                    return n_runs;
                }
                lies += 1;
                if lies >= 3u32.pow(n_lies) {
                    break;
                }
            }
        }
    }
    n_runs
}

/// Up to 3 traitors among just enough generals, who lie by chance.
fn at_random(broken: Broken, rng: &mut Rng) -> Tried {
    let (n, m) = match broken {
        Broken::NOTHING => {
            let f = rng.between(1, 2) as u32;
            (members_for_lies(f) as usize, f as usize)
        }
        _ => case(broken),
    };
    let mut army = Army {
        n,
        is_traitor: vec![false; n],
        order: if rng.one_in(2) {
            Order::Attack
        } else {
            Order::Retreat
        },
    };
    while army.is_traitor.iter().filter(|is| **is).count() < m.max(1) {
        let who = rng.below(n as u64) as usize;
        army.is_traitor[who] = true;
    }
    tried(&army, m, &mut |_, _, _| match rng.below(3) {
        0 => Some(Order::Attack),
        1 => Some(Order::Retreat),
        _ => None,
    })
}

impl Tried {
    /// The messages, and what each does in the end.
    fn picture(&self) -> Picture {
        let name = |who: usize| match (who, self.army.is_traitor[who]) {
            (0, false) => "c".to_string(),
            (0, true) => "c!".to_string(),
            (who, false) => format!("l{who}"),
            (who, true) => format!("l{who}!"),
        };
        let mut picture = Picture::new((0..self.army.n).map(name));
        let wish = match self.army.is_traitor[0] {
            true => "is a traitor".to_string(),
            false => format!("orders: {}", self.army.order),
        };
        let event = |at, kind, text| Event {
            at,
            kind,
            text,
            said: Vec::new(),
            sends: Vec::new(),
        };
        let sent = |from: usize, length: usize| {
            let mine = self.words.iter().enumerate().filter(move |(_, word)| {
                word.path.len() == length && word.path.last() == Some(&from)
            });
            mine.map(|(message, word)| Sent {
                message,
                to: word.to,
                text: word.text(),
            })
        };
        let rounds = self
            .words
            .iter()
            .map(|word| word.path.len())
            .max()
            .unwrap_or(0);
        for round in 1..=rounds {
            for at in 0..self.army.n {
                let sends: Vec<Sent> = sent(at, round).collect();
                if sends.is_empty() {
                    continue;
                }
                let text = match (round, self.army.is_traitor[at]) {
                    (1, _) => wish.clone(),
                    (_, true) => "tells what it likes".to_string(),
                    (_, false) => "tells what it was told".to_string(),
                };
                let mut event = event(at, Mark::Woke, text);
                event.sends = sends;
                picture.push(event);
            }
            for (message, word) in self.words.iter().enumerate() {
                if word.path.len() == round {
                    let from = word.path.last().copied().unwrap_or(0);
                    let kind = match word.order {
                        Some(_) => Mark::Received { from, message },
                        None => Mark::Lost { from, message },
                    };
                    picture.push(event(word.to, kind, word.text()));
                }
            }
        }
        for who in (1..self.army.n).filter(|who| !self.army.is_traitor[*who]) {
            picture.push(event(who, Mark::Woke, format!("does: {}", self.done[who])));
        }
        picture
    }
}

impl Word {
    fn text(&self) -> String {
        let order = self
            .order
            .map_or("silence".to_string(), |order| order.to_string());
        match self.path.len() {
            0 | 1 => order,
            _ => format!("I was told: {order}"),
        }
    }
}

impl Exhibit for ByzantineCount {
    fn name(&self) -> &'static str {
        "byzantine-count"
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn line(&self) -> &'static str {
        "who may lie needs 3f + 1 members, who may only crash 2f + 1"
    }

    fn story(&self) -> &'static str {
        include_str!("story.md")
    }

    fn breaks(&self) -> &'static [Break] {
        &[ONE_MORE, RELAY]
    }

    fn scenarios(&self) -> &'static [Scenario] {
        &[]
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        // It has no scenarios: to ask for one is refused.
        let (_, broken) = asked(self, ask)?;
        say!(out, "{}: {}", self.name(), self.line());
        if !ask.is_brief {
            say!(out, "\n{}", self.story().trim_end());
        }
        if let Some(rule) = self.breaks().iter().find(|rule| broken.is(rule)) {
            say!(out, "\nBROKEN on purpose, {}: {}", rule.rule, rule.says);
        }
        let mut shown = Shown::default();
        if let Some(seed) = ask.seed {
            let it = at_random(broken, &mut Rng::new(seed));
            shown.n_seeds = 1;
            say!(
                out,
                "\nseed {seed}: {} generals; a traitor is marked with !",
                it.army.n
            );
            show(&it, &mut shown, out);
            return Ok(shown);
        }
        if broken == Broken::NOTHING {
            say!(out, "\nlaws");
            for (name, says, _) in LAWS {
                say!(out, "  {name:<22}{says}");
            }
        }
        let (n, m) = case(broken);
        let mut example = None;
        shown.n_states = every_lie(n, m, |it| {
            let is_trouble = it.fall.is_some();
            // Without trouble, what is shown is how a traitor commands.
            let is_telling = it.army.is_traitor[0] && it.words[0].order != it.words[1].order;
            if is_trouble || (is_telling && example.is_none()) {
                example = Some(it);
            }
            !is_trouble
        });
        say!(
            out,
            "\nevery lie of one traitor among {n} generals, OM({m}): {} runs; a traitor is marked with !",
            shown.n_states
        );
        if let Some(it) = &example {
            show(it, &mut shown, out);
        }
        if shown.fall.is_some() {
            return Ok(shown);
        }
        for seed in 0..ask.seeds {
            let it = at_random(broken, &mut Rng::new(seed));
            shown.n_seeds = seed + 1;
            if it.fall.is_some() {
                say!(out, "\nrandom lies: trouble at seed {seed}");
                show(&it, &mut shown, out);
                return Ok(shown);
            }
        }
        say!(
            out,
            "\nrandom lies of 1 traitor among 4 in OM(1), of 2 among 7 in OM(2):\n  {} seeds: the laws hold",
            shown.n_seeds
        );
        if broken == Broken::NOTHING {
            count(out);
            say!(out, "\nrules that can be left out, and what breaks then");
            for rule in self.breaks() {
                say!(out, "  --break {:<24}{}", rule.rule, rule.law);
            }
        }
        Ok(shown)
    }
}

fn show(it: &Tried, shown: &mut Shown, out: &mut dyn Write) {
    shown.picture = it.picture();
    say!(out, "\n{}", shown.picture.text().trim_end());
    let verdict = match &it.fall {
        Some(fall) => format!("{} does not hold: {}", fall.law, fall.why),
        None => "the laws hold".to_string(),
    };
    say!(out, "\n{verdict}");
    shown.fall = it.fall.clone();
}

/// The arithmetic, and every rule by which three might decide.
fn count(out: &mut dyn Write) {
    say!(out, "\n  f  members if they crash  members if they lie");
    for f in 1..=4 {
        say!(
            out,
            "  {f}  {:<23} {}",
            members_for_crashes(f),
            members_for_lies(f)
        );
    }
    let (n_rules, n_good) = every_rule_of_three();
    say!(
        out,
        "\nthree generals, one traitor, one round of relaying: {n_rules} pairs of rules by which the lieutenants\n  might \
         decide from what each was told and what the other says it was told: {n_good} of them keep both laws"
    );
}

/// Every pair of rules of two lieutenants; how many there are, and how many keep both laws whatever one traitor says.
/// A rule is a table: from two words, each of them attack, retreat or silence, to attack or not.
pub fn every_rule_of_three() -> (u32, u32) {
    const WORDS: u32 = 3;
    const RULES: u32 = 1 << (WORDS * WORDS);
    let does = |rule: u32, told: u32, relayed: u32| rule >> (told * WORDS + relayed) & 1;
    // Whichever lieutenant is the traitor, the other must do what a loyal commander orders: 0 attack, 1 retreat.
    let obeys =
        |rule: u32| (0..2).all(|order| (0..WORDS).all(|lie| does(rule, order, lie) == 1 - order));
    // A traitor commands: it says what it likes to each, and each tells the other what it was told.
    let agree = |a: u32, b: u32| {
        (0..WORDS).all(|to_a| (0..WORDS).all(|to_b| does(a, to_a, to_b) == does(b, to_b, to_a)))
    };
    let mut n_good = 0;
    for a in 0..RULES {
        for b in 0..RULES {
            n_good += u32::from(obeys(a) && obeys(b) && agree(a, b));
        }
    }
    (RULES * RULES, n_good)
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::Attack => "attack",
            Order::Retreat => "retreat",
        })
    }
}
