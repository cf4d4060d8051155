//! The attacks: their names, how many attackers, how fast, and what one of them may cost.
//!
//! One attack is a function that behaves badly on one connection until it is thrown out. The process of an attack runs so
//! many of them beside each other, starts each again when it was thrown out, and says at its end what became of it.

use super::arms::{Arms, count};
use super::{AttackArguments, bodies, floods, headers, idle, json, passwords, peers, slow, unread};
use crate::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout_at};

/// The lowest priority: what is tested is the server, and not how the kernel shares two processors.
pub(super) const NICE: i32 = 19;

/// How long an attacker that was thrown out waits before it comes again.
const REST: Duration = Duration::from_millis(100);

const KIB: u64 = 1024;

type Acting<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// One way to attack.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// Attackers: connections at a time.
    pub(super) n_attackers: u32,
    /// Hostile acts a second, of all attackers together.
    pub(super) per_second: u32,
    /// Bytes of the server's memory that one attacker may take.
    pub(super) bytes_max: u64,
    act: fn(&Arms) -> Acting<'_>,
}

/// What an attacker may take whose handshake is not done: 4 KiB while it is silent and 128 KiB while it talks, and at most
/// 1024 of them at a door (`docs/guide/tls.md`).
const UNSHAKEN: u64 = 132 * KIB;

/// What an attacker may take whose connection stands and holds nothing: TLS's state and its buffers (a record of 16 KiB each
/// way), HTTP/2's, and a task.
const STANDING: u64 = 64 * KIB;

/// What an attacker may take who is unknown, whatever it does on its connection: 32 calls with a head of 16 KiB, which is
/// 100 KiB of memory when its fields are tiny, or a message of 64 KiB that is not whole (3.5 MiB), or 8 pages (2 MiB);
/// what HTTP/2 remembers of 1024 calls (2 MiB); windows and answers on the way, here and under TLS (0.3 MiB).
const STRANGER: u64 = 6 * 1024 * KIB;

