//! The log as a picture: `tests/golden/*.txt`, refreshed with `UPDATE=1`.

use crate::common::{Plain, checkpoint, entry, freed, hard_state, open, position};
use base::LogPosition;
use quorate_storage::{Catalog, FileName, Health, Log, MemDisk, Recovered, dump, execute};

struct Script {
    disk: MemDisk,
    log: Log,
    catalog: Catalog,
}

fn number(word: &str, radix: u32) -> u64 {
    u64::from_str_radix(word, radix).unwrap_or_else(|_| panic!("no number: {word}"))
}

fn place(word: &str) -> LogPosition {
    let (index, term) = word
        .split_once('@')
        .unwrap_or_else(|| panic!("no place: {word}"));
    position(number(index, 10), number(term, 10))
}

impl Script {
    fn new() -> Script {
        let mut disk = MemDisk::new();
        let Recovered { log, catalog, .. } = open(&mut disk).unwrap();
        Script { disk, log, catalog }
    }

    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let ops = match words[0] {
            "append" => {
                let value = |i: usize| words[i].split_once('=').unwrap().1;
                let state = hard_state(
                    number(value(1), 10),
                    number(value(2), 16),
                    number(value(3), 10),
                );
                let entries: Vec<_> = words[4..]
                    .iter()
                    .map(|word| {
                        let (at, bytes) = word.split_once(':').unwrap();
                        let at = place(at);
                        entry(at.index.0, at.term.0, number(bytes, 10) as usize)
                    })
                    .collect();
                self.log.append(Some(state), &entries)
            }
            "checkpoint" => {
                let (ops, catalog) = checkpoint(&self.catalog, place(words[1]));
                self.catalog = catalog;
                ops
            }
            "truncate" => freed(&mut self.log, self.catalog.log_floor()),
            "seal" => self.log.seal().unwrap_or_default(),
            "flip" => {
                let file = FileName::parse(words[1]).unwrap();
                let byte = number(words[2], 10) as usize;
                self.disk.files_mut().get_mut(&file).unwrap()[byte] ^= 1;
                Vec::new()
            }
            "restart" => {
                let found: Recovered<Plain> = open(&mut self.disk).unwrap();
                let health = match &found.health {
                    Health::Intact => "intact".to_string(),
                    Health::Damaged { report, .. } => report.clone(),
                };
                (self.log, self.catalog) = (found.log, found.catalog);
                return health + "\n";
            }
            "dump" => return dump(&self.disk),
            other => panic!("unknown command: {other}"),
        };
        execute(&mut self.disk, &ops).unwrap();
        String::new()
    }
}

#[test]
fn a_log_looks_like_its_picture() {
    let mut script = Script::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/log.txt");
    testkit::check(path, |step| {
        step.lines().map(|line| script.run(line)).collect()
    });
}
