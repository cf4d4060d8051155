//! `data/etcd.conf.yaml` and `data/etcd-health-check.sh` as they are, but for each member's name and addresses.
//!
//! Each member has a host of its own: a network namespace with a hosts file, and mounts that put its certificates and data
//! where the configuration says. Needs root, iproute2 and Debian's etcdctl.

use cluster::{Net, TempDir};
use pki::{Authority, Use, Wish};
use quorate_conformance::{PATIENCE, program};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Namespaces are named by the process, so one test has them at a time.
static ONE: Mutex<()> = Mutex::new(());

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/examples/secured-member.yaml"
);

/// A directory that the configuration names, as a place to mount on. What was not there goes again.
struct MountPoint(PathBuf, Vec<PathBuf>);

impl MountPoint {
    fn new(path: &str) -> MountPoint {
        let path = PathBuf::from(path);
        let missing = path.ancestors().take_while(|dir| !dir.exists());
        let made = missing.map(Path::to_owned).collect();
        fs::create_dir_all(&path).unwrap();
        MountPoint(path, made)
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        for made in &self.1 {
            let _ = fs::remove_dir(made);
        }
    }
}

/// The hosts file of a namespace.
struct Hosts(PathBuf);

impl Hosts {
    fn new(namespace: &str, text: &str) -> Hosts {
        let dir = Path::new("/etc/netns").join(namespace);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("hosts"), text).unwrap();
        Hosts(dir)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `command` in a namespace, with these directories mounted. `exec` keeps it one process: killing it is killing it all.
fn on_host(namespace: &str, mounts: &[(&Path, &MountPoint)], command: &[&str]) -> Command {
    let mut script = String::from("set -e; ");
    for (from, at) in mounts {
        script += &format!("mount --bind '{}' '{}'; ", from.display(), at.0.display());
    }
    script += "exec \"$@\"";
    let mut run = Command::new("ip");
    run.args(["netns", "exec", namespace, "sh", "-c", &script, "host"])
        .args(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(Stdio::null());
    run
}

fn passes(config: &str) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = fs::read_to_string(config).unwrap();
    let net = Net::new(3).expect("root, iproute2 and a kernel with namespaces");
    let folder = TempDir::new().unwrap();
    let (pki_at, data_at) = (
        MountPoint::new("/etc/etcd/pki"),
        MountPoint::new("/var/lib/etcd"),
    );
    let mut text = String::from("127.0.0.1 localhost\n");
    for n in 1..=3 {
        text += &format!("{} etcd-{n}.etcd.kube-system.svc etcd-{n}\n", net.host(n));
    }
    let mut hosts = vec![Hosts::new(&net.clients(), &text)];
    let mut ca = Authority::new("etcd-ca").unwrap();

    let bin = folder.path().join("etcd");
    std::os::unix::fs::symlink(program(), &bin).unwrap();
    let mut members = Vec::new();
    for n in 1..=3 {
        hosts.push(Hosts::new(&net.namespace(n), &text));
        let host = folder.path().join(format!("host-{n}"));
        let (pki, data) = (host.join("pki"), host.join("data"));
        fs::create_dir_all(&pki).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::write(pki.join("ca.crt"), ca.pem()).unwrap();
        let (long, short) = (
            format!("etcd-{n}.etcd.kube-system.svc"),
            format!("etcd-{n}"),
        );
        let wish = Wish {
            cn: Some(&short),
            hosts: &[&long, &short],
            ..Wish::default()
        };
        for name in ["server", "peer"] {
            ca.issue(&wish).unwrap().write(&pki, name).unwrap();
        }
        let file = host.join("etcd.conf.yaml");
        fs::write(&file, of_member(&config, n)).unwrap();
        let log = File::create(host.join("log")).unwrap();
        let file = file.display().to_string();
        let command = [bin.to_str().unwrap(), "--config-file", &file];
        let mut run = on_host(
            &net.namespace(n),
            &[(pki.as_path(), &pki_at), (data.as_path(), &data_at)],
            &command,
        );
        run.stdout(log.try_clone().unwrap()).stderr(log);
        members.push((Killed(run.spawn().unwrap()), host));
    }
    let log = |host: &Path| fs::read_to_string(host.join("log")).unwrap_or_default();
    let began = Instant::now();
    for (_, host) in &members {
        while !log(host).contains("ready to serve client requests") {
            assert!(began.elapsed() < PATIENCE, "{}", log(host));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    let client = folder.path().join("client");
    fs::create_dir_all(&client).unwrap();
    fs::write(client.join("ca.crt"), ca.pem()).unwrap();
    let wish = Wish {
        cn: Some("health"),
        purpose: Use::Client,
        ..Wish::default()
    };
    ca.issue(&wish).unwrap().write(&client, "client").unwrap();
    let script = format!("{DATA}/etcd-health-check.sh");
    let judge = || -> Output {
        let command = ["timeout", "60", "bash", &script];
        on_host(&net.clients(), &[(client.as_path(), &pki_at)], &command)
            .env("ETCDCTL_API", "3")
            .output()
            .unwrap()
    };
    let ran = judge();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{said}\n{words}\n{}",
        log(&members[0].1)
    );
    assert!(said.contains("✓ Consensus OK"), "{said}");
    assert!(said.ends_with("=== Health Check Complete ===\n"), "{said}");
    for n in 1..=3 {
        let line = said
            .lines()
            .find(|line| line.contains(&format!("https://etcd-{n}:2379")) && line.contains("true"));
        assert!(line.is_some(), "etcd-{n} is healthy: {said}");
        assert!(
            said.contains(&format!("etcd-node-{n} | https://etcd-{n}.")),
            "{said}"
        );
    }
    // The judge can fail: with two members gone nothing is decided.
    members.truncate(1);
    let ran = judge();
    assert!(
        !ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stdout)
    );
}

/// The configuration of member `n`: its name and the two lines that say where it is reached.
fn of_member(config: &str, n: usize) -> String {
    let mut text = String::new();
    for line in config.lines() {
        let line = match line.split_once(':') {
            Some(("name", _)) => format!("name: etcd-node-{n}"),
            Some(("advertise-client-urls" | "initial-advertise-peer-urls", _)) => {
                line.replace("//etcd-1.", &format!("//etcd-{n}."))
            }
            _ => line.to_owned(),
        };
        text += &line;
        text.push('\n');
    }
    text
}

#[test]
fn a_configuration_that_people_copy_starts_a_cluster_that_their_script_calls_healthy() {
    passes(&format!("{DATA}/etcd.conf.yaml"));
}

#[test]
fn our_own_example_does_the_same() {
    passes(EXAMPLE);
}
