//! A member as a service manager runs it: by a configuration file, and told when it serves.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::*;

/// What the member tells next.
fn told(supervisor: &UnixDatagram) -> String {
    let mut word = [0; 256];
    let n = supervisor.recv(&mut word).expect("the member tells");
    String::from_utf8_lossy(&word[..n]).trim_end().to_owned()
}

#[test]
fn a_member_of_a_file_says_when_it_serves_and_when_it_stops() {
    let scratch = Scratch::new();
    let (client, peer) = free_ports();
    let file = scratch.path("etcd.conf.yaml");
    let text = format!(
        "name: filed\ndata-dir: {}\nlisten-client-urls: http://{client}\n\
         advertise-client-urls: http://{client}\nlisten-peer-urls: http://{peer}\n\
         initial-advertise-peer-urls: http://{peer}\ninitial-cluster: >-\n  filed=http://{peer}\n",
        scratch.path("data").display()
    );
    fs::write(&file, text).unwrap();
    let door = scratch.path("notify");
    let supervisor = UnixDatagram::bind(&door).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let child = Command::new(QUORATE)
        .args(["server", "--config-file", file.to_str().unwrap()])
        .env("NOTIFY_SOCKET", &door)
        .stdin(Stdio::null())
        .stderr(fs::File::create(scratch.path("log")).unwrap())
        .spawn()
        .unwrap();
    let mut member = Running(child);

    assert_eq!(told(&supervisor), "READY=1");
    assert!(is_healthy(client), "what it said is so");
    let members = get(peer, "/members").expect("the members");
    assert!(members.trim_end().ends_with(" filed"), "{members}");

    signal("TERM", member.pid());
    assert_eq!(told(&supervisor), "STOPPING=1");
    assert_eq!(member.end(), Some(0));
}
