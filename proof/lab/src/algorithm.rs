//! An algorithm made of processes, and how it is shown: story, scenarios, every interleaving of a small case, ten
//! thousand seeds of a larger one; without one of its rules, the shortest way into trouble.

use crate::exhibit::{
    Ask, Break, Broken, Exhibit, Fall, Hand, Kind, Scenario, Shown, Unable, asked,
};
use crate::kernel::{
    Breach, Choice, Explored, Law, Process, STATES_MAX, Setup, Way, World, explore, judge, offered,
    play, shorten, walk,
};
use base::Rng;
use std::fmt::Write;
use std::marker::PhantomData;
use std::rc::Rc;

/// An algorithm of the field.
pub trait Algorithm: Sync + 'static {
    /// What it is made of.
    type Process: Process;

    /// What `quorate lab run` takes.
    const NAME: &'static str;
    /// What it is about.
    const KIND: Kind;
    /// What it is, in one line.
    const LINE: &'static str;
    /// The lecture, with its source: `include_str!("story.md")`.
    const STORY: &'static str;
    /// The rules that can be left out.
    const BREAKS: &'static [Break];
    /// The stories in steps.
    const SCENARIOS: &'static [Scenario];
    /// What [`Algorithm::small`] is, to be read behind "every interleaving of".
    const SMALL: &'static str;
    /// What [`Algorithm::large`] is, to be read behind "random runs of".
    const LARGE: &'static str;

    /// What must hold.
    fn laws() -> Vec<Law<Self::Process>>;

    /// The case that is explored whole. It may be another one where a rule is broken, if that rule needs it; then
    /// the rule must hold there when it is kept.
    fn small(broken: Broken) -> Setup<Self::Process>;

    /// What [`Algorithm::small`] is where a broken rule needs another case.
    fn small_is(broken: Broken) -> &'static str {
        let _ = broken;
        Self::SMALL
    }

    /// Where [`Algorithm::small`] is another case without `rule`: that case, with the rule kept.
    fn kept(rule: &Break) -> Option<Setup<Self::Process>> {
        let _ = rule;
        None
    }

    /// The case that is tried with seeds.
    fn large(broken: Broken, rng: &mut Rng) -> Setup<Self::Process>;

    /// The setup in which scenarios play. The small one, unless said otherwise.
    fn stage(broken: Broken) -> Setup<Self::Process> {
        Self::small(broken)
    }

    /// What the exploration does not go beyond, for cases that would never end.
    fn within(world: &World<Self::Process>) -> bool {
        let _ = world;
        true
    }
}

/// An algorithm as an exhibit.
pub struct Of<A>(PhantomData<A>);

impl<A> Of<A> {
    /// The exhibit of this algorithm.
    pub const fn new() -> Of<A> {
        Of(PhantomData)
    }
}

impl<A> Default for Of<A> {
    fn default() -> Self {
        Of::new()
    }
}

/// Sends what is written to the visitor; a `fmt::Write` into a string never fails.
macro_rules! say {
    ($out:expr, $($words:tt)*) => { let _ = writeln!($out, $($words)*); };
}

impl<A: Algorithm> Exhibit for Of<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn kind(&self) -> Kind {
        A::KIND
    }

    fn line(&self) -> &'static str {
        A::LINE
    }

    fn story(&self) -> &'static str {
        A::STORY
    }

    fn breaks(&self) -> &'static [Break] {
        A::BREAKS
    }

    fn scenarios(&self) -> &'static [Scenario] {
        A::SCENARIOS
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let (scenario, broken) = asked(self, ask)?;
        say!(out, "{}: {}", A::NAME, A::LINE);
        if !ask.is_brief {
            say!(out, "\n{}", A::STORY.trim_end());
        }
        if let Some(rule) = A::BREAKS.iter().find(|rule| broken.is(rule)) {
            say!(out, "\nBROKEN on purpose, {}: {}", rule.rule, rule.says);
        }
        if let Some(scenario) = scenario {
            return scene::<A>(scenario, out);
        }
        if let Some(seed) = ask.seed {
            return Ok(one_seed::<A>(broken, seed, out));
        }
        let mut shown = Shown::default();
        if broken == Broken::NOTHING {
            for scenario in A::SCENARIOS
                .iter()
                .filter(|scenario| scenario.broken.is_none())
            {
                let played = scene::<A>(scenario, out)?;
                shown.picture = played.picture;
                shown.fall = shown.fall.or(played.fall);
            }
            say!(out, "\nlaws");
            for law in A::laws() {
                say!(out, "  {:<22}{}", law.name, law.says);
            }
            say!(out, "");
        }
        let proved = prove::<A>(broken, ask, out);
        if broken == Broken::NOTHING && !A::BREAKS.is_empty() {
            say!(out, "\nrules that can be left out, and what breaks then");
            for rule in A::BREAKS {
                say!(out, "  --break {:<24}{}", rule.rule, rule.law);
            }
        }
        if proved.fall.is_some() {
            shown.picture = proved.picture;
        }
        shown.fall = shown.fall.or(proved.fall);
        (shown.n_states, shown.n_seeds) = (proved.n_states, proved.n_seeds);
        Ok(shown)
    }

    fn step(&self, ask: &Ask, hand: &mut Hand<'_>) -> Result<(), Unable> {
        let broken = self.rule(ask.broken.as_deref())?;
        by_hand::<A>(broken, hand);
        Ok(())
    }
}

