//! `quorate dev` as a user meets it: one command, a whole cluster, nothing left behind.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use etcd_client::Client;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use support::*;

struct Member {
    name: String,
    pid: u32,
    etcd: SocketAddr,
}

fn members(ready: &Path) -> Vec<Member> {
    let text = until("the ready file", || fs::read_to_string(ready).ok());
    let json: Value = serde_json::from_str(&text).expect("written whole or not at all");
    let member = |value: &Value| {
        assert_eq!(value["native"], value["etcd"], "one port serves both");
        Member {
            name: value["name"].as_str().unwrap().to_owned(),
            pid: value["pid"].as_u64().unwrap() as u32,
            etcd: value["etcd"].as_str().unwrap().parse().unwrap(),
        }
    };
    json["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(member)
        .collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

async fn client(address: SocketAddr) -> Client {
    Client::connect([format!("http://{address}")], None)
        .await
        .unwrap()
}

async fn get(address: SocketAddr, key: &str) -> Option<String> {
    let answer = client(address).await.get(key, None).await.ok()?;
    let kv = answer.kvs().first()?;
    Some(kv.value_str().unwrap().to_owned())
}

fn is_leader(member: &Member) -> bool {
    support::get(member.etcd, "/status").is_some_and(|text| text.contains("\"role\":\"leader\""))
}

#[test]
fn a_cluster_serves_survives_a_kill_and_goes_on_the_next_day() {
    let scratch = Scratch::new();
    let (data, ready) = (scratch.path("data"), scratch.path("ready.json"));
    let arguments = [
        "dev",
        "--data-dir",
        data.to_str().unwrap(),
        "--ready-file",
        ready.to_str().unwrap(),
    ];
    let out = scratch.path("first.out");
    let mut dev = Running::start(QUORATE, &arguments, &out);
    let all = members(&ready);
    let names: Vec<&str> = all.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);

    // It serves the moment it says so, at every member.
    block_on(async {
        client(all[0].etcd)
            .await
            .put("day", "first", None)
            .await
            .unwrap();
        for member in &all {
            assert_eq!(get(member.etcd, "day").await.as_deref(), Some("first"));
        }
    });
    let printed = until("the table", || {
        let text = fs::read_to_string(&out).unwrap();
        text.contains("data:").then_some(text)
    });
    for member in &all {
        assert!(printed.contains(&member.pid.to_string()), "{printed}");
        assert!(printed.contains(&member.etcd.to_string()), "{printed}");
    }

    // The leader is killed: the others go on, and the user hears how to bring it back.
    let leader = all.iter().position(is_leader).expect("somebody leads");
    signal("KILL", all[leader].pid);
    let other = &all[(leader + 1) % 3];
    until("another one leads", || is_healthy(other.etcd).then_some(()));
    block_on(async {
        client(other.etcd)
            .await
            .put("day", "still the first", None)
            .await
            .unwrap();
    });
    until("the word about it", || {
        let text = fs::read_to_string(&out).unwrap();
        text.contains("was ended by signal 9").then_some(())
    });

    signal("INT", dev.pid());
    assert_eq!(dev.end(), Some(0));
    for member in &all {
        assert!(
            !is_alive(member.pid),
            "{} outlived its cluster",
            member.name
        );
    }

    let out = scratch.path("second.out");
    let mut dev = Running::start(QUORATE, &arguments, &out);
    let all = until("the new ready file", || {
        let now = members(&ready);
        is_alive(now[0].pid).then_some(now)
    });
    assert_eq!(all.len(), 3);
    for member in &all {
        let value = block_on(get(member.etcd, "day"));
        assert_eq!(value.as_deref(), Some("still the first"));
    }
    signal("TERM", dev.pid());
    assert_eq!(dev.end(), Some(0));
    assert!(
        fs::read_to_string(&out)
            .unwrap()
            .contains("a continued cluster of 3 members")
    );
}

#[test]
fn without_a_directory_nothing_is_left_behind() {
    let scratch = Scratch::new();
    let (ready, out) = (scratch.path("ready.json"), scratch.path("out"));
    let arguments = [
        "dev",
        "--members",
        "1",
        "--ready-file",
        ready.to_str().unwrap(),
    ];
    let mut dev = Running::start(QUORATE, &arguments, &out);
    assert_eq!(members(&ready).len(), 1);
    let data = until("the word where the data is", || {
        let text = fs::read_to_string(&out).unwrap();
        let line = text.lines().find(|line| line.starts_with("data:"))?;
        Some(line.split_whitespace().nth(1)?.to_owned())
    });
    assert!(Path::new(&data).is_dir(), "{data}");
    signal("INT", dev.pid());
    assert_eq!(dev.end(), Some(0));
    assert!(!Path::new(&data).exists(), "{data}");
}

#[test]
fn the_context_is_there_and_selected_until_the_end() {
    let scratch = Scratch::new();
    let config = scratch.path("config");
    let quorate = |arguments: &[&str]| {
        let output = run(
            arguments,
            &[("QUORATE_CONFIG_DIR", config.to_str().unwrap())],
        );
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let start = |name: &str| {
        let ready = scratch.path(name);
        let arguments = [
            "dev",
            "--members=1",
            "--ready-file",
            ready.to_str().unwrap(),
        ];
        let dev = Running::start(QUORATE, &arguments, &scratch.path(&format!("{name}.out")));
        let address = members(&ready)[0].etcd.to_string();
        (dev, address)
    };
    let (mut first, address) = start("first");
    let shown = quorate(&["context", "show"]);
    assert_eq!(shown, format!("{address}   (context \"dev\", selected)\n"));

    // A second cluster leaves the name to the first, and says how it is reached.
    let (mut second, other) = start("second");
    until("the word about the name", || {
        let text = fs::read_to_string(scratch.path("second.out")).unwrap();
        let word =
            "context: \"dev\" belongs to another cluster that runs; for this one: --endpoints ";
        text.contains(&format!("{word}{other}\n")).then_some(())
    });
    signal("INT", second.pid());
    assert_eq!(second.end(), Some(0));
    assert_eq!(quorate(&["context", "show"]), shown);

    signal("INT", first.pid());
    assert_eq!(first.end(), Some(0));
    let shown = quorate(&["context", "show"]);
    assert!(
        shown.starts_with("127.0.0.1:2379   (the default"),
        "{shown}"
    );
    assert!(quorate(&["context", "list"]).starts_with("there are no contexts"));

    // What the user has selected stays selected.
    quorate(&["context", "set", "prod", "10.0.0.1:2379"]);
    quorate(&["context", "use", "prod"]);
    let (mut third, address) = start("third");
    assert!(quorate(&["context", "show"]).starts_with("10.0.0.1:2379   (context \"prod\""));
    let by_name = quorate(&["--context", "dev", "context", "show"]);
    assert_eq!(
        by_name,
        format!("{address}   (context \"dev\", by --context)\n")
    );
    signal("TERM", third.pid());
    assert_eq!(third.end(), Some(0));
    assert!(quorate(&["context", "show"]).starts_with("10.0.0.1:2379"));
    assert_eq!(quorate(&["context", "list"]).lines().count(), 2);
}

#[test]
fn members_do_not_outlive_a_parent_that_is_killed() {
    let scratch = Scratch::new();
    let (data, ready) = (scratch.path("data"), scratch.path("ready.json"));
    let arguments = [
        "dev",
        "--members=1",
        "--data-dir",
        data.to_str().unwrap(),
        "--ready-file",
        ready.to_str().unwrap(),
    ];
    let dev = Running::start(QUORATE, &arguments, &scratch.path("out"));
    let all = members(&ready);
    signal("KILL", dev.pid());
    until("the member ends", || (!is_alive(all[0].pid)).then_some(()));
}

#[test]
fn wrong_arguments_are_refused() {
    let (code, text) = refusal(&["dev", "--members", "6"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("6 is not in 1..=5"), "{text}");
    let (code, text) = refusal(&["dev", "--data-dir", "/proc/nowhere"]);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("error: cannot create /proc/nowhere: "),
        "{text}"
    );
}
