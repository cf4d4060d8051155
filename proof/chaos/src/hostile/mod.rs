//! Strangers that attack a member under TLS, while honest clients must not notice.
//!
//! ```text
//!   house.rs    the member: TLS at both doors, users on, so that attackers are nobody
//!   honest.rs   clients with a token, 200 requests a second whatever the answers take, and newcomers
//!   gauge.rs    memory, threads and descriptors of the member, from /proc
//!
//!   attack.rs   the table of attacks, and the process that runs one: niced, and bounded in its rate
//!   arms.rs     what attackers share       http2.rs      frames by hand
//!   idle.rs     come and do nothing        floods.rs     many small frames
//!   headers.rs  heads without end          unread.rs     answers that nobody takes
//!   slow.rs     one byte a second          bodies.rs     giants
//!   json.rs     none, or hard to read      passwords.rs  guessing
//!   peers.rs    at the members' door
//!
//!   verdict.rs  what must hold
//! ```
//!
//! For each attack: the honest clients alone, then with it. What must hold is in `verdict.rs`.

mod arms;
mod attack;
mod bodies;
mod floods;
mod gauge;
mod headers;
mod honest;
mod house;
mod http2;
mod idle;
mod json;
mod passwords;
mod peers;
mod slow;
mod unread;
mod verdict;

use crate::Failure;
use crate::run::build;
use attack::{ATTACKS, Attack};
use gauge::Gauge;
use honest::{Honest, Met};
use house::House;
use std::cell::Cell;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use verdict::{RECOVERY, Trial};

/// Times that an attack is tried before it counts as one that does harm: others use this machine, too.
const TRIES: u32 = 3;

/// How long an attack's process may take to end after its time.
const ENDING: Duration = Duration::from_secs(10);

/// Command line of `hostile`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: a program and flags. Without it, the one of this tree is built and used.
    #[arg(long)]
    server: Option<String>,
    /// A folder for the members' data.
    #[arg(long, default_value = "target")]
    disk: PathBuf,
    /// Members.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Seconds of each attack.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Whether honest clients' waits are judged, or only printed: where others use the machine, they say little.
    #[arg(long, value_enum, default_value_t = Waits::Judge)]
    waits: Waits,
    /// Attacks, by name; all when none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What becomes of honest clients' waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Waits {
    /// The p99 at most doubles.
    Judge,
    /// They stand in the table.
    Print,
}

/// Command line of `attack`.
#[derive(clap::Args)]
pub(crate) struct AttackArguments {
    /// Which.
    #[arg(long)]
    name: String,
    /// The clients' door.
    #[arg(long)]
    client: SocketAddr,
    /// The members' door.
    #[arg(long)]
    peer: SocketAddr,
    /// The certificate of whoever signed the server's.
    #[arg(long)]
    ca: PathBuf,
    /// How long.
    #[arg(long)]
    seconds: u64,
}

/// The process of one attack.
pub(crate) fn attack(arguments: &AttackArguments) -> Result<(), Failure> {
    attack::run(arguments)
}

/// Runs, and fails when an attack did harm.
pub(crate) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let command = match &arguments.server {
        Some(server) => server.clone(),
        None => build()?,
    };
    let chosen: Vec<&Attack> = ATTACKS
        .iter()
        .filter(|it| arguments.only.is_empty() || arguments.only.iter().any(|name| name == it.name))
        .collect();
    if chosen.len() < arguments.only.len() {
        return Err("--only names an attack that is not there".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(story(arguments, &command, &chosen)))
}

