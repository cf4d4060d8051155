//! What a watch stream delivered, sorted so that two streams can be compared.
//!
//! How many revisions one message carries is no promise of etcd's, and neither is the order between two watches.
//! So each watch has a sequence of its own: that it was created, every event, that it was canceled. What *is*
//! promised and needs no other server to compare with is checked here: that no revision is split between two
//! messages (unless fragments were asked for), that revisions only rise, and that a header is never older than
//! the events under it.

use crate::marks::Names;
use crate::proto;
use crate::transport;
use crate::tree::{Difference, Tree};
use bytes::Bytes;
use prost_reflect::DynamicMessage;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// The id of a watch of our own on each stream, on a key of our own: when it has seen a revision, so have all
/// the others.
pub(crate) const BARRIER: i64 = 1 << 40;
/// Its key.
pub(crate) const BARRIER_KEY: &[u8] = b"\xff\xffbarrier";

/// A difference, and both whole events or messages in which it is.
pub(crate) type Seen = (Difference, Option<(Tree, Tree)>);

/// One server's end of a watch stream.
pub(crate) struct Stream {
    requests: mpsc::UnboundedSender<Bytes>,
    arrived: Arc<Mutex<Arrived>>,
    task: tokio::task::JoinHandle<()>,
    pub(crate) sorted: Sorted,
}

#[derive(Default)]
struct Arrived {
    messages: Vec<Bytes>,
    end: Option<Status>,
}

/// Everything that arrived and was not compared yet.
#[derive(Default)]
pub(crate) struct Sorted {
    /// Creations that were refused.
    refusals: VecDeque<Tree>,
    progress: VecDeque<Tree>,
    watches: BTreeMap<i64, VecDeque<(&'static str, Tree)>>,
    end: Option<Tree>,
    /// Which watches there are.
    pub(crate) alive: std::collections::BTreeSet<i64>,
    /// How many creations were answered, in all.
    pub(crate) n_created: usize,
    /// How many cancellations arrived, in all.
    pub(crate) n_canceled: usize,
    /// How many answers to questions for progress arrived, in all.
    pub(crate) n_progress: usize,
    /// The last revision that the barrier's watch saw; nothing if there is no such watch.
    pub(crate) barrier: Option<i64>,
    /// Watches that a compaction has ended, and that nobody has cancelled since. etcd keeps them in its table
    /// until somebody does: their ids are taken, and the stream hears of no progress.
    pub(crate) ended: Vec<i64>,
    /// Those that we have cancelled; etcd will say once more that they are canceled.
    pub(crate) dismissed: std::collections::BTreeSet<i64>,
    /// Promises that were broken.
    pub(crate) faults: Vec<String>,
    /// Whether fragments were asked for, by creations that are not answered yet.
    pub(crate) asked: VecDeque<bool>,
    /// The watches that may send fragments.
    fragmenting: std::collections::BTreeSet<i64>,
    /// How many messages went on in the next one.
    pub(crate) n_fragments: u64,
    last_progress: Option<Tree>,
    last_revision: BTreeMap<i64, (i64, bool)>,
}

impl Stream {
    /// Opens a stream; `news` is told whenever something arrives.
    pub(crate) fn open(channel: Channel, token: Option<String>, news: Arc<Notify>) -> Stream {
        let (requests, bodies) = mpsc::unbounded_channel();
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let inbox = Arc::clone(&arrived);
        let task = tokio::spawn(async move {
            let end = pump(&channel, bodies, token, &inbox, &news).await;
            inbox.lock().unwrap_or_else(PoisonError::into_inner).end = Some(end);
            news.notify_one();
        });
        Stream {
            requests,
            arrived,
            task,
            sorted: Sorted::default(),
        }
    }

    /// Sends a message; on a stream that has ended it is lost, as everywhere.
    pub(crate) fn send(&self, message: Bytes) {
        let _ = self.requests.send(message);
    }

