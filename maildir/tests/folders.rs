//! Folder trees: names, layouts, symbolic links, and others at work at the same time.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postrider_maildir::{Error, FolderName, FolderNameError, FolderState, Layout, Maildir, Tree};
use proptest::prelude::*;

const LAYOUTS: [Layout; 2] = [Layout::FileSystem, Layout::MaildirPlusPlus];

fn name(path: &str) -> FolderName {
    FolderName::new(path.split('/').filter(|component| !component.is_empty())).unwrap()
}

/// A tree whose root is a Maildir, in a directory of its own.
fn tree_in(scratch: &Path, layout: Layout) -> Tree {
    let root = scratch.join("root");
    fs::create_dir_all(&root).unwrap();
    let tree = Tree::open(root, layout).unwrap();
    tree.create(&FolderName::ROOT).unwrap();
    tree
}

fn listed(tree: &Tree) -> Vec<(String, FolderState)> {
    tree.list().unwrap().into_iter().map(|folder| (folder.name.to_string(), folder.state)).collect()
}

fn selectable(tree: &Tree) -> Vec<String> {
    let all = listed(tree).into_iter().filter(|(_, state)| *state == FolderState::Selectable);
    all.map(|(name, _)| name).collect()
}

fn deliver(maildir: &Maildir) {
    maildir.delivery().unwrap().commit().unwrap();
}

#[test]
fn components_that_could_lead_elsewhere_are_no_names() {
    let refusal = |component: &[u8]| FolderName::new([b"a", component]).unwrap_err();
    assert_eq!(refusal(b""), FolderNameError::Empty);
    for dots in [&b"."[..], b"..", b"..x", b"...", b"..postrider-deleted-0"] {
        assert_eq!(refusal(dots), FolderNameError::Dots);
    }
    assert_eq!(refusal(b"a/b"), FolderNameError::Octet(b'/'));
    assert_eq!(refusal(b"/"), FolderNameError::Octet(b'/'));
    assert_eq!(refusal(b"a\0"), FolderNameError::Octet(0));
    assert_eq!(refusal(&[b'x'; 256]), FolderNameError::TooLong { len: 256, limit: 255 });
    assert!(FolderName::new([[b'x'; 255]]).is_ok());
    assert!(matches!(FolderName::new(vec!["x"; 10_000]), Err(FolderNameError::TooLong { limit: 4095, .. })));
}

#[test]
fn a_layout_refuses_what_it_cannot_tell_apart() {
    let [file_system, dotted] = LAYOUTS;
    let long = FolderName::new([[b'x'; 127], [b'y'; 127]]).unwrap();
    assert_eq!(dotted.check(&long), Err(FolderNameError::TooLong { len: 256, limit: 255 }));
    assert_eq!(dotted.check(&FolderName::new([[b'x'; 254]]).unwrap()), Ok(()));
    assert_eq!(file_system.check(&long), Ok(()));
    assert_eq!(dotted.check(&name("a/b.c")), Err(FolderNameError::Octet(b'.')));
    assert_eq!(file_system.check(&name("a/b.c/.d")), Ok(()));
    for reserved in ["cur", "a/new", "tmp/a", "CUR"] {
        assert_eq!(file_system.check(&name(reserved)), Err(FolderNameError::Reserved));
        assert_eq!(dotted.check(&name(reserved)), Ok(()));
    }
}

#[test]
fn octets_of_any_encoding_are_names() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        for octets in [&b"Entw&APw-rfe"[..], b"\xff\xfe", "Entwürfe".as_bytes(), b"a b\n", b"~", b"-rf", b"*%"] {
            let name = FolderName::new([octets]).unwrap();
            tree.create(&name).unwrap();
            assert!(tree.list().unwrap().iter().any(|folder| folder.name == name));
            tree.delete(&name).unwrap();
        }
    }
}

