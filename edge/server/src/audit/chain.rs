//! The chain: each line carries the hash of the one before, and its own.
//!
//! ```text
//!   {"n":7,"time":"…", … ,"prev":"<hash of line 6>","hash":"<SHA-256 of this line up to here>"}
//! ```
//!
//! Whoever changes, removes or inserts a line must make every later line anew, so a hash that was kept elsewhere shows it.
//! What it cannot show by itself is that lines at the *end* are missing.

use super::Record;
use clock::HybridTime;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What stands before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// `,"hash":"`, 64 digits, `"}`.
const TAIL_BYTES: usize = 9 + 64 + 2;

/// The longest line. What a client can make long is cut when it is said: names by `etcd::names`, the rest to
/// [`TEXT_BYTES_MAX`].
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of who asked, and of why it was refused. In JSON one of them may take six, and there is room for twenty names.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

const _: () = assert!(2 * 6 * TEXT_BYTES_MAX < LINE_BYTES_MAX as usize / 4);

/// What a line is about.
pub(super) enum Entry<'a> {
    /// A request.
    Request(&'a Record),
    /// The log was opened.
    Opened,
    /// So many lines are missing here.
    Dropped(u64),
}

/// Where a chain stands, and the lines that are not written yet.
pub(super) struct HashChain {
    n: u64,
    hash: String,
    ready: Vec<u8>,
    written: usize,
}

impl HashChain {
    fn new() -> HashChain {
        HashChain {
            n: 0,
            hash: NOTHING.to_owned(),
            ready: Vec::new(),
            written: 0,
        }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, entry: &Entry<'_>, wall_ms: u64) {
        self.n += 1;
        let time = HybridTime::new(wall_ms, 0).to_rfc3339();
        let mut line = format!("{{\"n\":{},\"time\":\"{time}\"", self.n);
        // Into a string nothing can fail.
        let _ = match entry {
            Entry::Opened => write!(line, ",\"event\":\"opened\""),
            Entry::Dropped(lost) => write!(line, ",\"event\":\"dropped\",\"lost\":{lost}"),
            Entry::Request(it) => {
                let names: Vec<Value> = it.names.iter().map(|name| name.as_str().into()).collect();
                let revision = it
                    .revision
                    .map_or_else(|| "null".to_owned(), |n| n.to_string());
                write!(
                    line,
                    ",\"who\":{},\"from\":{},\"method\":{},\"names\":{},\"revision\":{revision},\"code\":\"{}\",\
                     \"message\":{}",
                    text(&it.who),
                    text(&it.from),
                    text(it.method),
                    Value::from(names),
                    it.code,
                    text(&it.words),
                )
            }
        };
        let _ = write!(line, ",\"prev\":\"{}\"", self.hash);
        self.hash = hash(line.as_bytes());
        let _ = writeln!(line, ",\"hash\":\"{}\"}}", self.hash);
        // Who reads it takes no longer one: it would be the end of the chain, and of the member at its next start.
        base::invariant!(
            (line.len() as u64) <= LINE_BYTES_MAX,
            "a line of the audit log has {} bytes",
            line.len()
        );
        self.ready.extend_from_slice(line.as_bytes());
    }

    /// What is to be written.
    pub(super) fn ready(&self) -> &[u8] {
        &self.ready[self.written..]
    }

    /// So many bytes of it were.
    pub(super) fn written(&mut self, n: usize) {
        self.written += n;
        if self.written == self.ready.len() {
            self.ready.clear();
            self.written = 0;
        }
    }
}

fn text(words: &str) -> Value {
    words.into()
}

fn hash(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Opens a log to write at its end, and finds out where its chain stands. A last line that a crash has cut off goes: it
/// was never complete.
pub(super) fn open(path: &Path) -> io::Result<(File, HashChain)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.by_ref().take(LINE_BYTES_MAX).read_to_end(&mut end)?;
    let complete = end
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    if complete == 0 && from > 0 {
        return Err(io::Error::other(
            "it is no audit log: it has a line of more than 64 KiB",
        ));
    }
    if complete < end.len() {
        file.set_len(from + complete as u64)?;
    }
    let mut chain = HashChain::new();
    let lines = &end[..complete];
    if !lines.is_empty() {
        let last = lines[..complete - 1].rsplit(|byte| *byte == b'\n').next();
        let last = last.and_then(|line| Link::read(std::str::from_utf8(line).ok()?));
        let last = last.ok_or_else(|| {
            io::Error::other("it is no audit log: its last line has no hash that fits")
        })?;
        (chain.n, chain.hash) = (last.n, last.hash);
    }
    Ok((file, chain))
}

/// A line as the next one sees it.
struct Link {
    n: u64,
    prev: String,
    hash: String,
    lost: u64,
}

