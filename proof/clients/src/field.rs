//! Three members for one client, and the line by which it may kill and start them.
//!
//! What a program finds in its environment:
//!
//! ```text
//!   CLIENTS_ENDPOINTS   the client URLs of the three members, by commas
//!   CLIENTS_CA, _CERT, _KEY   files, when the URLs say https
//!   CLIENTS_CONTROL     host:port; one line in, one out: `kill 2` → `ok`, `start 2` → `ok` when it serves
//!   CLIENTS_NOT_YET     beginnings of names of checks that this server cannot pass yet, by commas
//!   CLIENTS_RANGE_STREAM   `yes` where the server has the next release's stream of a range
//! ```

use crate::Failure;
use crate::certificates::Certificates;
use cluster::{Cluster, Place, Server};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a member may take until it serves.
const START_MAX: Duration = Duration::from_secs(30);

/// A member logs this when it is true, ours as etcd.
const SERVES: &str = "ready to serve client requests";

/// Three members. They end with this value.
pub(crate) struct Field {
    cluster: Arc<Mutex<Cluster>>,
    endpoints: Vec<String>,
    control: SocketAddr,
    certificates: Option<Certificates>,
}

impl Field {
    /// Three new members with data under `folder`, when they serve.
    ///
    /// # Errors
    /// They do not start, or do not serve within [`START_MAX`].
    pub(crate) fn start(server: &Server, folder: &Path, tls: bool) -> Result<Field, Failure> {
        let certificates = tls.then(|| Certificates::make(folder)).transpose()?;
        let mut places = Vec::new();
        for _ in 0..3 {
            let mut place = Place::loopback()?;
            if tls {
                place.client_scheme = "https";
            }
            places.push(place);
        }
        let server = match &certificates {
            None => server.clone(),
            Some(made) => {
                let [ca, cert, key] = [&made.authority, &made.member.certificate, &made.member.key]
                    .map(|path| path.display().to_string());
                server.clone().with(&[
                    "--client-cert-auth",
                    "--trusted-ca-file",
                    &ca,
                    "--cert-file",
                    &cert,
                    "--key-file",
                    &key,
                ])
            }
        };
        let cluster = Cluster::start_at(&server, folder, places)?;
        let endpoints = cluster.endpoints();
        let cluster = Arc::new(Mutex::new(cluster));
        for member in 0..3 {
            serving(&cluster, member, 0)?;
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let control = listener.local_addr()?;
        let shared = Arc::clone(&cluster);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A client that hangs up has heard what it wanted.
                std::thread::spawn(move || answer(&stream, &shared).ok());
            }
        });
        Ok(Field {
            cluster,
            endpoints,
            control,
            certificates,
        })
    }

    /// Puts the addresses into the program's environment.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env("CLIENTS_ENDPOINTS", self.endpoints.join(","));
        command.env("CLIENTS_CONTROL", self.control.to_string());
        if let Some(made) = &self.certificates {
            command.env("CLIENTS_CA", &made.authority);
            command.env("CLIENTS_CERT", &made.client.certificate);
            command.env("CLIENTS_KEY", &made.client.key);
        }
    }

    /// The last lines of every member's log.
    pub(crate) fn last_words(&self) -> String {
        self.cluster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last_words()
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // The listener's thread keeps the cluster's memory until the end of this program, but not its processes.
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        for member in &mut cluster.members {
            member.kill();
        }
    }
}

/// Answers the lines of one connection.
fn answer(stream: &TcpStream, cluster: &Mutex<Cluster>) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let said =
            obey(&line?, cluster).map_or_else(|failure| failure.to_string(), |()| "ok".to_owned());
        writeln!(&mut &*stream, "{said}")?;
    }
    Ok(())
}

fn obey(line: &str, cluster: &Mutex<Cluster>) -> Result<(), Failure> {
    let (verb, number) = line.split_once(' ').ok_or("say `kill N` or `start N`")?;
    let number: usize = number.trim().parse()?;
    let index = number.wrapping_sub(1);
    let mut all = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let member = all
        .members
        .get_mut(index)
        .ok_or("there are members 1 to 3")?;
    match verb {
        "kill" => member.kill(),
        "start" => {
            let before = member.said(SERVES).len();
            member.start()?;
            drop(all);
            serving(cluster, index, before)?;
        }
        _ => return Err("say `kill N` or `start N`".into()),
    }
    Ok(())
}

/// Waits until a member says once more that it serves.
fn serving(cluster: &Mutex<Cluster>, index: usize, before: usize) -> Result<(), Failure> {
    let until = Instant::now() + START_MAX;
    while Instant::now() < until {
        let all = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if all.members[index].said(SERVES).len() > before {
            return Ok(());
        }
        drop(all);
        std::thread::sleep(Duration::from_millis(20));
    }
    let words = cluster
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .last_words();
    Err(format!(
        "member {} does not serve within {START_MAX:?}\n{words}",
        index + 1
    )
    .into())
}
