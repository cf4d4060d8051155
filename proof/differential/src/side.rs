//! One of the two servers: its processes, how to ask them, and what it chose for itself.

use crate::marks::{self, CLUSTER, GRANTED, Known, MEMBER, Names};
use crate::operation::{Ask, Body};
use crate::proto;
use crate::transport;
use crate::tree::Tree;
use bytes::Bytes;
use cluster::{Cluster, Server, TempDir};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A caller's number plus this is the caller with the token before the last one.
pub(crate) const OLD_TOKEN: u8 = 100;
/// How long a new member may take until it serves.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A server under comparison.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) names: Names,
    /// The last token of each user.
    pub(crate) tokens: BTreeMap<u8, String>,
    cluster: Cluster,
    channels: Vec<Channel>,
    turn: usize,
    _folder: TempDir,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Comparable: the fields of the message, or `refused` with code and text.
    pub(crate) tree: Tree,
    pub(crate) is_refused: bool,
    /// The token of an `Authenticate`.
    pub(crate) token: Option<String>,
    /// The lease that the server granted, as it named it.
    lease: i64,
    /// The member that the server added, as it named it.
    pub(crate) member: u64,
}

impl Answer {
    /// Whether nobody answered.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_refused_with(&[
            "tcp connect error",
            "transport error",
            "not connected",
            "no answer for",
        ])
    }

    /// Whether whoever asked must ask for a token first.
    pub(crate) fn is_about_tokens(&self) -> bool {
        self.is_refused_with(&["invalid auth token", "user name is empty"])
    }

    /// Whether whoever asked has failed too often and must wait.
    pub(crate) fn is_too_early(&self) -> bool {
        self.is_refused_with(&["too many failed attempts to authenticate this user"])
    }

    fn is_refused_with(&self, some: &[&str]) -> bool {
        match self.tree.at(&["refused"]) {
            Some(Tree::Text(words)) => some.iter().any(|known| words.contains(known)),
            _ => false,
        }
    }
}

impl Side {
    /// What to say when it has died under a request.
    pub(crate) fn obituary(&self, answer: &Answer) -> io::Error {
        let last = self.cluster.last_words();
        io::Error::other(format!("{} is gone: {}\n{last}", self.name, answer.tree))
    }

