//! What the tests of all gates share: the model's property, the judgement of concurrent writers, children to kill.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // each test file uses its part

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use base::Rng;
use quorate_gate::{Memory, Stale, Token};

/// Random sequences of writes for each gate.
pub const SEQUENCES: u64 = 200;

/// A resource behind a gate, as the property test sees it. What is neither yes nor stale is a failed test.
pub trait Resource {
    /// Writes through the gate.
    fn write(&mut self, resource: &str, token: Token, value: &str) -> Result<(), Stale>;

    /// What is there: the newest token, the value.
    fn look(&mut self, resource: &str) -> Option<(Token, String)>;

    /// What a restart does.
    fn reopen(&mut self) {}
}

/// Plays random sequences on `real` and on the model: every answer and every state must be equal. Each sequence
/// has resources of its own.
pub fn agrees_with_the_model(real: &mut impl Resource) {
    for seed in 0..SEQUENCES {
        let mut rng = Rng::new(seed);
        let mut model = Memory::default();
        let names = [format!("s{seed}-a"), format!("s{seed}-b")];
        for step in 0..rng.between(4, 12) {
            let resource = rng.pick(&names).unwrap();
            // Mostly neighbours of each other, so that old, equal and new ones all come; some are huge.
            let token = match rng.below(12) {
                0 => Token((1 << 62) + rng.below(2)),
                _ => Token(rng.below(6)),
            };
            let value = format!("{step}");
            let (got, expected) = (
                real.write(resource, token, &value),
                model.write(resource, token, value),
            );
            assert_eq!(got, expected, "seed {seed} step {step} token {token}");
            if rng.one_in(8) {
                real.reopen();
            }
            for name in &names {
                let expected = model.newest(name).zip(model.value(name).cloned());
                assert_eq!(real.look(name), expected, "seed {seed} step {step}");
            }
        }
    }
}

/// The tokens of one concurrent writer: random, so that they come late and early.
pub fn tokens(writer: u64, n_writes: u64) -> Vec<Token> {
    let mut rng = Rng::new(writer);
    (0..n_writes).map(|_| Token(rng.between(1, 60))).collect()
}

/// Judges what concurrent writers left: `history` is what was admitted, in the order in which it was written.
pub fn judge(history: &[(Token, String)], all: &[Token], last: &(Token, String)) {
    let in_order = history.is_sorted_by_key(|(token, _)| *token);
    assert!(
        in_order,
        "an old token was admitted after a newer one: {history:?}"
    );
    let max = all.iter().max().unwrap();
    assert_eq!(last.0, *max, "the last fence is the newest of all");
    assert_eq!(
        history.last(),
        Some(last),
        "the value is of the newest token that wrote last"
    );
    assert!(
        history.len() < all.len(),
        "nobody was refused: nothing was tested"
    );
}

/// This test binary once more, playing the test `name` with `role` in its environment. Killed when dropped.
pub struct Actor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// The variable that tells a child what to play.
pub const ROLE: &str = "QUORATE_GATE_TEST_ROLE";

impl Actor {
    pub fn start(name: &str, role: &str) -> Actor {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Actor { child, lines }
    }

    /// The next word that the child said with [`say`]; nothing when it is gone.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The harness may have begun the line. A line without its end was cut off by the kill.
            if let Some((_, said)) = line.split_once('@')
                && let Some(said) = said.strip_suffix('\n')
            {
                return Some(said.to_owned());
            }
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it died of `kill -9`, and not of its own will.
    pub fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.child.wait().unwrap().signal() == Some(9)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says a word to the parent.
pub fn say(word: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{word}").and_then(|()| out.flush()).unwrap();
}
