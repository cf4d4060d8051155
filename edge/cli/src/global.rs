//! The flags that every command has, and what a command makes of them.

use crate::complaint::Complaint;
use crate::context::{self, Origin, Said, Trust};
use crate::credentials::Credentials;
use crate::output::{Format, Voice};
use crate::parse;
use api::proto::{Consistency, Level};
use clap::Args;
use client::Tls;
use std::path::PathBuf;
use std::time::Duration;

/// What every command understands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// How answers and errors are printed.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        value_enum,
        default_value = "table"
    )]
    pub(crate) output: Format,
    /// Members to ask, host:port with commas between [env: QUORATE_ENDPOINTS].
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',',
          value_parser = context::endpoint, conflicts_with = "context")]
    pub(crate) endpoints: Vec<String>,
    /// The named cluster to ask [env: QUORATE_CONTEXT].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Whose signature on a member's certificate is believed, PEM; it makes every endpoint a TLS one
    /// [env: QUORATE_CACERT].
    #[arg(id = "tls_cacert", long = "cacert", global = true, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// The certificate to show to members, PEM [env: QUORATE_CERT].
    #[arg(id = "tls_cert", long = "cert", global = true, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key, PEM [env: QUORATE_KEY].
    #[arg(id = "tls_key", long = "key", global = true, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Believe whoever answers: nobody listens in, and that is all
    /// [env: QUORATE_INSECURE_SKIP_TLS_VERIFY].
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Who asks, where members want to know [env: QUORATE_USER].
    #[arg(
        id = "asking_user",
        long = "user",
        global = true,
        value_name = "NAME[:PASSWORD]"
    )]
    pub(crate) user: Option<String>,
    /// The user's password; others on this machine can read it here [env: QUORATE_PASSWORD].
    #[arg(
        id = "asking_password",
        long = "password",
        global = true,
        value_name = "PASSWORD",
        conflicts_with = "asking_password_file"
    )]
    pub(crate) password: Option<String>,
    /// A file whose first line is the user's password [env: QUORATE_PASSWORD_FILE].
    #[arg(
        id = "asking_password_file",
        long = "password-file",
        global = true,
        value_name = "FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// How long one request may take.
    #[arg(long, global = true, value_name = "TIME", value_parser = parse::duration,
          default_value = "10s")]
    pub(crate) timeout: Duration,
    /// How fresh reads are: linearizable, lease, bounded:100ms, session[:TOKEN] (without a token:
    /// QUORATE_SESSION), sequential.
    #[arg(long, global = true, value_name = "LEVEL", value_parser = parse::consistency)]
    pub(crate) consistency: Option<Consistency>,
    /// Say what would be destroyed, and change nothing.
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Do not ask before something is destroyed.
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// No remarks, only answers and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Globals {
    /// How the command speaks.
    pub(crate) fn voice(&self) -> Voice {
        Voice {
            format: self.output,
            is_quiet: self.quiet,
        }
    }

    /// Which endpoints, and who said so.
    pub(crate) fn endpoints(&self) -> Result<(Vec<String>, Origin), Complaint> {
        let said = Said {
            endpoints: self.endpoints.clone(),
            context: self.context.clone(),
        };
        context::resolve(&said, variable)
    }

    /// What is said about TLS: by flags, by variables, or by the context that names the endpoints.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Complaint> {
        let flags = Trust {
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
        };
        let said = Said {
            endpoints: self.endpoints.clone(),
            context: self.context.clone(),
        };
        context::trust(&flags, &said, variable)?.tls()
    }

    /// Who asks: a name and a password, by flags or by variables.
    pub(crate) fn user(&self) -> Result<Option<(String, String)>, Complaint> {
        let said = Credentials {
            user: self.user.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
        };
        said.or(Credentials::of(variable)).resolve()
    }

    /// How fresh reads are; a session's token may come from the environment.
    pub(crate) fn consistency(&self) -> Result<Option<Consistency>, Complaint> {
        let Some(asked) = &self.consistency else {
            return Ok(None);
        };
        if asked.level() != Level::Session || !asked.session.is_empty() {
            return Ok(Some(asked.clone()));
        }
        let token = variable("QUORATE_SESSION").ok_or_else(|| {
            Complaint::usage("--consistency session has no token, and QUORATE_SESSION is not set")
        })?;
        let whole = format!("session:{token}");
        let read = parse::consistency(&whole);
        let read = read.map_err(|reason| {
            Complaint::usage(format!("QUORATE_SESSION is \"{token}\": {reason}"))
        })?;
        Ok(Some(read))
    }
}

/// Which of the flags mean something to a command. What means nothing is refused: a write with
/// `--dry-run` must not become a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Takes {
    /// It reads.
    pub(crate) consistency: bool,
    /// It destroys.
    pub(crate) dry_run: bool,
}

impl Takes {
    /// Refuses what would mean nothing.
    pub(crate) fn check(self, globals: &Globals, command: &str) -> Result<(), Complaint> {
        if globals.consistency.is_some() && !self.consistency {
            return Err(Complaint::usage(format!(
                "{command} takes no --consistency: it is no read of a state"
            )));
        }
        if globals.dry_run && !self.dry_run {
            return Err(Complaint::usage(format!(
                "{command} has no --dry-run: nothing was done"
            )));
        }
        Ok(())
    }
}
