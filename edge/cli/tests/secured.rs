//! One member under TLS: who is let in at each of its listeners, who may say that it is a member, and by which client.
//!
//! The listeners are all that there are: two of clients (TLS over TCP and over a unix socket), that of metrics, that of
//! members. Each must refuse the same certificates (etcd's CRL held on one of two, GHSA-3wh4).
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use base::{ClusterId, MemberId};
use bytes::BytesMut;
use pki::{Authority, Good, Issued, Use, Wish};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use wire::{Frame, FrameReader, Hello, HelloReply, Origin, Purpose};

/// Where a connection goes.
#[derive(Clone, Debug)]
enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

fn connect(at: &At) -> Box<dyn Stream> {
    let patience = Some(Duration::from_secs(10));
    match at {
        At::Tcp(address) => {
            let socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(patience).unwrap();
            Box::new(socket)
        }
        At::Unix(path) => {
            let socket = UnixStream::connect(path).unwrap();
            socket.set_read_timeout(patience).unwrap();
            Box::new(socket)
        }
    }
}

/// A connection under TLS that shows `shown`.
fn tls(
    at: &At,
    ca: &str,
    shown: Option<&Issued>,
) -> StreamOwned<ClientConnection, Box<dyn Stream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(
        ClientConnection::new(Arc::new(config), name).unwrap(),
        connect(at),
    )
}

/// What is answered to bytes; nothing when the connection is closed without a word.
fn said(at: &At, ca: &str, shown: Option<&Issued>, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tls(at, ca, shown);
    // Closed early, or not at all: what came until then is what was said.
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn page(at: &At, ca: &str, shown: Option<&Issued>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&said(at, ca, shown, request.as_bytes())).into_owned()
}

/// A member, and all places where it listens.
struct Secured {
    scratch: Scratch,
    ca: Authority,
    _process: Option<Running>,
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
}

const MEMBER: Wish<'_> = Wish {
    cn: Some("member"),
    hosts: &["localhost", "127.0.0.1"],
    purpose: Use::Both,
    good: Good::Now,
};

const CLIENT: Wish<'_> = Wish {
    cn: Some("alice"),
    hosts: &[],
    purpose: Use::Client,
    good: Good::Now,
};

impl Secured {
    fn new() -> Secured {
        let scratch = Scratch::new();
        let mut ca = Authority::new("ca").unwrap();
        fs::write(scratch.path("ca.crt"), ca.pem()).unwrap();
        ca.issue(&MEMBER)
            .unwrap()
            .write(&scratch.0, "member")
            .unwrap();
        let ((client, peer), (metrics, _)) = (free_ports(), free_ports());
        Secured {
            scratch,
            ca,
            _process: None,
            client,
            peer,
            metrics,
        }
    }

    fn file(&self, name: &str) -> String {
        self.scratch.path(name).display().to_string()
    }

    fn start(&mut self, more: &[(&str, String)]) {
        let (client, peer) = (
            format!("https://{}", self.client),
            format!("https://{}", self.peer),
        );
        let mut flags: Vec<(&str, String)> = vec![
            ("name", "s1".to_owned()),
            ("data-dir", self.file("s1")),
            (
                "listen-client-urls",
                format!("{client},unixs://{}", self.file("s1.sock")),
            ),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("s1={peer}")),
            ("listen-metrics-urls", format!("https://{}", self.metrics)),
        ];
        for side in ["", "peer-"] {
            let cert = [
                ("cert-file", "member.crt"),
                ("key-file", "member.key"),
                ("trusted-ca-file", "ca.crt"),
            ];
            for (flag, file) in cert {
                let flag: &str = Box::leak(format!("{side}{flag}").into_boxed_str());
                flags.push((flag, self.file(file)));
            }
        }
        flags.extend(more.iter().cloned());
        let flags: Vec<String> = flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
        let arguments: Vec<&str> = ["server"]
            .into_iter()
            .chain(flags.iter().map(String::as_str))
            .collect();
        self._process = Some(Running::start(
            QUORATE,
            &arguments,
            &self.scratch.path("log"),
        ));
        let shown = self.ca.issue(&CLIENT).unwrap();
        let (ca, at) = (self.ca.pem(), At::Tcp(self.client));
        until("the member serves", || {
            TcpStream::connect(self.client).ok()?;
            page(&at, &ca, Some(&shown), "/health")
                .contains("\"true\"")
                .then_some(())
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path("log")).unwrap()
    }
}

