//! curl, and what it says.

use quorate_conformance::{PATIENCE, Target, alone_with};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

fn patience() -> String {
    PATIENCE.as_secs().to_string()
}

/// Asks `url` with these arguments of curl's and this body, if there is one.
pub(crate) fn curl(url: &str, arguments: &[&str], body: Option<&[u8]>) -> Answer {
    let mut command = Command::new("curl");
    command
        .args(["-s", "-i", "-m", &patience()])
        .args(arguments);
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    command
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("curl is installed");
    let mut input = child.stdin.take().expect("it is piped");
    // A server that refuses early may not read all of it.
    let _ = input.write_all(body.unwrap_or_default());
    drop(input);
    let output = child.wait_with_output().expect("curl ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What was said to a client that asked whether it may go on is no answer.
    let (_, answer) = match text.starts_with("HTTP/1.1 100") {
        true => text.split_once("\r\n\r\n").unwrap_or_default(),
        false => ("", &text[..]),
    };
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = headers.split(' ').nth(1).and_then(|it| it.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        headers: headers.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Posts `json`.
pub(crate) fn post(target: &Target, path: &str, json: &str) -> Answer {
    let url = format!("{}{path}", target.endpoints[0]);
    curl(&url, &[], Some(json.as_bytes()))
}

/// A request that goes on, and its lines as they come. Not curl's: that one does not read while it has nothing to
/// send. HTTP/1.1, chunked in both directions.
pub(crate) struct Stream {
    socket: TcpStream,
    read: BufReader<TcpStream>,
    /// Whether the head of the answer was read, and whether what follows is chunked.
    head: Option<bool>,
    text: Vec<u8>,
}

impl Stream {
    /// Posts `json` and more of it later, which is sent as it is said.
    pub(crate) fn open(target: &Target, path: &str, json: &str) -> Stream {
        let address = target.endpoints[0].trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).expect("it listens");
        let read = BufReader::new(socket.try_clone().expect("a second handle"));
        let mut stream = Stream {
            socket,
            read,
            head: None,
            text: Vec::new(),
        };
        stream.say(json);
        stream
    }

    /// Says more.
    pub(crate) fn say(&mut self, json: &str) {
        let chunk = format!("{:x}\r\n{json}\r\n", json.len());
        self.socket.write_all(chunk.as_bytes()).expect("it listens");
    }

    /// Says that there is no more.
    pub(crate) fn end(&mut self) {
        self.socket.write_all(b"0\r\n\r\n").expect("it listens");
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let is_chunked = match self.head {
            Some(is_chunked) => is_chunked,
            None => self.read_head(),
        };
        if !is_chunked {
            return self.raw_line();
        }
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let length = usize::from_str_radix(&self.raw_line(), 16).unwrap_or(0);
            if length == 0 {
                return String::new();
            }
            let mut chunk = vec![0; length + 2];
            self.read.read_exact(&mut chunk).expect("a chunk");
            self.text.extend_from_slice(&chunk[..length]);
        }
    }

    fn read_head(&mut self) -> bool {
        let mut is_chunked = false;
        loop {
            let line = self.raw_line().to_ascii_lowercase();
            is_chunked |= line == "transfer-encoding: chunked";
            if line.is_empty() {
                self.head = Some(is_chunked);
                return is_chunked;
            }
        }
    }

    fn raw_line(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }
}

/// One member for one test.
pub(crate) async fn member() -> Target {
    alone_with(1, &[]).await
}
