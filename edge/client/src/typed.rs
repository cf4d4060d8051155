//! Keys of one type: values are JSON, and so readable by everything else, too.

use crate::client::Client;
use crate::error::{Code, Error, Result};
use crate::kv::{Delete, Put};
use crate::read::{Consistency, Freshness};
use crate::values::{Key, KeyValue, Keys};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// Keys that begin alike and whose values are of type `T`, written as JSON.
///
/// ```no_run
/// # async fn story(q: &quorate::Client) -> quorate::Result<()> {
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Limits {
///     requests_max: u32,
/// }
/// let limits = q.kv::<Limits>("/app/limits/");
/// limits.put("web", &Limits { requests_max: 10 })?.await?;
/// let now = limits
///     .update("web", |before| Limits {
///         requests_max: before.map_or(10, |limits: Limits| limits.requests_max + 1),
///     })
///     .await?;
/// println!("{} since revision {}", now.value.requests_max, now.revision);
/// # Ok(())
/// # }
/// ```
pub struct Keyspace<T> {
    client: Client,
    prefix: String,
    value: PhantomData<fn() -> T>,
}

/// A value, and when it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// What it says.
    pub value: T,
    /// The revision of its last write; give it to `if_revision` for compare-and-swap.
    pub revision: u64,
    /// How fresh that is.
    pub freshness: Freshness,
}

impl Client {
    /// The keys that begin with `prefix`, with values of type `T`.
    pub fn kv<T>(&self, prefix: impl Into<String>) -> Keyspace<T> {
        Keyspace {
            client: self.clone(),
            prefix: prefix.into(),
            value: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned> Keyspace<T> {
    /// What `name` says; nothing when it is not there.
    ///
    /// # Errors
    /// Those of a read, and Q1001 when the value is no `T`.
    pub async fn get(&self, name: &str) -> Result<Option<Versioned<T>>> {
        self.read(name, None).await
    }

    /// [`Keyspace::get`] as fresh as `consistency` says.
    ///
    /// # Errors
    /// As there.
    pub async fn get_with(
        &self,
        name: &str,
        consistency: Consistency,
    ) -> Result<Option<Versioned<T>>> {
        self.read(name, Some(consistency)).await
    }

    async fn read(
        &self,
        name: &str,
        consistency: Option<Consistency>,
    ) -> Result<Option<Versioned<T>>> {
        let mut get = self.client.get(self.key(name));
        if let Some(consistency) = consistency {
            get = get.consistency(consistency);
        }
        let got = get.await?;
        let versioned = |kv: KeyValue| {
            Ok(Versioned {
                value: value_of(&kv)?,
                revision: kv.revision,
                freshness: got.freshness,
            })
        };
        got.kv.map(versioned).transpose()
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn all(&self) -> Result<Vec<(String, T)>> {
        let mut stream = self
            .client
            .range(Keys::prefix(self.prefix.as_str()))
            .stream();
        let mut all = Vec::new();
        while let Some(kv) = stream.next().await {
            let kv = kv?;
            let name = kv.key.0.get(self.prefix.len()..).unwrap_or_default();
            all.push((String::from_utf8_lossy(name).into_owned(), value_of(&kv)?));
        }
        Ok(all)
    }

    /// Writes `name`.
    ///
    /// # Errors
    /// Q1001 when the value has no JSON.
    pub fn put(&self, name: &str, value: &T) -> Result<Put> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Error::definite(Code::Malformed, format!("{name}: {error}")))?;
        Ok(self.client.put(self.key(name), json))
    }

    /// Deletes `name`.
    pub fn delete(&self, name: &str) -> Delete {
        self.client.delete(self.key(name))
    }

    /// Replaces `name` by what `change` makes of it, again and again until nobody was faster.
    ///
    /// # Errors
    /// As [`Keyspace::get`], and those of a write.
    pub async fn update(
        &self,
        name: &str,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<Versioned<T>> {
        loop {
            let before = self.get(name).await?;
            let revision = before.as_ref().map_or(0, |before| before.revision);
            let value = change(before.map(|before| before.value));
            match self.put(name, &value)?.if_revision(revision).await {
                Ok(written) => {
                    return Ok(Versioned {
                        value,
                        revision: written.revision(),
                        freshness: written.freshness,
                    });
                }
                Err(error) if error.is(Code::ConditionFailed) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn key(&self, name: &str) -> Key {
        format!("{}{name}", self.prefix).into()
    }
}

fn value_of<T: DeserializeOwned>(kv: &KeyValue) -> Result<T> {
    serde_json::from_slice(&kv.value)
        .map_err(|error| Error::definite(Code::Malformed, format!("{}: {error}", kv.key)))
}

impl<T> fmt::Debug for Keyspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyspace").field(&self.prefix).finish()
    }
}

impl<T> Clone for Keyspace<T> {
    fn clone(&self) -> Keyspace<T> {
        Keyspace {
            client: self.client.clone(),
            prefix: self.prefix.clone(),
            value: PhantomData,
        }
    }
}
