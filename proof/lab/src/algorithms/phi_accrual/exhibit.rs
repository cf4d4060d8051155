//! How phi accrual is shown. It is no set of processes whose schedule matters, but arithmetic on gaps: so what is
//! explored is every sequence of gaps out of a few, and what is random are networks.

use super::*;
use crate::diagram::{Event, Kind as Happened, Picture, Sent};
use crate::exhibit::{Ask, Break, Broken, Exhibit, Fall, Kind, Scenario, Shown, Unable, asked};
use crate::kernel::Unscripted;
use base::Rng;
use std::fmt::Write;

/// Without it the answer is the same in every network.
const LEARN: Break = Break {
    rule: "learn",
    law: "no-false-death",
    says: "a fixed timeout of 300 ms, whatever the gaps are",
};
/// Without it a few equal gaps make any delay infinitely surprising.
const DEVIATION_FLOOR: Break = Break {
    rule: "deviation-floor",
    law: "no-false-death",
    says: "the deviation of the gaps is believed, even when it is nothing",
};
/// Without it yesterday makes today slow.
const FORGET: Break = Break {
    rule: "forget",
    law: "death-noticed",
    says: "every gap since the beginning counts",
};

/// What `learn` is replaced by. Milliseconds.
const TIMEOUT: f64 = 300.0;
/// The gaps of the small case. Milliseconds.
const GAPS: [f64; 3] = [50.0, 200.0, 350.0];
/// How many of them.
const LENGTH: usize = 8;
/// The hour before: a bad network. Milliseconds.
const BEFORE: [f64; 6] = [1000.0, 3000.0, 1000.0, 3000.0, 1000.0, 3000.0];
/// The window of the small case.
const WINDOW: usize = 6;
/// No deviation below this is believed. Milliseconds.
const FLOOR: f64 = 60.0;
/// A death is noticed in the small case so long after the last heartbeat at most: the mean of the gaps is 250 ms at
/// most where their deviation is near its greatest, 150 ms. Milliseconds.
const NOTICED_MAX: f64 = 1100.0;

/// φ, or what is left of it.
#[derive(Clone)]
struct Watch {
    broken: Broken,
    detector: Detector,
}

impl Watch {
    fn new(window: usize, broken: Broken) -> Watch {
        let window = (!broken.is(&FORGET)).then_some(window);
        let floor = if broken.is(&DEVIATION_FLOOR) {
            0.0
        } else {
            FLOOR
        };
        Watch {
            broken,
            detector: Detector::new(window, floor),
        }
    }

    /// Whether it takes the other for dead after such a silence.
    fn buries(&self, silence: f64) -> bool {
        if self.broken.is(&LEARN) {
            silence > TIMEOUT
        } else {
            self.detector.phi(silence) >= PHI_ENOUGH
        }
    }

    /// After what silence it does.
    fn limit(&self) -> f64 {
        if self.broken.is(&LEARN) {
            TIMEOUT
        } else {
            self.detector.limit()
        }
    }

    /// A heartbeat comes: was it taken for dead before?
    fn hear(&mut self, gap: f64) -> Result<(), Fall> {
        let is_buried = self.buries(gap);
        self.detector.hear(gap);
        if is_buried {
            let why = format!(
                "it is taken for dead in a gap of {gap:.0} ms, and its next heartbeat comes"
            );
            return Err(Fall {
                law: "no-false-death",
                why,
            });
        }
        Ok(())
    }

    /// If it died now, would that be noticed in time?
    fn notices(&self, noticed_max: f64) -> Result<(), Fall> {
        let limit = self.limit();
        if limit > noticed_max {
            let why = format!(
                "its death would be noticed after {limit:.0} ms, and not within {noticed_max:.0}"
            );
            return Err(Fall {
                law: "death-noticed",
                why,
            });
        }
        Ok(())
    }
}

