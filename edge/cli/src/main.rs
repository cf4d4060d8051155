//! The `quorate` binary, and the `etcd` that it can be.
//!
//! ```text
//!   called `etcd`      etcd's flags, environment and version: a member         flags.rs
//!   called anything    quorate server   a member, by the same flags as etcd    flags.rs
//!   else               everything else: one tree of commands                   tree.rs, cmd/
//! ```
//!
//! The name of the program decides (`argv[0]`, a symbolic link will do), so that scripts written for etcd
//! need no change. What is printed goes through `output.rs`, what went wrong through `complaint.rs`.

mod cmd;
mod complaint;
mod context;
mod credentials;
mod dev;
mod diagnosis;
mod face;
mod flags;
mod global;
mod hold;
mod link;
mod log;
mod output;
mod parse;
mod survey;
mod table;
mod tree;

use clap::{CommandFactory as _, Parser as _};
use cmd::snapshot::Action;
use complaint::Complaint;
use global::Globals;
use link::Link;
use output::{Format, Voice};
use std::process::ExitCode;
use tree::{Command, Tree};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name();
    if name.is_some_and(|name| name == "etcd") {
        return face::member("etcd", std::env::args().skip(1).collect());
    }
    // etcd's flags are no part of the tree: it would take -h and --version for its own.
    if arguments.next().is_some_and(|first| first == "server") {
        return face::member("quorate server", std::env::args().skip(2).collect());
    }
    let tree = match Tree::try_parse() {
        Ok(tree) => tree,
        Err(error) => return not_understood(&error),
    };
    let voice = tree.globals.voice();
    match run(tree) {
        Ok(code) => code,
        Err(complaint) => {
            if !complaint.is_silent() {
                voice.complain(&complaint);
            }
            ExitCode::from(complaint.exit())
        }
    }
}

fn run(tree: Tree) -> Result<ExitCode, Complaint> {
    let Tree { globals, command } = tree;
    let voice = globals.voice();
    let Some(command) = command else {
        output::raw(Tree::command().render_long_help().to_string().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let (name, takes) = command.takes();
    takes.check(&globals, name)?;
    let is_write = command.is_write();
    let code = match command {
        Command::Get(get) => over(&globals, is_write, async |link| {
            cmd::get::run(get, link, voice).await
        })?,
        Command::Put(put) => over(&globals, is_write, async |link| {
            cmd::put::run(put, link, voice).await
        })?,
        Command::Del(del) => over(&globals, is_write, async |link| {
            cmd::del::run(del, link, &globals).await
        })?,
        Command::Range(it) => over(&globals, is_write, async |link| {
            cmd::range::run(it, link, voice).await
        })?,
        Command::Txn(txn) => over(&globals, is_write, async |link| {
            cmd::txn::run(txn, link, voice).await
        })?,
        Command::Watch(it) => over(&globals, is_write, async |link| {
            cmd::watch::run(it, link, voice).await
        })?,
        Command::Lease(it) => over(&globals, is_write, async |link| {
            cmd::lease::run(it, link, &globals).await
        })?,
        Command::Status(_) => over(&globals, is_write, async |_| {
            cmd::status::run(&globals).await
        })?,
        Command::Doctor(_) => over(&globals, is_write, async |_| {
            cmd::doctor::run(&globals).await
        })?,
        Command::Snapshot(snapshot) => match snapshot.action {
            Action::Save(save) => over(&globals, is_write, async |link| {
                cmd::snapshot::save(save, link, voice).await
            })?,
            Action::Status(status) => cmd::snapshot::status(&status, voice).map(|()| 0)?,
            Action::Restore(it) => cmd::snapshot::restore(&it, voice).map(|()| 0)?,
        },
        // These hear signals themselves: a command of the user's runs under them.
        Command::Lock(lock) => runtime()?.block_on(cmd::lock::run(lock, &globals))?,
        Command::Elect(elect) => runtime()?.block_on(cmd::elect::run(elect, &globals))?,
        Command::Explain(explain) => cmd::explain::run(&explain, voice).map(|()| 0)?,
        Command::Quorum(quorum) => cmd::quorum::run(&quorum, voice).map(|()| 0)?,
        Command::Lab(it) => return cmd::lab::run(it, voice),
        Command::Audit(audit) => cmd::audit::run(&audit, voice).map(|()| 0)?,
        Command::Context(context) => context.run(&globals).map(|()| 0)?,
        Command::Dev(dev) => return Ok(dev::main(&dev, voice)?),
        Command::Server(server) => return Ok(face::member("quorate server", server.flags)),
        Command::Completion(completion) => cmd::completion::run(&completion).map(|()| 0)?,
        Command::Version(_) => cmd::version::run(voice).map(|()| 0)?,
        Command::Help(help) => cmd::help::run(&help).map(|()| 0)?,
    };
    Ok(ExitCode::from(code))
}

fn runtime() -> Result<tokio::runtime::Runtime, Complaint> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Complaint::unexpected(format!("cannot start: {error}")))
}

/// Speaks with a cluster until that is done, or the user interrupts it.
fn over(
    globals: &Globals,
    is_write: bool,
    work: impl AsyncFnOnce(&Link) -> Result<u8, Complaint>,
) -> Result<u8, Complaint> {
    runtime()?.block_on(async {
        let link = Link::open(globals)?;
        tokio::select! {
            done = work(&link) => done,
            Ok(()) = tokio::signal::ctrl_c() => Err(Complaint::interrupted(is_write)),
        }
    })
}

/// What clap says, in the form that was asked for: help on standard output is no failure.
fn not_understood(error: &clap::Error) -> ExitCode {
    let is_help = !error.use_stderr();
    let voice = Voice {
        format: asked_format(),
        is_quiet: false,
    };
    if is_help || voice.is_for_people() {
        // Nobody is left to tell when the terminal is gone.
        let _ = error.print();
    } else {
        let text = error.to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        voice.complain(&Complaint::usage(text));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(complaint::exit::USAGE))
}

/// The form that a command line asks for which is not understood otherwise.
fn asked_format() -> Format {
    let words: Vec<String> = std::env::args().take_while(|word| word != "--").collect();
    let of_pair = words.windows(2).find_map(|pair| match pair[0].as_str() {
        "-o" | "--output" => Some(pair[1].as_str()),
        _ => None,
    });
    let of_one = |word: &'_ String| {
        let rest = word
            .strip_prefix("--output=")
            .or_else(|| word.strip_prefix("-o"));
        rest.filter(|rest| !rest.is_empty()).map(str::to_owned)
    };
    let form = of_pair
        .map(str::to_owned)
        .or_else(|| words.iter().find_map(of_one));
    let form = form.and_then(|form| <Format as clap::ValueEnum>::from_str(&form, false).ok());
    form.unwrap_or_default()
}