#[test]
fn an_inbox_is_not_made_beside_the_root_and_one_that_is_there_can_be_removed() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        tree.create(&name("a")).unwrap();
        for inbox in ["INBOX", "inbox", "InBox"] {
            let refused = |result: Error| matches!(result, Error::FolderName { source: FolderNameError::Inbox, .. });
            assert!(tree.create(&name(inbox)).is_err_and(refused));
            assert!(tree.rename(&name("a"), &name(inbox)).is_err_and(refused));
        }
        tree.create(&name("INBOX/below")).unwrap();
        Maildir::create(tree.path_of(&name("INBOX"))).unwrap();
        assert_eq!(selectable(&tree), ["", "INBOX", "INBOX/below", "a"]);
        tree.delete(&name("INBOX")).unwrap();
        assert_eq!(selectable(&tree), ["", "INBOX/below", "a"]);
    }
}

#[test]
fn parents_that_do_not_exist_are_listed_as_such() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree_in(scratch.path(), Layout::MaildirPlusPlus);
    tree.create(&name("a/b/c")).unwrap();
    assert!(tree.path().join(".a.b.c/maildirfolder").is_file());
    fs::create_dir(tree.path().join(".empty")).unwrap();
    for odd in ["..x", ".a..b", ".c.", "no", "..", ".file"] {
        let _ = fs::create_dir(tree.path().join(odd));
    }
    fs::remove_dir(tree.path().join(".file")).unwrap();
    fs::write(tree.path().join(".file"), "").unwrap();
    let [absent, no, yes] = [FolderState::Absent, FolderState::NotSelectable, FolderState::Selectable];
    let expected = [("", yes), ("a", absent), ("a/b", absent), ("a/b/c", yes), ("empty", no)];
    assert_eq!(listed(&tree), expected.map(|(name, state)| (name.to_owned(), state)));
    assert!(matches!(tree.open_folder(&name("a")), Err(Error::NoFolder { .. })));
    assert!(matches!(tree.open_folder(&name("empty")), Err(Error::NotMaildir { missing: "tmp", .. })));
    tree.create(&name("empty")).unwrap();
    tree.create(&name("a")).unwrap();
    assert_eq!(selectable(&tree), ["", "a", "a/b/c", "empty"]);
}

#[test]
fn a_directory_that_only_holds_folders_is_listed_as_not_selectable() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree_in(scratch.path(), Layout::FileSystem);
    tree.create(&name("a/b/c")).unwrap();
    assert!(!tree.path().join("a/b/c/maildirfolder").exists());
    let [no, yes] = [FolderState::NotSelectable, FolderState::Selectable];
    let expected = [("", yes), ("a", no), ("a/b", no), ("a/b/c", yes)];
    assert_eq!(listed(&tree), expected.map(|(name, state)| (name.to_owned(), state)));
    // What is in cur, new and tmp is no folder.
    fs::create_dir(tree.path().join("a/b/c/cur/x")).unwrap();
    assert_eq!(listed(&tree).len(), 4);
}

#[test]
fn a_folder_without_the_marker_is_a_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree_in(scratch.path(), Layout::MaildirPlusPlus);
    Maildir::create(tree.path().join(".a.b")).unwrap();
    assert_eq!(selectable(&tree), ["", "a/b"]);
    deliver(&tree.open_folder(&name("a/b")).unwrap());
    assert!(matches!(tree.create(&name("a/b")), Err(Error::FolderExists { .. })));
}

#[test]
fn creating_a_folder_twice_says_that_it_exists() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        deliver(&tree.create(&name("a")).unwrap());
        assert!(matches!(tree.create(&name("a")), Err(Error::FolderExists { .. })));
        assert!(matches!(tree.create(&FolderName::ROOT), Err(Error::FolderExists { .. })));
        assert_eq!(tree.open_folder(&name("a")).unwrap().list().unwrap().len(), 1);
    }
}