impl Exhibit for PhiAccrual {
    fn name(&self) -> &'static str {
        "phi-accrual"
    }

    fn kind(&self) -> Kind {
        Kind::Membership
    }

    fn line(&self) -> &'static str {
        "suspicion as a number that learns its network, beside a fixed timeout"
    }

    fn story(&self) -> &'static str {
        include_str!("story.md")
    }

    fn breaks(&self) -> &'static [Break] {
        &[LEARN, DEVIATION_FLOOR, FORGET]
    }

    fn scenarios(&self) -> &'static [Scenario] {
        &[
            Scenario {
                name: "jitter",
                says: "the network gets uneven: the timeout would err three times, φ learns",
                broken: None,
                script: include_str!("scenarios/jitter.txt"),
            },
            Scenario {
                name: "death",
                says: "after the last heartbeat φ grows, and 8 is reached",
                broken: None,
                script: include_str!("scenarios/death.txt"),
            },
            Scenario {
                name: "timeout",
                says: "the same uneven network, and the fixed timeout",
                broken: Some("learn"),
                script: include_str!("scenarios/jitter.txt"),
            },
        ]
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let (scenario, broken) = asked(self, ask)?;
        let mut text = format!("{}: {}\n", self.name(), self.line());
        if !ask.is_brief {
            text += &format!("\n{}\n", self.story().trim_end());
        }
        if let Some(rule) = self.breaks().iter().find(|rule| broken.is(rule)) {
            text += &format!("\nBROKEN on purpose, {}: {}\n", rule.rule, rule.says);
        }
        let shown = self.show(broken, scenario, ask, &mut text);
        let _ = out.write_str(&text);
        shown
    }
}

impl PhiAccrual {
    fn show(
        &self,
        broken: Broken,
        scenario: Option<&'static Scenario>,
        ask: &Ask,
        out: &mut String,
    ) -> Result<Shown, Unable> {
        if let Some(scenario) = scenario {
            return scene(scenario, broken, out);
        }
        if let Some(seed) = ask.seed {
            return Ok(one_seed(broken, seed, out));
        }
        let mut shown = Shown::default();
        if broken == Broken::NOTHING {
            for scenario in self
                .scenarios()
                .iter()
                .filter(|scenario| scenario.broken.is_none())
            {
                let played = scene(scenario, broken, out)?;
                shown.picture = played.picture;
                shown.fall = shown.fall.or(played.fall);
            }
            *out += "\nlaws\n  no-false-death        who sends heartbeats is never taken for dead\n  \
                     death-noticed         a death is noticed in a time that fits the gaps of now\n\n";
        }
        explore(broken, &mut shown, out);
        if shown.fall.is_none() {
            seeds(broken, ask.seeds, &mut shown, out);
        }
        if broken == Broken::NOTHING {
            *out += "\nrules that can be left out, and what breaks then\n";
            for rule in self.breaks() {
                *out += &format!("  --break {:<24}{}\n", rule.rule, rule.law);
            }
        }
        Ok(shown)
    }
}

/// Every sequence of gaps, the shorter ones first: what breaks a law first is shortest.
fn explore(broken: Broken, shown: &mut Shown, out: &mut String) {
    let what = format!("every sequence of {LENGTH} gaps of 50, 200 or 350 ms, after a bad hour");
    shown.n_states = 1;
    let mut level: Vec<(Vec<f64>, Watch)> = vec![(Vec::new(), after_a_bad_hour(broken))];
    for _ in 0..LENGTH {
        let mut next = Vec::new();
        for (gaps, watch) in &level {
            for gap in GAPS {
                shown.n_states += 1;
                let gaps: Vec<f64> = gaps.iter().copied().chain([gap]).collect();
                let mut watch = watch.clone();
                let is_learnt = gaps.len() >= WINDOW;
                let held = watch.hear(gap).and_then(|()| {
                    if is_learnt {
                        watch.notices(NOTICED_MAX)
                    } else {
                        Ok(())
                    }
                });
                if let Err(fall) = held {
                    *out += &format!("\n{what}: trouble after {} states\n", shown.n_states);
                    trouble(after_a_bad_hour(broken), &gaps, fall, shown, out);
                    return;
                }
                next.push((gaps, watch));
            }
        }
        level = next;
    }
    *out += &format!(
        "{what}:\n  {} states, all of them: the laws hold\n",
        shown.n_states
    );
}

fn after_a_bad_hour(broken: Broken) -> Watch {
    let mut watch = Watch::new(WINDOW, broken);
    for gap in BEFORE {
        watch.detector.hear(gap);
    }
    watch
}

/// Networks by chance.
fn seeds(broken: Broken, n: u64, shown: &mut Shown, out: &mut String) {
    let what = "random networks of 50 to 2000 ms a gap, uneven by 5 to 40 %; some change their pace, some begin with equal gaps";
    for seed in 0..n {
        shown.n_seeds = seed + 1;
        let (watch, gaps, fall) = network(broken, seed);
        if let Some(fall) = fall {
            *out += &format!("\n{what}: trouble at seed {seed}\n");
            trouble(watch, &gaps, fall, shown, out);
            return;
        }
    }
    *out += &format!(
        "{what}:\n  {n} seeds, {JUDGED} heartbeats at each pace once it is learnt: the laws hold\n"
    );
}

