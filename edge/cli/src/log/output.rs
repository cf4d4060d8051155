//! Where lines go: each place has a thread of its own behind a bounded queue.
//!
//! A terminal that nobody reads, a pipe whose reader is stopped, a full disk: they hold up their own thread and
//! nothing else (reliability rule R17). A line that finds the queue full is dropped, counted, and the count is said in a
//! line later, when there is room again.

use super::line;
use super::rotate::RotatingFile;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

/// Lines that may wait for one place's thread.
const QUEUE_LINES_MAX: usize = 4096;

/// Lines longer than this are cut: whoever is outside could make a member keep megabytes of words.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// At the end of the process a place has so long to take what is queued.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// One place.
pub(super) enum Place {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file.
    File(RotatingFile),
}

impl Place {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Place::Stderr => io::stderr().lock().write_all(line),
            Place::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(line)?;
                out.flush()
            }
            Place::File(file) => file.write(line),
        }
    }
}

/// The way to one place.
#[derive(Clone)]
struct Way {
    queue: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

enum Job {
    Line(Arc<[u8]>),
    End,
}

/// The ways to all places.
#[derive(Clone)]
pub(super) struct Outputs {
    ways: Vec<Way>,
    /// Lines that were dropped on any way.
    dropped: &'static AtomicU64,
}

/// Says when a place has written all.
pub(super) struct Ends(Vec<Receiver<()>>);

impl Outputs {
    /// Starts a thread for each place. Dropped lines are added up in `dropped`.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start(
        places: Vec<Place>,
        json: bool,
        dropped: &'static AtomicU64,
    ) -> io::Result<(Outputs, Ends)> {
        let (mut ways, mut ends) = (Vec::new(), Vec::new());
        for mut place in places {
            let (queue, jobs) = sync_channel(QUEUE_LINES_MAX);
            let (ended, end) = channel();
            let lost = Arc::new(AtomicU64::new(0));
            let way = Way {
                queue,
                lost: lost.clone(),
            };
            std::thread::Builder::new()
                .name("log lines".to_owned())
                .spawn(move || {
                    serve(&mut place, &jobs, &lost, json, dropped);
                    drop(ended);
                })?;
            ways.push(way);
            ends.push(end);
        }
        Ok((Outputs { ways, dropped }, Ends(ends)))
    }

    /// Sends a line to all places, or drops it where there is no room.
    pub(super) fn send(&self, mut line: Vec<u8>) {
        if line.len() > LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX);
            line.push(b'\n');
        }
        let line: Arc<[u8]> = line.into();
        for way in &self.ways {
            if let Err(TrySendError::Full(_)) = way.queue.try_send(Job::Line(line.clone())) {
                way.lost.fetch_add(1, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// No more lines come.
    pub(super) fn end(&self) {
        for way in &self.ways {
            // A full queue means a place that takes nothing: it is not waited for.
            let _ = way.queue.try_send(Job::End);
        }
    }
}

impl Ends {
    /// Waits until all is written, or until it takes too long.
    pub(super) fn wait(&self) {
        for end in &self.0 {
            // Nothing is ever sent: the end of the thread closes the channel.
            let _ = end.recv_timeout(LAST_WORDS_TIMEOUT);
        }
    }
}

fn serve(
    place: &mut Place,
    jobs: &Receiver<Job>,
    lost: &AtomicU64,
    json: bool,
    dropped: &AtomicU64,
) {
    while let Ok(Job::Line(line)) = jobs.recv() {
        if place.write(&line).is_err() {
            // A full disk, or nobody is left who reads: what is not written is lost like what found no room.
            lost.fetch_add(1, Ordering::Relaxed);
            dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let n = lost.swap(0, Ordering::Relaxed);
        if n > 0 && place.write(line::lost(json, n).as_bytes()).is_err() {
            lost.fetch_add(n, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static DROPPED: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (queue, _jobs) = sync_channel(1);
        let outputs = Outputs {
            ways: vec![Way {
                queue,
                lost: Arc::default(),
            }],
            dropped: &DROPPED,
        };
        for _ in 0..3 {
            outputs.send(b"x\n".to_vec());
        }
        assert_eq!(outputs.ways[0].lost.load(Ordering::Relaxed), 2);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_line_is_cut() {
        let (queue, jobs) = sync_channel(1);
        let way = Way {
            queue,
            lost: Arc::default(),
        };
        let outputs = Outputs {
            ways: vec![way],
            dropped: &DROPPED,
        };
        outputs.send(vec![b'x'; 10 * LINE_BYTES_MAX]);
        let Ok(Job::Line(line)) = jobs.recv() else {
            panic!("a line");
        };
        assert_eq!(line.len(), LINE_BYTES_MAX + 1);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