#[test]
fn every_listener_refuses_the_same_certificates() {
    let mut member = Secured::new();
    let (mut stranger, ca) = (Authority::new("ca").unwrap(), member.ca.pem());
    let good = member.ca.issue(&CLIENT).unwrap();
    let revoked = member.ca.issue(&CLIENT).unwrap();
    member.ca.revoke(&revoked);
    let list = member.ca.crl().unwrap();
    fs::write(member.scratch.path("crl.pem"), list).unwrap();
    let crl = member.file("crl.pem");
    member.start(&[("client-crl-file", crl.clone()), ("peer-crl-file", crl)]);
    let listeners = [
        (At::Tcp(member.client), "/health"),
        (At::Unix(member.scratch.path("s1.sock")), "/health"),
        (At::Tcp(member.metrics), "/health"),
        (At::Tcp(member.peer), "/members"),
    ];
    let bad = [
        ("none", None),
        (
            "of another authority",
            Some(stranger.issue(&CLIENT).unwrap()),
        ),
        (
            "expired",
            Some(
                member
                    .ca
                    .issue(&Wish {
                        good: Good::Before,
                        ..CLIENT
                    })
                    .unwrap(),
            ),
        ),
        (
            "not good yet",
            Some(
                member
                    .ca
                    .issue(&Wish {
                        good: Good::Later,
                        ..CLIENT
                    })
                    .unwrap(),
            ),
        ),
        (
            "for servers only",
            Some(
                member
                    .ca
                    .issue(&Wish {
                        purpose: Use::Server,
                        ..CLIENT
                    })
                    .unwrap(),
            ),
        ),
        ("revoked", Some(revoked)),
    ];
    for (at, path) in &listeners {
        let answer = page(at, &ca, Some(&good), path);
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{at:?}: {answer}\n{}",
            member.log()
        );
        for (what, shown) in &bad {
            let answer = page(at, &ca, shown.as_ref(), path);
            assert_eq!(answer, "", "{what} at {at:?}");
        }
    }
    // In the clear nobody is answered.
    for (at, path) in &listeners {
        let mut plain = connect(at);
        let _ = write!(plain, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{at:?}");
    }
    let log = member.log();
    assert!(
        log.contains("rejected connection") && log.contains("certificate revoked"),
        "{log}"
    );
}

fn hello(at: &At, ca: &str, shown: &Issued, from: u64, own: Origin) -> Option<HelloReply> {
    let origin = Origin {
        member: MemberId(from),
        ..own
    };
    let mut out = BytesMut::new();
    let frame = Frame::Hello(Hello::new(Purpose::Messages, own.member, "mallory"));
    wire::encode(origin, &frame, &mut out);
    let mut stream = tls(at, ca, Some(shown));
    let _ = stream.write_all(&out);
    let mut input = BytesMut::new();
    let mut reader = FrameReader::of_stranger();
    loop {
        if let Ok(Some((_, Frame::HelloReply(reply)))) = reader.next(&mut input) {
            return Some(reply);
        }
        let mut bytes = [0; 512];
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(n) => input.extend_from_slice(&bytes[..n]),
        }
    }
}

fn origin(members: &str) -> Origin {
    let after = |mark: &str| {
        let word = members
            .split_once(mark)
            .unwrap()
            .1
            .split_whitespace()
            .next()
            .unwrap();
        u64::from_str_radix(word, 16).unwrap()
    };
    Origin {
        cluster: ClusterId(after("cluster ")),
        member: MemberId(after("member ")),
    }
}

