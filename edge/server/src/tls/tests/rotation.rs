//! Files that change while a door is open.

use super::*;
use std::time::{Duration, Instant};

/// Waits until `condition` holds, for as long as the promise says: a second, and some more for a slow machine.
fn within_a_second(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_authority_is_replaced_by_way_of_a_bundle() {
    let mut bench = Bench::new("rotate");
    let door = bench.open(Side::Peer);
    let old_ca = bench.ca.pem();
    let mut new = Authority::new("new").unwrap();
    let both = format!("{old_ca}{}", new.pem());
    let old_leaf = bench.ca.issue(&MEMBER).unwrap();
    let new_leaf = new.issue(&MEMBER).unwrap();
    assert!(knock(&door, &both, Some(&old_leaf)).is_ok());
    assert!(knock(&door, &both, Some(&new_leaf)).is_err());

    let ca_file = bench.dir.join("ca.crt");
    pki::replace(&ca_file, &both).unwrap();
    within_a_second("the bundle", || {
        knock(&door, &both, Some(&new_leaf)).is_ok()
    });
    assert!(knock(&door, &both, Some(&old_leaf)).is_ok());

    new_leaf.write(&bench.dir, "server").unwrap();
    within_a_second("the certificate", || {
        knock(&door, &new.pem(), Some(&old_leaf)).is_ok()
    });
    // The way out shows it, too.
    let called = shake(door.client().unwrap(), door.server().unwrap(), "m1.example");
    assert!(called.is_ok(), "{called:?}");

    pki::replace(&ca_file, &new.pem()).unwrap();
    within_a_second("the new one alone", || {
        knock(&door, &both, Some(&old_leaf)).is_err()
    });
    assert!(knock(&door, &both, Some(&new_leaf)).is_ok());
}

#[test]
fn a_revocation_reaches_the_next_handshake_at_each_door() {
    let mut bench = Bench::new("crl");
    let crl = bench.dir.join("crl.pem");
    fs::write(&crl, bench.ca.crl().unwrap()).unwrap();
    bench.asked.crl_file = Some(crl.clone());
    let wish = Wish {
        cn: Some("alice"),
        ..Wish::default()
    };
    let (alice, bob) = (
        bench.ca.issue(&wish).unwrap(),
        bench.ca.issue(&wish).unwrap(),
    );
    let ca = bench.ca.pem();
    let doors = [bench.open(Side::Client), bench.open(Side::Peer)];
    for door in &doors {
        assert!(knock(door, &ca, Some(&alice)).is_ok());
    }
    bench.ca.revoke(&alice);
    pki::replace(&crl, &bench.ca.crl().unwrap()).unwrap();
    for door in &doors {
        within_a_second("the list", || knock(door, &ca, Some(&alice)).is_err());
        assert!(knock(door, &ca, Some(&bob)).is_ok());
    }
}

/// What the next handshake after the pause does.
fn look(door: &Security) {
    door.loaded.lock().unwrap().look(&door.rules);
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let bench = Bench::new("broken");
    let door = bench.open(Side::Client);
    let before = door.server().unwrap();
    let stays = || {
        look(&door);
        assert!(
            Arc::ptr_eq(&before, &door.server().unwrap()),
            "what was there stays in force"
        );
    };
    pki::replace(&bench.dir.join("server.crt"), "half a certifi").unwrap();
    stays();
    fs::remove_file(bench.dir.join("server.crt")).unwrap();
    stays();
    // A certificate without its key is no better; with it, it is.
    let mut other = Authority::new("other").unwrap();
    let issued = other.issue(&MEMBER).unwrap();
    pki::replace(&bench.dir.join("server.crt"), &issued.certificate).unwrap();
    stays();
    pki::replace(&bench.dir.join("server.key"), &issued.key).unwrap();
    look(&door);
    assert!(!Arc::ptr_eq(&before, &door.server().unwrap()));
}

/// A file that has been there for a while is told by how it looks from outside: each of them must be looked at.
#[test]
fn each_file_is_noticed_when_it_alone_is_replaced() {
    let mut doors = Vec::new();
    for name in ["ca.crt", "crl.pem", "server.crt"] {
        let mut bench = Bench::new(&format!("alone-{name}"));
        let crl = bench.dir.join("crl.pem");
        fs::write(&crl, bench.ca.crl().unwrap()).unwrap();
        bench.asked.crl_file = Some(crl);
        let door = bench.open(Side::Client);
        doors.push((name, bench, door));
    }
    let is_young = |door: &Security| {
        let prints = door.rules.files.prints();
        prints.iter().any(|print| print.is_young())
    };
    while doors.iter().any(|(_, _, door)| is_young(door)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    for (name, mut bench, door) in doors {
        look(&door);
        let before = door.server().unwrap();
        let issued = bench.ca.issue(&MEMBER).unwrap();
        let text = match name {
            "ca.crt" => bench.ca.pem() + &Authority::new("new").unwrap().pem(),
            "crl.pem" => {
                bench.ca.revoke(&issued);
                bench.ca.crl().unwrap()
            }
            // The same key is wanted: the same certificate with another one behind it.
            _ => fs::read_to_string(bench.dir.join(name)).unwrap() + &bench.ca.pem(),
        };
        pki::replace(&bench.dir.join(name), &text).unwrap();
        look(&door);
        let after = door.server().unwrap();
        assert!(!Arc::ptr_eq(&before, &after), "{name} is not looked at");
    }
}

#[test]
fn a_link_that_points_elsewhere_is_another_file() {
    let mut bench = Bench::new("links");
    // As Kubernetes mounts secrets: files are links into `..data`, which is a link that is swapped.
    let mount = |name: &str, bench: &mut Bench| {
        let dir = bench.dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        bench.ca.issue(&MEMBER).unwrap().write(&dir, "tls").unwrap();
        let link = bench.dir.join("..new");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        fs::rename(&link, bench.dir.join("..data")).unwrap();
    };
    mount("first", &mut bench);
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), bench.dir.join(file)).unwrap();
    }
    bench.asked.cert_file = Some(bench.dir.join("tls.crt"));
    bench.asked.key_file = Some(bench.dir.join("tls.key"));
    let door = bench.open(Side::Client);
    let before = door.server().unwrap();
    mount("second", &mut bench);
    look(&door);
    assert!(!Arc::ptr_eq(&before, &door.server().unwrap()));
}

#[test]
fn nothing_new_makes_nothing_new() {
    let bench = Bench::new("same");
    let door = bench.open(Side::Client);
    let before = door.server().unwrap();
    let cert = bench.dir.join("server.crt");
    // Written again with what it had: other times, same contents.
    pki::replace(&cert, &fs::read_to_string(&cert).unwrap()).unwrap();
    look(&door);
    assert!(Arc::ptr_eq(&before, &door.server().unwrap()));
}
