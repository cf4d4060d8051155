//! The tree is whole: every command shows an example first, and every example is a command line that it takes.

use super::*;
use clap::CommandFactory as _;

/// Every command of the tree, with the words that lead to it.
fn all() -> Vec<(String, clap::Command)> {
    fn walk(path: &str, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        all.push((path.to_owned(), command.clone()));
        for inner in command.get_subcommands() {
            walk(&format!("{path} {}", inner.get_name()), inner, all);
        }
    }
    let mut root = Tree::command();
    root.build();
    let mut all = Vec::new();
    walk("quorate", &root, &mut all);
    all
}

/// The examples of a help text: its first lines.
fn examples(help: &str) -> Vec<&str> {
    let mut lines = help.lines();
    assert_eq!(lines.next(), Some("Examples:"), "{help}");
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    block.into_iter().map(str::trim).collect()
}

#[test]
fn clap_finds_no_fault_in_it() {
    Tree::command().debug_assert();
}

#[test]
fn every_help_starts_with_an_example_of_that_command() {
    for (path, mut command) in all() {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            let examples = examples(&help);
            let of_it = examples.iter().any(|line| line.contains(&path));
            assert!(of_it, "{path} has no example of its own:\n{help}");
        }
    }
}

#[test]
fn every_example_is_taken() {
    for (path, mut command) in all() {
        let help = command.render_help().to_string();
        for line in examples(&help) {
            // What stands after two spaces explains; what stands before `quorate` is another program's.
            let line = line.split("   ").next().unwrap_or_default();
            let Some(at) = line.find("quorate ").filter(|_| !line.contains("ln -s")) else {
                continue;
            };
            let words = shlex::split(&line[at..]).expect("quotes that close");
            let words: Vec<_> = words
                .into_iter()
                .take_while(|word| word != "|" && word != "<")
                .collect();
            let taken = Tree::try_parse_from(&words);
            let is_fine = taken.as_ref().is_ok_and(|tree| {
                let command = tree.command.as_ref();
                command.is_some_and(|it| it.takes().1.check(&tree.globals, &path).is_ok())
            });
            assert!(is_fine, "{path}: {line}: {:?}", taken.err());
        }
    }
}

#[test]
fn every_flag_says_what_it_is() {
    for (path, command) in all() {
        assert!(command.get_about().is_some(), "{path}");
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{path} {}",
                argument.get_id()
            );
        }
    }
}
