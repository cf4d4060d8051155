//! Clients: each has one operation under way, at one member, and writes down how it ended.
//!
//! A client stays with its member until that fails it, and moves now and then without a reason. A connection that
//! failed is thrown away, and a new one is only made when the port answers: an operation is begun only on a
//! connection that was there, so one that was never sent is never in the history.
//!
//! What counts as a *refusal* is what etcd's words make certain. Everything else that is no answer is
//! *unknown*: a broken connection, a time-out, "no leader".

use crate::ask::{self, Memory};
use crate::journal::{Journal, NO_SPACE, Signals};
use base::{LeaseId, Revision, Rng};
use checker::{
    Answer, Compare, End, Level, Operation, Outcome, Relation, Request, Row, Span, Target,
};
use etcd_client::{
    Client, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions, KeyValue, PutOptions, Txn,
    TxnOp, TxnOpResponse,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a client waits for an answer. Well above an election, well below a server's own patience of seven
/// seconds: the history should hold writes that took effect after their client had left.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How long it waits for a port to answer.
const KNOCK: Duration = Duration::from_millis(300);
/// Rest after a failure.
const REST: Duration = Duration::from_millis(20);
/// Clients that share a connection.
const SHARERS: usize = 6;

/// Everything that the tasks of one run share. On one thread.
pub(crate) struct Crowd {
    pub(crate) journal: Journal,
    pub(crate) signals: Arc<Signals>,
    pub(crate) memory: RefCell<Memory>,
    pub(crate) doors: Vec<Door>,
    /// No new operations.
    pub(crate) stop: Cell<bool>,
    /// How long each client rests between operations.
    pub(crate) pause: Duration,
}

/// One member as clients reach it.
pub(crate) struct Door {
    url: String,
    address: String,
    lines: RefCell<Vec<Option<Client>>>,
}

impl Door {
    /// The member at `host:port`.
    pub(crate) fn new(host: &str, port: u16) -> Door {
        Door {
            url: format!("http://{host}:{port}"),
            address: format!("{host}:{port}"),
            lines: RefCell::default(),
        }
    }

    /// A new connection of one's own, if the port answers.
    pub(crate) async fn open(&self) -> Option<Client> {
        timeout(KNOCK, TcpStream::connect(&self.address))
            .await
            .ok()?
            .ok()?;
        connect(&self.url).await
    }

    /// A connection that several share.
    async fn shared(&self, line: usize) -> Option<Client> {
        let there = self.lines.borrow().get(line).cloned().flatten();
        if there.is_some() {
            return there;
        }
        let client = self.open().await?;
        let mut lines = self.lines.borrow_mut();
        if lines.len() <= line {
            lines.resize_with(line + 1, || None);
        }
        lines[line] = Some(client.clone());
        Some(client)
    }

    fn hang_up(&self, line: usize) {
        if let Some(line) = self.lines.borrow_mut().get_mut(line) {
            *line = None;
        }
    }
}

/// A client of one member, which notices when that is gone.
pub(crate) async fn connect(url: &str) -> Option<Client> {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(1))
        .with_keep_alive(Duration::from_secs(2), Duration::from_secs(2))
        .with_keep_alive_while_idle(true);
    Client::connect([url], Some(options)).await.ok()
}