impl Link {
    /// Nothing if the line is not what its hash says.
    fn read(line: &str) -> Option<Link> {
        let at = line.len().checked_sub(TAIL_BYTES)?;
        let (body, tail) = (line.get(..at)?, line.get(at..)?);
        let said = tail.strip_prefix(",\"hash\":\"")?.strip_suffix("\"}")?;
        if hash(body.as_bytes()) != said {
            return None;
        }
        let value: Value = serde_json::from_str(line).ok()?;
        Some(Link {
            n: value.get("n")?.as_u64()?,
            prev: value.get("prev")?.as_str()?.to_owned(),
            hash: said.to_owned(),
            lost: value.get("lost").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}

/// A chain that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// Lines that were dropped, as the chain itself says.
    pub dropped: u64,
    /// The hash of the last line: kept elsewhere, it shows later that nothing was cut off.
    pub last: String,
}

/// Why a chain does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("the audit log cannot be read")]
    Unreadable(#[from] io::Error),
    /// A line is not what its hash says.
    #[error("line {line} was changed: its hash does not fit")]
    Changed {
        /// Which, from 1.
        line: u64,
    },
    /// A line does not follow the one before.
    #[error("between line {before} and line {line} something was removed, inserted or changed", before = line - 1)]
    Torn {
        /// Which, from 1.
        line: u64,
    },
}

/// Checks a whole log, from its first line or (when older files were taken away) from the line that it begins with.
///
/// # Errors
/// The first line that does not fit.
pub fn verify(log: impl Read) -> Result<Verified, Broken> {
    let mut reader = BufReader::new(log);
    let (mut lines, mut dropped) = (0, 0);
    let mut before: Option<Link> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if n == 0 {
            break;
        }
        lines += 1;
        let words = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok());
        let link = words
            .and_then(Link::read)
            .ok_or(Broken::Changed { line: lines })?;
        let follows = match &before {
            None => link.n != 1 || link.prev == NOTHING,
            Some(before) => link.n == before.n + 1 && link.prev == before.hash,
        };
        if !follows {
            return Err(Broken::Torn { line: lines });
        }
        dropped += link.lost;
        before = Some(link);
    }
    Ok(Verified {
        lines,
        dropped,
        last: before.map_or_else(|| NOTHING.to_owned(), |link| link.hash),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        Record {
            who: "anonymous".to_owned(),
            from: "127.0.0.1:5".to_owned(),
            method: "/etcdserverpb.KV/Put",
            names: vec![name.to_owned()],
            revision: Some(7),
            code: "OK",
            words: String::new(),
            wall_ms: 1_800_000_000_123,
        }
    }

    fn log(n: usize) -> String {
        let mut chain = HashChain::new();
        chain.add(&Entry::Opened, 1_800_000_000_000);
        for at in 0..n {
            chain.add(
                &Entry::Request(&record(&format!("k{at}"))),
                1_800_000_000_123,
            );
        }
        chain.add(&Entry::Dropped(3), 1_800_000_000_999);
        String::from_utf8(chain.ready().to_vec()).expect("text")
    }

    #[test]
    fn a_line_says_who_what_and_how_it_ended() {
        let log = log(1);
        let line = log.lines().nth(1).expect("a line");
        let until = line.find(",\"prev\"").expect("a chain");
        assert_eq!(
            &line[..until],
            "{\"n\":2,\"time\":\"2027-01-15T08:00:00.123Z\",\"who\":\"anonymous\",\"from\":\"127.0.0.1:5\",\
             \"method\":\"/etcdserverpb.KV/Put\",\"names\":[\"k0\"],\"revision\":7,\"code\":\"OK\",\"message\":\"\""
        );
    }

    #[test]
    fn a_chain_that_nobody_touched_holds() {
        let log = log(5);
        let verified = verify(log.as_bytes()).expect("it holds");
        assert_eq!((verified.lines, verified.dropped), (7, 3));
        // Whoever rotates the file takes whole lines from its beginning.
        let rest = &log[log.find('\n').expect("lines") + 1..];
        assert_eq!(
            verify(rest.as_bytes()).expect("it holds").last,
            verified.last
        );
        assert_eq!(verify(&b""[..]).expect("nothing is a chain").lines, 0);
    }

    /// Every byte of the log changed, every line removed, two lines exchanged: all of it shows.
    #[test]
    fn whatever_is_changed_shows() {
        let whole = log(4);
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(verify(&bytes[..]).is_err(), "byte {at}");
        }
        let lines: Vec<&str> = whole.lines().collect();
        for without in 1..lines.len() - 1 {
            let mut fewer = lines.clone();
            fewer.remove(without);
            let text = fewer.join("\n") + "\n";
            let torn = verify(text.as_bytes());
            assert!(matches!(torn, Err(Broken::Torn { line }) if line == without as u64 + 1));
        }
        let mut exchanged = lines.clone();
        exchanged.swap(2, 3);
        assert!(verify((exchanged.join("\n") + "\n").as_bytes()).is_err());
        let mut doubled = lines;
        doubled.insert(2, doubled[2]);
        assert!(verify((doubled.join("\n") + "\n").as_bytes()).is_err());
    }

    #[test]
    fn a_log_goes_on_where_it_ended_and_a_torn_line_goes() {
        let folder = std::env::temp_dir().join(format!("quorate-audit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("audit.log");
        let whole = log(3);
        std::fs::write(&path, format!("{whole}{{\"n\":6,\"ti")).expect("room");
        let (mut file, mut chain) = open(&path).expect("it opens");
        chain.add(&Entry::Request(&record("next")), 0);
        io::Write::write_all(&mut file, chain.ready()).expect("room");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.starts_with(&whole));
        assert_eq!(verify(text.as_bytes()).expect("it holds").lines, 6);
        std::fs::write(&path, "something else\n").expect("room");
        assert!(open(&path).is_err());
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}