/// The window of the random networks.
const WINDOW_LONG: usize = 100;
/// So many gaps teach at the beginning. After a change of pace it takes a whole window: until then mistakes are made, as
/// the story says, and the laws do not ask.
const TAUGHT: usize = 50;
/// At each pace so many heartbeats are judged.
const JUDGED: usize = 100;
/// How far above the true limit an estimated one may lie: a deviation taken from 50 gaps is off by a tenth, seldom by
/// four.
const LAX: f64 = 1.5;

/// How a network is for a while. Milliseconds.
struct Pace {
    mean: f64,
    deviation: f64,
}

impl Pace {
    fn at_random(rng: &mut Rng) -> Pace {
        let mean = rng.between(50, 2000) as f64;
        let deviation = mean * rng.between(5, 40) as f64 / 100.0;
        Pace { mean, deviation }
    }

    /// Normal, and never more than three deviations off: with a window of 100, four are a mistake now and then.
    fn gap(&self, rng: &mut Rng) -> f64 {
        (self.mean + self.deviation * bell(rng)).max(1.0)
    }

    /// Within so long a death must be noticed.
    fn noticed_max(&self) -> f64 {
        LAX * (self.mean + DEVIATIONS_AT_8 * self.deviation.max(FLOOR))
    }
}

/// One network: the watch a little before the end or the trouble, and the gaps from there.
fn network(broken: Broken, seed: u64) -> (Watch, Vec<f64>, Option<Fall>) {
    let mut rng = Rng::new(seed);
    let mut watch = Watch::new(WINDOW_LONG, broken);
    let mut first = Pace::at_random(&mut rng);
    if rng.one_in(4) {
        // Equal gaps teach, and then it is as uneven as the floor allows for.
        first.deviation = first.deviation.min(FLOOR);
        (0..TAUGHT).for_each(|_| watch.detector.hear(first.mean));
    } else {
        (0..TAUGHT).for_each(|_| watch.detector.hear(first.gap(&mut rng)));
    }
    let mut lived = live(&first, watch, &mut rng);
    if lived.2.is_none() && rng.one_in(2) {
        let then = Pace::at_random(&mut rng);
        let (mut watch, gaps, _) = lived;
        gaps.iter().for_each(|gap| watch.detector.hear(*gap));
        (0..WINDOW_LONG).for_each(|_| watch.detector.hear(then.gap(&mut rng)));
        lived = live(&then, watch, &mut rng);
    }
    lived
}

/// Some time at this pace, judged.
fn live(pace: &Pace, mut watch: Watch, rng: &mut Rng) -> (Watch, Vec<f64>, Option<Fall>) {
    let mut shown = (watch.clone(), Vec::new());
    for at in 0..JUDGED {
        if at % 8 == 0 {
            shown = (watch.clone(), Vec::new());
        }
        let gap = pace.gap(rng);
        shown.1.push(gap);
        let held = watch.hear(gap);
        if let Err(fall) = held.and_then(|()| watch.notices(pace.noticed_max())) {
            return (shown.0, shown.1, Some(fall));
        }
    }
    (shown.0, shown.1, None)
}

/// Normal by and large, and never more than three deviations off: twelve uniform ones added up.
fn bell(rng: &mut Rng) -> f64 {
    let sum: f64 = (0..12)
        .map(|_| rng.below(1 << 20) as f64 / f64::from(1 << 20))
        .sum();
    (sum - 6.0).clamp(-3.0, 3.0)
}

/// One random network, drawn.
fn one_seed(broken: Broken, seed: u64, out: &mut String) -> Shown {
    let (watch, gaps, fall) = network(broken, seed);
    let mut shown = Shown {
        n_seeds: 1,
        ..Shown::default()
    };
    *out += &format!("\nseed {seed}: the last of its heartbeats\n");
    match fall {
        Some(fall) => trouble(watch, &gaps, fall, &mut shown, out),
        None => {
            shown.picture = draw(watch, gaps.iter().map(|gap| Line::Beat(*gap))).0;
            *out += &format!("\n{}\n\nthe laws hold\n", text(&shown.picture).trim_end());
        }
    }
    shown
}

