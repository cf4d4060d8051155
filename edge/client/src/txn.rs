//! Transactions: several steps at one revision, when all conditions hold, else others.

use crate::client::Client;
use crate::error::Result;
use crate::kv::{Asking, WriteOptions, write_options};
use crate::read::Freshness;
use crate::values::{Condition, Key, KeyValue, Keys, value};
use api::{Method, proto};
use base::LeaseId;

/// One step of a transaction. It sees what the steps before it wrote.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a step belongs into a transaction"]
pub struct Step(proto::Operation);

impl Step {
    /// Writes a key.
    pub fn put(key: impl Into<Key>, to: impl Into<Key>) -> Step {
        Step::put_with(key, to, LeaseId::NONE)
    }

    /// Writes a key that goes with a lease.
    pub fn put_with(key: impl Into<Key>, to: impl Into<Key>, lease: LeaseId) -> Step {
        Step(proto::Operation {
            put: Some(proto::PutOperation {
                key: key.into().0,
                value: value(to),
                lease: lease.0,
                previous: false,
            }),
            ..proto::Operation::default()
        })
    }

    /// Deletes keys.
    pub fn delete(keys: impl Into<Keys>) -> Step {
        Step(proto::Operation {
            delete: Some(proto::DeleteOperation {
                keys: Some(keys.into().message()),
                previous: false,
            }),
            ..proto::Operation::default()
        })
    }

    /// Reads one key.
    pub fn get(key: impl Into<Key>) -> Step {
        Step::range(key.into(), 0)
    }

    /// Reads keys, at most `limit`; 0 for the server's limit.
    pub fn range(keys: impl Into<Keys>, limit: u32) -> Step {
        Step(proto::Operation {
            range: Some(proto::RangeOperation {
                keys: Some(keys.into().message()),
                limit,
                descending: false,
            }),
            ..proto::Operation::default()
        })
    }

    /// Of a put or a delete: tell what was there before.
    pub fn previous(mut self) -> Step {
        if let Some(put) = &mut self.0.put {
            put.previous = true;
        }
        if let Some(delete) = &mut self.0.delete {
            delete.previous = true;
        }
        self
    }
}

/// A transaction; send it by awaiting it.
///
/// ```no_run
/// # async fn story(q: &quorate::Client) -> quorate::Result<()> {
/// use quorate::{Condition, Step};
/// let moved = q
///     .txn()
///     .when(Condition::of("/from").value("10"))
///     .then(Step::delete("/from"))
///     .then(Step::put("/to", "10"))
///     .or_else(Step::get("/from"))
///     .await?;
/// if !moved.succeeded {
///     println!("it was {:?}", moved.results[0].kvs);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Txn {
    client: Client,
    then: Vec<Step>,
    otherwise: Vec<Step>,
    options: WriteOptions,
}

/// What a [`Txn`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Decided {
    /// All conditions held: the results are those of `then`; else those of `or_else`.
    pub succeeded: bool,
    /// One for each step.
    pub results: Vec<StepResult>,
    /// The revision and time of the transaction.
    pub freshness: Freshness,
}

/// What a [`Step`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StepResult {
    /// What was read, or what was there before.
    pub kvs: Vec<KeyValue>,
    /// How many keys were read, put or deleted.
    pub count: u64,
}

impl Client {
    /// A transaction without steps yet.
    pub fn txn(&self) -> Txn {
        Txn {
            client: self.clone(),
            then: Vec::new(),
            otherwise: Vec::new(),
            options: WriteOptions::default(),
        }
    }
}

impl Txn {
    /// One more condition.
    pub fn when(mut self, condition: Condition) -> Txn {
        self.options.conditions.push(condition);
        self
    }

    /// One more step for when all conditions hold.
    pub fn then(mut self, step: Step) -> Txn {
        self.then.push(step);
        self
    }

    /// One more step for when one does not.
    pub fn or_else(mut self, step: Step) -> Txn {
        self.otherwise.push(step);
        self
    }
}

write_options!(Txn);

impl IntoFuture for Txn {
    type Output = Result<Decided>;
    type IntoFuture = Asking<Decided>;

    fn into_future(self) -> Asking<Decided> {
        Box::pin(async move {
            let steps = |steps: &[Step]| steps.iter().map(|step| step.0.clone()).collect();
            let request = |retry| proto::TxnRequest {
                write: Some(self.options.message(retry)),
                then: steps(&self.then),
                otherwise: steps(&self.otherwise),
            };
            let client = &self.client;
            let until = client.core.until(self.options.timeout);
            let numbering = self.options.numbering;
            let asked = client
                .sessions
                .write(Method::Txn, numbering, until, request);
            let answer: proto::TxnResponse = asked.await?;
            let result = |result: proto::OperationResult| StepResult {
                kvs: KeyValue::all(result.kvs),
                count: result.count,
            };
            Ok(Decided {
                freshness: client.core.saw(answer.header),
                succeeded: answer.succeeded,
                results: answer.results.into_iter().map(result).collect(),
            })
        })
    }
}