#[test]
fn a_rename_takes_all_folders_below_and_nothing_else() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        for folder in ["a", "a/x", "a/x/y", "ab", "b"] {
            deliver(&tree.create(&name(folder)).unwrap());
        }
        tree.rename(&name("a"), &name("c/d")).unwrap();
        assert_eq!(selectable(&tree), ["", "ab", "b", "c/d", "c/d/x", "c/d/x/y"]);
        for folder in ["ab", "b", "c/d", "c/d/x", "c/d/x/y"] {
            assert_eq!(tree.open_folder(&name(folder)).unwrap().list().unwrap().len(), 1, "{folder}");
        }
    }
}

#[test]
fn a_rename_that_cannot_be_changes_nothing() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        for folder in ["a", "a/x", "b", "b/x"] {
            tree.create(&name(folder)).unwrap();
        }
        let before = listed(&tree);
        let rename = |from: &str, to: &str| tree.rename(&name(from), &name(to)).unwrap_err();
        for taken in [("a", "b"), ("a", "a"), ("a/x", "a"), ("a/x", "b/x")] {
            assert!(matches!(rename(taken.0, taken.1), Error::FolderExists { .. }), "{taken:?}");
        }
        assert!(matches!(rename("none", "d/e"), Error::NoFolder { .. }));
        assert!(matches!(rename("a", "a/x/z"), Error::FolderName { source: FolderNameError::Under, .. }));
        assert!(matches!(rename("a", ""), Error::FolderName { source: FolderNameError::Root, .. }));
        assert!(matches!(rename("", "d"), Error::FolderName { source: FolderNameError::Root, .. }));
        assert_eq!(listed(&tree), before);
    }
}

#[test]
fn a_rename_in_maildir_plus_plus_looks_at_every_new_name_first() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree_in(scratch.path(), Layout::MaildirPlusPlus);
    let long = ["a/", &"x".repeat(240)].concat();
    for folder in ["a", &long, "c/d", "a/d"] {
        tree.create(&name(folder)).unwrap();
    }
    let before = listed(&tree);
    let rename = |to: &str| tree.rename(&name("a"), &name(to)).unwrap_err();
    assert!(matches!(
        rename("a-long-name-in-its-place"),
        Error::FolderName { source: FolderNameError::TooLong { .. }, .. }
    ));
    assert!(matches!(rename("c"), Error::FolderExists { .. }), "c/d is there");
    assert_eq!(listed(&tree), before);
    // Beside one that is there, and with no clash.
    tree.rename(&name("a/d"), &name("c/e")).unwrap();
    tree.rename(&name("a"), &name("c")).unwrap();
    assert_eq!(selectable(&tree)[..2], ["", "c"]);
}

#[test]
fn a_folder_is_deleted_and_those_below_stay() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        for folder in ["a", "a/x", "b"] {
            deliver(&tree.create(&name(folder)).unwrap());
            fs::write(tree.path_of(&name(folder)).join("dovecot-uidlist"), "3 V1 N2").unwrap();
        }
        tree.delete(&name("a")).unwrap();
        assert_eq!(selectable(&tree), ["", "a/x", "b"]);
        assert!(!tree.path_of(&name("a")).join("dovecot-uidlist").exists());
        let error = tree.delete(&name("a")).unwrap_err();
        match layout {
            Layout::FileSystem => assert!(matches!(error, Error::HasFolders { .. })),
            Layout::MaildirPlusPlus => assert!(matches!(error, Error::NoFolder { .. })),
        }
        tree.delete(&name("a/x")).unwrap();
        assert!(matches!(tree.delete(&name("a/x")), Err(Error::NoFolder { .. })));
        assert!(matches!(tree.delete(&FolderName::ROOT), Err(Error::FolderName { source: FolderNameError::Root, .. })));
        assert_eq!(selectable(&tree), ["", "b"]);
        let left = fs::read_dir(tree.path()).unwrap().count();
        let parents = if layout == Layout::FileSystem { 1 } else { 0 };
        assert_eq!(left, 3 + 1 + parents, "cur, new, tmp, b and perhaps a");
    }
}

