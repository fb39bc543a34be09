//! Folders: how different programs lay them out, and where each goes.
//!
//! | layout | a folder `work` within `lists` |
//! |---|---|
//! | Maildir++ | `.lists.work/` beside the inbox's `cur` |
//! | plain Maildirs | `lists/work/` |
//! | mboxes, as mutt and UW have them | `lists/work` |
//! | mboxes, as Thunderbird has them | `lists.sbd/work` |

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::failure::{At, Failure};
use super::source::{Kind, directory, is_beside, kind};
use super::utf7;

/// A folder that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its name, from the root down, in UTF-8 where it is text; none at all for the inbox.
    pub name: Vec<Vec<u8>>,
    /// Where it is.
    pub path: PathBuf,
    /// What it is kept in.
    pub kind: Kind,
}

/// How Maildirs are laid out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Layout {
    /// Directories within directories.
    FileSystem,
    /// Dots.
    #[default]
    MaildirPlusPlus,
}

/// What was found at a path, and what was passed over.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The mailboxes, by name.
    pub folders: Vec<Found>,
    /// What is none, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Directories within directories that are followed.
const MAX_DEPTH: usize = 64;

/// Finds all mailboxes at and below `path`.
///
/// # Errors
///
/// When a directory cannot be read.
pub fn read(path: &Path) -> Result<Tree, Failure> {
    let mut tree = Tree::default();
    match kind(path)? {
        Kind::Mbox => tree.folders.push(Found { name: Vec::new(), path: path.to_owned(), kind: Kind::Mbox }),
        Kind::Maildir => {
            tree.folders.push(Found { name: Vec::new(), path: path.to_owned(), kind: Kind::Maildir });
            tree.dotted(path)?;
            tree.nested(path, &[], 0, false)?;
        }
        Kind::Folders => {
            tree.dotted(path)?;
            tree.nested(path, &[], 0, false)?;
        }
    }
    tree.folders
        .iter_mut()
        .flat_map(|found| &mut found.name)
        .for_each(|component| *component = utf7::decode(component));
    tree.folders.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tree)
}

impl Tree {
    /// The folders of a Maildir++.
    fn dotted(&mut self, root: &Path) -> Result<(), Failure> {
        for (name, path) in directory(root)? {
            let Some(dotted) = name.strip_prefix(b".").filter(|_| is_maildir(&path)) else { continue };
            let name: Vec<_> = dotted.split(|octet| *octet == b'.').map(<[u8]>::to_vec).collect();
            if name.iter().any(Vec::is_empty) {
                self.skipped.push((path, "its name is none of a folder"));
            } else {
                self.folders.push(Found { name, path, kind: Kind::Maildir });
            }
        }
        Ok(())
    }