/// Draws a way into trouble.
fn trouble(watch: Watch, gaps: &[f64], fall: Fall, shown: &mut Shown, out: &mut String) {
    shown.picture = draw(watch, gaps.iter().map(|gap| Line::Beat(*gap))).0;
    *out += &format!("\n{}\n", text(&shown.picture).trim_end());
    *out += &format!("\n{} does not hold: {}\n", fall.law, fall.why);
    shown.fall = Some(fall);
}

/// A line of a scenario. Milliseconds.
#[derive(Clone, Copy)]
enum Line {
    /// `beat 120`: a heartbeat, so long after the last.
    Beat(f64),
    /// `silence 900`: nothing, since the last.
    Silence(f64),
}

/// Plays one scenario and draws it. The first six heartbeats teach.
fn scene(scenario: &'static Scenario, broken: Broken, out: &mut String) -> Result<Shown, Unable> {
    let mut lines = Vec::new();
    for (number, line) in scenario.script.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = words.split_whitespace().collect();
        let number_of = |text: &str| text.parse::<u32>().ok().map(f64::from);
        match words[..] {
            [] => {}
            ["beat", gap] if number_of(gap).is_some() => {
                lines.extend(number_of(gap).map(Line::Beat))
            }
            ["silence", long] if number_of(long).is_some() => {
                lines.extend(number_of(long).map(Line::Silence));
            }
            _ => {
                let source = Unscripted {
                    line: number + 1,
                    asked: line.into(),
                    open: "beat MILLISECONDS; silence MILLISECONDS".into(),
                };
                return Err(Unable::Script {
                    scenario: scenario.name,
                    source,
                });
            }
        }
    }
    let (picture, fall) = draw(Watch::new(WINDOW, broken), lines.into_iter());
    *out += &format!(
        "\nscenario {}: {}\n\n{}\n",
        scenario.name,
        scenario.says,
        text(&picture).trim_end()
    );
    if let Some(fall) = &fall {
        *out += &format!("\n{} does not hold: {}\n", fall.law, fall.why);
    }
    Ok(Shown {
        picture,
        fall,
        ..Shown::default()
    })
}

/// What happens, with φ after each gap, and what a fixed timeout would have said.
fn draw(mut watch: Watch, lines: impl Iterator<Item = Line>) -> (Picture, Option<Fall>) {
    let mut picture = Picture::new(["sender".to_string(), "watcher".to_string()]);
    let mut fall = None;
    let mut n_taught = watch.detector.n_gaps();
    for (message, line) in lines.enumerate() {
        let (Line::Beat(silence) | Line::Silence(silence)) = line;
        let mut said = Vec::new();
        if n_taught < WINDOW {
            said.push("learns".to_string());
        } else if watch.broken.is(&LEARN) {
            said.push(verdict(watch.buries(silence), "within the timeout"));
        } else {
            let phi = format!("φ = {:.1}", watch.detector.phi(silence));
            said.push(verdict(watch.buries(silence), &phi));
            if silence > TIMEOUT {
                said.push(format!("a timeout of {TIMEOUT:.0} ms has run out"));
            }
        }
        let (kind, text) = match line {
            Line::Beat(gap) => {
                picture.push(sending(message));
                let kind = Happened::Received { from: 0, message };
                (kind, format!("heartbeat after {gap:.0} ms"))
            }
            Line::Silence(long) => (Happened::Woke, format!("silence for {long:.0} ms")),
        };
        picture.push(Event {
            at: 1,
            kind,
            text,
            said,
            sends: Vec::new(),
        });
        if let Line::Beat(gap) = line {
            let held = watch.hear(gap);
            if n_taught >= WINDOW && fall.is_none() {
                fall = held.err();
            }
            n_taught += 1;
        }
    }
    (picture, fall)
}

/// The sender's half of a heartbeat.
fn sending(message: usize) -> Event {
    Event {
        at: 0,
        kind: Happened::Woke,
        text: "sends a heartbeat".into(),
        said: Vec::new(),
        sends: vec![Sent {
            message,
            to: 1,
            text: "heartbeat".into(),
        }],
    }
}

/// In words the row on which a heartbeat arrives says that it was sent, too.
fn text(picture: &Picture) -> String {
    let mut brief = picture.clone();
    brief.events.retain(|event| event.at == 1);
    brief.text()
}

fn verdict(is_buried: bool, otherwise: &str) -> String {
    match (is_buried, otherwise.starts_with('φ')) {
        (true, true) => format!("{otherwise}, taken for dead"),
        (true, false) => "the timeout has run out, taken for dead".into(),
        (false, _) => otherwise.into(),
    }
}