    /// New members of `program`, which serve when this returns.
    pub(crate) async fn start(
        name: &'static str,
        program: &Path,
        flags: &[&str],
        n_members: usize,
    ) -> io::Result<Side> {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => TempDir::under(memory)?,
            false => TempDir::new()?,
        };
        let program = program.display().to_string();
        let server = Server::new(name, &program, folder.path())?.with(flags);
        let cluster = Cluster::start(&server, folder.path(), n_members)?;
        let mut side = Side {
            name,
            names: Names::default(),
            tokens: BTreeMap::new(),
            cluster,
            channels: Vec::new(),
            turn: 0,
            _folder: folder,
        };
        side.connect()?;
        side.serves().await?;
        Ok(side)
    }

    fn connect(&mut self) -> io::Result<()> {
        let channels = self.cluster.endpoints().into_iter().map(|url| {
            let endpoint = Endpoint::from_shared(url).map_err(io::Error::other)?;
            Ok(endpoint.tcp_nodelay(true).connect_lazy())
        });
        self.channels = channels.collect::<io::Result<_>>()?;
        Ok(())
    }

    /// Waits until every member answers a linearizable question, and learns the ids.
    async fn serves(&mut self) -> io::Result<()> {
        let started = Instant::now();
        for (n, channel) in self.channels.clone().iter().enumerate() {
            loop {
                let request = vec![10, 1, b'x'];
                let token = self.tokens.get(&0).map(String::as_str);
                let path = proto::path(&proto::method("KV/Range"));
                match transport::unary(channel, &path, request.into(), token).await {
                    Ok(bytes) => {
                        self.learn_ids(n, &bytes);
                        break;
                    }
                    // With authentication on, a refusal is an answer too; ids were learned before.
                    Err(status) if is_about_users(&status) => break,
                    Err(status) if started.elapsed() > START_PATIENCE => {
                        let words = self.cluster.last_words();
                        let problem = format!("{} does not serve: {status}\n{words}", self.name);
                        return Err(io::Error::other(problem));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        Ok(())
    }

    fn learn_ids(&mut self, n: usize, answer: &[u8]) {
        let Ok(message) = DynamicMessage::decode(proto::method("KV/Range").output(), answer) else {
            return;
        };
        let mark = MEMBER + i64::try_from(n).unwrap_or(0);
        // Read with names of nobody: the ids as they are.
        let tree = Tree::of(&message, &Names::default());
        let number = |name| match tree.at(&["header", name]) {
            Some(Tree::Number(n)) => u64::try_from(*n).unwrap_or(0).cast_signed(),
            _ => 0,
        };
        self.names.learn(CLUSTER, number("cluster_id"));
        self.names.learn(mark, number("member_id"));
        if self.n_members() > 1 {
            // Which of several answered is no difference.
            self.names.learn_another(MEMBER, number("member_id"));
        }
        let member = &self.cluster.members[n];
        let (client, peer) = (member.place.client_url(), member.place.peer_url());
        let id = number("member_id").cast_unsigned().to_string();
        self.names.learn_text(&format!("member {n}"), &id);
        self.names.learn_text(&format!("client url {n}"), &client);
        self.names.learn_text(&format!("peer url {n}"), &peer);
    }

    /// Kills all members and starts them again, and waits until they serve.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        for member in &mut self.cluster.members {
            member.kill();
        }
        for member in &mut self.cluster.members {
            member.start()?;
        }
        self.connect()?;
        self.serves().await
    }

    /// The member whose turn it is.
    pub(crate) fn next_member(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.channels.len();
        self.turn
    }

    /// How many members it has.
    pub(crate) fn n_members(&self) -> usize {
        self.channels.len()
    }

    /// A connection to this member.
    pub(crate) fn channel(&self, member: usize) -> Channel {
        self.channels[member].clone()
    }

    /// The token of a user, if it has one.
    pub(crate) fn token(&self, caller: Option<u8>) -> Option<String> {
        self.tokens.get(&caller?).cloned()
    }

    /// A user has a new token; the one before is remembered, too.
    pub(crate) fn learn_token(&mut self, user: u8, token: &str) {
        if let Some(old) = self.tokens.insert(user, token.to_owned()) {
            self.tokens.insert(OLD_TOKEN + user, old);
        }
    }

    /// Every user's token is one that the server does not know from now on.
    pub(crate) fn spoil_tokens(&mut self) {
        for token in self.tokens.values_mut() {
            "forgotten.0".clone_into(token);
        }
    }

    /// The bytes of a request for this server.
    pub(crate) fn fill(&self, method: &MethodDescriptor, body: &Body, known: Known) -> Bytes {
        match body {
            Body::Raw(bytes) => bytes.clone().into(),
            Body::Template(bytes) => match DynamicMessage::decode(method.input(), bytes.as_ref()) {
                Ok(template) => marks::filled(&template, &self.names, known).into(),
                Err(_) => bytes.clone().into(),
            },
        }
    }

    /// What came back as something that can be compared.
    pub(crate) fn read(&self, method: &MethodDescriptor, came: Result<Bytes, Status>) -> Answer {
        let message = match came {
            Ok(bytes) => DynamicMessage::decode(method.output(), bytes).map_err(|problem| {
                Status::data_loss(format!("an answer that nobody can read: {problem}"))
            }),
            Err(status) => Err(status),
        };
        match message {
            Ok(message) => {
                let field = |name| message.get_field_by_name(name);
                let token = field("token").and_then(|token| token.as_str().map(str::to_owned));
                let lease = field("ID").and_then(|id| id.as_i64()).unwrap_or(0);
                let member = field("member")
                    .and_then(|member| member.as_message()?.get_field_by_name("ID")?.as_u64());
                let member = member.unwrap_or(0);
                let tree = Tree::of(&message, &self.names);
                Answer {
                    tree,
                    is_refused: false,
                    token,
                    lease,
                    member,
                }
            }
            Err(status) => {
                let words = format!(
                    "{:?}: {}",
                    status.code(),
                    self.names.marked_text(status.message())
                );
                let refused = BTreeMap::from([("refused".to_owned(), Tree::Text(words))]);
                let tree = Tree::Message(refused);
                Answer {
                    tree,
                    is_refused: true,
                    token: None,
                    lease: 0,
                    member: 0,
                }
            }
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn ask(&mut self, ask: &Ask, known: Known) -> Answer {
        let method = proto::method(ask.method);
        let body = self.fill(&method, &ask.body, known);
        let token = self.token(ask.caller);
        let member = self.next_member();
        let channel = &self.channels[member];
        let came = transport::unary(channel, &proto::path(&method), body, token.as_deref()).await;
        let mut answer = self.read(&method, came.clone());
        if let (Some(slot), false) = (ask.remember, answer.is_refused) {
            self.names.learn(GRANTED + i64::from(slot), answer.lease);
            answer = self.read(&method, came);
        }
        answer
    }
}

fn is_about_users(status: &Status) -> bool {
    let words = status.message();
    words.contains("user name is empty") || words.contains("invalid auth token")
}
