//! What the examples share: where the cluster is, processes that may be killed, and how an example ends.
#![allow(dead_code, reason = "each example uses a part")]

use quorate::Client;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

/// Why an example failed.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;
/// What it comes to.
pub(crate) type Ended<T = ()> = Result<T, Failed>;

/// An example that takes longer is stuck.
const AT_MOST: Duration = Duration::from_secs(120);

/// What was typed.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    /// `--endpoints a,b` or `QUORATE_ENDPOINTS`.
    endpoints: String,
    /// This process is a node of the example: the run that it belongs to, and its own name.
    pub(crate) node: Option<(String, String)>,
}

impl Arguments {
    fn read() -> Ended<Arguments> {
        let mut endpoints = std::env::var("QUORATE_ENDPOINTS").ok();
        let mut node = None;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or(format!("{argument}: a value is missing"))
            };
            match argument.as_str() {
                "--endpoints" => endpoints = Some(value()?),
                "--node" => node = Some((value()?, value()?)),
                other => return Err(format!("{other}: only --endpoints is known").into()),
            }
        }
        let endpoints = endpoints.ok_or("say --endpoints host:port,… or set QUORATE_ENDPOINTS")?;
        Ok(Arguments { endpoints, node })
    }

    /// A client of the cluster.
    pub(crate) async fn connect(&self) -> quorate::Result<Client> {
        let endpoints = self.endpoints.split(',');
        Client::builder().endpoints(endpoints).connect().await
    }

    /// A process that runs this example as the node called `name`.
    pub(crate) fn spawn(&self, run: &str, name: &str) -> Ended<Node> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--endpoints", &self.endpoints, "--node", run, name]);
        Ok(Node(command.spawn()?))
    }
}

/// A process of an example; killed when it is dropped.
pub(crate) struct Node(Child);

impl Node {
    /// As a power cut would: it cannot say goodbye.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Stops it wherever it is, without its noticing.
    #[cfg(unix)]
    pub(crate) fn pause(&self) -> Ended {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Lets it go on as if nothing had been.
    #[cfg(unix)]
    pub(crate) fn resume(&self) -> Ended {
        self.signal(rustix::process::Signal::CONT)
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) -> Ended {
        let pid = rustix::process::Pid::from_child(&self.0);
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs an example: `node` in the processes that it spawns, `lead` in the first one. Success only when they say so.
pub(crate) async fn run<L, N>(
    lead: impl FnOnce(Client, Arguments, String) -> L,
    node: impl FnOnce(Client, String, String) -> N,
) -> ExitCode
where
    L: Future<Output = Ended>,
    N: Future<Output = Ended>,
{
    let running = async {
        let arguments = Arguments::read()?;
        let q = arguments.connect().await?;
        if let Some((run, name)) = arguments.node {
            return node(q, run, name).await;
        }
        // A lease's id is unique, and so is what is named after it: several runs do not meet.
        let lease = q.grant(Duration::from_secs(5)).await?;
        let run = format!("example-{}", lease.id());
        lease.revoke().await?;
        let ended = lead(q.clone(), arguments, run).await;
        q.close().await;
        ended
    };
    let stuck = || Err(format!("not done after {} s", AT_MOST.as_secs()).into());
    let ended = tokio::time::timeout(AT_MOST, running).await;
    match ended.unwrap_or_else(|_| stuck()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// For examples of one process.
pub(crate) async fn no_node(_: Client, _: String, _: String) -> Ended {
    Err("this example has no nodes".into())
}
