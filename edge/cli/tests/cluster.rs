//! Every command against a real cluster, as it is typed: golden scripts, each on three new members.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use regex::Regex;
use support::*;

/// What no two runs have alike: ids, times, addresses, terms, and how long things took.
fn hide(cluster: &Cluster) -> impl Fn(String) -> String + 'static {
    let mut rules: Vec<(Regex, String)> = Vec::new();
    for member in &cluster.members {
        let address = regex::escape(&member.address.to_string());
        rules.push((
            Regex::new(&address).unwrap(),
            format!("{}:PORT", member.name),
        ));
    }
    for (pattern, with) in [
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z(\+\d+)?", "TIME"),
        (r"s1-[0-9a-f]{8}-[0-9a-f]+", "SESSION"),
        (r"\b[0-9a-f]{9,16}\b", "ID"),
        (r"\b(term|stalenessMs): '\d+'", "$1: 'N'"),
        (
            r#"("(?:term|stalenessMs|remainingMs|epoch|commitIndex|appliedIndex)":\s*)"\d+""#,
            r#"$1"N""#,
        ),
        (r"request id ID:", "request id SESSION:"),
        (r"\d+\.\d{3} s left", "N s left"),
        (r"process \d+", "process N"),
        (r#"[^" ]+, process N"#, "HOST, process N"),
        // Columns are as wide as ids and names are long.
        (r"(\S)  +", "$1  "),
    ] {
        rules.push((Regex::new(pattern).unwrap(), with.to_owned()));
    }
    move |mut text| {
        for (pattern, with) in &rules {
            text = pattern.replace_all(&text, with.as_str()).into_owned();
        }
        text
    }
}

#[test]
fn golden_scripts() {
    testkit::check_all("tests/cluster", || {
        let cluster = Cluster::start(3);
        let environment = vec![("QUORATE_ENDPOINTS".to_owned(), cluster.endpoints())];
        let shell = Shell::with(environment, hide(&cluster));
        move |commands: &str| {
            let _alive = &cluster;
            shell.play(commands)
        }
    });
}

#[test]
fn the_context_that_dev_selects_is_enough() {
    let cluster = Cluster::start(1);
    let config = cluster.scratch.path("config");
    let quorate = |arguments: &[&str]| {
        run(
            arguments,
            &[("QUORATE_CONFIG_DIR", config.to_str().unwrap())],
        )
    };
    assert!(quorate(&["put", "k", "v"]).status.success());
    assert_eq!(quorate(&["get", "k"]).stdout, b"v");
}

#[test]
fn values_come_back_byte_for_byte() {
    let cluster = Cluster::start(1);
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    std::fs::write(cluster.scratch.path("value"), &bytes).unwrap();
    let shell = Shell::with(
        vec![("QUORATE_ENDPOINTS".to_owned(), cluster.endpoints())],
        |text| text,
    );
    let value = cluster.scratch.path("value");
    let commands = format!(
        "quorate put k - < {value} && quorate get k > back && cmp {value} back && echo the same\n\
         quorate put $(printf 'a\\377') $(printf '\\376') && quorate get $(printf 'a\\377') | od -An -tx1",
        value = value.display()
    );
    let said = shell.play(&commands);
    assert!(said.contains("the same"), "{said}");
    assert!(said.contains(" fe"), "{said}");
}

#[test]
fn a_write_without_an_answer_says_so_and_can_be_repeated() {
    let cluster = Cluster::start(3);
    assert_eq!(
        cluster
            .quorate(&["lease", "grant", "60s", "--id", "abc"])
            .code,
        Some(0)
    );
    for member in &cluster.members[1..] {
        signal("STOP", member.pid);
    }
    // Its session is there, and it reaches a member; but no majority is awake to decide it.
    let write = ["put", "k", "v", "--request-id", "abc:1", "--timeout", "2s"];
    let said = cluster.quorate(&[&write[..], &["-o", "json"]].concat());
    assert_eq!(said.code, Some(6), "{said:?}");
    assert_eq!(said.error()["code"], "Q2104", "{said:?}");
    assert_eq!(said.error()["effect"], "unknown", "{said:?}");
    let help = said.error()["help"].as_str().unwrap().to_owned();
    assert!(help.contains("--request-id abc:1\n"), "{help}");
    let said = cluster.quorate(&write);
    assert!(
        said.err
            .contains("│ the write to \"k\" MAY have taken effect\n"),
        "{said:?}"
    );

    // One that needs a session first is certainly not sent; a read has read nothing.
    for arguments in [&["put", "k", "other"][..], &["get", "k"]] {
        let said = cluster.quorate(&[arguments, &["--timeout", "2s", "-o", "json"]].concat());
        assert_eq!(said.code, Some(5), "{said:?}");
        assert_eq!(said.error()["code"], "Q2102", "{said:?}");
        assert_eq!(said.error()["effect"], "none", "{said:?}");
    }

    for member in &cluster.members[1..] {
        signal("CONT", member.pid);
    }
    until("the cluster serves again", || {
        is_healthy(cluster.members[0].address).then_some(())
    });
    // However often it is asked, it takes effect once.
    for _ in 0..2 {
        let again = cluster.quorate(&write);
        assert_eq!(again.code, Some(0), "{again:?}");
    }
    let got = cluster.quorate(&["get", "k", "-o", "json"]);
    let got: serde_json::Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!(
        (&got["kv"]["value"], &got["kv"]["version"]),
        (&"v".into(), &"1".into()),
        "{got}"
    );
}
