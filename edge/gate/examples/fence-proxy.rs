//! A proxy in front of one upstream that refuses requests with stale fencing tokens.
//!
//! ```console
//! $ cargo run -p quorate-gate --features http --example fence-proxy -- \
//!       --listen 127.0.0.1:8080 --upstream 127.0.0.1:9000 --state /var/lib/fence/newest
//! $ curl -X PUT -H 'Fencing-Token: 34' -H 'Fencing-Resource: jobs' -d b http://127.0.0.1:8080/jobs
//! $ curl -X PUT -H 'Fencing-Token: 33' -H 'Fencing-Resource: jobs' -d a http://127.0.0.1:8080/jobs
//! {"error":"stale-token","token":"33","newest":"34"}
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use base::Chain;
use clap::Parser;
use quorate_gate::http::{Config, Limits, Naming, Proxy};

/// Refuses requests with stale fencing tokens, in front of one upstream.
#[derive(Parser)]
struct Flags {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the upstream listens.
    #[arg(long)]
    upstream: SocketAddr,
    /// The file that keeps the newest tokens over a restart.
    #[arg(long)]
    state: PathBuf,
    /// Name a resource by so many first segments of the path instead of the header Fencing-Resource.
    #[arg(long, value_name = "SEGMENTS")]
    by_path: Option<usize>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fence-proxy: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    let proxy = Proxy::open(Config {
        upstream: flags.upstream,
        state: flags.state,
        naming: flags
            .by_path
            .map_or(Naming::Header, |n_segments| Naming::Path { n_segments }),
        limits: Limits::default(),
    })?;
    let listener = tokio::net::TcpListener::bind(flags.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    proxy.serve(listener).await?;
    Ok(())
}
