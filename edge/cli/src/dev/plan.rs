//! Which members there are, where they listen, and where their data is.
//!
//! A new cluster's ports are etcd's, shifted by ten thousand per member, and stepped on where they are taken.
//! They are remembered in `DIR/cluster.json`, because the members know each other by them from then on.

use super::{DevError, complain, failed};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Members of a new cluster, if nobody says.
const MEMBERS_DEFAULT: u8 = 3;

/// etcd's own ports.
const CLIENT_PORT: u16 = 2379;

/// Between the ports of two members.
const PORT_SHIFT: u16 = 10_000;

/// Pairs of ports that are tried for one member.
const PORTS_TRIED: u16 = 200;

/// The version of `cluster.json`.
const FORMAT: u32 = 1;

/// One member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
}

impl Member {
    pub(super) fn client_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.client_port).into()
    }

    pub(super) fn peer_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.peer_port).into()
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    format: u32,
    token: String,
    members: Vec<Member>,
}

/// The directory of a cluster. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    pub(super) is_temporary: bool,
    _lock: Option<File>,
}

impl Dir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn make(wanted: Option<&Path>) -> Result<Dir, DevError> {
        let path = match wanted {
            Some(path) => std::path::absolute(path).map_err(failed("find", path))?,
            None => {
                let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let nanos = nanos.map_or(0, |since| since.subsec_nanos());
                let name = format!("quorate-dev-{}-{nanos:09}", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(wanted.is_some())
            .create(&path);
        made.map_err(failed("create", &path))?;
        let mut dir = Dir {
            path,
            is_temporary: wanted.is_none(),
            _lock: None,
        };
        let lock_path = dir.path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed("write to", &lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(DevError::InUse(dir.path.display().to_string()));
        }
        dir._lock = Some(lock);
        Ok(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(source) = fs::remove_dir_all(&self.path)
        {
            complain(&failed("remove", &self.path)(source));
        }
    }
}

/// What is to be started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) dir: Dir,
    pub(super) token: String,
    pub(super) members: Vec<Member>,
    /// Further flags of each member.
    pub(super) flags: Vec<String>,
    /// Whether the cluster was there before.
    pub(super) continues: bool,
    /// The ports, held until the members take them, so that nobody else does in between.
    pub(super) held: Vec<TcpListener>,
    /// Keeps other runs of this command from choosing ports until the members have theirs.
    pub(super) choosing: Option<File>,
}

impl Plan {
    /// Finds or makes a cluster in `dir`.
    pub(super) fn make(dir: Option<&Path>, members: Option<u8>) -> Result<Plan, DevError> {
        let dir = Dir::make(dir)?;
        let choosing = one_chooses();
        let file = dir.path.join("cluster.json");
        if let Some(remembered) = recall(&file)? {
            let plan = Plan::go_on(dir, remembered, members)?;
            return Ok(Plan { choosing, ..plan });
        }
        let mut held = Vec::new();
        let members = choose_members(members.unwrap_or(MEMBERS_DEFAULT), &mut held)?;
        let token = dir
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let remembered = Remembered {
            format: FORMAT,
            token: token.clone(),
            members: members.clone(),
        };
        remember(&file, &remembered)?;
        Ok(Plan {
            dir,
            token,
            members,
            flags: Vec::new(),
            continues: false,
            held,
            choosing,
        })
    }

    fn go_on(dir: Dir, remembered: Remembered, asked: Option<u8>) -> Result<Plan, DevError> {
        let mut members = remembered.members;
        if let Some(asked) = asked.filter(|asked| usize::from(*asked) != members.len()) {
            return Err(DevError::OtherSize {
                dir: dir.path.display().to_string(),
                has: members.len(),
                asked,
            });
        }
        let mut held = Vec::new();
        for member in &members {
            held.push(hold(member.peer_port).ok_or_else(|| DevError::PortTaken {
                name: member.name.clone(),
                port: member.peer_port,
            })?);
        }
        for member in &mut members {
            // Clients are told where a member listens, so that port may change.
            let mut ports = member.client_port..=member.client_port.saturating_add(PORTS_TRIED);
            let free = ports.find_map(|port| Some((port, hold(port)?)));
            let (port, holder) = free.ok_or_else(|| DevError::NoPorts(member.name.clone()))?;
            member.client_port = port;
            held.push(holder);
        }
        Ok(Plan {
            dir,
            token: remembered.token,
            members,
            flags: Vec::new(),
            continues: true,
            held,
            choosing: None,
        })
    }

    /// `n1=http://…,n2=http://…`.
    pub(super) fn initial_cluster(&self) -> String {
        let part = |m: &Member| format!("{}=http://{}", m.name, m.peer_address());
        self.members.iter().map(part).collect::<Vec<_>>().join(",")
    }

    pub(super) fn data_dir(&self, member: &Member) -> PathBuf {
        self.dir.path.join(&member.name)
    }

    pub(super) fn log(&self, member: &Member) -> PathBuf {
        self.dir.path.join(format!("{}.log", member.name))
    }
}

fn recall(file: &Path) -> Result<Option<Remembered>, DevError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", file)(error)),
    };
    let wrong = |reason: String| DevError::Plan {
        path: file.display().to_string(),
        reason,
    };
    let remembered: Remembered =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if remembered.format != FORMAT {
        return Err(wrong(format!("format {} is not known", remembered.format)));
    }
    if remembered.members.is_empty() {
        return Err(wrong("it names no members".to_owned()));
    }
    Ok(Some(remembered))
}

