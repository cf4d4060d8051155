//! Elections: one leads, others wait in line, all may look who it is.

use crate::client::{Client, Core};
use crate::error::{Code, Error, Result, is_passing, may_be_applied};
use crate::lease::{Lost, LostFuture};
use crate::queue::{self, Held, Patience, Place, Standing, Wanted};
use crate::transport::{Trial, error_of};
use crate::values::{Fence, FencingToken, Key, value};
use api::{Method, proto};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant as Timer;
use tokio_stream::Stream;

/// An election, by its name.
#[derive(Clone, Debug)]
#[must_use = "an election does nothing by itself"]
pub struct Election {
    wanted: Wanted,
}

/// An office that is held. Dropping it resigns in the background.
#[must_use = "an office whose guard is dropped is given up"]
pub struct Leadership {
    place: Place,
}

impl Client {
    /// The election called `name`.
    ///
    /// ```no_run
    /// # async fn story(q: &quorate::Client) -> quorate::Result<()> {
    /// let leadership = q.election("/svc/leader").campaign("me:80").await?;
    /// q.put("/svc/config", "…").fence(&leadership.fence()).await?;
    /// leadership.resign().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn election(&self, name: impl Into<Key>) -> Election {
        let queue = queue::queue(proto::QueueKind::Election, name.into());
        Election {
            wanted: Wanted::new(&self.core, queue),
        }
    }
}

impl Election {
    /// How long an office is kept when its holder is silent, in whole seconds rounded up; 10 s unless said otherwise.
    pub fn ttl(mut self, ttl: Duration) -> Election {
        self.wanted.ttl = ttl;
        self
    }

    /// Waits in line until elected; `says` is what others hear of this leader. Dropping this future leaves the line, in the
    /// background.
    ///
    /// # Errors
    /// Q4005 when the place was lost while waiting, Q4003 when too many wait.
    pub async fn campaign(&self, says: impl Into<Key>) -> Result<Leadership> {
        let mut wanted = self.wanted.clone();
        wanted.value = value(says);
        match wanted.acquire(Patience::Endless).await? {
            Some(place) => Ok(Leadership { place }),
            None => Err(Error::definite(Code::WaitOver, "")),
        }
    }

    /// [`Election::campaign`] for at most so long.
    ///
    /// # Errors
    /// Those, and Q4006 when the time is over.
    pub async fn campaign_within(
        &self,
        says: impl Into<Key>,
        patience: Duration,
    ) -> Result<Leadership> {
        let mut wanted = self.wanted.clone();
        wanted.value = value(says);
        let patience = Patience::Until(Timer::now() + patience);
        match wanted.acquire(patience).await? {
            Some(place) => Ok(Leadership { place }),
            None => Err(Error::definite(Code::WaitOver, "")),
        }
    }

    /// Leads if nobody stands in the way; nothing else.
    ///
    /// # Errors
    /// As [`Election::campaign`].
    pub async fn try_campaign(&self, says: impl Into<Key>) -> Result<Option<Leadership>> {
        let mut wanted = self.wanted.clone();
        wanted.value = value(says);
        let place = wanted.acquire(Patience::None).await?;
        Ok(place.map(|place| Leadership { place }))
    }

