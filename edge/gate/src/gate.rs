//! The gate of one's own resource, and the model that all gates are tested against.
//!
//! What it is not: a lock. A gate never makes anybody wait for a lock's sake; it says no to those who
//! come too late.

use std::collections::BTreeMap;

use crate::token::{Stale, Token};

/// What a resource asks before each write.
///
/// # The contract
///
/// * **Check and write are one atomic step.** Nobody else may be admitted to the same resource between
///   `admit` and the end of the write that it allows: a transaction, a lock that is held over both, one
///   conditional statement. A gate that is asked first and a write that goes its own way afterwards
///   is the bug that gates exist for, one step further down.
/// * **The newest token never falls**, also not over a crash or a restore of the resource: it is kept
///   where the data is kept, and is durable no later than the data.
/// * **Equal tokens pass.** A holder writes more than once.
/// * **A refusal changes nothing.**
///
/// `&mut self` is the first rule in the language of types: for a resource in the memory of one process,
/// whoever has it alone may check and then write. For others, see [`crate::sql`] and [`crate::file`].
pub trait Gate {
    /// What can go wrong: a [`Stale`] token, and what the resource's own world adds.
    type Error: From<Stale>;

    /// Lets `token` pass and remembers it as the newest of `resource`, unless a newer one has passed.
    ///
    /// # Errors
    /// [`Stale`] when a newer token has passed. Any other error means no, too: write nothing.
    fn admit(&mut self, resource: &str, token: Token) -> Result<(), Self::Error>;
}

/// A fenced resource in memory, as plain as can be: the model of the property tests, and an example.
///
/// ```
/// use quorate_gate::{Memory, Token};
///
/// let mut accounts = Memory::default();
/// accounts.write("alice", Token(34), "from the new holder")?;
/// let late = accounts.write("alice", Token(33), "from the old holder, who was paused");
/// assert_eq!(
///     late.unwrap_err().to_string(),
///     "token 33 is older than 34: the write was refused and nothing changed"
/// );
/// assert_eq!(accounts.value("alice"), Some(&"from the new holder"));
/// # Ok::<(), quorate_gate::Stale>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory<V = ()> {
    resources: BTreeMap<String, (Token, Option<V>)>,
}

impl<V> Default for Memory<V> {
    fn default() -> Memory<V> {
        Memory {
            resources: BTreeMap::new(),
        }
    }
}

impl<V> Memory<V> {
    /// Checks and writes; `&mut self` makes it one step.
    ///
    /// # Errors
    /// [`Stale`] when a newer token has passed; the value stays as it was.
    pub fn write(&mut self, resource: &str, token: Token, value: V) -> Result<(), Stale> {
        self.admit(resource, token)?;
        if let Some((_, old)) = self.resources.get_mut(resource) {
            *old = Some(value);
        }
        Ok(())
    }

    /// The newest token that has passed.
    pub fn newest(&self, resource: &str) -> Option<Token> {
        self.resources.get(resource).map(|(newest, _)| *newest)
    }

    /// What was written last.
    pub fn value(&self, resource: &str) -> Option<&V> {
        self.resources.get(resource)?.1.as_ref()
    }
}

impl<V> Gate for Memory<V> {
    type Error = Stale;

    fn admit(&mut self, resource: &str, token: Token) -> Result<(), Stale> {
        match self.resources.get_mut(resource) {
            Some((newest, _)) if token < *newest => Err(Stale {
                token,
                newest: *newest,
            }),
            Some((newest, _)) => {
                *newest = token;
                Ok(())
            }
            None => {
                self.resources.insert(resource.to_owned(), (token, None));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tokens_pass_and_resources_do_not_know_each_other() {
        let mut memory = Memory::default();
        memory.write("a", Token(34), 1).expect("it is the first");
        memory.write("a", Token(34), 2).expect("it is as new");
        memory.write("b", Token(1), 3).expect("b has seen nothing");
        let stale = Stale {
            token: Token(33),
            newest: Token(34),
        };
        assert_eq!(memory.write("a", Token(33), 4), Err(stale));
        assert_eq!(
            (memory.value("a"), memory.newest("a")),
            (Some(&2), Some(Token(34)))
        );
    }
}