/// Asks until the crowd stops.
pub(crate) async fn run(slot: usize, n_clients: usize, seed: u64, crowd: Rc<Crowd>) {
    let mut rng = Rng::new(seed).fork(1000 + slot as u64);
    let mut member = slot % crowd.doors.len();
    let mut client = slot as u64;
    let line = slot / SHARERS;
    while !crowd.stop.get() {
        if rng.one_in(200) {
            member = rng.below(crowd.doors.len() as u64) as usize;
        }
        let Some(connection) = crowd.doors[member].shared(line).await else {
            member = (member + 1) % crowd.doors.len();
            sleep(REST).await;
            continue;
        };
        let number = crowd.journal.number();
        let request = ask::draw(&mut rng, number, &mut crowd.memory.borrow_mut());
        match one(&crowd, connection, member, client, number, request).await {
            Ended::Answered => {}
            Ended::Refused => sleep(REST).await,
            Ended::Unknown => {
                client += n_clients as u64;
                crowd.doors[member].hang_up(line);
                member = (member + 1) % crowd.doors.len();
                sleep(REST).await;
            }
        }
        if !crowd.pause.is_zero() {
            sleep(crowd.pause).await;
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Answered,
    Refused,
    Unknown,
}

/// One operation from its call to its line in the journal.
pub(crate) async fn one(
    crowd: &Crowd,
    mut connection: Client,
    member: usize,
    client: u64,
    number: u64,
    request: Request,
) -> Ended {
    let previous = match number % 2 {
        0 => Previous::Asked,
        _ => Previous::NotAsked,
    };
    let call = crowd.journal.now();
    let answer = timeout(PATIENCE, ask(&mut connection, &request, previous)).await;
    let returned = crowd.journal.now();
    let outcome = match answer {
        Ok(Ok((revision, answer))) => Outcome::Answered { revision, answer },
        Ok(Err(error)) => outcome_of(&error),
        Err(_) => Outcome::Unknown,
    };
    let ended = match &outcome {
        Outcome::Answered { revision, answer } => {
            learn(&mut crowd.memory.borrow_mut(), &request, *revision, answer);
            Ended::Answered
        }
        Outcome::Refused { .. } => Ended::Refused,
        Outcome::Unknown => Ended::Unknown,
    };
    let operation = Operation {
        number,
        client,
        call,
        returned,
        request,
        outcome,
    };
    crowd.journal.write(operation, member, &crowd.signals);
    ended
}

/// What an error makes certain.
fn outcome_of(error: &Error) -> Outcome {
    let Error::GRpcStatus(status) = error else {
        return Outcome::Unknown;
    };
    let words = status.message();
    let is_certain = [
        NO_SPACE,
        "etcdserver: too many requests",
        "etcdserver: mvcc: required revision has been compacted",
        "etcdserver: mvcc: required revision is a future revision",
    ];
    match is_certain.contains(&words) {
        true => Outcome::Refused {
            reason: words.to_owned(),
        },
        false => Outcome::Unknown,
    }
}

fn learn(memory: &mut Memory, request: &Request, revision: Revision, answer: &Answer) {
    memory.hear(revision);
    match (request, answer) {
        (_, Answer::Rows(rows)) => rows.iter().for_each(|row| memory.see(row)),
        (Request::Put { key, value, .. }, Answer::Put { .. }) => memory.see(&Row {
            key: key.clone(),
            value: value.clone(),
            modified: revision,
            version: 1,
            ..Row::default()
        }),
        (
            Request::Txn {
                then, otherwise, ..
            },
            Answer::Txn { succeeded, answers },
        ) => {
            let branch = if *succeeded { then } else { otherwise };
            for (request, answer) in branch.iter().zip(answers) {
                learn(memory, request, revision, answer);
            }
        }
        _ => {}
    }
}

/// Whether rows before are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Previous {
    Asked,
    NotAsked,
}

async fn ask(
    client: &mut Client,
    request: &Request,
    previous: Previous,
) -> Result<(Revision, Answer), Error> {
    let is_asked = previous == Previous::Asked;
    match request {
        Request::Put { key, value, .. } => {
            let options = is_asked.then(|| PutOptions::new().with_prev_key());
            let put = client.put(key.clone(), value.clone(), options).await?;
            let previous = is_asked.then(|| put.prev_key().map(row));
            Ok((revision(put.header()), Answer::Put { previous }))
        }
        Request::Range { span, at, level } => {
            let got = client
                .get(span.first.clone(), Some(get_options(span, *at, *level)))
                .await?;
            let rows = got.kvs().iter().map(row).collect();
            Ok((revision(got.header()), Answer::Rows(rows)))
        }
        Request::Delete { span } => {
            let mut options = delete_options(span);
            if is_asked {
                options = options.with_prev_key();
            }
            let deleted = client.delete(span.first.clone(), Some(options)).await?;
            let previous = is_asked.then(|| deleted.prev_kvs().iter().map(row).collect());
            let count = deleted.deleted() as u64;
            let answer = Answer::Deleted { count, previous };
            Ok((revision(deleted.header()), answer))
        }
        Request::Txn {
            compares,
            then,
            otherwise,
        } => {
            let txn = Txn::new()
                .when(compares.iter().map(compare).collect::<Vec<_>>())
                .and_then(then.iter().map(operation).collect::<Vec<_>>())
                .or_else(otherwise.iter().map(operation).collect::<Vec<_>>());
            let done = client.txn(txn).await?;
            let answers = done.op_responses().iter().map(answer).collect();
            let succeeded = done.succeeded();
            Ok((revision(done.header()), Answer::Txn { succeeded, answers }))
        }
        Request::Compact { revision: at } => {
            let done = client.compact(at.0 as i64, None).await?;
            Ok((revision(done.header()), Answer::Done))
        }
        Request::Grant { .. } | Request::Revoke { .. } | Request::Renew { .. } => Err(
            Error::InvalidArgs("leases are not asked for here".to_owned()),
        ),
    }
}

pub(crate) fn revision(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision() as u64))
}