async fn story(arguments: &Arguments, command: &str, chosen: &[&Attack]) -> Result<(), Failure> {
    let mut house = House::build(command, &arguments.disk, arguments.members).await?;
    let time = Duration::from_secs(arguments.seconds);
    // A process that has just started grows by itself.
    let honest = Honest::come(house.client_door(), &house.tls).await?;
    honest.ask(time).await;
    drop(honest);
    println!("{}", verdict::HEAD);
    let mut harmful = Vec::new();
    for attack in chosen {
        let mut attempt = 1;
        let harm = loop {
            let trial = trial(&mut house, attack, time).await?;
            let harm = trial.harm(arguments.waits);
            println!("{}", trial.line(&harm));
            if harm.is_empty() || attempt == TRIES || !trial.is_alive {
                break harm;
            }
            attempt += 1;
        };
        if !harm.is_empty() {
            harmful.push(format!("{}: {}", attack.name, harm.join("; ")));
        }
        if !house.is_alive() {
            break;
        }
    }
    match harmful.is_empty() {
        true => {
            println!("{} attacks, no harm", chosen.len());
            Ok(())
        }
        false => Err(format!("{}\n{}", harmful.join("\n"), house.cluster.last_words()).into()),
    }
}

/// The honest clients alone, then under attack, then what is left of it.
async fn trial<'a>(
    house: &mut House,
    attack: &'a Attack,
    time: Duration,
) -> Result<Trial<'a>, Failure> {
    let pid = house.pid()?;
    let honest = Honest::come(house.client_door(), &house.tls).await?;
    let quiet = honest.ask(time).await;
    let before = Gauge::of(pid).ok_or("the member is gone")?;
    let mut child = start(house, attack, time)?;
    let (peak, stop) = (Rc::new(Cell::new(before)), Rc::new(Cell::new(false)));
    let watch = {
        let (peak, stop) = (peak.clone(), stop.clone());
        spawn_local(async move {
            while let (Some(now), false) = (Gauge::of(pid), stop.get()) {
                peak.set(peak.get().max(now));
                sleep(gauge::LOOK).await;
            }
        })
    };
    let attacked: Met = honest.ask(time).await;
    let said = ended(&mut child).await;
    stop.set(true);
    watch.await?;
    let is_alive = house.is_alive();
    let (after, recovery) = if is_alive {
        recovered(house, pid, before).await
    } else {
        (Gauge::default(), Duration::ZERO)
    };
    Ok(Trial {
        attack,
        quiet,
        attacked,
        before,
        peak: peak.get(),
        after,
        recovery,
        is_alive,
        counts: said?,
    })
}

/// Starts the process of an attack.
fn start(house: &House, attack: &Attack, time: Duration) -> Result<Child, Failure> {
    let child = Command::new(std::env::current_exe()?)
        .args(["attack", "--name", attack.name])
        .args(["--client", &house.client_door().to_string()])
        .args(["--peer", &house.peer_door().to_string()])
        .arg("--ca")
        .arg(&house.ca)
        .args(["--seconds", &time.as_secs().to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Waits for an attack's end; what it counted: connections accepted and refused, acts.
async fn ended(child: &mut Child) -> Result<[u64; 3], Failure> {
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > ENDING {
            child.kill()?;
            child.wait()?;
            return Err("the attack did not end".into());
        }
        sleep(gauge::LOOK).await;
    }
    let mut said = String::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_string(&mut said)?;
    }
    let counts: Vec<u64> = said.split_whitespace().flat_map(str::parse).collect();
    counts
        .try_into()
        .map_err(|_| format!("the attack said {said:?}").into())
}

/// Waits until the member holds what it held before, more or less; what it holds then, and how long it took. Somebody honest
/// comes meanwhile: an allocator gives back nothing while nobody asks it for anything.
async fn recovered(house: &House, pid: u32, before: Gauge) -> (Gauge, Duration) {
    let began = Instant::now();
    loop {
        let now = Gauge::of(pid).unwrap_or_default();
        if verdict::is_back(before, now) || began.elapsed() > RECOVERY {
            return (now, began.elapsed());
        }
        if let Ok(honest) = Honest::come(house.client_door(), &house.tls).await {
            honest.ask(10 * gauge::LOOK).await;
        }
    }
}