#[test]
fn a_message_that_is_open_can_be_read_after_its_folder_was_deleted() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        let folder = tree.create(&name("a")).unwrap();
        fs::write(folder.path().join("new/1.2.host"), "all of it").unwrap();
        let mut open = folder.find(b"1.2.host").unwrap().open().unwrap();
        tree.delete(&name("a")).unwrap();
        let mut octets = String::new();
        open.read_to_string(&mut octets).unwrap();
        assert_eq!(octets, "all of it");
        assert!(folder.delivery().is_err() && folder.list().is_err());
    }
}

#[test]
fn a_directory_as_deep_as_it_can_be_is_deleted_with_few_descriptors() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree_in(scratch.path(), Layout::MaildirPlusPlus);
    let mut deep = tree.create(&name("a")).unwrap().path().to_owned();
    while deep.as_os_str().len() < 4000 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x"), "").unwrap();
    tree.delete(&name("a")).unwrap();
    assert_eq!(fs::read_dir(tree.path()).unwrap().count(), 3);
}

#[test]
fn a_deep_tree_is_listed_renamed_and_deleted() {
    for (layout, depth) in [(Layout::FileSystem, 200), (Layout::MaildirPlusPlus, 127)] {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        let deepest = FolderName::new(vec!["d"; depth]).unwrap();
        tree.create(&deepest).unwrap();
        assert_eq!(tree.list().unwrap().len(), depth + 1);
        tree.rename(&name("d"), &name("e")).unwrap();
        let deepest = FolderName::new(["e"].into_iter().chain(vec!["d"; depth - 1])).unwrap();
        tree.delete(&deepest).unwrap();
        assert_eq!(selectable(&tree), [""]);
    }
}

/// A directory outside of the tree, with a folder's directories and a message.
fn outside(scratch: &Path) -> std::path::PathBuf {
    let outside = Maildir::create(scratch.join("outside")).unwrap();
    deliver(&outside);
    Maildir::create(outside.path().join("below")).unwrap();
    outside.path().to_owned()
}

fn files_in(directory: &Path) -> usize {
    let below = |path: &Path| if path.is_dir() && !path.is_symlink() { files_in(path) } else { 0 };
    fs::read_dir(directory).unwrap().map(|entry| 1 + below(&entry.unwrap().path())).sum()
}

#[test]
fn a_symbolic_link_is_no_folder_and_nothing_behind_it_changes() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, outside) = (tree_in(scratch.path(), layout), outside(scratch.path()));
        symlink(&outside, tree.path_of(&name("link"))).unwrap();
        let before = files_in(&outside);
        assert_eq!(listed(&tree), [(String::new(), FolderState::Selectable)]);
        assert!(matches!(tree.open_folder(&name("link")), Err(Error::NoFolder { .. })));
        assert!(matches!(tree.create(&name("link")), Err(Error::FolderExists { .. })));
        assert!(matches!(tree.delete(&name("link")), Err(Error::NoFolder { .. })));
        tree.create(&name("a")).unwrap();
        assert!(matches!(tree.rename(&name("a"), &name("link")), Err(Error::FolderExists { .. })));
        if layout == Layout::FileSystem {
            assert!(matches!(tree.open_folder(&name("link/below")), Err(Error::NoFolder { .. })));
            assert!(matches!(tree.create(&name("link/b")), Err(Error::FolderExists { .. })));
            assert!(matches!(tree.delete(&name("link/below")), Err(Error::NoFolder { .. })));
            assert!(matches!(tree.rename(&name("a"), &name("link/b")), Err(Error::FolderExists { .. })));
            assert!(matches!(tree.rename(&name("link/below"), &name("b")), Err(Error::NoFolder { .. })));
        }
        assert_eq!(files_in(&outside), before);
    }
}

#[test]
fn deleting_a_folder_removes_the_links_in_it_and_not_what_they_lead_to() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, outside) = (tree_in(scratch.path(), layout), outside(scratch.path()));
        let before = files_in(&outside);
        let folder = tree.create(&name("a")).unwrap();
        symlink(&outside, folder.path().join("link")).unwrap();
        symlink(outside.join("new"), folder.path().join("new/link")).unwrap();
        fs::remove_dir(folder.path().join("cur")).unwrap();
        symlink(outside.join("cur"), folder.path().join("cur")).unwrap();
        tree.delete(&name("a")).unwrap();
        assert_eq!(selectable(&tree), [""]);
        assert_eq!(files_in(&outside), before);
        assert_eq!(fs::read_dir(tree.path()).unwrap().count(), 3);
    }
}

