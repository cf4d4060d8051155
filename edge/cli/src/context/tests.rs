//! Contexts in a directory of their own, and who wins when several name endpoints.

use super::*;
use std::collections::BTreeMap;

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let name = format!("quorate-context-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a new directory");
        Home(dir)
    }

    fn contexts(&self) -> Contexts {
        Contexts::of(self.with(&[])).expect("a directory is set")
    }

    fn with(&self, more: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let dir = self.0.join("conf").display().to_string();
        all.insert("QUORATE_CONFIG_DIR".to_owned(), dir);
        all.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        move |name| all.get(name).cloned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn context(endpoint: &str) -> Context {
    Context::new(vec![endpoint.to_owned()])
}

#[test]
fn the_directory_is_quorates_then_xdgs_then_homes() {
    let dir = |all: &'static [(&str, &str)]| {
        let find = |name: &str| {
            all.iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Contexts::of(find).map(|contexts| contexts.dir.display().to_string())
    };
    let (q, x, h) = (
        ("QUORATE_CONFIG_DIR", "/q"),
        ("XDG_CONFIG_HOME", "/x"),
        ("HOME", "/h"),
    );
    let all: &'static [(&str, &str)] = Box::leak(Box::new([q, x, h]));
    assert_eq!(dir(all).unwrap(), "/q");
    assert_eq!(dir(&all[1..]).unwrap(), "/x/quorate");
    assert_eq!(dir(&all[2..]).unwrap(), "/h/.config/quorate");
    assert!(dir(&[]).is_err());
}

#[test]
fn flags_win_over_variables_over_the_selected_context_over_the_default() {
    let home = Home::new("order");
    let contexts = home.contexts();
    let ask = |endpoint: Option<&str>, context: Option<&str>, variables: &[(&str, &str)]| {
        let said = Said {
            endpoints: endpoint.map(str::to_owned).into_iter().collect(),
            context: context.map(str::to_owned),
        };
        resolve(&said, home.with(variables)).map(|(endpoints, _)| endpoints.join(","))
    };
    assert_eq!(ask(None, None, &[]).unwrap(), ENDPOINT_DEFAULT);
    contexts.save("one", &context("one:1")).unwrap();
    contexts.save("two", &context("two:2")).unwrap();
    assert_eq!(
        ask(None, None, &[]).unwrap(),
        ENDPOINT_DEFAULT,
        "not selected yet"
    );
    contexts.select("one").unwrap();
    assert_eq!(ask(None, None, &[]).unwrap(), "one:1");
    let by_name = ("QUORATE_CONTEXT", "two");
    assert_eq!(ask(None, None, &[by_name]).unwrap(), "two:2");
    let direct = ("QUORATE_ENDPOINTS", "http://v:3/, w:4");
    assert_eq!(ask(None, None, &[by_name, direct]).unwrap(), "v:3,w:4");
    assert_eq!(ask(None, Some("one"), &[by_name, direct]).unwrap(), "one:1");
    assert_eq!(ask(Some("f:5"), None, &[by_name, direct]).unwrap(), "f:5");
    // Empty variables are not set.
    let empty = [("QUORATE_ENDPOINTS", ""), ("QUORATE_CONTEXT", "")];
    assert_eq!(ask(None, None, &empty).unwrap(), "one:1");
}

#[test]
fn a_name_that_is_not_there_is_said_with_its_neighbour() {
    let home = Home::new("names");
    let contexts = home.contexts();
    contexts.save("production", &context("p:1")).unwrap();
    let complaint = contexts.look_up("prodcution").unwrap_err();
    assert_eq!(complaint.code(), Some(Code::NoContext));
    let text = complaint.text();
    assert!(
        text.contains("help: did you mean \"production\"?"),
        "{text}"
    );
    assert!(contexts.select("nothing").is_err());
    assert_eq!(contexts.selected().unwrap(), None);
}

#[test]
fn names_stay_in_their_directory() {
    let home = Home::new("bad");
    let contexts = home.contexts();
    for bad in ["", "..", "../x", "a/b", ".hidden", "a b", &"x".repeat(65)] {
        let complaint = contexts.save(bad, &context("p:1")).unwrap_err();
        assert_eq!(complaint.exit(), 2, "{bad}");
        assert_eq!(contexts.find(bad).unwrap(), None, "{bad}");
    }
    assert_eq!(contexts.names().unwrap(), [] as [&str; 0]);
}

#[test]
fn a_deleted_context_is_selected_no_more() {
    let home = Home::new("delete");
    let contexts = home.contexts();
    for name in ["b", "a"] {
        contexts.save(name, &context("p:1")).unwrap();
    }
    assert_eq!(contexts.names().unwrap(), ["a", "b"]);
    contexts.select("a").unwrap();
    contexts.delete("b").unwrap();
    assert_eq!(contexts.selected().unwrap().as_deref(), Some("a"));
    contexts.delete("a").unwrap();
    assert_eq!(contexts.selected().unwrap(), None);
}

#[test]
fn a_file_that_is_no_context_is_said_with_its_reason() {
    let home = Home::new("files");
    let contexts = home.contexts();
    contexts.save("x", &context("p:1")).unwrap();
    for (text, reason) in [
        ("{", "is no context: EOF"),
        (
            r#"{"format":2,"endpoints":["a:1"]}"#,
            "format 2 is not known",
        ),
        (r#"{"format":1,"endpoints":[]}"#, "it names no endpoints"),
        (
            r#"{"format":1,"endpoints":["a:1"],"user":1}"#,
            "unknown field `user`",
        ),
    ] {
        fs::write(contexts.file("x"), text).unwrap();
        let complaint = contexts.find("x").unwrap_err();
        assert!(complaint.text().contains(reason), "{}", complaint.text());
    }
}

#[test]
fn endpoints_are_hosts_with_ports() {
    for (text, kept) in [
        ("h:1", "h:1"),
        ("http://h:1/", "h:1"),
        ("[::1]:2379", "[::1]:2379"),
        ("https://h:1/", "https://h:1"),
    ] {
        assert_eq!(endpoint(text).as_deref(), Ok(kept));
    }
    for bad in [
        "",
        "h",
        "h:0",
        "h:x",
        ":1",
        "https://h",
        "https://http://h:1",
        "http://h:1/x",
    ] {
        assert!(endpoint(bad).is_err(), "{bad}");
    }
}

#[test]
fn whom_to_believe_is_said_by_flags_then_variables_then_the_context() {
    let home = Home::new("trust");
    let contexts = home.contexts();
    let of_context = Trust {
        cacert: Some("context-ca".into()),
        cert: Some("context-cert".into()),
        key: Some("context-key".into()),
        insecure_skip_tls_verify: false,
    };
    contexts
        .save("x", &context("https://p:1").with(of_context.clone()))
        .unwrap();
    let by_context = Said {
        context: Some("x".to_owned()),
        ..Said::default()
    };
    let known = |flags: &Trust, said: &Said, variables: &[(&str, &str)]| {
        trust(flags, said, home.with(variables)).unwrap()
    };
    assert_eq!(known(&Trust::default(), &by_context, &[]), of_context);
    let variables = [
        ("QUORATE_CACERT", "v-ca"),
        ("QUORATE_CERT", "v-cert"),
        ("QUORATE_KEY", "v-key"),
    ];
    let by_variables = known(&Trust::default(), &by_context, &variables);
    assert_eq!(by_variables.cacert.as_deref(), Some(Path::new("v-ca")));
    assert_eq!(by_variables.key.as_deref(), Some(Path::new("v-key")));
    let flags = Trust {
        cert: Some("f-cert".into()),
        key: Some("f-key".into()),
        ..Trust::default()
    };
    let by_flags = known(&flags, &by_context, &variables);
    assert_eq!(by_flags.cert.as_deref(), Some(Path::new("f-cert")));
    assert_eq!(by_flags.cacert.as_deref(), Some(Path::new("v-ca")));
    // Endpoints of another cluster are not believed by the context's authority.
    let elsewhere = Said {
        endpoints: vec!["https://q:1".to_owned()],
        ..Said::default()
    };
    assert_eq!(known(&Trust::default(), &elsewhere, &[]), Trust::default());
    let half = Trust {
        cert: Some("c".into()),
        ..Trust::default()
    };
    assert!(half.tls().is_err(), "a certificate without its key");
}
