//! Every rule of a door, by handshakes in memory.

use super::*;
use pki::{Authority, Good, Issued, Use, Wish};
use rustls::client::ClientConnection;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ServerConnection;
use rustls::{ConnectionCommon, RootCertStore, SideData};
use std::fs;

mod rotation;

/// A directory that goes with the test, an authority, and a door's files in it.
struct Bench {
    dir: PathBuf,
    ca: Authority,
    asked: TransportSecurity,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const MEMBER: Wish<'_> = Wish {
    cn: Some("member"),
    hosts: &["m1.example", "127.0.0.1"],
    purpose: Use::Both,
    good: Good::Now,
};

impl Bench {
    fn new(name: &str) -> Bench {
        let dir = std::env::temp_dir().join(format!("quorate-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut ca = Authority::new("ca").unwrap();
        let (cert, key) = ca.issue(&MEMBER).unwrap().write(&dir, "server").unwrap();
        fs::write(dir.join("ca.crt"), ca.pem()).unwrap();
        let asked = TransportSecurity {
            cert_file: Some(cert),
            key_file: Some(key),
            trusted_ca_file: Some(dir.join("ca.crt")),
            ..TransportSecurity::default()
        };
        Bench { dir, ca, asked }
    }

    fn try_open(&self, side: Side) -> Result<Option<Arc<Security>>, String> {
        let hosts = ["localhost".to_owned()];
        let policy = TlsPolicy::default();
        Security::open(side, &self.asked, &policy, &self.dir, &hosts)
            .map_err(|error| Chain(&error).to_string())
    }

    fn open(&self, side: Side) -> Arc<Security> {
        self.try_open(side).unwrap().unwrap()
    }
}

/// A caller that shows `issued` and believes `ca`.
fn caller(ca: &str, issued: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(ca.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match issued {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

fn turn<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// Shakes hands; what was shown to the server, or who refused and why.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<Option<Certificate>, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    loop {
        let to = turn(&mut client, &mut server).map_err(|e| format!("server: {}", Refused(e)))?;
        let fro = turn(&mut server, &mut client).map_err(|e| format!("client: {}", Refused(e)))?;
        if !to && !fro {
            break;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let shown = server.peer_certificates().map(|chain| &chain[0]);
    Ok(shown.and_then(Certificate::read))
}

/// A caller at a door: who was let in, or why not.
fn knock(door: &Security, ca: &str, issued: Option<&Issued>) -> Result<Option<String>, String> {
    let shown = shake(caller(ca, issued), door.server().unwrap(), "m1.example")?;
    Ok(shown.and_then(|shown| shown.common_name))
}

#[test]
fn each_door_lets_in_only_who_shows_a_good_certificate() {
    let mut bench = Bench::new("doors");
    let mut stranger = Authority::new("ca").unwrap();
    let client = Wish {
        cn: Some("alice"),
        purpose: Use::Client,
        ..Wish::default()
    };
    let good = bench.ca.issue(&client).unwrap();
    let revoked = bench.ca.issue(&client).unwrap();
    bench.ca.revoke(&revoked);
    fs::write(bench.dir.join("crl.pem"), bench.ca.crl().unwrap()).unwrap();
    bench.asked.crl_file = Some(bench.dir.join("crl.pem"));
    let expired = bench
        .ca
        .issue(&Wish {
            good: Good::Before,
            ..client.clone()
        })
        .unwrap();
    let early = bench
        .ca
        .issue(&Wish {
            good: Good::Later,
            ..client.clone()
        })
        .unwrap();
    let wrong_use = bench
        .ca
        .issue(&Wish {
            purpose: Use::Server,
            ..client.clone()
        })
        .unwrap();
    let foreign = stranger.issue(&client).unwrap();
    let ca = bench.ca.pem();
    for side in [Side::Client, Side::Peer] {
        let door = bench.open(side);
        assert_eq!(
            knock(&door, &ca, Some(&good)),
            Ok(Some("alice".to_owned())),
            "{side:?}"
        );
        for (issued, why) in [
            (None, "server: peer sent no certificates"),
            (Some(&foreign), "server: invalid peer certificate: "),
            (
                Some(&expired),
                "server: invalid peer certificate: certificate expired",
            ),
            (
                Some(&early),
                "server: invalid peer certificate: certificate not valid yet",
            ),
            (
                Some(&revoked),
                "server: invalid peer certificate: certificate revoked",
            ),
            (
                Some(&wrong_use),
                "server: invalid peer certificate: certificate does not allow extended key usage for client authentication",
            ),
        ] {
            let refused = knock(&door, &ca, issued).expect_err(why);
            assert!(refused.starts_with(why), "{side:?}: {refused}");
        }
    }
}

#[test]
fn names_that_are_not_allowed_are_refused() {
    let mut bench = Bench::new("names");
    let ca = bench.ca.pem();
    let alice = bench
        .ca
        .issue(&Wish {
            cn: Some("alice"),
            ..Wish::default()
        })
        .unwrap();
    let bob = bench.ca.issue(&Wish {
        cn: Some("bob"),
        hosts: &["bob.example"],
        ..Wish::default()
    });
    let (bob, nameless) = (bob.unwrap(), bench.ca.issue(&Wish::default()).unwrap());
    bench.asked.allowed_cns = vec!["carol".to_owned(), "alice".to_owned()];
    for side in [Side::Client, Side::Peer] {
        let door = bench.open(side);
        assert!(knock(&door, &ca, Some(&alice)).is_ok());
        for other in [&bob, &nameless] {
            let refused = knock(&door, &ca, Some(other)).expect_err("another name");
            assert!(
                refused.contains("client certificate authentication failed"),
                "{refused}"
            );
        }
    }
    bench.asked.allowed_hostnames = vec!["bob.example".to_owned()];
    let text = bench.try_open(Side::Client).expect_err("both");
    assert!(text.contains("mutually exclusive"), "{text}");
    bench.asked.allowed_cns.clear();
    let door = bench.open(Side::Client);
    assert!(knock(&door, &ca, Some(&bob)).is_ok());
    assert!(knock(&door, &ca, Some(&alice)).is_err());
}

#[test]
fn the_way_out_believes_only_members() {
    let mut bench = Bench::new("out");
    let door = bench.open(Side::Peer);
    let mut try_out = |wish: &Wish<'_>, name: &str| {
        let issued = bench.ca.issue(wish).unwrap();
        answer(&issued, &bench.ca.pem(), door.client().unwrap(), name)
    };
    let shown = try_out(&MEMBER, "m1.example").unwrap().unwrap();
    assert_eq!(shown.common_name.as_deref(), Some("member"));
    assert!(try_out(&MEMBER, "127.0.0.1").is_ok());
    let wrong = |text: Result<_, String>| text.expect_err("not believed");
    for (refused, why) in [
        (wrong(try_out(&MEMBER, "m2.example")), "not valid for name"),
        (wrong(try_out(&MEMBER, "127.0.0.2")), "not valid for name"),
        (
            wrong(try_out(
                &Wish {
                    good: Good::Before,
                    ..MEMBER
                },
                "m1.example",
            )),
            "expired",
        ),
        (
            wrong(try_out(
                &Wish {
                    purpose: Use::Client,
                    ..MEMBER
                },
                "m1.example",
            )),
            "extended key usage",
        ),
        // A common name is no name of a host.
        (
            wrong(try_out(
                &Wish {
                    cn: Some("m1.example"),
                    hosts: &[],
                    ..MEMBER
                },
                "m1.example",
            )),
            "not valid for",
        ),
    ] {
        assert!(
            refused.starts_with("client: ") && refused.contains(why),
            "{refused}"
        );
    }
    let foreign = Authority::new("ca").unwrap().issue(&MEMBER).unwrap();
    let refused = answer(
        &foreign,
        &bench.ca.pem(),
        door.client().unwrap(),
        "m1.example",
    );
    assert!(refused.expect_err("foreign").starts_with("client: "));
    // Clients' doors have no way out.
    assert!(bench.open(Side::Client).client().is_none());
}

#[test]
fn a_revoked_member_is_not_called_and_another_name_neither() {
    let mut bench = Bench::new("revoked-out");
    let gone = bench.ca.issue(&MEMBER).unwrap();
    bench.ca.revoke(&gone);
    fs::write(bench.dir.join("crl.pem"), bench.ca.crl().unwrap()).unwrap();
    bench.asked.crl_file = Some(bench.dir.join("crl.pem"));
    bench.asked.allowed_cns = vec!["member".to_owned()];
    let door = bench.open(Side::Peer);
    let ca = bench.ca.pem();
    let refused = answer(&gone, &ca, door.client().unwrap(), "m1.example");
    assert!(refused.expect_err("revoked").contains("revoked"));
    let other = bench
        .ca
        .issue(&Wish {
            cn: Some("other"),
            ..MEMBER
        })
        .unwrap();
    assert!(answer(&other, &ca, door.client().unwrap(), "m1.example").is_err());
    let member = bench.ca.issue(&MEMBER).unwrap();
    assert!(answer(&member, &ca, door.client().unwrap(), "m1.example").is_ok());
}

/// A server that shows `issued` and lets in whom `ca` has signed.
fn answer(
    issued: &Issued,
    ca: &str,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<Option<Certificate>, String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(ring::default_provider());
    let callers =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(callers.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    shake(client, Arc::new(server), name)
}

#[test]
fn the_clients_door_speaks_http2_and_http1() {
    let mut bench = Bench::new("alpn");
    bench.asked.trusted_ca_file = None;
    let door = bench.open(Side::Client);
    let ca = bench.ca.pem();
    assert_eq!(
        knock(&door, &ca, None),
        Ok(None),
        "nobody asks for a certificate"
    );
    for (offered, chosen) in [("h2", Ok(())), ("http/1.1", Ok(())), ("spdy/3", Err(()))] {
        let mut client = (*caller(&ca, None)).clone();
        client.alpn_protocols = vec![offered.as_bytes().to_vec()];
        let shaken = shake(Arc::new(client), door.server().unwrap(), "m1.example");
        assert_eq!(shaken.map(drop).map_err(drop), chosen, "{offered}");
    }
}

#[test]
fn made_certificates_are_kept_and_let_members_call_each_other() {
    let mut bench = Bench::new("made");
    bench.asked = TransportSecurity {
        auto_tls: true,
        ..TransportSecurity::default()
    };
    let first = bench.open(Side::Peer);
    let made = bench.dir.join("fixtures/peer/cert.pem");
    let kept = fs::read(&made).unwrap();
    let second = bench.open(Side::Peer);
    assert_eq!(fs::read(&made).unwrap(), kept, "made once");
    // Nobody's name is looked at, on purpose.
    let shaken = shake(
        first.client().unwrap(),
        second.server().unwrap(),
        "elsewhere.example",
    );
    assert_eq!(shaken, Ok(None));
    let key = fs::metadata(bench.dir.join("fixtures/peer/key.pem")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.permissions());
    assert_eq!(mode & 0o777, 0o600);
    // A client that believes this very certificate is let in by its name.
    let door = bench.open(Side::Client);
    let pem = fs::read_to_string(bench.dir.join("fixtures/client/cert.pem")).unwrap();
    let shaken = shake(caller(&pem, None), door.server().unwrap(), "localhost");
    assert_eq!(shaken, Ok(None));
}

#[test]
fn what_does_not_fit_together_is_said_in_clear_words() {
    let mut bench = Bench::new("words");
    let whole = bench.asked.clone();
    let mut refusal = |change: &dyn Fn(&mut TransportSecurity)| {
        bench.asked = whole.clone();
        change(&mut bench.asked);
        bench.try_open(Side::Peer).expect_err("refused")
    };
    let text = refusal(&|asked| asked.key_file = None);
    assert!(
        text.starts_with("KeyFile and CertFile must both be present"),
        "{text}"
    );
    let text = refusal(&|asked| {
        asked.client_cert_auth = true;
        asked.trusted_ca_file = None;
    });
    assert!(
        text.starts_with("--peer-client-cert-auth needs --peer-trusted-ca-file"),
        "{text}"
    );
    let text = refusal(&|asked| asked.trusted_ca_file = Some("/nowhere/ca.crt".into()));
    assert!(
        text.starts_with("cannot read /nowhere/ca.crt: No such file"),
        "{text}"
    );
    let text = refusal(&|asked| asked.cert_file.clone_from(&asked.key_file));
    assert!(text.ends_with("has no certificate in PEM"), "{text}");
    let text = refusal(&|asked| asked.key_file.clone_from(&asked.cert_file));
    assert!(text.ends_with("has no private key in PEM"), "{text}");
    let text = refusal(&|asked| asked.crl_file.clone_from(&asked.cert_file));
    assert!(text.ends_with("has no revocation list in PEM"), "{text}");
    let text = refusal(&|asked| asked.client_key_file.clone_from(&asked.key_file));
    assert!(
        text.starts_with("ClientKeyFile and ClientCertFile"),
        "{text}"
    );
}

#[test]
fn bytes_that_are_no_certificate_are_nobody() {
    for bytes in [&b""[..], b"x", &[0x30, 0x82, 0xff, 0xff], &[0; 64]] {
        assert_eq!(Certificate::read(&CertificateDer::from(bytes)), None);
    }
}

#[test]
fn the_way_out_may_show_another_certificate() {
    let mut bench = Bench::new("other-out");
    let out = Wish {
        cn: Some("out"),
        ..MEMBER
    };
    let issued = bench.ca.issue(&out).unwrap();
    let (cert, key) = issued.write(&bench.dir, "out").unwrap();
    bench.asked.client_cert_file = Some(cert);
    bench.asked.client_key_file = Some(key);
    let door = bench.open(Side::Peer);
    let shown = shake(door.client().unwrap(), door.server().unwrap(), "m1.example").unwrap();
    assert_eq!(shown.unwrap().common_name.as_deref(), Some("out"));
}

#[test]
fn a_made_certificate_lives_for_its_years_and_is_made_again_after_them() {
    let mut bench = Bench::new("years");
    let dir = bench.dir.join("fixtures/client");
    fs::create_dir_all(&dir).unwrap();
    let wish = Wish {
        good: Good::Before,
        ..MEMBER
    };
    let old = bench.ca.issue(&wish).unwrap();
    fs::write(dir.join("cert.pem"), &old.certificate).unwrap();
    fs::write(dir.join("key.pem"), &old.key).unwrap();
    let (cert, _) = self_signed(&dir, &["localhost".to_owned()], 3).unwrap();
    let made = fs::read_to_string(cert).unwrap();
    assert_ne!(made, old.certificate);
    let der = CertificateDer::from_pem_slice(made.as_bytes()).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let validity = parsed.validity();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
    assert_eq!(days, 3 * 365);
    assert!(self_signed(&dir, &[], 0).is_err());
}
