//! Prints what explorations find: the sound scopes, then each broken rule with its way into trouble.
//!
//! `explore` prints everything, which takes minutes; `explore WORD` only scopes and rules whose name
//! contains the word.

use spec::model::{End, Model, Property, cases, explore};
use std::time::Instant;

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    println!("{:42}    states      steps depth", "");
    for scope in cases::sound().into_iter().chain(cases::large()) {
        if scope.name.contains(&word) {
            run(scope.name, &Model::sound(scope.clone()), &Property::ALL);
        }
    }
    for case in cases::broken() {
        let name = format!("{}, kept", case.rule);
        if name.contains(&word) {
            run(&name, &Model::sound(case.scope.clone()), &Property::ALL);
        }
        let name = format!("{}, broken", case.rule);
        if name.contains(&word) {
            let model = Model::breaking(case.rule, case.scope);
            run(&name, &model, &[case.property]);
        }
    }
}

fn run(name: &str, model: &Model, properties: &[Property]) {
    let start = Instant::now();
    let report = explore(model, properties);
    println!("{name:42} {report} ({:.1?})", start.elapsed());
    if let End::Violated(violation) = &report.end {
        for line in violation.play(model) {
            println!("    {line}");
        }
    }
}
