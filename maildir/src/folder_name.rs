use std::fmt;

use crate::layout::Layout;
use crate::name::MAX_NAME;

/// The longest path that system calls take on Linux, with its final NUL. A name of a folder that is as long fits nowhere.
const MAX_PATH: usize = 4096;

/// The name of a folder: components, each one level below the one before. No component at all: the root, IMAP's INBOX.
///
/// Components are octets. This crate knows no encoding: what IMAP calls modified UTF-7, or UTF-8, is put on and taken off by the
/// caller. What is checked is what makes a name safe on any file system and in both layouts; [`Layout::check`] says whether a layout
/// can have it.
///
/// ```
/// use postrider_maildir::{FolderName, Layout};
///
/// let name = FolderName::new(["Archive", "2026"])?;
/// assert_eq!(name.to_string(), "Archive/2026");
/// assert!(Layout::MaildirPlusPlus.check(&name).is_ok());
/// assert!(FolderName::new(["..", "etc"]).is_err());
/// assert!(FolderName::ROOT.is_root());
/// # Ok::<(), postrider_maildir::FolderNameError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName(Vec<Box<[u8]>>);

/// Why a folder cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FolderNameError {
    /// A component must have at least one octet.
    #[error("a component of a folder's name is empty")]
    Empty,
    /// IMAP takes a folder of that name, in any case, for the root, so that none is made beside it.
    #[error("INBOX is the root and cannot be a folder below it")]
    Inbox,
    /// `/` and NUL cannot stand in a file name, and in Maildir++ the dot stands between components.
    #[error("a folder's name cannot hold the octet {0:#04x} here")]
    Octet(u8),
    /// `cur`, `new` and `tmp` hold messages.
    #[error("cur, new and tmp are not names of folders here")]
    Reserved,
    /// The root is there for good: it cannot be renamed or deleted.
    #[error("the root cannot be renamed or deleted")]
    Root,
    /// `.` and `..` are not names, and no other that begins with two dots is one of a folder: what is being deleted has such names.
    #[error("a component is `.` or begins with `..`")]
    Dots,
    /// File systems take 255 octets for one name.
    #[error("name of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// How long it is, in octets.
        len: usize,
        /// How long it may be, in octets.
        limit: usize,
    },
    /// A folder cannot move below itself.
    #[error("a folder cannot become one below itself")]
    Under,
}

impl FolderName {
    /// The root of the tree.
    pub const ROOT: Self = Self(Vec::new());

    /// Puts a name together.
    ///
    /// # Errors
    /// [`FolderNameError`] for a component that is empty, `.`, begins with `..`, holds `/` or NUL, or is longer than 255 octets, and for
    /// components that together are longer than a path of 4095 octets.
    pub fn new<C: AsRef<[u8]>>(components: impl IntoIterator<Item = C>) -> Result<Self, FolderNameError> {
        let mut name = Self::ROOT;
        let mut len = 0;
        for component in components {
            let component = component.as_ref();
            check_component(component)?;
            len += component.len() + 1;
            if len >= MAX_PATH {
                return Err(FolderNameError::TooLong { len, limit: MAX_PATH - 1 });
            }
            name.0.push(component.into());
        }
        Ok(name)
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.0.iter().map(|component| &**component)
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name one level up; none above the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    /// The folder one level below this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn child(&self, component: &[u8]) -> Result<Self, FolderNameError> {
        Self::new(self.components().chain([component]))
    }

    /// Whether this is somewhere below the other, and not the same.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// The name that this has after `from`, which it is or is below of, has become `to`.
    pub(crate) fn moved(&self, from: &Self, to: &Self) -> Result<Self, FolderNameError> {
        Self::new(to.components().chain(self.components().skip(from.0.len())))
    }

    pub(crate) fn is_inbox(&self) -> bool {
        matches!(&*self.0, [only] if only.eq_ignore_ascii_case(b"INBOX"))
    }
}

fn check_component(component: &[u8]) -> Result<(), FolderNameError> {
    match component {
        [] => return Err(FolderNameError::Empty),
        b"." | [b'.', b'.', ..] => return Err(FolderNameError::Dots),
        _ if component.len() > MAX_NAME => {
            return Err(FolderNameError::TooLong { len: component.len(), limit: MAX_NAME });
        }
        _ => {}
    }
    match component.iter().find(|&&octet| octet == b'/' || octet == 0) {
        Some(&octet) => Err(FolderNameError::Octet(octet)),
        None => Ok(()),
    }
}

/// For log lines: components with `/` between, what is not printable ASCII escaped; the root is empty.
impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        self.components().try_for_each(|component| {
            write!(f, "{between}{}", component.escape_ascii())?;
            between = "/";
            Ok(())
        })
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderName({self})")
    }
}

impl Layout {
    /// Whether a folder may have that name in this layout.
    ///
    /// # Errors
    /// Maildir++: [`FolderNameError::Octet`] for a dot within a component, [`FolderNameError::TooLong`] if all components with the dots
    /// between them exceed 255 octets. `FileSystem`: [`FolderNameError::Reserved`] for `cur`, `new` and `tmp`.
    pub fn check(self, name: &FolderName) -> Result<(), FolderNameError> {
        match self {
            Self::FileSystem => match name.components().any(is_reserved) {
                true => Err(FolderNameError::Reserved),
                false => Ok(()),
            },
            Self::MaildirPlusPlus => {
                if name.components().any(|component| component.contains(&b'.')) {
                    return Err(FolderNameError::Octet(b'.'));
                }
                let len = name.components().map(|component| component.len() + 1).sum();
                match len > MAX_NAME {
                    true => Err(FolderNameError::TooLong { len, limit: MAX_NAME }),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Whether a directory of that name holds messages. Case is folded, since some file systems fold it.
pub(crate) fn is_reserved(component: &[u8]) -> bool {
    ["cur", "new", "tmp"].iter().any(|reserved| component.eq_ignore_ascii_case(reserved.as_bytes()))
}
