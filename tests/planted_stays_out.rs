//! The planted bugs are for the simulators: what is shipped never has the feature.

use std::process::Command;

#[test]
fn the_binary_is_built_without_planted_bugs() {
    let root = env!("CARGO_MANIFEST_DIR");
    let words = ["tree", "--offline", "-p", "torpor", "-e", "normal,build,features"];
    let tree = Command::new(env!("CARGO"))
        .args(words)
        .args(["-i", "torpor-engine"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(text.contains("torpor-engine feature \"default\""), "the engine is in it:\n{text}");
    assert!(!text.contains("planted"), "planted bugs would be shipped:\n{text}");
}
