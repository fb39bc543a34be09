//! `ARCHITECTURE.md` is true: its tree is the tree, its arrows are the arrows.

#![expect(clippy::unwrap_used, reason = "what is missing here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// The folders of the first block: the words before a slash.
fn tree() -> BTreeSet<String> {
    let page = page();
    let block = page.split("```").nth(1).unwrap();
    block.lines().filter_map(|line| Some(line.split_once('/')?.0.to_owned())).collect()
}

/// The lines `a → b, c` of the page.
fn arrows() -> Arrows {
    let page = page();
    let block = page.split("## Who may know whom").nth(1).unwrap().split("```").nth(1).unwrap();
    let lines = block.lines().filter_map(|line| line.split_once('→'));
    lines
        .map(|(from, to)| (from.trim().to_owned(), to.split(',').map(|name| name.trim().to_owned()).collect()))
        .collect()
}

/// What the packages of a workspace need of ours, tests left aside.
fn needs(manifest: &Path) -> Arrows {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (folder(package["name"].as_str().unwrap()).unwrap(), dependencies(package))).collect()
}

fn dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().unwrap().iter();
    // A benchmark or a fuzz target is what it tests; a crate's own tests may use more than the crate.
    let program = ["postrider-benches", "postrider-fuzz"].contains(&package["name"].as_str().unwrap());
    all.filter(|dependency| program || dependency["kind"].as_str() != Some("dev"))
        .filter_map(|dependency| folder(dependency["name"].as_str().unwrap()))
        .collect()
}

fn folder(package: &str) -> Option<String> {
    package.strip_prefix("postrider-").map(str::to_owned)
}

fn everything() -> Arrows {
    let mut needs_of = needs(&root().join("Cargo.toml"));
    needs_of.extend(needs(&root().join("fuzz/Cargo.toml")));
    needs_of
}

#[test]
fn the_arrows_are_those_of_the_page_and_no_others() {
    let mut found = everything();
    found.retain(|_, to| !to.is_empty());
    assert_eq!(found, arrows());
}

#[test]
fn the_tree_has_every_folder_and_every_folder_is_there() {
    let tree = tree();
    let packages: BTreeSet<String> = everything().into_keys().collect();
    assert!(packages.is_subset(&tree), "{packages:?} against {tree:?}");
    for name in tree {
        assert!(root().join(&name).is_dir(), "{name}/ is on the page and not on the disk");
    }
}
