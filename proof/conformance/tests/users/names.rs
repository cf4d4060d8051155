//! Users whom a certificate names: the same story is told to the server under test and to the real etcd, with etcd's own
//! `etcdctl` and with curl, and both must answer what stands here.

use cluster::{Cluster, Place, Server, TempDir};
use pki::{Authority, Wish};
use quorate_conformance::{PATIENCE, peer, program};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// One member with TLS for its clients, and a certificate for everybody who asks.
struct Door {
    cluster: Cluster,
    folder: TempDir,
}

/// Whose certificate, what is typed, and the last line of what is said.
type Line = (&'static str, &'static [&'static str], &'static str);

const DENIED: &str = "Error: etcdserver: permission denied";
const NOBODY: &str = "Error: etcdserver: user name is empty";
/// What the gateway says to a certificate with a name.
const NAMED: &str = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";

/// Before authentication is on: ann has no password, so that only a certificate can be hers.
const USERS: &[Line] = &[
    (
        "nameless",
        &["user", "add", "root:secret"],
        "User root created",
    ),
    (
        "nameless",
        &["user", "grant-role", "root", "root"],
        "Role root is granted to user root",
    ),
    (
        "nameless",
        &["user", "add", "ann", "--no-password"],
        "User ann created",
    ),
    ("nameless", &["user", "add", "tom:word"], "User tom created"),
    ("nameless", &["role", "add", "anns"], "Role anns created"),
    (
        "nameless",
        &[
            "role",
            "grant-permission",
            "anns",
            "--prefix=true",
            "readwrite",
            "/ann/",
        ],
        "Role anns updated",
    ),
    (
        "nameless",
        &["user", "grant-role", "ann", "anns"],
        "Role anns is granted to user ann",
    ),
    ("nameless", &["role", "add", "toms"], "Role toms created"),
    (
        "nameless",
        &[
            "role",
            "grant-permission",
            "toms",
            "--prefix=true",
            "readwrite",
            "/tom/",
        ],
        "Role toms updated",
    ),
    (
        "nameless",
        &["user", "grant-role", "tom", "toms"],
        "Role toms is granted to user tom",
    ),
    ("nameless", &["auth", "enable"], "Authentication Enabled"),
];

/// With authentication on, where certificates are asked for.
const STORY: &[Line] = &[
    // The name in the certificate is the user, and that user's permissions decide.
    ("ann", &["put", "/ann/a", "1"], "OK"),
    ("ann", &["get", "/ann/a"], "1"),
    ("ann", &["put", "/tom/a", "1"], DENIED),
    ("ann", &["get", "/tom/a"], DENIED),
    (
        "ann",
        &["get", "/ann/", "--prefix", "--keys-only"],
        "/ann/a",
    ),
    ("ann", &["get", "/", "--prefix"], DENIED),
    (
        "ann",
        &["lease", "grant", "60", "-w", "fields"],
        "\"TTL\" : 60",
    ),
    ("ann", &["user", "list"], DENIED),
    ("ann", &["auth", "disable"], DENIED),
    // A token beats the name, whatever it allows; and a wrong password is not saved by the name.
    ("ann", &["put", "/tom/a", "2", "--user", "tom:word"], "OK"),
    ("ann", &["put", "/ann/a", "2", "--user", "tom:word"], DENIED),
    (
        "ann",
        &["get", "/ann/a", "--user", "tom:wrong"],
        "Error: etcdserver: authentication failed, invalid user ID or password",
    ),
    ("ann", &["get", "/ann/a"], "1"),
    // root is a name as others are.
    ("root", &["get", "/tom/a"], "2"),
    ("root", &["user", "list"], "tom"),
    // A name that is no user's, and no name.
    ("ghost", &["get", "/ann/a"], DENIED),
    ("ghost", &["put", "/ghost", "1"], DENIED),
    ("nameless", &["get", "/ann/a"], DENIED),
    ("nameless", &["put", "/ann/a", "1"], DENIED),
    ("nameless", &["user", "list"], NOBODY),
    // It is the name as of now: who is no user any more is nobody, and comes back with what is granted then.
    ("root", &["user", "delete", "ann"], "User ann deleted"),
    ("ann", &["get", "/ann/a"], DENIED),
    (
        "root",
        &["user", "add", "ann", "--no-password"],
        "User ann created",
    ),
    ("ann", &["get", "/ann/a"], DENIED),
    (
        "root",
        &["user", "grant-role", "ann", "toms"],
        "Role toms is granted to user ann",
    ),
    ("ann", &["get", "/tom/a"], "2"),
    ("ann", &["get", "/ann/a"], DENIED),
];

/// Where certificates are believed and names are not: `--trusted-ca-file` without `--client-cert-auth`.
const UNNAMED: &[Line] = &[
    ("ann", &["get", "/ann/a"], NOBODY),
    ("root", &["user", "list"], NOBODY),
    ("ann", &["put", "/tom/a", "2", "--user", "tom:word"], "OK"),
    ("ann", &["put", "/ann/a", "2", "--user", "tom:word"], DENIED),
];

impl Door {
    fn open(program: &Path, flags: &[&str]) -> Door {
        let folder = TempDir::new().unwrap();
        let mut ca = Authority::new("ca").unwrap();
        let at = folder.path();
        std::fs::write(at.join("ca.crt"), ca.pem()).unwrap();
        for (file, cn) in [
            ("member", None),
            ("nameless", None),
            ("ann", Some("ann")),
            ("root", Some("root")),
            ("ghost", Some("ghost")),
        ] {
            let hosts = &["127.0.0.1"];
            let wish = Wish {
                cn,
                hosts,
                ..Wish::default()
            };
            ca.issue(&wish).unwrap().write(at, file).unwrap();
        }
        let file = |flag: &str, name: &str| format!("{flag}={}", at.join(name).display());
        let files = [
            file("--cert-file", "member.crt"),
            file("--key-file", "member.key"),
            file("--trusted-ca-file", "ca.crt"),
        ];
        let all: Vec<&str> = files
            .iter()
            .map(String::as_str)
            .chain(flags.iter().copied())
            .collect();
        let server = Server::new("tested", program.to_str().unwrap(), at).unwrap();
        let mut place = Place::loopback().unwrap();
        place.client_scheme = "https";
        let cluster = Cluster::start_at(&server.with(&all), &at.join("data"), vec![place]);
        let door = Door {
            cluster: cluster.unwrap(),
            folder,
        };
        let began = Instant::now();
        while !door.ask("nameless", &["get", "/served"]).is_empty() {
            let words = || door.cluster.last_words();
            assert!(began.elapsed() < PATIENCE, "does not serve: {}", words());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        door
    }

    /// What is said to `who`, but for what a client library logs: the last line of it.
    fn ask(&self, who: &str, words: &[&str]) -> String {
        let mut command = Command::new(peer("etcdctl"));
        command
            .args(["--endpoints", &self.cluster.endpoints()[0]])
            .args(["--dial-timeout", "5s", "--command-timeout", "10s"])
            .args(["--cacert", &self.file("ca.crt")])
            .args(["--cert", &self.file(&format!("{who}.crt"))])
            .args(["--key", &self.file(&format!("{who}.key"))])
            .args(words);
        let done = command.output().unwrap();
        let said = match done.status.success() {
            true => done.stdout,
            false => done.stderr,
        };
        let said = String::from_utf8_lossy(&said);
        said.trim_end().lines().last().unwrap_or("").to_owned()
    }

    fn tells(&self, story: &[Line]) {
        for (who, words, expected) in story {
            assert_eq!(self.ask(who, words), *expected, "{who}: {words:?}");
        }
    }

    /// What the gateway says to `who`: the status and the body.
    fn http(
        &self,
        who: &str,
        path: &str,
        body: Option<&str>,
        token: Option<&str>,
    ) -> (u16, String) {
        let mut command = Command::new("curl");
        command
            .args(["-s", "-m", "20", "-w", "\n%{http_code}"])
            .args(["--cacert", &self.file("ca.crt")])
            .args(["--cert", &self.file(&format!("{who}.crt"))])
            .args(["--key", &self.file(&format!("{who}.key"))]);
        if let Some(body) = body {
            command.args(["-d", body]);
        }
        if let Some(token) = token {
            command.args(["-H", &format!("Authorization: {token}")]);
        }
        command.arg(format!("{}{path}", self.cluster.endpoints()[0]));
        let said = command.output().expect("curl is installed");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// CVE-2018-16886: behind the gateway is one connection for many, so that a certificate says nothing about who asks.
    /// A client that shows a name there, in the belief that it counts, is told so, even with a token.
    fn tells_over_http(&self) {
        const KEY: &str = r#"{"key":"L3RvbS9h"}"#; // /tom/a
        let login = r#"{"name":"tom","password":"word"}"#;
        // The answer may be there before the body is: it must be heard all the same, each time.
        for _ in 0..40 {
            let said = self.http("ann", "/v3/kv/range", Some(KEY), None);
            assert_eq!(said, (400, NAMED.to_owned()));
        }
        for path in ["/v3/auth/authenticate", "/v3beta/auth/authenticate"] {
            let said = self.http("ann", path, Some(login), None);
            assert_eq!(said, (400, NAMED.to_owned()), "{path}");
        }
        let (status, said) = self.http("nameless", "/v3/kv/range", Some(KEY), None);
        assert_eq!(status, 400);
        assert!(said.contains("etcdserver: user name is empty"), "{said}");
        let (status, said) = self.http("nameless", "/v3/auth/authenticate", Some(login), None);
        assert_eq!(status, 200, "{said}");
        let (_, token) = said.split_once("\"token\":\"").expect("a token");
        let (token, _) = token.split_once('"').expect("its end");
        let (status, said) = self.http("nameless", "/v3/kv/range", Some(KEY), Some(token));
        assert!(
            status == 200 && said.contains("\"value\":\"Mg==\""),
            "{status} {said}"
        );
        let said = self.http("ann", "/v3/kv/range", Some(KEY), Some(token));
        assert_eq!(said, (400, NAMED.to_owned()));
        // Pages that ask nobody who they are do not mind.
        for path in ["/version", "/health"] {
            let (status, said) = self.http("ann", path, None, None);
            assert_eq!(status, 200, "{path}: {said}");
        }
    }
}

fn named(program: &Path) {
    let door = Door::open(program, &["--client-cert-auth"]);
    // While authentication is off, a name is nobody's business.
    let (status, said) = door.http("ann", "/v3/kv/range", Some(r#"{"key":"YQ=="}"#), None);
    assert_eq!(status, 200, "{said}");
    door.tells(USERS);
    door.tells(STORY);
    door.tells_over_http();
}

fn unnamed(program: &Path) {
    let door = Door::open(program, &[]);
    door.tells(USERS);
    door.tells(UNNAMED);
    let (status, said) = door.http("ann", "/v3/kv/range", Some(r#"{"key":"YQ=="}"#), None);
    assert_eq!(status, 400);
    assert!(said.contains("etcdserver: user name is empty"), "{said}");
}

#[test]
fn a_certificates_name_is_the_user_where_no_token_is_shown() {
    named(&program());
}

#[test]
fn a_name_counts_for_nothing_unless_certificates_are_asked_for() {
    unnamed(&program());
}

#[test]
fn the_real_etcd_believes_the_same_names() {
    named(&peer("etcd"));
    unnamed(&peer("etcd"));
}
