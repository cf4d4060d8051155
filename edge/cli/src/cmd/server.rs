//! `quorate server`: one member, by etcd's own flags. They are read by `flags.rs`, not by the tree.

/// Run one member, by etcd's flags.
#[derive(clap::Args, Debug)]
#[command(
    disable_help_flag = true,
    before_help = "\
Examples:
  quorate server --name n1 --data-dir ./n1       a member alone
  quorate server --help                          all of etcd's flags"
)]
pub(crate) struct Server {
    /// etcd's flags, each also as ETCD_…
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    pub(crate) flags: Vec<String>,
}
