use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::folder_name::FolderName;

/// How folders lie below the root of a [`Tree`](crate::Tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Each folder is a directory in its parent's: `root/Archive/2026/cur`. A directory is a mailbox when it holds `cur/`, `new/` and
    /// `tmp/`. What Dovecot calls `LAYOUT=fs`.
    FileSystem,
    /// All folders lie beside the root's own `cur/`, `new/` and `tmp/`, with a dot before each component: `root/.Archive.2026/cur`. What
    /// Courier, maildrop and Dovecot do unless told otherwise.
    MaildirPlusPlus,
}

impl Layout {
    /// The names of the directories on the way from the root to the folder.
    pub(crate) fn steps(self, name: &FolderName) -> Vec<Vec<u8>> {
        match self {
            Self::FileSystem => name.components().map(<[u8]>::to_vec).collect(),
            Self::MaildirPlusPlus if name.is_root() => Vec::new(),
            Self::MaildirPlusPlus => vec![name.components().flat_map(|component| [b".", component].concat()).collect()],
        }
    }

    pub(crate) fn path(self, root: &Path, name: &FolderName) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.steps(name).iter().map(|step| OsStr::from_bytes(step)));
        path
    }

    /// The folder that a directory in the directory of `above` stands for; nothing, if it is none.
    pub(crate) fn name_in(self, above: &FolderName, directory: &[u8]) -> Option<FolderName> {
        let name = match (self, directory) {
            (Self::FileSystem, component) => above.child(component).ok()?,
            (Self::MaildirPlusPlus, [b'.', dotted @ ..]) => {
                FolderName::new(dotted.split(|&octet| octet == b'.')).ok()?
            }
            (Self::MaildirPlusPlus, _) => return None,
        };
        self.check(&name).ok().map(|()| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_no_folders_have_no_name() {
        for odd in [".", "..", "..x", ".a..b", ".a.", "...", "a", "cur", "maildirfolder", ".\u{0}"] {
            assert_eq!(Layout::MaildirPlusPlus.name_in(&FolderName::ROOT, odd.as_bytes()), None, "{odd:?}");
        }
        for odd in [".", "..", "..x", "cur", "new", "tmp", "TMP"] {
            assert_eq!(Layout::FileSystem.name_in(&FolderName::ROOT, odd.as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn a_name_leads_to_a_directory_that_has_that_name() {
        for layout in [Layout::FileSystem, Layout::MaildirPlusPlus] {
            for name in [&["A"][..], &["INBOX"], &["Entw&APw-rfe", "b c"], &["a", "b", "c"], &["\u{e4}\n"]] {
                let name = FolderName::new(name).unwrap();
                let back = layout
                    .steps(&name)
                    .iter()
                    .fold(FolderName::ROOT, |above, step| layout.name_in(&above, step).unwrap());
                assert_eq!(back, name);
            }
        }
    }
}
