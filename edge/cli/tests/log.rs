//! The log of a member: where its lines go, and that nobody who does not read them can hold it up.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use support::*;

/// The lines of a log file.
fn lines(path: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn lines_go_to_every_place_in_etcds_shape() {
    let scratch = Scratch::new();
    let file = scratch.path("member.log");
    let outputs = format!("--log-outputs=stderr,{}", file.display());
    let mut member = Lone::start_with(&scratch, &[&outputs]);
    signal("TERM", member.process.pid());
    assert_eq!(member.process.end(), Some(0));
    let (in_file, on_stderr) = (lines(&file), lines(&member.log));
    assert_eq!(in_file, on_stderr);
    for line in &in_file {
        assert!(
            line.starts_with("{\"level\":\"")
                && line.contains("\",\"ts\":\"2")
                && line.contains("Z\",\"caller\":\""),
            "{line}"
        );
    }
    let position = |words: &str| in_file.iter().position(|line| line.contains(words));
    // The words that operators, and etcd's own tests, look for, in the order in which they come.
    let mut before = None;
    for words in [
        "\"msg\":\"added member\"",
        "became leader at term",
        "elected leader",
        "\"msg\":\"ready to serve client requests\"",
        "\"msg\":\"serving client traffic insecurely; this is strongly discouraged!\"",
        "\"msg\":\"received signal; shutting down\",\"signal\":\"terminated\"",
        "\"msg\":\"skipped leadership transfer for single voting member cluster\"",
    ] {
        if words.contains("added member") && position(words).is_none() {
            // A new cluster's members are there from its beginning.
            continue;
        }
        let at = position(words);
        assert!(at > before, "{words}: {in_file:#?}");
        before = at;
    }
}

/// Port 0 is a port by the time somebody reads of it, as in etcd.
#[test]
fn a_member_that_is_given_no_port_says_where_it_serves() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let data = format!("--data-dir={}", scratch.path("data").display());
    let flags = [
        "server",
        &data,
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:0",
        "--listen-peer-urls=http://127.0.0.1:0",
    ];
    let member = Running::start(QUORATE, &flags, &log);
    let address: std::net::SocketAddr = until("the member says where it serves", || {
        let told = lines(&log);
        let line = told
            .iter()
            .find(|line| line.contains("serving client traffic"))?;
        let (_, address) = line.split_once("\"address\":\"")?;
        address.split('"').next()?.parse().ok()
    });
    assert_ne!(address.port(), 0);
    assert!(is_healthy(address), "{address}");
    drop(member);
}

#[test]
fn a_log_file_that_is_full_is_set_aside() {
    let scratch = Scratch::new();
    let file = scratch.path("member.log");
    let outputs = format!("--log-outputs={}", file.display());
    let rotation =
        "--log-rotation-config-json={\"maxsize\": 1, \"maxbackups\": 2, \"compress\": true}";
    // What is there already counts: the first line makes it too large.
    fs::write(&file, vec![b'x'; 1024 * 1024]).unwrap();
    let member = Lone::start_with(&scratch, &[&outputs, "--enable-log-rotation", rotation]);
    until("the old file is compressed", || {
        let names = fs::read_dir(&scratch.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names = names.map(|name| name.to_string_lossy().into_owned());
        names.find(|name| name.starts_with("member-2") && name.ends_with(".log.gz"))
    });
    assert!(lines(&file)[0].starts_with("{\"level\""));
    drop(member);
    let nothing = ["server", "--enable-log-rotation"];
    let (code, said) = refusal(&nothing);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--enable-log-rotation needs a path in --log-outputs"),
        "{said}"
    );
}

/// The reader of the log stops reading for ever. The pipe is full after 64 KiB, the queue after some thousand lines; the
/// member serves on, and says how many lines are lost once somebody reads again.
#[test]
fn a_reader_that_is_stopped_holds_nobody_up() {
    let scratch = Scratch::new();
    let (client, peer) = free_ports();
    let mut flags = lone_flags(&scratch.path("s1"), client, peer);
    // Every command is slow, so every write is a line.
    flags.push("--warning-apply-duration=1ns".to_owned());
    flags.push("--log-outputs=stdout".to_owned());
    let mut child = Command::new(QUORATE)
        .args(&flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Nobody reads: for the member that is what a stopped reader is.
    let mut unread = child.stdout.take().unwrap();
    let mut process = Running(child);
    until("the member serves", || is_healthy(client).then_some(()));
    let endpoint = format!("http://{client}");
    let put = |n: usize| {
        let text = format!("line {n} ").repeat(20);
        run(&["--endpoints", &endpoint, "put", "k", &text], &[])
    };
    let dropped = || {
        let page = get(client, "/metrics").unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with("quorate_log_lines_dropped_total "));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut etcd = etcd_client::Client::connect([&endpoint], None)
            .await
            .unwrap();
        let key = "k".repeat(100);
        while dropped() == 0.0 {
            for _ in 0..500 {
                etcd.put(key.as_str(), "v", None).await.unwrap();
            }
        }
    });
    assert!(put(1).status.success());
    assert!(is_healthy(client));
    // Somebody reads again: what was lost is said.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        text
    });
    until("a line after the flood", || {
        put(2);
        (dropped() > 0.0).then_some(())
    });
    signal("TERM", process.pid());
    assert_eq!(process.end(), Some(0));
    let text = reader.join().unwrap();
    assert!(text.contains("\"msg\":\"log lines were dropped\",\"lost\":"));
}