    /// Directories in directories, of Maildirs and mboxes.
    fn nested(&mut self, above: &Path, name: &[Vec<u8>], depth: usize, is_within_maildir: bool) -> Result<(), Failure> {
        let is_maildir_here = is_maildir(above);
        let is_within_maildir = is_within_maildir || is_maildir_here;
        for (component, path) in directory(above)? {
            let metadata = path.symlink_metadata().at("look at", &path)?;
            let is_own = is_maildir_here && [&b"cur"[..], b"new", b"tmp"].contains(&component.as_slice());
            // Within Maildirs nothing but Maildirs is mail.
            let is_other = is_within_maildir && !metadata.is_dir();
            if is_own || is_other || is_beside(&component) {
                continue;
            }
            if metadata.is_dir() {
                let component = component.strip_suffix(b".sbd").filter(|stem| !stem.is_empty()).unwrap_or(&component);
                let name = [name, &[component.to_vec()]].concat();
                if is_maildir(&path) {
                    self.folders.push(Found { name: name.clone(), path: path.clone(), kind: Kind::Maildir });
                }
                if depth >= MAX_DEPTH {
                    self.skipped.push((path, "it lies too deep"));
                    continue;
                }
                self.nested(&path, &name, depth + 1, is_within_maildir)?;
            } else {
                self.file(&component, path, name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, component: &[u8], path: PathBuf, name: &[Vec<u8>]) -> Result<(), Failure> {
        let metadata = fs::metadata(&path);
        match metadata {
            Ok(metadata) if metadata.is_file() && (metadata.len() == 0 || begins_as_mbox(&path)?) => {
                let name = [name, &[component.to_vec()]].concat();
                self.folders.push(Found { name, path, kind: Kind::Mbox });
            }
            Ok(metadata) if metadata.is_file() => self.skipped.push((path, "it is no mbox file")),
            _ => self.skipped.push((path, "it is no file")),
        }
        Ok(())
    }
}

fn is_maildir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
        && kind(path).is_ok_and(|kind| kind == Kind::Maildir)
}

/// Whether the first line that is not blank begins as that of an mbox.
fn begins_as_mbox(path: &Path) -> Result<bool, Failure> {
    let mut front = Vec::new();
    File::open(path).at("open", path)?.take(4096).read_to_end(&mut front).at("read", path)?;
    let text = front.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&front);
    let blank = text.iter().take_while(|octet| matches!(octet, b'\n' | b'\r')).count();
    Ok(text.get(blank..).is_some_and(|text| text.starts_with(b"From ")))
}

/// Where the Maildir of a folder goes, and whether its name had to be changed.
#[must_use]
pub fn maildir_path(root: &Path, name: &[Vec<u8>], layout: Layout) -> (PathBuf, bool) {
    let name = without_inbox(name);
    let fitting: Vec<Vec<u8>> = name.iter().map(|component| fit(component, layout)).collect();
    let changed = fitting != name;
    let fitting: Vec<Vec<u8>> = fitting.iter().map(|component| utf7::encode(component)).collect();
    let path = match layout {
        _ if name.is_empty() => root.to_owned(),
        Layout::FileSystem => fitting.iter().fold(root.to_owned(), |path, component| path.join(os(component))),
        Layout::MaildirPlusPlus => {
            root.join(os(&fitting.iter().flat_map(|part| [b".", part.as_slice()].concat()).collect::<Vec<_>>()))
        }
    };
    (path, changed)
}

/// A folder called INBOX, in any case, is the root.
fn without_inbox(name: &[Vec<u8>]) -> &[Vec<u8>] {
    match name {
        [only] if only.eq_ignore_ascii_case(b"INBOX") => &[],
        name => name,
    }
}

/// A component that the layout can have.
fn fit(component: &[u8], layout: Layout) -> Vec<u8> {
    let mut component = component.to_vec();
    if layout == Layout::MaildirPlusPlus {
        component.iter_mut().filter(|octet| **octet == b'.').for_each(|octet| *octet = b'_');
    }
    if [&b"cur"[..], b"new", b"tmp"].iter().any(|own| component.eq_ignore_ascii_case(own))
        || component.starts_with(b".")
    {
        component.insert(0, b'_');
    }
    component
}

/// Where the mbox of a folder goes: `name`, or with `.sbd` behind the folders above it that are mailboxes themselves.
#[must_use]
pub fn mbox_path(root: &Path, name: &[Vec<u8>], all: &[Found]) -> (PathBuf, bool) {
    let Some((last, above)) = name.split_last() else { return (root.join("INBOX"), false) };
    let mut path = root.to_owned();
    for (depth, component) in above.iter().enumerate() {
        let is_mailbox = all.iter().any(|found| Some(found.name.as_slice()) == above.get(..=depth));
        path.push(os(&if is_mailbox { [component, &b".sbd"[..]].concat() } else { component.clone() }));
    }
    let hidden = is_beside(last);
    (path.join(os(&if hidden { [&b"_"[..], last].concat() } else { last.clone() })), hidden)
}

fn os(octets: &[u8]) -> std::ffi::OsString {
    std::ffi::OsString::from_vec(octets.to_vec())
}

/// A name as one string.
#[must_use]
pub fn shown(name: &[Vec<u8>]) -> String {
    super::octets::shown(&name.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Vec<Vec<u8>> {
        text.split('/').map(|component| component.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_folder_has_its_place_in_each_layout() {
        let root = Path::new("/r");
        let maildir = |text, layout| maildir_path(root, &name(text), layout);
        assert_eq!(maildir("lists/work", Layout::MaildirPlusPlus), ("/r/.lists.work".into(), false));
        assert_eq!(maildir("lists/work", Layout::FileSystem), ("/r/lists/work".into(), false));
        assert_eq!(maildir("Inbox", Layout::MaildirPlusPlus), ("/r".into(), false));
        assert_eq!(maildir("a.b/cur", Layout::MaildirPlusPlus), ("/r/.a_b._cur".into(), true));
        let found = |text| Found { name: name(text), path: PathBuf::new(), kind: Kind::Maildir };
        let all = [found("a"), found("a/b"), found("c/d")];
        assert_eq!(mbox_path(root, &[], &all).0, Path::new("/r/INBOX"));
        assert_eq!(mbox_path(root, &name("a/b"), &all).0, Path::new("/r/a.sbd/b"));
        assert_eq!(mbox_path(root, &name("c/d"), &all).0, Path::new("/r/c/d"));
    }
}