fn remember(file: &Path, remembered: &Remembered) -> Result<(), DevError> {
    let text = serde_json::to_string_pretty(remembered).unwrap_or_default();
    let new = file.with_extension("json.new");
    fs::write(&new, text + "\n").map_err(failed("write", &new))?;
    fs::rename(&new, file).map_err(failed("write", file))
}

/// Waits until no other run of this command is between choosing ports and using them. Only a help: where
/// it cannot be had, two runs that start in the same instant may want the same ports.
fn one_chooses() -> Option<File> {
    let user = rustix::process::getuid().as_raw();
    let path = std::env::temp_dir().join(format!("quorate-dev-ports-{user}.lock"));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .ok()?;
    flock(&file, FlockOperation::LockExclusive).ok()?;
    Some(file)
}

/// The port, if nobody has it.
fn hold(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

fn choose_members(n: u8, held: &mut Vec<TcpListener>) -> Result<Vec<Member>, DevError> {
    (1..=n).map(|number| choose_ports(number, held)).collect()
}

/// etcd's ports, shifted for the member, or the next free pair behind them.
fn choose_ports(number: u8, held: &mut Vec<TcpListener>) -> Result<Member, DevError> {
    let name = format!("n{number}");
    let shift = match number {
        1 => 0,
        n => u16::from(n) * PORT_SHIFT,
    };
    for step in 0..PORTS_TRIED {
        let client_port = CLIENT_PORT + shift + 2 * step;
        let peer_port = client_port + 1;
        if let (Some(client), Some(peer)) = (hold(client_port), hold(peer_port)) {
            held.extend([client, peer]);
            return Ok(Member {
                name,
                client_port,
                peer_port,
            });
        }
    }
    Err(DevError::NoPorts(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_stepped_over() {
        let mut held = Vec::new();
        let first = choose_ports(5, &mut held).expect("a free pair");
        let second = choose_ports(5, &mut held).expect("another one");
        assert!(
            second.client_port >= first.client_port + 2,
            "{first:?} {second:?}"
        );
        assert_eq!(second.peer_port, second.client_port + 1);
    }

    #[test]
    fn the_second_run_finds_the_first() {
        let name = format!("quorate-plan-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let first = Plan::make(Some(&path), Some(2)).expect("a new cluster");
        let members = first.members.clone();
        let in_use = Plan::make(Some(&path), None).expect_err("held");
        assert!(
            in_use.to_string().starts_with("another quorate dev uses "),
            "{in_use}"
        );
        drop(first);
        let other = Plan::make(Some(&path), Some(3)).expect_err("two are there");
        assert!(
            other.to_string().contains("has 2 members and not 3"),
            "{other}"
        );
        let second = Plan::make(Some(&path), None).expect("the same cluster");
        assert!(second.continues);
        assert_eq!(second.members[1].peer_port, members[1].peer_port);
        drop(second);
        fs::remove_dir_all(&path).expect("ours");
    }
}