    /// Sorts what has arrived.
    pub(crate) fn absorb(&mut self, names: &Names) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = std::mem::take(&mut arrived.messages);
        let end = arrived.end.take();
        drop(arrived);
        for bytes in messages {
            match DynamicMessage::decode(proto::method("Watch/Watch").output(), bytes) {
                Ok(message) => self.sorted.take(Tree::of(&message, names)),
                Err(problem) => self.sorted.faults.push(format!("unreadable: {problem}")),
            }
        }
        if let Some(status) = end {
            let words = format!("{:?}: {}", status.code(), status.message());
            self.sorted.end = Some(Tree::Text(words));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(
    channel: &Channel,
    bodies: mpsc::UnboundedReceiver<Bytes>,
    token: Option<String>,
    inbox: &Mutex<Arrived>,
    news: &Notify,
) -> Status {
    let path = proto::path(&proto::method("Watch/Watch"));
    let bodies = UnboundedReceiverStream::new(bodies);
    let mut answers = match transport::stream(channel, &path, bodies, token.as_deref()).await {
        Ok(answers) => answers,
        Err(status) => return status,
    };
    loop {
        match answers.message().await {
            Ok(Some(bytes)) => {
                let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.messages.push(bytes);
                drop(inbox);
                news.notify_one();
            }
            Ok(None) => return Status::ok(""),
            Err(status) => return status,
        }
    }
}

impl Sorted {
    /// Whether the server has ended the stream.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    fn take(&mut self, message: Tree) {
        let watch = message.number(&["watch_id"]);
        let is = |name| message.number(&[name]) != 0;
        let (created, canceled) = (is("created"), is("canceled"));
        self.n_created += usize::from(created);
        self.n_canceled += usize::from(canceled && !created);
        if created {
            let may_fragment = self.asked.pop_front().unwrap_or(false);
            self.fragmenting.remove(&watch);
            if may_fragment && !canceled {
                self.fragmenting.insert(watch);
            }
        }
        if watch == BARRIER {
            return self.take_barrier(&message, canceled);
        }
        if created && canceled {
            self.refusals.push_back(message);
        } else if created {
            self.alive.insert(watch);
            self.dismissed.remove(&watch);
            self.last_revision.remove(&watch);
            self.watches
                .entry(watch)
                .or_default()
                .push_back(("created", message));
        } else if canceled && self.dismissed.remove(&watch) {
            self.n_canceled -= 1;
        } else if canceled {
            if message.number(&["compact_revision"]) > 0 {
                self.ended.push(watch);
            }
            self.alive.remove(&watch);
            self.watches
                .entry(watch)
                .or_default()
                .push_back(("canceled", message));
        } else if message.list(&["events"]).is_empty() {
            self.take_progress(watch, message);
        } else {
            self.take_events(watch, &message);
        }
    }

    fn take_barrier(&mut self, message: &Tree, canceled: bool) {
        if canceled {
            self.barrier = None;
            return;
        }
        let seen = message.list(&["events"]).iter();
        let newest = seen
            .map(|event| event.number(&["kv", "mod_revision"]))
            .max();
        self.barrier = newest.or(self.barrier).or(Some(0));
    }

    fn take_progress(&mut self, watch: i64, message: Tree) {
        // What comes by itself every ten minutes is not compared: it is due when it is due.
        if watch != -1 {
            return;
        }
        self.n_progress += 1;
        // A question may have been repeated until it was answered.
        if self.last_progress.as_ref() != Some(&message) {
            self.last_progress = Some(message.clone());
            self.progress.push_back(message);
        }
    }

    fn take_events(&mut self, watch: i64, message: &Tree) {
        let events = message.list(&["events"]);
        let revision = |event: &Tree| event.number(&["kv", "mod_revision"]);
        let (first, last) = (
            events.first().map_or(0, revision),
            events.last().map_or(0, revision),
        );
        let is_fragment = message.number(&["fragment"]) != 0;
        self.n_fragments += u64::from(is_fragment);
        if is_fragment && !self.fragmenting.contains(&watch) {
            self.faults
                .push(format!("watch {watch}: a fragment that nobody asked for"));
        }
        if !events.is_sorted_by_key(revision) {
            self.faults
                .push(format!("watch {watch}: events out of order: {message}"));
        }
        if let Some((before, continued)) = self.last_revision.get(&watch)
            && (first < *before || (first == *before && !continued))
        {
            self.faults
                .push(format!("watch {watch}: revision {first} after {before}"));
        }
        if message.number(&["header", "revision"]) < last {
            self.faults.push(format!(
                "watch {watch}: a header older than its events: {message}"
            ));
        }
        self.last_revision.insert(watch, (last, is_fragment));
        let sequence = self.watches.entry(watch).or_default();
        sequence.extend(events.iter().map(|event| ("event", event.clone())));
    }

    /// Takes away what both have, and tells in what they differ there. Afterwards at least one has nothing left
    /// of each sequence. Also tells how many things of watches it compared.
    pub(crate) fn compare(peer: &mut Sorted, ours: &mut Sorted) -> (Vec<Seen>, u64) {
        let mut found: Vec<Seen> = Vec::new();
        let mut n_events = 0;
        pairs(&mut peer.refusals, &mut ours.refusals, |left, right| {
            found.extend(under("refused", &left, &right));
        });
        pairs(&mut peer.progress, &mut ours.progress, |left, right| {
            found.extend(under("progress", &left, &right));
        });
        for (watch, left) in &mut peer.watches {
            let Some(right) = ours.watches.get_mut(watch) else {
                continue;
            };
            pairs(left, right, |(kind, left), (other, right)| {
                n_events += 1;
                if kind == other {
                    found.extend(under(kind, &left, &right));
                } else {
                    let difference = Difference {
                        path: "sequence".to_owned(),
                        peer: Some(named(kind, left)),
                        ours: Some(named(other, right)),
                    };
                    found.push((difference, None));
                }
            });
        }
        if peer.end.is_some() && ours.end.is_some() && peer.end != ours.end {
            let difference = Difference {
                path: "end".to_owned(),
                peer: peer.end.clone(),
                ours: ours.end.clone(),
            };
            found.push((difference, None));
        }
        (found, n_events)
    }

    /// What this side has and the other has not.
    pub(crate) fn left(&self) -> Option<Tree> {
        let refusals = self
            .refusals
            .iter()
            .map(|tree| named("refused", tree.clone()));
        let progress = self
            .progress
            .iter()
            .map(|tree| named("progress", tree.clone()));
        let watches = self.watches.values().flatten();
        let watches = watches.map(|(kind, tree)| named(kind, tree.clone()));
        let left: Vec<Tree> = refusals.chain(progress).chain(watches).collect();
        (!left.is_empty()).then_some(Tree::List(left))
    }
}

fn named(kind: &str, tree: Tree) -> Tree {
    Tree::Message(BTreeMap::from([(kind.to_owned(), tree)]))
}

fn under(kind: &str, peer: &Tree, ours: &Tree) -> Vec<Seen> {
    let seen = |mut difference: Difference| {
        difference.path = format!("{kind}.{}", difference.path);
        (difference, Some((peer.clone(), ours.clone())))
    };
    let found = Tree::differences(peer, ours);
    found.into_iter().map(seen).collect()
}

fn pairs<T>(left: &mut VecDeque<T>, right: &mut VecDeque<T>, mut each: impl FnMut(T, T)) {
    while !left.is_empty() && !right.is_empty() {
        if let (Some(left), Some(right)) = (left.pop_front(), right.pop_front()) {
            each(left, right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: i64) -> Tree {
        let kv = BTreeMap::from([("mod_revision".to_owned(), Tree::Number(revision.into()))]);
        Tree::Message(BTreeMap::from([("kv".to_owned(), Tree::Message(kv))]))
    }

    fn message(header: i64, revisions: &[i64]) -> Tree {
        let header = BTreeMap::from([("revision".to_owned(), Tree::Number(header.into()))]);
        Tree::Message(BTreeMap::from([
            ("header".to_owned(), Tree::Message(header)),
            (
                "events".to_owned(),
                Tree::List(revisions.iter().map(|n| event(*n)).collect()),
            ),
        ]))
    }

    fn sorted(messages: &[Tree]) -> Sorted {
        let mut sorted = Sorted::default();
        messages
            .iter()
            .cloned()
            .for_each(|message| sorted.take(message));
        sorted
    }

    #[test]
    fn how_many_revisions_a_message_has_is_no_difference() {
        let mut peer = sorted(&[message(9, &[2, 2, 3])]);
        let mut ours = sorted(&[message(2, &[2, 2]), message(3, &[3])]);
        let (found, n_compared) = Sorted::compare(&mut peer, &mut ours);
        assert_eq!((found, n_compared), (Vec::new(), 3));
        assert!(peer.left().is_none() && ours.left().is_none());
        assert!(peer.faults.is_empty() && ours.faults.is_empty());
    }

    #[test]
    fn an_event_that_is_missing_is_left() {
        let mut peer = sorted(&[message(9, &[2, 3])]);
        let mut ours = sorted(&[message(9, &[2])]);
        assert!(Sorted::compare(&mut peer, &mut ours).0.is_empty());
        assert!(peer.left().is_some() && ours.left().is_none());
    }

    #[test]
    fn a_split_revision_and_one_that_goes_back_and_an_old_header_are_faults() {
        assert_eq!(
            sorted(&[message(2, &[2]), message(2, &[2])]).faults.len(),
            1
        );
        assert_eq!(
            sorted(&[message(3, &[3]), message(3, &[2])]).faults.len(),
            1
        );
        assert_eq!(sorted(&[message(2, &[3])]).faults.len(), 1);
        assert!(
            sorted(&[message(2, &[2]), message(3, &[3])])
                .faults
                .is_empty()
        );
    }
}
