//! A cluster in this process: real sockets, HTTP/2 and messages, a small model behind them, and faults on demand.
//!
//! All members share one model, as if replication were perfect, so that what goes wrong is what a test asked for.

mod model;
mod serve;

pub(crate) use model::Model;

use api::{Code, Method};
use quorate::{Builder, Client};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, watch};

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is refused, and nothing is done.
    Refuse(Code),
    /// The stream is reset before anything is done.
    LoseRequest,
    /// It is done, and the stream is reset.
    LoseAnswer,
    /// The connection is cut before anything is done.
    CutBefore,
    /// It is done, and the connection is cut.
    CutAfter,
    /// Nothing is done, and no answer comes.
    Stall,
    /// It is done, and no answer comes.
    StallAfter,
    /// The stream is reset, and it is done so much later.
    Late(Duration),
    /// It is done and answered so much later, although whoever asked may be gone.
    Slow(Duration),
    /// Streams: one answer comes, then it ends with this. Other requests are refused.
    EndSoon(Code),
}

type Script = Box<dyn FnMut(usize, Method) -> Fault + Send>;

/// What the members share.
pub(crate) struct Shared {
    model: Mutex<Model>,
    /// Counts changes of the model.
    changed: watch::Sender<u64>,
    script: Mutex<Script>,
    /// Each request, by member.
    asked: Mutex<Vec<(usize, Method)>>,
    cut: Notify,
}

/// A cluster; it ends when it is dropped.
pub(crate) struct Fake {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.cut.notify_waiters();
    }
}

impl Fake {
    pub(crate) async fn start(n_members: usize) -> Fake {
        let shared = Arc::new(Shared {
            model: Mutex::new(Model::default()),
            changed: watch::Sender::new(0),
            script: Mutex::new(Box::new(|_, _| Fault::None)),
            asked: Mutex::default(),
            cut: Notify::new(),
        });
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for member in 0..n_members {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            addresses.push(listener.local_addr().expect("bound"));
            tasks.push(tokio::spawn(serve::listen(
                member,
                listener,
                shared.clone(),
            )));
        }
        tasks.push(tokio::spawn(expire(shared.clone())));
        Fake {
            addresses,
            shared,
            tasks,
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Client::builder()
            .endpoints(self.addresses.iter().map(ToString::to_string))
            .deadline(Duration::from_secs(3))
            .attempt(Duration::from_millis(300))
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().connect().await.expect("it listens")
    }

    /// From now on `script` says what goes wrong.
    pub(crate) fn script(&self, script: impl FnMut(usize, Method) -> Fault + Send + 'static) {
        *self.shared.script.lock().expect("no panic") = Box::new(script);
    }

    /// The next request of `method` meets `fault`, once.
    pub(crate) fn once(&self, method: Method, fault: Fault) {
        self.each(method, vec![fault]);
    }

    /// The next requests of `method` meet these faults, one each.
    pub(crate) fn each(&self, method: Method, faults: Vec<Fault>) {
        let mut faults = faults.into_iter();
        self.script(move |_, asked| match asked == method {
            true => faults.next().unwrap_or(Fault::None),
            false => Fault::None,
        });
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().expect("no panic")
    }

    /// Changes the model behind the clients' backs.
    pub(crate) fn change<T>(&self, how: impl FnOnce(&mut Model) -> T) -> T {
        self.shared.change(how)
    }

    /// How often `method` was asked, whatever became of it.
    pub(crate) fn n_asked(&self, method: Method) -> usize {
        let asked = self.shared.asked.lock().expect("no panic");
        asked.iter().filter(|(_, it)| *it == method).count()
    }

    /// Which members `method` was asked of, in order.
    pub(crate) fn asked_of(&self, method: Method) -> Vec<usize> {
        let asked = self.shared.asked.lock().expect("no panic");
        let of_method = asked.iter().filter(|(_, it)| *it == method);
        of_method.map(|(member, _)| *member).collect()
    }

    /// Waits until `is_so` of the model.
    pub(crate) async fn until(&self, claim: &str, is_so: impl Fn(&Model) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let reached = async {
            while !is_so(&self.model()) {
                changed.changed().await.expect("the sender lives");
            }
        };
        // Sooner than a lock's lease ends by itself.
        let reached = tokio::time::timeout(Duration::from_secs(8), reached).await;
        assert!(reached.is_ok(), "{claim}: it never came");
    }
}

impl Shared {
    pub(crate) fn end_all_leases(&self) {
        self.change(|model| {
            for lease in model.leases.keys().copied().collect::<Vec<_>>() {
                model.end_lease(lease);
            }
        });
    }

    fn change<T>(&self, how: impl FnOnce(&mut Model) -> T) -> T {
        let done = how(&mut self.model.lock().expect("no panic"));
        self.changed.send_modify(|n| *n += 1);
        done
    }
}

/// What must come, and does not take for ever.
pub(crate) async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    let came = tokio::time::timeout(limit, awaited).await;
    came.expect("it should have come by now")
}

/// An address where nobody listens, for as long as the socket lives.
pub(crate) fn nobody() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    (socket.local_addr().expect("bound"), socket)
}

/// Ends leases when their time is over.
async fn expire(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let is_due = shared.model.lock().expect("no panic").is_due();
        if is_due {
            shared.change(Model::expire);
        }
    }
}
