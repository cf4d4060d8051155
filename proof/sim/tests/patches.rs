//! Bugs of the past, kept as patches that take their fixes back: each still fits the product.
//! `sim plant proof/sim/patches/*.patch` plants them.

use std::path::Path;
use std::process::Command;

#[test]
fn every_patch_still_applies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("patches");
    let mut n_patches = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of patches") {
        let path = entry.expect("an entry of it").path();
        let output = Command::new("git")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .args(["apply", "--check"])
            .arg(&path)
            .output()
            .expect("git runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {complaint}; make it anew with git diff",
            path.display()
        );
        n_patches += 1;
    }
    assert!(n_patches > 0, "no patches in {}", folder.display());
}