/// Plays one scenario and draws it.
fn scene<A: Algorithm>(scenario: &Scenario, out: &mut dyn Write) -> Result<Shown, Unable> {
    let rule = A::BREAKS
        .iter()
        .find(|rule| Some(rule.rule) == scenario.broken);
    let setup = Rc::new(A::stage(rule.map_or(Broken::NOTHING, Broken::without)));
    let mut world = World::drawn(&setup);
    let breach =
        play(&mut world, &A::laws(), scenario.script).map_err(|source| Unable::Script {
            scenario: scenario.name,
            source,
        })?;
    let picture = world.picture().cloned().unwrap_or_default();
    say!(
        out,
        "\nscenario {}: {}\n\n{}",
        scenario.name,
        scenario.says,
        picture.text().trim_end()
    );
    if let Some(breach) = &breach {
        say!(out, "\n{} does not hold: {}", breach.law, breach.why);
    }
    Ok(Shown {
        fall: breach.map(Fall::from),
        picture,
        ..Shown::default()
    })
}

/// Explores the small case, then tries seeds of the large one; ends at the first law that does not hold.
fn prove<A: Algorithm>(broken: Broken, ask: &Ask, out: &mut dyn Write) -> Shown {
    let laws = A::laws();
    let mut shown = Shown::default();
    let mut cases = vec![(A::small_is(broken), Rc::new(A::small(broken)))];
    // Where a rule is for something that the first case does not have, the case that has it, with the rule kept.
    for rule in A::BREAKS.iter().filter(|_| broken == Broken::NOTHING) {
        let name = A::small_is(Broken::without(rule));
        let Some(setup) = A::kept(rule) else { continue };
        if name == A::small_is(Broken::NOTHING) {
            // It would be taken for the first one, and never be explored: a fault of the exhibit's.
            let why = format!("the case of {} has no name of its own", rule.rule);
            shown.fall = Some(Fall { law: "small", why });
        }
        if !cases.iter().any(|(other, _)| *other == name) {
            cases.push((name, Rc::new(setup)));
        }
    }
    for (name, setup) in cases {
        let explored = explore(&setup, &laws, A::within);
        let Explored {
            states,
            steps,
            edge,
            depth,
            ..
        } = explored;
        shown.n_states += states;
        if let Some(way) = explored.trouble {
            say!(
                out,
                "\nevery interleaving of {name}: trouble after {states} states, {steps} steps"
            );
            trouble(&setup, way, &mut shown, out);
            return shown;
        }
        let end = match (explored.is_whole, edge) {
            (true, 0) => "all of them".to_string(),
            (true, edge) => format!("all of them up to the edge of the case ({edge})"),
            (false, _) => "not all of them".to_string(),
        };
        say!(out, "every interleaving of {name}:");
        say!(
            out,
            "  {states} states, {steps} steps, depth {depth}, {end}: the laws hold"
        );
        if !explored.is_whole {
            // A small case that is not small is a fault of the exhibit's.
            let why = format!("more than {STATES_MAX} states: too large to be explored");
            shown.fall = Some(Fall { law: "small", why });
        }
    }
    let mut steps = 0;
    for seed in 0..ask.seeds {
        let mut rng = Rng::new(seed);
        let setup = Rc::new(A::large(broken, &mut rng));
        let walked = walk(&setup, &laws, &mut rng);
        steps += walked.steps;
        shown.n_seeds = seed + 1;
        if let Some(way) = walked.trouble {
            let long = way.choices.len();
            say!(
                out,
                "\nrandom runs of {}: trouble at seed {seed}, after {long} steps",
                A::LARGE
            );
            let way = shorten(&setup, &laws, way);
            say!(
                out,
                "without what did not matter: {} steps",
                way.choices.len()
            );
            trouble(&setup, way, &mut shown, out);
            return shown;
        }
    }
    say!(out, "random runs of {}:", A::LARGE);
    say!(out, "  {} seeds, {steps} steps: the laws hold", ask.seeds);
    shown
}

