//! Debian's etcdctl, through the script in `tests/etcdctl`.

use quorate_conformance::program;
use std::path::Path;
use std::process::Command;

#[test]
fn etcdctl_gets_the_answers_it_expects() {
    if std::env::var_os("QUORATE_TEST_ENDPOINTS").is_some() {
        return; // Others use that cluster meanwhile; run the script on it by itself.
    }
    if Command::new("etcdctl").arg("version").output().is_err() {
        println!("etcdctl is not installed: tests/etcdctl/run was not run");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/etcdctl/run");
    let run = Command::new(script)
        .arg("--start")
        .arg(program())
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complained}");
    assert!(said.contains(" passed, 0 failed"), "{said}");
}
