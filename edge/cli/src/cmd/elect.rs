//! `quorate elect NAME VALUE -- COMMAND`.

use super::lock;
use crate::complaint::Complaint;
use crate::global::Globals;
use crate::hold::{self, Guard, Job, Signals};
use crate::link::Link;
use crate::output::{Voice, shown};
use crate::parse;
use api::Code;
use api::proto::{Mode, ObserveResponse, Queue, QueueKind, Standing};
use bytes::Bytes;
use client::Election;
use std::ffi::OsString;
use std::time::Duration;

/// Campaign in an election, and run a command while leading.
#[derive(clap::Args, Debug)]
#[command(
    before_help = "\
Examples:
  quorate elect db 10.0.0.1:5432 -- ./primary.sh      others hear the value
  quorate elect db --look                             who leads, and who waits
  quorate elect db --observe -o jsonl                 who leads, now and from now on",
    after_help = "\
The command gets QUORATE_LOCK_TOKEN, QUORATE_LOCK_NAME and QUORATE_LOCK_FENCE (elect/NAME=TOKEN, for --fence), and
is ended as that of `quorate lock`: SIGTERM before the office may pass on, SIGKILL just before the deadline, exit 8.
When quorate itself is stopped with SIGSTOP, or killed, only the fence protects: see `quorate lock --help`."
)]
pub(crate) struct Elect {
    /// The election's name.
    #[arg(value_parser = parse::bytes())]
    name: Bytes,
    /// What others hear of this leader.
    #[arg(value_parser = parse::bytes(), required_unless_present_any = ["look", "observe"])]
    value: Option<Bytes>,
    /// How long the office is kept when this process is silent, whole seconds.
    #[arg(long, default_value = "10s", value_parser = parse::ttl)]
    ttl: Duration,
    /// Wait for at most so long; without it: as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    wait: Option<Duration>,
    /// Only print who leads, and who waits.
    #[arg(long, conflicts_with_all = ["command", "wait", "value", "observe"])]
    look: bool,
    /// Only print who leads, now and from now on, until it is interrupted.
    #[arg(long, conflicts_with_all = ["command", "wait", "value"])]
    observe: bool,
    /// With --observe: end after so many.
    #[arg(long, value_name = "N", requires = "observe", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The command, behind --.
    #[arg(last = true, required_unless_present_any = ["look", "observe"], value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Elect {
    /// Only looking is a read.
    pub(crate) fn looks(&self) -> bool {
        self.look
    }
}

/// Runs the command, looks, or observes.
pub(crate) async fn run(elect: Elect, globals: &Globals) -> Result<u8, Complaint> {
    let link = Link::open(globals)?;
    let voice = globals.voice();
    let queue = Queue {
        kind: QueueKind::Election.into(),
        name: elect.name.clone(),
    };
    if elect.look {
        return lock::look(&link, queue, voice).await;
    }
    let mut signals = Signals::listen()?;
    let election = link.client.election(elect.name.clone()).ttl(elect.ttl);
    if elect.observe {
        let observed = observe(&election, elect.limit, voice);
        return hold::unless_ended(&mut signals, observed).await;
    }
    let value = elect.value.clone().unwrap_or_default();
    let campaign = campaign(election, value, elect.wait, &queue);
    let leadership = hold::unless_ended(&mut signals, campaign).await?;
    let lease = String::new();
    lock::held(voice, &queue, leadership.token().get(), lease);
    let job = Job {
        command: elect.command,
        queue,
        ttl: elect.ttl,
    };
    hold::run(Guard::Office(leadership), &job, &mut signals).await
}

async fn campaign(
    election: Election,
    value: Bytes,
    wait: Option<Duration>,
    queue: &Queue,
) -> Result<client::Leadership, Complaint> {
    let over = || {
        let within = humantime::format_duration(wait.unwrap_or_default());
        let name = parse::queue_text(queue);
        Complaint::coded(
            Code::WaitOver,
            format!("{name} was not won within {within}"),
        )
    };
    let elected = match wait {
        None => election.campaign(value).await,
        Some(wait) if wait.is_zero() => match election.try_campaign(value).await {
            Ok(None) => return Err(over()),
            Ok(Some(leadership)) => Ok(leadership),
            Err(error) => Err(error),
        },
        Some(wait) => election.campaign_within(value, wait).await,
    };
    elected.map_err(|error| match error.is(Code::WaitOver) {
        true => over(),
        false => Complaint::from(&error),
    })
}

async fn observe(election: &Election, limit: Option<u64>, voice: Voice) -> Result<u8, Complaint> {
    let mut observation = election.observe();
    let mut left = limit;
    while left != Some(0) {
        let Some(leader) = observation.next().await else {
            return Err(Complaint::bug("the observation ended without a reason"));
        };
        let leader = leader.map_err(|error| Complaint::from(&error))?;
        let answer = ObserveResponse {
            header: None,
            holders: leader.into_iter().map(standing).collect(),
        };
        voice.element("ObserveResponse", &answer, || line(&answer))?;
        left = left.map(|n| n - 1);
    }
    Ok(0)
}

fn standing(it: client::Standing) -> Standing {
    Standing {
        token: it.token.get(),
        is_held: it.is_held,
        mode: if it.is_shared {
            Mode::Shared
        } else {
            Mode::Exclusive
        }
        .into(),
        permits: it.permits,
        lease: it.lease.0,
        owner: Bytes::new(),
        value: it.value,
        since: it.since,
    }
}

fn line(answer: &ObserveResponse) -> String {
    match answer.holders.first() {
        Some(leader) => format!("token {} leads: {}\n", leader.token, shown(&leader.value)),
        None => "nobody leads\n".to_owned(),
    }
}