#[test]
fn deletions_beside_somebody_who_swaps_directories_for_links_stay_within() {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, outside) = (tree_in(scratch.path(), Layout::FileSystem), outside(scratch.path()));
    let before = files_in(&outside);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (place, aside) = (tree.path().join("a"), tree.path().join("..aside"));
            while !stop.load(Ordering::Relaxed) {
                if fs::rename(&place, &aside).is_ok() {
                    symlink(&outside, &place).unwrap();
                    let _ = fs::remove_file(&place);
                    let _ = fs::remove_dir_all(&aside);
                }
            }
        });
        for _ in 0..300 {
            let _ = tree.create(&name("a/below"));
            let _ = tree.rename(&name("a/below"), &name("a/other"));
            let _ = tree.delete(&name("a/other"));
            let _ = tree.delete(&name("a"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(files_in(&outside), before);
}

#[test]
fn a_receipt_holds_while_the_folder_is_renamed_back_and_forth() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        let names = [name("a"), name("b")];
        tree.create(&names[0]).unwrap();
        let stop = AtomicBool::new(false);
        let receipts = thread::scope(|scope| {
            scope.spawn(|| {
                for turn in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    tree.rename(&names[turn % 2], &names[(turn + 1) % 2]).unwrap();
                }
            });
            let deliver = |turn: usize| tree.open_folder(&names[turn % 2]).ok()?.delivery().ok()?.commit().ok();
            let receipts: Vec<_> = (0..400).filter_map(deliver).collect();
            stop.store(true, Ordering::Relaxed);
            receipts
        });
        let folder = names.iter().find_map(|name| tree.open_folder(name).ok()).unwrap();
        let listing = folder.list().unwrap();
        assert!(!receipts.is_empty());
        assert!(receipts.iter().all(|receipt| listing.find(receipt.name().base()).is_some()));
    }
}

#[test]
fn of_many_who_create_a_folder_one_has_made_it() {
    for layout in LAYOUTS {
        let scratch = tempfile::tempdir().unwrap();
        let tree = tree_in(scratch.path(), layout);
        for round in 0..30 {
            let name = FolderName::new(["a".to_owned(), round.to_string()]).unwrap();
            let results: Vec<_> = thread::scope(|scope| {
                let threads = [0; 4].map(|_| scope.spawn(|| tree.create(&name)));
                threads.map(|thread| thread.join().unwrap()).into()
            });
            assert!(results.iter().any(Result::is_ok));
            assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Error::FolderExists { .. }))));
        }
    }
}

#[test]
fn a_root_that_is_missing_or_a_file_is_no_tree() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    for root in ["none", "file"] {
        let error = Tree::open(scratch.path().join(root), Layout::FileSystem).unwrap_err();
        assert!(error.to_string().starts_with("cannot open "), "{error}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_a_folder_within_the_tree_or_an_error(
        components in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..4),
    ) {
        let Ok(name) = FolderName::new(&components) else { return Ok(()) };
        prop_assert_eq!(name.components().map(<[u8]>::to_vec).collect::<Vec<_>>(), components);
        for layout in LAYOUTS.into_iter().filter(|layout| layout.check(&name).is_ok() && !name.is_root()) {
            // In memory, where there is some: it is the names that matter here.
            let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let tree = tree_in(scratch.path(), layout);
            let path = tree.path_of(&name);
            prop_assert!(path.starts_with(tree.path()) && path != tree.path());
            if tree.create(&name).is_ok() {
                prop_assert!(tree.list().unwrap().iter().any(|folder| folder.name == name));
                tree.delete(&name).unwrap();
                prop_assert!(!path.exists());
            }
        }
    }
}
