//! `quorate completion SHELL`: what a shell must know to complete commands and flags.

use crate::complaint::Complaint;
use crate::output;
use crate::tree::Tree;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Print a shell's completion script.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate completion bash    put it where bash finds it: ~/.local/share/bash-completion/completions/quorate
  quorate completion zsh     for zsh: a file named _quorate in a directory of $fpath
  quorate completion fish    for fish: ~/.config/fish/completions/quorate.fish")]
pub(crate) struct Completion {
    /// Which shell.
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    pub(crate) shell: String,
}

/// The script.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Tree::command(), "quorate", &mut script);
    script
}

/// Prints it.
pub(crate) fn run(completion: &Completion) -> Result<(), Complaint> {
    let shell = match completion.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        _ => Shell::Fish,
    };
    output::raw(&script(shell))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn every_command_and_every_flag_is_completed() {
        let mut root = Tree::command();
        root.build();
        let mut commands = vec![(0, root.clone())];
        while let Some((depth, command)) = commands.pop() {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let script = String::from_utf8(script(shell)).unwrap();
                for inner in command.get_subcommands() {
                    assert!(
                        script.contains(inner.get_name()),
                        "{shell}: {}",
                        inner.get_name()
                    );
                }
                // clap_complete's script for fish goes two commands deep.
                if depth > 2 && matches!(shell, Shell::Fish) {
                    continue;
                }
                for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                    assert!(
                        script.contains(flag),
                        "{shell}: {} --{flag}",
                        command.get_name()
                    );
                }
            }
            commands.extend(
                command
                    .get_subcommands()
                    .map(|inner| (depth + 1, inner.clone())),
            );
        }
    }
}
