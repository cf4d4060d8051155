//! One workload against given endpoints.
//!
//! `clients` tasks share `connections` connections, each to one endpoint in turn, and each task sends its next
//! request when its last was answered (a closed loop). Latency is from before the call of the client crate to
//! after its return.

use crate::Failure;
use crate::keys::{end_of, key, mix, value};
use crate::table::{Table, time};
use crate::tally::{Summary, Tally};
use clap::{Args, ValueEnum};
use etcd_client::{
    Client, ConnectOptions, EventType, GetOptions, PutOptions, Txn, TxnOp, WatchOptions,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Puts.
    Put,
    /// Linearizable gets of one key.
    Get,
    /// Serializable gets of one key.
    GetSerializable,
    /// 100 keys from a key among all of them, as a pager reads.
    Range,
    /// Gets and puts, by `--read-percent`.
    Mixed,
    /// Puts beside `--watchers` watches of all keys; an operation is an event that arrived.
    Watch,
}

/// In which order keys are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// One after the other, round and round.
    Sequential,
    /// Anywhere.
    Random,
}

/// The shape of a load.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// Tasks that each wait for an answer before they ask again.
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: u64,
    /// Connections that the clients share. [default: one for each client, at most 100]
    #[arg(long)]
    pub(crate) connections: Option<u64>,
    /// How many keys there are.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// In which order they are taken.
    #[arg(long, value_enum, default_value_t = Order::Random)]
    pub(crate) order: Order,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// `mixed`: reads in a hundred operations.
    #[arg(long, default_value_t = 80)]
    pub(crate) read_percent: u64,
    /// `watch`: how many watches.
    #[arg(long, default_value_t = 100)]
    pub(crate) watchers: u64,
    /// Stop after so many operations instead of `--seconds`.
    #[arg(long)]
    pub(crate) operations: Option<u64>,
    /// How long it runs.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long it runs before it is measured.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warm_up: f64,
}

/// Command line of `load`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Client URLs, by commas.
    #[arg(long, env = "ENDPOINTS", value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// What the clients do.
    #[arg(value_enum)]
    workload: Workload,
    #[command(flatten)]
    shape: Shape,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    let load = Load::prepare(&arguments.endpoints, arguments.workload, &arguments.shape).await?;
    load.warm_up().await?;
    let summary = load.measure().await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print(arguments.workload, &summary);
    }
    Ok(())
}

fn print(workload: Workload, s: &Summary) {
    let mut table = Table::new(&[
        "load",
        "ops/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "own CPU/op",
    ]);
    let us = |us: u64| time(us as f64);
    table.row(vec![
        format!("{workload:?}"),
        format!("{:.0}", s.per_second),
        us(s.p50_us),
        us(s.p90_us),
        us(s.p99_us),
        us(s.p999_us),
        us(s.max_us),
        time(s.generator_cpu_us_per_operation),
    ]);
    print!("{table}");
    if s.errors > 0 {
        println!(
            "{} errors, the first: {}",
            s.errors,
            s.first_error.as_deref().unwrap_or("")
        );
    }
}

/// Connections that are open, and keys that are there.
pub(crate) struct Load {
    workload: Workload,
    shape: Shape,
    connections: Vec<Client>,
}

impl Load {
    /// Opens the connections, and writes the keys that the workload will read.
    pub(crate) async fn prepare(
        endpoints: &[String],
        workload: Workload,
        shape: &Shape,
    ) -> Result<Load, Failure> {
        let n = shape.connections.unwrap_or(shape.clients.min(100)).max(1);
        let mut connections = Vec::new();
        for i in 0..n {
            let endpoint = &endpoints[usize::try_from(i)? % endpoints.len()];
            connections.push(connect(endpoint).await?);
        }
        let load = Load {
            workload,
            shape: shape.clone(),
            connections,
        };
        match workload {
            Workload::Put | Workload::Watch => {}
            _ => {
                fill(
                    &load.connections,
                    space(workload),
                    shape.keys,
                    shape.value_bytes,
                )
                .await?
            }
        }
        Ok(load)
    }

    /// Runs without being measured.
    pub(crate) async fn warm_up(&self) -> Result<(), Failure> {
        if self.shape.warm_up > 0.0 {
            self.run(Stop::After(Duration::from_secs_f64(self.shape.warm_up)))
                .await?;
        }
        Ok(())
    }

    /// Runs, and says what it came to.
    pub(crate) async fn measure(&self) -> Result<Summary, Failure> {
        let stop = match self.shape.operations {
            Some(n) => Stop::AfterOperations(n),
            None => Stop::After(Duration::from_secs_f64(self.shape.seconds)),
        };
        self.run(stop).await
    }

    async fn run(&self, stop: Stop) -> Result<Summary, Failure> {
        let tasks = LocalSet::new();
        let shared = Rc::new(Shared {
            tally: RefCell::new(Tally::new()),
            next: Cell::new(0),
            stop,
            began: Instant::now(),
        });
        let watches = match self.workload {
            Workload::Watch => {
                for watcher in 0..self.shape.watchers {
                    let client = self.connection(watcher);
                    let shared = shared.clone();
                    // Open before the first put: an event missed here would be a wait without end.
                    let stream = open_watch(client).await?;
                    tasks.spawn_local(watch(stream, shared));
                }
                true
            }
            _ => false,
        };
        let mut clients = Vec::new();
        for client in 0..self.shape.clients {
            let connection = self.connection(client);
            let (shared, shape, workload) = (shared.clone(), self.shape.clone(), self.workload);
            clients.push(tasks.spawn_local(async move {
                one_client(connection, workload, &shape, &shared, watches).await;
            }));
        }
        tasks
            .run_until(async {
                for client in clients {
                    client.await.ok();
                }
            })
            .await;
        let summary = shared.tally.borrow().summary();
        if summary.operations == 0 {
            let why = summary
                .first_error
                .unwrap_or_else(|| "no operation ended in time".into());
            return Err(why.into());
        }
        Ok(summary)
    }

