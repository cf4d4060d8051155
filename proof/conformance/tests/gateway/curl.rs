//! curl, and what it says.

use quorate_conformance::{PATIENCE, Target, alone_with};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

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
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
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

/// A request that goes on, and its lines as they come.
pub(crate) struct Stream {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    /// Posts `json` and more of it later, which is sent as it is said.
    pub(crate) fn open(target: &Target, path: &str, json: &str) -> Stream {
        let url = format!("{}{path}", target.endpoints[0]);
        let mut child = Command::new("curl")
            .args(["-s", "-N", "-m", &patience(), "-X", "POST", "-T", ".", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is installed");
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stream = Stream {
            child,
            input,
            lines,
        };
        stream.say(json);
        stream
    }

    /// Says more.
    pub(crate) fn say(&mut self, json: &str) {
        let input = self.input.as_mut().expect("not ended");
        input.write_all(json.as_bytes()).expect("curl listens");
        input.flush().expect("curl listens");
    }

    /// Says that there is no more.
    pub(crate) fn end(&mut self) {
        self.input = None;
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One member for one test.
pub(crate) async fn member() -> Target {
    alone_with(1, &[]).await
}