#[test]
fn a_clients_certificate_is_no_members() {
    let mut member = Secured::new();
    member.start(&[]);
    let (ca, at) = (member.ca.pem(), At::Tcp(member.peer));
    let client = member.ca.issue(&CLIENT).unwrap();
    let members = page(&at, &ca, Some(&client), "/members");
    let own = origin(&members);
    let good = member.ca.issue(&MEMBER).unwrap();
    // Somebody who was added while this member was away shows what a member shows.
    let reply = hello(&at, &ca, &good, 7, own);
    assert!(
        matches!(reply, Some(HelloReply::Welcome { .. })),
        "{reply:?}"
    );
    assert_eq!(hello(&at, &ca, &client, 7, own), None, "for clients only");
    // A name that is elsewhere does not come from here; etcd's rule.
    let elsewhere = Wish {
        hosts: &["203.0.113.7"],
        ..MEMBER
    };
    let elsewhere = member.ca.issue(&elsewhere).unwrap();
    assert_eq!(page(&at, &ca, Some(&elsewhere), "/members"), "");
    assert_eq!(hello(&at, &ca, &elsewhere, 7, own), None);
    // Who says that it is this very member shows a certificate for where that is.
    let nobody = member
        .ca
        .issue(&Wish {
            hosts: &[],
            ..MEMBER
        })
        .unwrap();
    assert_eq!(
        hello(&at, &ca, &nobody, own.member.0, own),
        None,
        "for no host at all"
    );
    let log = member.log();
    for words in [
        "for clients only",
        "does not match any of DNSNames",
        "that is not for 127.0.0.1",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn the_operator_may_say_by_name_who_is_a_member() {
    let mut member = Secured::new();
    let flag = ("peer-cert-allowed-cn", "member".to_owned());
    member.start(&[
        flag,
        ("peer-skip-client-san-verification", "true".to_owned()),
    ]);
    let (ca, at) = (member.ca.pem(), At::Tcp(member.peer));
    let named = member
        .ca
        .issue(&Wish {
            hosts: &[],
            ..MEMBER
        })
        .unwrap();
    let own = origin(&page(&at, &ca, Some(&named), "/members"));
    assert!(hello(&at, &ca, &named, 7, own).is_some());
    let alice = member
        .ca
        .issue(&Wish {
            hosts: &["127.0.0.1"],
            ..CLIENT
        })
        .unwrap();
    assert_eq!(page(&at, &ca, Some(&alice), "/members"), "");
}

#[test]
fn the_command_line_speaks_tls_by_flags_and_by_contexts() {
    let mut member = Secured::new();
    member.start(&[]);
    member
        .ca
        .issue(&CLIENT)
        .unwrap()
        .write(&member.scratch.0, "alice")
        .unwrap();
    let endpoint = format!("https://{}", member.client);
    let (ca, cert, key) = (
        member.file("ca.crt"),
        member.file("alice.crt"),
        member.file("alice.key"),
    );
    let home = member.file("home");
    let environment = [("QUORATE_CONFIG_DIR", home.as_str())];
    let with = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = run(arguments, environment);
        let code = output.status.code();
        let text = [output.stdout, output.stderr].concat();
        (code, String::from_utf8_lossy(&text).into_owned())
    };
    let flags = [
        "--endpoints",
        &endpoint,
        "--cacert",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
    ];
    let (code, text) = with(
        &[&["put", "colour", "green"][..], &flags[..]].concat(),
        &environment,
    );
    assert_eq!(code, Some(0), "{text}");
    let set = [&["context", "set", "prod", &endpoint][..], &flags[2..]].concat();
    assert_eq!(with(&set, &environment).0, Some(0));
    let (code, text) = with(&["get", "colour", "--context", "prod"], &environment);
    assert!(code == Some(0) && text.contains("green"), "{text}");
    let variables = [
        environment[0],
        ("QUORATE_ENDPOINTS", endpoint.as_str()),
        ("QUORATE_CACERT", ca.as_str()),
        ("QUORATE_CERT", cert.as_str()),
        ("QUORATE_KEY", key.as_str()),
    ];
    assert_eq!(with(&["get", "colour"], &variables).0, Some(0));
    // Anybody is believed, and something must be shown all the same.
    let anybody = [
        "get",
        "colour",
        "--endpoints",
        &endpoint,
        "--insecure-skip-tls-verify",
        "--timeout",
        "2s",
    ];
    assert_ne!(with(&anybody, &environment).0, Some(0), "no certificate");
    let anybody = [&anybody[..5], &["--cert", &cert, "--key", &key]].concat();
    assert_eq!(with(&anybody, &environment).0, Some(0));
    // Nobody is believed who was not named.
    let (code, text) = with(&["get", "colour", "--endpoints", &endpoint], &environment);
    assert!(
        code != Some(0) && text.contains("the certificate of an authority is needed"),
        "{text}"
    );
    let other = member.file("other.crt");
    fs::write(&other, Authority::new("other").unwrap().pem()).unwrap();
    let wrong = [
        "get",
        "colour",
        "--endpoints",
        &endpoint,
        "--cacert",
        &other,
        "--timeout",
        "2s",
    ];
    assert_ne!(with(&wrong, &environment).0, Some(0), "another authority");
}

#[test]
fn what_the_flags_say_against_each_other_is_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path("s1").display().to_string();
    let (client, _) = free_ports();
    let url = format!("https://{client}");
    let flags = [
        "server",
        "--data-dir",
        &dir,
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
    ];
    let (code, text) = refusal(&flags);
    assert_ne!(code, Some(0));
    assert!(
        text.contains("must be provided for client url")
            || log_of(&flags).contains("must be provided"),
        "{text}"
    );
    let unsafe_one = [
        &flags[..],
        &["--auto-tls", "--cipher-suites", "TLS_RSA_WITH_RC4_128_SHA"],
    ]
    .concat();
    assert!(
        log_of(&unsafe_one).contains("unexpected TLS cipher suite"),
        "{}",
        log_of(&unsafe_one)
    );
}

/// All that a server says that does not start.
fn log_of(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert_ne!(output.status.code(), Some(0));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