/// A key and value as the judges write it.
pub(crate) fn row(kv: &KeyValue) -> Row {
    Row {
        key: kv.key().to_vec(),
        value: kv.value().to_vec(),
        create: Revision(kv.create_revision() as u64),
        modified: Revision(kv.mod_revision() as u64),
        version: kv.version() as u64,
        lease: LeaseId(kv.lease()),
    }
}

fn get_options(span: &Span, at: Option<Revision>, level: Level) -> GetOptions {
    let mut options = GetOptions::new();
    match &span.end {
        End::Single => {}
        End::Before(end) => options = options.with_range(end.clone()),
        End::Unbounded => options = options.with_from_key(),
    }
    if let Some(at) = at {
        options = options.with_revision(at.0 as i64);
    }
    match level {
        Level::Linearizable => options,
        Level::Serializable => options.with_serializable(),
    }
}

fn delete_options(span: &Span) -> DeleteOptions {
    match &span.end {
        End::Single => DeleteOptions::new(),
        End::Before(end) => DeleteOptions::new().with_range(end.clone()),
        End::Unbounded => DeleteOptions::new().with_from_key(),
    }
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let relation = match compare.relation {
        Relation::Equal => CompareOp::Equal,
        Relation::NotEqual => CompareOp::NotEqual,
        Relation::Greater => CompareOp::Greater,
        Relation::Less => CompareOp::Less,
    };
    let key = compare.key.clone();
    match &compare.target {
        Target::Value(value) => etcd_client::Compare::value(key, relation, value.clone()),
        Target::Modified(at) => etcd_client::Compare::mod_revision(key, relation, at.0 as i64),
        Target::Create(at) => etcd_client::Compare::create_revision(key, relation, at.0 as i64),
        Target::Version(n) => etcd_client::Compare::version(key, relation, *n as i64),
    }
}

/// One operation of a transaction. Rows before are not asked for in there.
fn operation(request: &Request) -> TxnOp {
    match request {
        Request::Put { key, value, .. } => TxnOp::put(key.clone(), value.clone(), None),
        Request::Range { span, at, level } => {
            TxnOp::get(span.first.clone(), Some(get_options(span, *at, *level)))
        }
        Request::Delete { span } => TxnOp::delete(span.first.clone(), Some(delete_options(span))),
        _ => TxnOp::txn(Txn::new()),
    }
}

fn answer(response: &TxnOpResponse) -> Answer {
    match response {
        TxnOpResponse::Put(_) => Answer::Put { previous: None },
        TxnOpResponse::Get(got) => Answer::Rows(got.kvs().iter().map(row).collect()),
        TxnOpResponse::Delete(deleted) => Answer::Deleted {
            count: deleted.deleted() as u64,
            previous: None,
        },
        TxnOpResponse::Txn(done) => Answer::Txn {
            succeeded: done.succeeded(),
            answers: done.op_responses().iter().map(answer).collect(),
        },
    }
}