    fn connection(&self, nr: u64) -> Client {
        let n = self.connections.len();
        self.connections[usize::try_from(nr).unwrap_or(0) % n].clone()
    }
}

/// Opens one connection to one endpoint.
pub(crate) async fn connect(endpoint: &str) -> Result<Client, Failure> {
    let options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(5));
    Ok(Client::connect([endpoint], Some(options)).await?)
}

#[derive(Clone, Copy)]
enum Stop {
    After(Duration),
    AfterOperations(u64),
}

struct Shared {
    tally: RefCell<Tally>,
    next: Cell<u64>,
    stop: Stop,
    began: Instant,
}

impl Shared {
    /// The number of the next operation, or `None` when it is time to stop.
    fn claim(&self) -> Option<u64> {
        let n = self.next.get();
        let go = match self.stop {
            Stop::After(duration) => self.began.elapsed() < duration,
            Stop::AfterOperations(all) => n < all,
        };
        self.next.set(n + 1);
        go.then_some(n)
    }
}

/// Five letters for each workload, so that none meets another's keys.
fn space(workload: Workload) -> &'static str {
    match workload {
        Workload::Put => "bput0",
        Workload::Get | Workload::GetSerializable => "bget0",
        Workload::Range => "brang",
        Workload::Mixed => "bmix0",
        Workload::Watch => "bwtch",
    }
}

async fn one_client(
    mut client: Client,
    workload: Workload,
    shape: &Shape,
    shared: &Shared,
    watched: bool,
) {
    let space = space(workload);
    while let Some(n) = shared.claim() {
        let nr = match shape.order {
            Order::Sequential => n % shape.keys,
            Order::Random => mix(n) % shape.keys,
        };
        let began = Instant::now();
        let outcome = match workload {
            Workload::Put => put(&mut client, space, nr, n, shape.value_bytes).await,
            Workload::Watch => {
                let mut value = value(n, shape.value_bytes);
                let stamp = shared.began.elapsed().as_nanos();
                value.splice(0..8, u64::try_from(stamp).unwrap_or(0).to_le_bytes());
                client
                    .put(key(space, nr), value, None::<PutOptions>)
                    .await
                    .map(drop)
            }
            Workload::Get => client.get(key(space, nr), None).await.map(drop),
            Workload::GetSerializable => {
                let options = GetOptions::new().with_serializable();
                client.get(key(space, nr), Some(options)).await.map(drop)
            }
            Workload::Range => {
                let options = GetOptions::new().with_range(end_of(space)).with_limit(100);
                client.get(key(space, nr), Some(options)).await.map(drop)
            }
            Workload::Mixed if mix(n ^ 0xa5a5) % 100 < shape.read_percent => {
                client.get(key(space, nr), None).await.map(drop)
            }
            Workload::Mixed => put(&mut client, space, nr, n, shape.value_bytes).await,
        };
        match outcome {
            // What counts in `watch` is the event's arrival.
            Ok(()) if watched => {}
            Ok(()) => shared.tally.borrow_mut().done(began.elapsed()),
            Err(err) => {
                shared.tally.borrow_mut().failed(&err);
                // A server that refuses everything must not be asked a million times a second.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn put(
    client: &mut Client,
    space: &str,
    nr: u64,
    n: u64,
    bytes: usize,
) -> Result<(), etcd_client::Error> {
    client
        .put(key(space, nr), value(n, bytes), None::<PutOptions>)
        .await
        .map(drop)
}

async fn open_watch(mut client: Client) -> Result<etcd_client::WatchStream, Failure> {
    let space = space(Workload::Watch);
    let options = WatchOptions::new().with_range(end_of(space));
    Ok(client.watch(key(space, 0), Some(options)).await?)
}

async fn watch(mut stream: etcd_client::WatchStream, shared: Rc<Shared>) {
    loop {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(err) => return shared.tally.borrow_mut().failed(&err),
        };
        let now = shared.began.elapsed();
        for event in message.events() {
            let Some(kv) = event.kv().filter(|_| event.event_type() == EventType::Put) else {
                continue;
            };
            let stamp = kv
                .value()
                .first_chunk::<8>()
                .map_or(0, |bytes| u64::from_le_bytes(*bytes));
            shared
                .tally
                .borrow_mut()
                .done(now.saturating_sub(Duration::from_nanos(stamp)));
        }
    }
}

/// Writes keys `0..n` of a space, 100 in a transaction, eight transactions at a time.
pub(crate) async fn fill(
    connections: &[Client],
    space: &str,
    n: u64,
    bytes: usize,
) -> Result<(), Failure> {
    let next = Cell::new(0);
    let one = |client: &Client| {
        let mut client = client.clone();
        let next = &next;
        async move {
            loop {
                let first = next.get();
                if first >= n {
                    return Ok(());
                }
                next.set(first + 100);
                let puts: Vec<TxnOp> = (first..(first + 100).min(n))
                    .map(|nr| TxnOp::put(key(space, nr), value(nr, bytes), None))
                    .collect();
                client
                    .txn(Txn::new().and_then(puts))
                    .await
                    .map_err(Failure::from)?;
            }
        }
    };
    let at = |i: usize| one(&connections[i % connections.len()]);
    let all = tokio::join!(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
    all.0
        .and(all.1)
        .and(all.2)
        .and(all.3)
        .and(all.4)
        .and(all.5)
        .and(all.6)
        .and(all.7)
}