/// Draws a way into trouble.
fn trouble<P: Process>(setup: &Rc<Setup<P>>, way: Way<P>, shown: &mut Shown, out: &mut dyn Write) {
    shown.picture = draw(setup, &way.choices);
    say!(out, "\n{}", shown.picture.text().trim_end());
    say!(
        out,
        "\n{} does not hold: {}",
        way.breach.law,
        way.breach.why
    );
    shown.fall = Some(way.breach.into());
}

/// The same steps once more, and drawn.
fn draw<P: Process>(setup: &Rc<Setup<P>>, choices: &[Choice<P>]) -> crate::diagram::Picture {
    let mut world = World::drawn(setup);
    for choice in choices {
        world.apply(choice);
    }
    world.picture().cloned().unwrap_or_default()
}

/// One random run of the large case, drawn.
fn one_seed<A: Algorithm>(broken: Broken, seed: u64, out: &mut dyn Write) -> Shown {
    let mut rng = Rng::new(seed);
    let setup = Rc::new(A::large(broken, &mut rng));
    let walked = walk(&setup, &A::laws(), &mut rng);
    let mut shown = Shown {
        n_seeds: 1,
        ..Shown::default()
    };
    say!(out, "\nseed {seed} of {}: {} steps", A::LARGE, walked.steps);
    match walked.trouble {
        Some(way) => trouble(&setup, way, &mut shown, out),
        None => {
            shown.picture = draw(&setup, &walked.choices);
            say!(
                out,
                "\n{}\n\nthe laws hold",
                shown.picture.text().trim_end()
            );
        }
    }
    shown
}

/// The visitor chooses each step by its number or its words.
fn by_hand<A: Algorithm>(broken: Broken, hand: &mut Hand<'_>) {
    let setup = Rc::new(A::stage(broken));
    let laws = A::laws();
    let mut world = World::drawn(&setup);
    let mut is_broken = false;
    loop {
        let open = offered(&world);
        let mut text = world
            .picture()
            .map(crate::diagram::Picture::text)
            .unwrap_or_default();
        if let Some(breach) = judge(&laws, &world).filter(|_| !is_broken) {
            is_broken = true;
            let _ = writeln!(text, "\n{} does not hold: {}", breach.law, breach.why);
        }
        if world.is_at_rest() {
            text += "\nnothing can happen any more, but faults\n";
        }
        text += "\nwhat next? (a number, or words as in a scenario; an empty line: the first; q: no more)\n";
        for (number, choice) in open.iter().enumerate() {
            let _ = writeln!(text, "  {number:>2}  {}", choice.tell(&world));
        }
        if hand
            .write
            .write_all(text.as_bytes())
            .and_then(|()| hand.write.flush())
            .is_err()
        {
            return;
        }
        let mut line = String::new();
        if !matches!(hand.read.read_line(&mut line), Ok(n) if n > 0) || line.trim() == "q" {
            return;
        }
        let line = if line.trim().is_empty() {
            "0"
        } else {
            line.trim()
        };
        match line.parse::<usize>().ok() {
            Some(number) if number < open.len() => {
                world.apply(&open[number]);
            }
            _ => {
                if let Err(error) = play(&mut world, &laws, line) {
                    let _ = writeln!(hand.write, "cannot {}", error.asked);
                }
            }
        }
    }
}

impl From<Breach> for Fall {
    fn from(breach: Breach) -> Fall {
        Fall {
            law: breach.law,
            why: breach.why,
        }
    }
}
