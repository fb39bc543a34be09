//! Trees of folders in which any one system call fails, or is the last.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use super::disk::State;
use super::tests::at_every_cut;
use super::{Cut, Lacking, Machine, scratch};
use crate::maildir::DIRECTORIES;
use crate::{Error, FolderName, FolderState, Layout, Tree};

const LAYOUTS: [Layout; 2] = [Layout::FileSystem, Layout::MaildirPlusPlus];

fn name(path: &str) -> FolderName {
    FolderName::new(path.split('/')).unwrap()
}

fn open(root: &Path, layout: Layout) -> Tree {
    Tree::open(root, layout).unwrap()
}

/// A message for each folder, named after it.
fn fill(root: &Path, layout: Layout, folders: &[&str]) {
    for folder in folders {
        let maildir = open(root, layout).create(&name(folder)).unwrap();
        fs::write(maildir.path().join("cur").join(folder.replace('/', "-")), "x").unwrap();
    }
}

fn selectable(tree: &Tree) -> Vec<String> {
    let all = tree.list().unwrap().into_iter().filter(|folder| folder.state == FolderState::Selectable);
    all.map(|folder| folder.name.to_string()).collect()
}

fn messages(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    for folder in selectable(tree).iter().filter(|folder| !folder.is_empty()) {
        let listing = tree.open_folder(&name(folder)).unwrap().list().unwrap();
        all.extend(listing.iter().map(|entry| format!("{folder}: {}", entry.name())));
    }
    all
}

/// Hands every state that a power failure, or a killed process, may leave to `check`, as a tree. One kind of failure stands for all.
fn recovered(root: &Path, layout: Layout, machine: &Machine, cut: Option<Cut>, check: impl Fn(&Tree)) {
    if matches!(cut, Some(Cut::Fails(errno)) if errno != Errno::NOSPC) {
        return;
    }
    let scratch = scratch();
    let states = machine.disk.lay_out(scratch.path());
    states.iter().for_each(|state| check(&open(state, layout)));
    check(&open(root, layout));
}

fn has(state: &State, root: &Path, path: &str) -> bool {
    state.contains_key(&root.join(path))
}

#[test]
fn a_folder_that_was_created_is_there_and_a_half_made_one_is_completed() {
    for layout in LAYOUTS {
        let create = |root: &Path| open(root, layout).create(&name("a/b")).is_ok();
        at_every_cut(
            |_| {},
            create,
            |root, &created, machine, cut| {
                assert!(created || cut.is_some());
                let paths: &[&str] = match layout {
                    Layout::FileSystem => &["a/b/tmp", "a/b/new", "a/b/cur"],
                    Layout::MaildirPlusPlus => &[".a.b/tmp", ".a.b/new", ".a.b/cur", ".a.b/maildirfolder"],
                };
                for state in machine.disk.states().iter().filter(|_| created) {
                    assert!(paths.iter().all(|path| has(state, root, path)), "{layout:?} after {cut:?}");
                }
                recovered(root, layout, machine, cut, |tree| {
                    assert!(matches!(tree.create(&name("a/b")), Ok(_) | Err(Error::FolderExists { .. })));
                    assert_eq!(selectable(tree), ["a/b"]);
                });
            },
        );
    }
}

#[test]
fn a_folder_that_is_said_to_exist_is_stored() {
    for layout in LAYOUTS {
        let scratch = scratch();
        let (result, machine) = Machine::run(scratch.path(), Lacking::Nothing, None, || {
            let tree = open(scratch.path(), layout);
            let way = tree.make_way(&name("a")).unwrap();
            for directory in DIRECTORIES {
                way[1].ensure_directory(directory.as_bytes(), 0o700).unwrap();
            }
            tree.create(&name("a"))
        });
        assert!(matches!(result, Err(Error::FolderExists { .. })));
        let cur = tree_path(scratch.path(), layout).join("cur");
        assert!(machine.disk.states().iter().all(|state| state.contains_key(&cur)));
    }
}

fn tree_path(root: &Path, layout: Layout) -> std::path::PathBuf {
    open(root, layout).path_of(&name("a"))
}