    /// Who leads; nothing when nobody does.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn leader(&self) -> Result<Option<Standing>> {
        let standings = self.look().await?;
        Ok(standings.into_iter().find(|standing| standing.is_held))
    }

    /// Who leads and who waits.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn look(&self) -> Result<Vec<Standing>> {
        queue::look(&self.wanted.core, self.wanted.queue.clone(), None).await
    }

    /// Who leads, now and from now on. It resumes by itself; who led only while it was cut is not told.
    pub fn observe(&self) -> Observation {
        let (tx, rx) = mpsc::channel(16);
        let core = self.wanted.core.clone();
        let runtime = core.runtime.clone();
        runtime.spawn(follow(core, self.wanted.queue.clone(), tx));
        Observation { told: rx }
    }

    /// Campaigns again and again, and runs `work` while leading; work is dropped, wherever it is, as soon as the office is
    /// lost. When it ends by itself, the office is given up, and its result is given.
    ///
    /// # Errors
    /// A refusal that does not pass by campaigning again.
    pub async fn lead<T, F>(
        &self,
        says: impl Into<Key>,
        mut work: impl FnMut(Held) -> F,
    ) -> Result<T>
    where
        F: Future<Output = T>,
    {
        let says = says.into();
        loop {
            let leadership = match self.campaign(says.clone()).await {
                Ok(leadership) => leadership,
                Err(error) if is_worth_another(&error) => {
                    let soon = Timer::now() + Duration::from_secs(1);
                    self.wanted.core.transport.pause(10, soon).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let working = leadership.place.while_held(work(leadership.held()));
            if let Ok(done) = working.await {
                // The next leader need not wait for the lease to end.
                let _ = leadership.resign().await;
                return Ok(done);
            }
        }
    }

    /// [`Election::lead`] with work that has no end.
    ///
    /// # Errors
    /// A refusal that does not pass by campaigning again.
    pub async fn lead_for_ever<F>(
        &self,
        says: impl Into<Key>,
        work: impl FnMut(Held) -> F,
    ) -> Result<Infallible>
    where
        F: Future<Output = Infallible>,
    {
        self.lead(says, work).await
    }
}

/// Whether a campaign that failed so may succeed later.
fn is_worth_another(error: &Error) -> bool {
    let later = [
        Code::LockLost,
        Code::NoAnswer,
        Code::NotConnected,
        Code::Busy,
        Code::Stopped,
        Code::OutcomeUnknown,
        Code::QueueFull,
    ];
    error.known().is_some_and(|code| later.contains(&code))
}

impl Leadership {
    /// The number to write beside everything that this leader does; it only rises from leader to leader.
    pub fn token(&self) -> FencingToken {
        self.place.token
    }

    /// For writes into Quorate: they are refused when this leader does not lead any more.
    pub fn fence(&self) -> Fence {
        self.place.fence()
    }

    /// Whether it surely leads, as of now. The office may be lost before the next line of the program.
    pub fn is_held(&self) -> bool {
        self.place.lost_now().is_none()
    }

    /// For how long it surely leads if no renewal comes any more.
    pub fn remaining(&self) -> Duration {
        self.place.lease.remaining()
    }

    /// Resolves when the office is lost: before somebody else is elected, as long as clocks keep the drift bound.
    pub fn lost(&self) -> LostFuture {
        self.place.lost()
    }

    /// An error when it is lost, as of now.
    ///
    /// # Errors
    /// Why it is lost.
    pub fn check(&self) -> Result<(), Lost> {
        self.place.check()
    }

    /// The term whose leader renewed the lease last.
    pub fn epoch(&self) -> u64 {
        self.place.lease.epoch()
    }

    /// What work in office needs to know, to be passed on.
    pub fn held(&self) -> Held {
        self.place.held()
    }

    /// Says something else to those who look.
    ///
    /// # Errors
    /// Q4001 when it does not lead any more.
    pub async fn proclaim(&self, says: impl Into<Key>) -> Result<()> {
        let core = self.place.lease.core();
        let request = proto::ProclaimRequest {
            name: self.place.queue.name.clone(),
            token: self.token().get(),
            value: value(says),
        };
        let asked = core.repeat(Method::Proclaim, &request, core.until(None));
        let answer: proto::ProclaimResponse = asked.await?.answer;
        core.saw(answer.header);
        Ok(())
    }

    /// Gives the office up.
    ///
    /// # Errors
    /// Q4005 when it was lost before; indeterminate when no answer came: then it ends with its lease.
    pub async fn resign(self) -> Result<()> {
        self.place.release().await
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("token", &self.token())
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}

/// Who leads, from now on; nothing while nobody does. It ends after its first error.
#[must_use = "a stream does nothing until it is read"]
#[derive(Debug)]
pub struct Observation {
    told: mpsc::Receiver<Result<Option<Standing>>>,
}

impl Observation {
    /// The next leader.
    pub async fn next(&mut self) -> Option<Result<Option<Standing>>> {
        self.told.recv().await
    }
}

impl Stream for Observation {
    type Item = Result<Option<Standing>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.told.poll_recv(cx)
    }
}

/// Observes at one member after the other until nobody listens, or there is an error that does not pass.
async fn follow(core: Arc<Core>, queue: proto::Queue, tx: mpsc::Sender<Result<Option<Standing>>>) {
    let mut told: Option<Option<Standing>> = None;
    let mut trial = Trial::default();
    loop {
        let observing = async {
            let request = proto::ObserveRequest {
                queue: Some(queue.clone()),
            };
            let opened = core.transport.stream(&mut trial, Method::Observe, request);
            let mut answers: tonic::Streaming<proto::ObserveResponse> = opened.await?;
            loop {
                let answer = answers.message().await;
                let answer = answer.map_err(|status| error_of(&status, "observe"))?;
                let Some(answer) = answer else {
                    return Err::<Infallible, _>(Code::NoAnswer.error("the observation was cut"));
                };
                trial.n_told += 1;
                core.saw(answer.header);
                let leader = answer.holders.into_iter().next().map(Standing::of);
                if told.as_ref() != Some(&leader) {
                    told = Some(leader.clone());
                    let _ = tx.send(Ok(leader)).await;
                }
            }
        };
        let error = tokio::select! {
            Err(error) = observing => error,
            () = tx.closed() => return,
        };
        if !is_passing(&error) && !may_be_applied(&error) {
            let _ = tx.send(Err(Error::refused(error))).await;
            return;
        }
        tokio::select! {
            () = core.transport.pause_stream(&mut trial) => {}
            () = tx.closed() => return,
        }
    }
}
