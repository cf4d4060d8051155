//! `quorate help COMMAND`: the same as `quorate COMMAND --help`.

use crate::complaint::Complaint;
use crate::output;
use crate::parse;
use crate::tree::Tree;
use clap::CommandFactory as _;

/// Print what a command does and takes.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate help
  quorate help put
  quorate help context use")]
pub(crate) struct Help {
    /// The command; several words lead to a command of a command.
    pub(crate) command: Vec<String>,
}

/// Prints it.
pub(crate) fn run(help: &Help) -> Result<(), Complaint> {
    let mut root = Tree::command();
    root.build();
    let mut command = &mut root;
    for word in &help.command {
        let names: Vec<String> = command
            .get_subcommands()
            .map(|it| it.get_name().to_owned())
            .collect();
        let Some(inner) = command.find_subcommand_mut(word) else {
            let complaint = Complaint::usage(format!("\"{word}\" is not a command"));
            return Err(
                match parse::nearest(word, names.iter().map(String::as_str)) {
                    Some(near) => complaint.help(format!("did you mean \"{near}\"?")),
                    None => complaint,
                },
            );
        };
        command = inner;
    }
    if help.command.first().map(String::as_str) == Some("server") {
        return output::raw(crate::face::server_help("quorate server").as_bytes());
    }
    output::raw(command.render_long_help().to_string().as_bytes())
}
