//! What others change, as they change it.

#[cfg(target_os = "linux")]
mod inotify;
mod polling;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::folders::Tree;
use crate::maildir::{Directory, Maildir};
use crate::name::Name;
use crate::watch::polling::Polling;

/// How often directories are looked at where the system reports no changes.
#[cfg(not(target_os = "linux"))]
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches any number of Maildirs and trees for what others change.
///
/// On Linux the kernel reports each change (inotify: three watches for a Maildir, one and more for a tree). Elsewhere, or where the caller
/// says so, the times of the directories are looked at, and what changed is found by listing.
///
/// 1. Add a Maildir, *then* list it. What changes in between is in the listing, in the reports, or in both.
/// 2. A report says what is true of a message now, by its base name: [`What::Present`] under that name, or [`What::Absent`]. Whether that is
///    news is for the caller to see from what it knows. Changes of one message between two calls make one report.
/// 3. After [`What::Rescan`], list again: the kernel dropped reports because too many were waiting, or there is only polling.
/// 4. What the caller changes itself is reported as well, unless it says so by [`own`](Self::own) after the change and before the next
///    [`wait`](Self::wait). That is safe beside others who change the same message: left out is only a report of what the caller has said,
///    never one of anything else.
///
/// No reports come of what other machines do on a network file system; look at those from time to time in any case. Nor of a directory
/// above the Maildir being renamed.
///
/// ```
/// use postrider_maildir::{Maildir, Watch, What};
/// use std::time::Duration;
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("Maildir");
/// let maildir = Maildir::create(path)?;
/// let mut watch = Watch::new()?;
/// let watched = watch.add(&maildir)?;
/// let listing = maildir.list()?;
/// assert!(listing.is_empty());
///
/// let delivered = maildir.delivery()?.commit()?; // by somebody else, say
/// let mine = maildir.delivery()?.commit()?;
/// watch.own(watched, mine.name(), mine.directory());
/// for change in watch.wait(Some(Duration::from_secs(10)))? {
///     match change.what {
///         What::Present { name, .. } => assert_eq!(name, *delivered.name()),
///         What::Rescan => drop(maildir.list()?),
///         other => panic!("{other:?}"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    backend: Backend,
    added: u64,
}

#[derive(Debug)]
enum Backend {
    #[cfg(target_os = "linux")]
    Inotify(inotify::Inotify),
    Polling(Polling),
}

/// A Maildir or tree that was added to a [`Watch`]. Not used again by the same watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watched(u64);

/// What somebody changed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What [`Watch::add`] or [`Watch::add_tree`] returned.
    pub watched: Watched,
    /// What is true there now.
    pub what: What,
}

/// What a [`Change`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A message is not in the Maildir any more.
    ///
    /// (Programs that rename by a second link and the removal of the first are rare. If the kernel reports the two far apart, this comes
    /// for a message that is there.)
    Absent {
        /// Its base name.
        base: Vec<u8>,
    },
    /// Folders of the tree were made, renamed or deleted, or became selectable: list them.
    Folders,
    /// The Maildir or tree was removed, moved, unmounted or cannot be watched any more. Nothing more comes of it.
    Lost,
    /// A message is in the Maildir, under that name: it came, or its flags changed, or it was moved to `cur/`.
    Present {
        /// The name of the file.
        name: Name<'static>,
        /// Where it is.
        directory: Directory,
    },
    /// Anything may have changed: list the messages.
    Rescan,
}

/// Where a message is, if anywhere.
type Whereabouts = Option<(Name<'static>, Directory)>;

impl Watch {
    /// Watches nothing yet. On Linux with inotify, elsewhere by polling every two seconds.
    ///
    /// # Errors
    /// [`Error::Io`] with [`is_watch_limit`](Error::is_watch_limit) if the user has as many as the system allows.
    #[cfg(target_os = "linux")]
    pub fn new() -> Result<Self, Error> {
        Ok(Self { backend: Backend::Inotify(inotify::Inotify::new()?), added: 0 })
    }

    /// Watches nothing yet. On Linux with inotify, elsewhere by polling every two seconds.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> Result<Self, Error> {
        Ok(Self::polling(INTERVAL))
    }

    /// Watches by looking at the times of the directories, so often: for network file systems, and where the limit of watches is reached.
    /// It costs two `stat` calls for each Maildir and a listing of each tree. Messages are not named: all reports are [`What::Rescan`],
    /// [`What::Folders`] and [`What::Lost`]. After a change within the resolution of the file system's clock a second report follows.
    #[must_use]
    pub fn polling(interval: Duration) -> Self {
        Self { backend: Backend::Polling(Polling::new(interval)), added: 0 }
    }

    /// Begins to watch a Maildir.
    ///
    /// # Errors
    /// [`Error::Io`], with [`is_watch_limit`](Error::is_watch_limit) if no more can be watched; the others still are.
    pub fn add(&mut self, maildir: &Maildir) -> Result<Watched, Error> {
        let watched = self.next();
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => inotify.add(watched, maildir)?,
            Backend::Polling(polling) => polling.add(watched, maildir)?,
        }
        Ok(watched)
    }

    /// Begins to watch which folders a tree has. Their messages are not watched.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_tree(&mut self, tree: &Tree) -> Result<Watched, Error> {
        let watched = self.next();
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => inotify.add_tree(watched, tree)?,
            Backend::Polling(polling) => polling.add_tree(watched, tree)?,
        }
        Ok(watched)
    }

    fn next(&mut self) -> Watched {
        self.added += 1;
        Watched(self.added)
    }

    /// Ends watching. What was reported of it and not fetched is dropped.
    pub fn remove(&mut self, watched: Watched) {
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => inotify.remove(watched),
            Backend::Polling(polling) => polling.remove(watched),
        }
    }

    /// Says that the caller has just delivered a message, or changed its flags, and knows that it has this name: if that is still so when
    /// the reports are fetched, there is none of it. Polling ignores it.
    ///
    /// The name comes from [`Delivered`](crate::Delivered) or, after the change, from [`Message`](crate::Message).
    pub fn own(&mut self, watched: Watched, name: &Name<'_>, directory: Directory) {
        self.knows(watched, name, Some((name.clone().into_owned(), directory)));
    }

    /// Says that the caller has just removed a message. As [`own`](Self::own).
    pub fn own_removal(&mut self, watched: Watched, name: &Name<'_>) {
        self.knows(watched, name, None);
    }

    fn knows(&mut self, watched: Watched, name: &Name<'_>, whereabouts: Whereabouts) {
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => inotify.knows(watched, name, whereabouts),
            // What is known of a message says nothing of a directory's time.
            Backend::Polling(_) => {}
        }
    }

    /// Waits until something has changed, or for `timeout` (without one, for ever), and returns what; nothing when the time is up. With a
    /// timeout of zero it returns what there is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<Change>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => inotify.wait(deadline),
            Backend::Polling(polling) => polling.wait(deadline),
        }
    }

    /// A descriptor that is readable when there is something to fetch with a [`wait`](Self::wait) of zero, for the caller's own `poll`,
    /// `epoll` or runtime. Where this polls there is none.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Inotify(inotify) => Some(inotify.descriptor()),
            Backend::Polling(_) => None,
        }
    }
}
