//! The way to the cluster: messages of the API out and in as they are, over the client's retries.
//!
//! A write is numbered: it gets a session of its own, so that it is asked again when its answer is lost and takes
//! effect once, in this process or, by `--request-id`, in a later one. A session whose write has an answer is
//! ended at once; one whose write has none is left for [`SESSION_TTL`].

use crate::complaint::Complaint;
use crate::global::Globals;
use crate::parse;
use api::proto::{self, Consistency, Read, Retry};
use api::{Code, Method};
use client::{Client, LeaseId, RequestId};
use std::time::Duration;

/// For how long a write of unknown outcome can be repeated: a person has to read the error first.
const SESSION_TTL: Duration = Duration::from_secs(300);

/// How long the end of a session may hold up a command that is done.
const GOODBYE: Duration = Duration::from_millis(500);

/// A cluster to speak to.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// How fresh reads are; nothing: as the API has it.
    pub(crate) consistency: Option<Consistency>,
}

impl Link {
    /// The cluster that the flags, the environment or the context name. Connections are opened when they are
    /// needed. Must be called within a runtime.
    pub(crate) fn open(globals: &Globals) -> Result<Link, Complaint> {
        let (endpoints, _) = globals.endpoints()?;
        Link::to(endpoints, globals)
    }

    /// The cluster at these endpoints.
    pub(crate) fn to(endpoints: Vec<String>, globals: &Globals) -> Result<Link, Complaint> {
        let mut builder = Client::builder()
            .endpoints(endpoints)
            .deadline(globals.timeout);
        if let Some(tls) = globals.tls()? {
            builder = builder.tls(tls);
        }
        if let Some((name, password)) = globals.user()? {
            builder = builder.user(name, password);
        }
        Ok(Link {
            client: builder
                .connect_lazily()
                .map_err(|error| Complaint::from(&error))?,
            consistency: globals.consistency()?,
        })
    }

    /// Which state is read.
    pub(crate) fn at(&self, revision: u64, as_of: String) -> Option<Read> {
        Some(Read {
            consistency: self.consistency.clone(),
            revision,
            as_of,
        })
    }

    /// Asks for something that changes nothing.
    pub(crate) async fn read<Q, A>(&self, method: Method, request: &Q) -> Result<A, Complaint>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        self.client
            .raw(method, request)
            .await
            .map_err(|error| of_read(&error))
    }

    /// Writes what `request` makes of its number. `what` names it in an error: `the write to "x"`.
    pub(crate) async fn write<Q, A>(
        &self,
        method: Method,
        what: &str,
        given: Option<Retry>,
        request: impl FnOnce(Retry) -> Q,
    ) -> Result<A, Complaint>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let retry = match given {
            Some(retry) => retry,
            None => self.session().await.map_err(|it| it.about(what))?,
        };
        let id = RequestId {
            session: retry.session,
            sequence: retry.sequence,
        };
        let request = request(retry);
        let asked = match given {
            Some(_) => self.client.raw_write_again(method, &request, id).await,
            None => self.client.raw_write(method, &request, id).await,
        };
        let is_unknown = asked.as_ref().is_err_and(client::Error::is_indeterminate);
        if given.is_none() && !is_unknown {
            let ended = self.client.revoke(LeaseId(retry.session));
            // At worst it ends on its own.
            let _ = tokio::time::timeout(GOODBYE, ended).await;
        }
        asked.map_err(|error| of_write(&error, what, retry))
    }

    /// A session for one write.
    async fn session(&self) -> Result<Retry, Complaint> {
        let granted = self
            .client
            .grant_unattended(SESSION_TTL, LeaseId::NONE)
            .await;
        // Whatever became of the session: the write was not sent.
        let granted = granted.map_err(|error| of_read(&error))?;
        Ok(Retry {
            session: granted.lease.0,
            sequence: 1,
        })
    }
}

/// The complaint about something that changed nothing.
fn of_read(error: &client::Error) -> Complaint {
    match error.is_indeterminate() {
        true => Complaint::coded(Code::NoAnswer, error.message()),
        false => Complaint::from(error),
    }
}

fn of_write(error: &client::Error, what: &str, retry: Retry) -> Complaint {
    let complaint = Complaint::from(error).about(what);
    if !error.is_indeterminate() {
        return complaint;
    }
    let id = parse::request_id_text(&retry);
    let complaint = complaint.note(format!("request id {id}"));
    match error.known() {
        Some(Code::OutcomeUnknown) => complaint.help(format!(
            "look at the data, or repeat the same command with  --request-id {id}\n\
             within five minutes: it takes effect at most once"
        )),
        Some(Code::NumberReused) => complaint.help(
            "look at the data: something was written under this number before, but not by the same command",
        ),
        // What its page says.
        Some(code) => complaint.help(code.help()),
        None => complaint,
    }
}

impl From<&client::Error> for Complaint {
    fn from(error: &client::Error) -> Complaint {
        let detail = error.detail().cloned().unwrap_or_default();
        let effect = match (error.took_effect(), error.known()) {
            (None, _) => proto::Effect::Unknown,
            (Some(_), Some(code)) => code.effect(),
            (Some(true), None) => proto::Effect::Done,
            (Some(false), None) => proto::Effect::None,
        };
        Complaint::of(proto::Error {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            effect: effect.into(),
            help: error.help().to_owned(),
            token: detail.token,
            newest_token: detail.newest_token,
            revision: detail.revision,
            key: detail.key,
        })
    }
}