#[test]
fn a_rename_is_stored_or_leaves_every_folder_whole_and_is_completed_by_the_same_call() {
    let (before, after) = (["a", "a/x", "a/y"], ["n/b", "n/b/x", "n/b/y"]);
    for layout in LAYOUTS {
        let rename = |root: &Path| open(root, layout).rename(&name("a"), &name("n/b"));
        at_every_cut(
            |root| fill(root, layout, &before),
            rename,
            |root, renamed, machine, cut| {
                assert!(renamed.is_ok() || cut.is_some());
                recovered(root, layout, machine, cut, |tree| {
                    let found = messages(tree);
                    for (old, new) in before.iter().zip(after) {
                        let message = old.replace('/', "-");
                        let here = [*old, new].map(|folder| found.contains(&format!("{folder}: {message}")));
                        assert!(here != [false, false], "{old} lost in {layout:?} after {cut:?}");
                        assert!(here != [true, true], "{old} twice in {layout:?} after {cut:?}");
                        assert!(renamed.is_err() || here == [false, true], "{old} in {layout:?} after {cut:?}");
                    }
                    assert_eq!(found.len(), 3);
                    assert!(matches!(tree.rename(&name("a"), &name("n/b")), Ok(()) | Err(Error::NoFolder { .. })));
                    assert_eq!(selectable(tree), after);
                });
            },
        );
    }
}

#[test]
fn a_deleted_folder_stays_deleted_and_an_interrupted_deletion_is_completed_by_the_same_call() {
    for layout in LAYOUTS {
        for others in [&["b"][..], &["a/x", "b"]] {
            let all = [&["a"], others].concat();
            let delete = |root: &Path| open(root, layout).delete(&name("a"));
            at_every_cut(
                |root| fill(root, layout, &all),
                delete,
                |root, deleted, machine, cut| {
                    let done = matches!(deleted, Ok(()) | Err(Error::Remains { .. }));
                    assert!(deleted.is_ok() || cut.is_some());
                    recovered(root, layout, machine, cut, |tree| {
                        let found = messages(tree);
                        let here = found.iter().any(|message| message.starts_with("a:"));
                        assert!(!(done && here), "back in {layout:?} after {cut:?}");
                        assert!(
                            here || !selectable(tree).contains(&"a".to_owned()),
                            "half in {layout:?} after {cut:?}"
                        );
                        assert!(!done || others.contains(&"a/x") || !tree.path_of(&name("a")).exists());
                        // Whatever was interrupted.
                        let again = tree.delete(&name("a"));
                        assert!(
                            matches!(again, Ok(()) | Err(Error::NoFolder { .. } | Error::HasFolders { .. })),
                            "{again:?}"
                        );
                        tree.clean_deleted().unwrap();
                        assert_eq!(selectable(tree), others);
                        let left: Vec<_> =
                            fs::read_dir(tree.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                        let expected = if layout == Layout::FileSystem && others.len() == 2 { 2 } else { others.len() };
                        assert_eq!(left.len(), expected, "{left:?}");
                    });
                },
            );
        }
    }
}

#[test]
fn what_cannot_be_removed_is_left_where_the_clean_up_finds_it() {
    for layout in LAYOUTS {
        let scratch = scratch();
        fill(scratch.path(), layout, &["a"]);
        let (_, whole) = Machine::run(scratch.path(), Lacking::Nothing, None, || {
            open(scratch.path(), layout).delete(&name("a")).unwrap();
        });
        fill(scratch.path(), layout, &["a"]);
        let cut = Some((whole.calls - 1, Cut::Fails(Errno::IO)));
        let (result, _) =
            Machine::run(scratch.path(), Lacking::Nothing, cut, || open(scratch.path(), layout).delete(&name("a")));
        assert!(matches!(result, Err(Error::Remains { .. })), "{result:?}");
        let tree = open(scratch.path(), layout);
        assert_eq!(tree.list().unwrap().len(), 1, "the root");
        assert!(tree.clean_deleted().unwrap() > 0);
        assert_eq!(fs::read_dir(tree.path()).unwrap().count(), 0);
    }
}
