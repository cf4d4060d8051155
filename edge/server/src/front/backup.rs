//! `Snapshot`: the whole state as a file, while writes go on.
//!
//! ```text
//!   blocking thread   counts ───► makes 512 KiB ──┐       ┌─► makes the next ──┐
//!   member's thread                               └► sends ┘  one message       └► sends …   and rests as long
//! ```
//!
//! Making the file is the work of a thread that has time; it is asked for a little more only when the client has
//! taken what was made, so a client that does not read costs that much memory and no thread.

use super::{Ended, Front};
use crate::auth::refreshed;
use crate::grpc::Call;
use bytes::Bytes;
use etcd::auth::{self, Caller, Needs};
use etcd::backup::BackupFault;
use etcd::{Code, Refusal, SnapshotStream, Status};
use std::time::{Duration, Instant};
use tracing::error;

/// Messages that are made at a time: 512 KiB.
const MESSAGES_MAX: usize = 16;

/// A snapshot is sent for so long, then it rests as long: a client that reads as fast as it can would have the
/// member's thread for itself otherwise.
const BURST: Duration = Duration::from_millis(1);

impl Front {
    /// Answers `Snapshot`.
    pub(super) async fn snapshot(&self, who: &Caller, call: &mut Call) -> Result<(), Ended> {
        let state = self.0.state();
        auth::permit_caller(&state, who, &Needs::default())?;
        let _one = self.0.snapshots.enter().await?;
        // Counting comes first, and a client should not take it for silence.
        call.replies.open()?;
        let mut stream = SnapshotStream::new(state);
        let mut worked = Duration::ZERO;
        let since = Instant::now();
        loop {
            let turn = self.0.snapshot_parts.enter().await?;
            let made = tokio::task::spawn_blocking(move || {
                let made = make(stream);
                drop(turn);
                made
            });
            let made = made.await;
            let (back, messages) = made
                .map_err(|_| Status::from(Refusal::Stopped))?
                .map_err(defect)?;
            stream = back;
            if messages.is_empty() {
                self.0.vitals.backed_up(crate::clock::now());
                self.0.metrics.snapshot.observe(since.elapsed());
                return Ok(());
            }
            // Whoever is root no more gets no more of it.
            let still = self
                .0
                .with_state(|state| refreshed(who, state))
                .and_then(|who| self.permit(&Ok(who), &Needs::default()));
            still?;
            for message in messages {
                // Whoever is root no more gets no more of it.
                let now = self.0.with_state(|state| refreshed(who, state));
                self.permit(&now, &Needs::default())?;
                let began = Instant::now();
                call.replies.send(message).await?;
                worked += began.elapsed();
                if worked >= BURST {
                    tokio::time::sleep(std::mem::take(&mut worked).min(BURST)).await;
                }
            }
        }
    }
}

/// The next few messages; none when all are made.
fn make(mut stream: SnapshotStream) -> Result<(SnapshotStream, Vec<Bytes>), BackupFault> {
    let mut messages = Vec::new();
    while messages.len() < MESSAGES_MAX {
        match stream.next_message()? {
            Some(message) => messages.push(message),
            None => break,
        }
    }
    Ok((stream, messages))
}

fn defect(fault: BackupFault) -> Status {
    let reason = base::Chain(&fault).to_string();
    error!(reason, "the state cannot be written as a backup");
    Status::new(Code::Unknown, format!("quorate: {reason}"))
}