/// All of them.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "silent-tcp",
        n_attackers: 10_000,
        per_second: 4000,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(idle::silent_tcp(arms)),
    },
    Attack {
        name: "half-hello",
        n_attackers: 4000,
        per_second: 2000,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(idle::half_hello(arms)),
    },
    Attack {
        name: "handshakes",
        n_attackers: 64,
        per_second: 400,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(idle::handshakes(arms)),
    },
    Attack {
        name: "silent-tls",
        n_attackers: 1500,
        per_second: 500,
        bytes_max: STANDING,
        act: |arms| Box::pin(idle::silent_tls(arms)),
    },
    Attack {
        name: "silent-http2",
        n_attackers: 1500,
        per_second: 500,
        bytes_max: STANDING,
        act: |arms| Box::pin(idle::silent_http2(arms)),
    },
    Attack {
        name: "rapid-reset",
        n_attackers: 8,
        per_second: 20_000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(floods::rapid_reset(arms)),
    },
    Attack {
        name: "pings",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STANDING,
        act: |arms| Box::pin(floods::pings(arms)),
    },
    Attack {
        name: "deaf-pings",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(floods::deaf_pings(arms)),
    },
    Attack {
        name: "deaf-settings",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(floods::deaf_settings(arms)),
    },
    Attack {
        name: "windows",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STANDING,
        act: |arms| Box::pin(floods::windows(arms)),
    },
    Attack {
        name: "priorities",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STANDING,
        act: |arms| Box::pin(floods::priorities(arms)),
    },
    Attack {
        name: "empty-data",
        n_attackers: 8,
        per_second: 50_000,
        bytes_max: STANDING,
        act: |arms| Box::pin(floods::empty_data(arms)),
    },
    Attack {
        name: "requests",
        n_attackers: 8,
        per_second: 2000,
        bytes_max: STANDING,
        act: |arms| Box::pin(floods::requests(arms)),
    },
    Attack {
        name: "continuations",
        n_attackers: 8,
        per_second: 2000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(headers::continuations(arms)),
    },
    Attack {
        name: "hpack-bombs",
        n_attackers: 8,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(headers::bombs(arms)),
    },
    Attack {
        name: "crumbs",
        n_attackers: 4,
        per_second: 1000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(headers::crumbs(arms)),
    },
    Attack {
        name: "left-streams",
        n_attackers: 4,
        per_second: 2000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(headers::left_streams(arms)),
    },
    Attack {
        name: "unread-pages",
        n_attackers: 4,
        per_second: 1000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(unread::pages(arms)),
    },
    Attack {
        name: "unread-refusals",
        n_attackers: 4,
        per_second: 4000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(unread::refusals(arms)),
    },
    Attack {
        name: "unread-watches",
        n_attackers: 4,
        per_second: 200,
        bytes_max: STRANGER,
        act: |arms| Box::pin(unread::watches(arms)),
    },
    Attack {
        name: "slow-preface",
        n_attackers: 500,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(slow::preface(arms)),
    },
    Attack {
        name: "slow-head",
        n_attackers: 500,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(slow::head(arms)),
    },
    Attack {
        name: "slow-message",
        n_attackers: 500,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(slow::message(arms)),
    },
    Attack {
        name: "slow-head-http1",
        n_attackers: 500,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(slow::head_of_http1(arms)),
    },
    Attack {
        name: "slow-body-http1",
        n_attackers: 500,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(slow::body_of_http1(arms)),
    },
    Attack {
        name: "giant-messages",
        n_attackers: 8,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::giant_messages(arms)),
    },
    Attack {
        name: "gzipped",
        n_attackers: 8,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::gzipped(arms)),
    },
    Attack {
        name: "promised",
        n_attackers: 8,
        per_second: 500,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::promised(arms)),
    },
    Attack {
        name: "unfinished",
        n_attackers: 8,
        per_second: 2000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::unfinished(arms)),
    },
    Attack {
        name: "giant-length",
        n_attackers: 16,
        per_second: 1000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::giant_length(arms)),
    },
    Attack {
        name: "giant-chunks",
        n_attackers: 16,
        per_second: 1000,
        bytes_max: STRANGER,
        act: |arms| Box::pin(bodies::giant_chunks(arms)),
    },
    Attack {
        name: "json-deep",
        n_attackers: 8,
        per_second: 50,
        bytes_max: STRANGER,
        act: |arms| Box::pin(json::deep(arms)),
    },
    Attack {
        name: "json-digits",
        n_attackers: 8,
        per_second: 20,
        bytes_max: STRANGER,
        act: |arms| Box::pin(json::digits(arms)),
    },
    Attack {
        name: "json-no-text",
        n_attackers: 8,
        per_second: 50,
        bytes_max: STRANGER,
        act: |arms| Box::pin(json::no_text(arms)),
    },
    Attack {
        name: "json-base64",
        n_attackers: 8,
        per_second: 20,
        bytes_max: STRANGER,
        act: |arms| Box::pin(json::base64(arms)),
    },
    Attack {
        name: "passwords",
        n_attackers: 8,
        per_second: 200,
        bytes_max: STRANGER,
        act: |arms| Box::pin(passwords::guesses(arms)),
    },
    Attack {
        name: "passwords-left",
        n_attackers: 8,
        per_second: 200,
        bytes_max: STRANGER,
        act: |arms| Box::pin(passwords::abandoned(arms)),
    },
    Attack {
        name: "peer-silent",
        n_attackers: 4000,
        per_second: 2000,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(peers::silent(arms)),
    },
    Attack {
        name: "peer-half-hello",
        n_attackers: 2000,
        per_second: 1000,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(peers::half_hello(arms)),
    },
    Attack {
        name: "peer-garbage",
        n_attackers: 500,
        per_second: 500,
        bytes_max: UNSHAKEN,
        act: |arms| Box::pin(peers::garbage(arms)),
    },
];

/// The process of one attack.
pub(super) fn run(arguments: &AttackArguments) -> Result<(), Failure> {
    let attack = ATTACKS.iter().find(|attack| attack.name == arguments.name);
    let attack = attack.ok_or_else(|| format!("no attack is called {}", arguments.name))?;
    setpriority_process(None, NICE)?;
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arms = Rc::new(Arms::new(
        arguments.client,
        arguments.peer,
        &arguments.ca,
        Duration::from_secs(arguments.seconds),
        attack.per_second,
    )?);
    LocalSet::new().block_on(&runtime, async {
        let attackers: Vec<_> = (0..attack.n_attackers)
            .map(|_| spawn_local(go_on(attack, arms.clone())))
            .collect();
        for attacker in attackers {
            // One that fell is one fewer.
            let _ = attacker.await;
        }
    });
    let tally = &arms.tally;
    println!(
        "{} {} {}",
        tally.accepted.get(),
        tally.refused.get(),
        tally.acts.get()
    );
    Ok(())
}

/// One attacker, as often as it is thrown out.
async fn go_on(attack: &'static Attack, arms: Rc<Arms>) {
    while let Ok(ended) = timeout_at(arms.until, (attack.act)(&arms)).await {
        if ended.is_err() {
            count(&arms.tally.refused, 1);
            sleep(REST).await;
        }
    }
}
