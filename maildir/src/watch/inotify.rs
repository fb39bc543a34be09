use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::error::{Error, Operation};
use crate::folders::{FolderState, Tree};
use crate::layout::Layout;
use crate::maildir::{Directory, Maildir};
use crate::name::Name;
use crate::watch::{Change, Watched, What, Whereabouts};

/// Some thousand events with names of common length.
const BUFFER: usize = 64 * 1024;

/// So many events make one batch, however quickly others make more: two full queues of the kernel's default size.
const MAX_EVENTS: usize = 32 * 1024;

/// The two events of a rename are not made at once, and who renames may be interrupted in between. For so long the second is waited for;
/// only messages that are moved elsewhere are reported so much later.
const PAIRING: Duration = Duration::from_millis(100);

/// The kernel's reports, and what each watch is for.
#[derive(Debug)]
pub(super) struct Inotify {
    descriptor: OwnedFd,
    /// One directory may be watched for several reasons.
    roles: HashMap<i32, Vec<(Watched, Role)>>,
    subjects: BTreeMap<Watched, Subject>,
    /// What the caller says it knows, until the reports of its own changes have been read.
    known: HashMap<(Watched, Vec<u8>), Whereabouts>,
    buffer: Vec<MaybeUninit<u8>>,
}

#[derive(Debug)]
enum Subject {
    Messages,
    Folders(Tree),
}

/// What a directory is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Directories made, renamed or deleted in it.
    Folder,
    /// Messages in it.
    Messages(Directory),
    /// Whether it stays where it is.
    Root,
    /// Both the first and the last.
    TreeRoot,
}

impl Role {
    fn flags(self) -> WatchFlags {
        let stays = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        match self {
            Self::Root => stays,
            Self::Folder | Self::Messages(_) | Self::TreeRoot => stays | names,
        }
    }
}

/// What a batch of events comes down to.
#[derive(Debug, Default)]
struct Batch {
    messages: BTreeMap<(Watched, Vec<u8>), Whereabouts>,
    folders: BTreeSet<Watched>,
    lost: BTreeSet<Watched>,
    overflowed: bool,
    /// Renames of which only the first event was read.
    unpaired: HashSet<u32>,
}

impl Inotify {
    pub(super) fn new() -> Result<Self, Error> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| Error::io(Operation::Watch, Path::new(""), errno))?;
        let buffer = vec![MaybeUninit::uninit(); BUFFER];
        let (roles, subjects, known) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Ok(Self { descriptor, roles, subjects, known, buffer })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn add(&mut self, watched: Watched, maildir: &Maildir) -> Result<(), Error> {
        self.subjects.insert(watched, Subject::Messages);
        let [new, cur] =
            [Directory::New, Directory::Cur].map(|directory| (maildir.directory(directory), Role::Messages(directory)));
        let mut all = [(maildir.path(), Role::Root), new, cur].into_iter();
        self.all_or_nothing(watched, |inotify| all.try_for_each(|(path, role)| inotify.watch(watched, path, role)))
    }

    pub(super) fn add_tree(&mut self, watched: Watched, tree: &Tree) -> Result<(), Error> {
        self.subjects.insert(watched, Subject::Folders(tree.clone()));
        self.all_or_nothing(watched, |inotify| {
            inotify.watch(watched, tree.path(), Role::TreeRoot)?;
            inotify.watch_folders(watched, tree)
        })
    }

    fn all_or_nothing(
        &mut self,
        watched: Watched,
        add: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let added = add(self);
        if added.is_err() {
            self.remove(watched);
        }
        added
    }

    /// Nested folders each, and those in Maildir++ that somebody may be about to complete.
    fn watch_folders(&mut self, watched: Watched, tree: &Tree) -> Result<(), Error> {
        let wanted = |state: FolderState| match tree.layout() {
            Layout::FileSystem => true,
            Layout::MaildirPlusPlus => state == FolderState::NotSelectable,
        };
        for folder in tree.list()?.iter().filter(|folder| wanted(folder.state) && !folder.name.is_root()) {
            match self.watch(watched, &tree.path_of(&folder.name), Role::Folder) {
                // Gone already; its parent reports it.
                Err(error) if error.is_missing() => {}
                watched => watched?,
            }
        }
        Ok(())
    }

    fn watch(&mut self, watched: Watched, path: &Path, role: Role) -> Result<(), Error> {
        let flags = role.flags() | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        let number = inotify::add_watch(&self.descriptor, path, flags)
            .map_err(|errno| Error::io(Operation::Watch, path, errno))?;
        let roles = self.roles.entry(number).or_default();
        if !roles.contains(&(watched, role)) {
            roles.push((watched, role));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, watched: Watched) {
        let Self { descriptor, roles, subjects, known, .. } = self;
        subjects.remove(&watched);
        known.retain(|(of, _), _| *of != watched);
        roles.retain(|&number, roles| {
            let before = roles.len();
            roles.retain(|(of, _)| *of != watched);
            if roles.is_empty() && before > 0 {
                // The kernel may have removed it with its directory.
                let _ = inotify::remove_watch(&*descriptor, number);
            }
            !roles.is_empty()
        });
    }

    pub(super) fn knows(&mut self, watched: Watched, name: &Name<'_>, whereabouts: Whereabouts) {
        if self.subjects.contains_key(&watched) {
            self.known.insert((watched, name.base().to_vec()), whereabouts);
        }
    }

    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<Vec<Change>, Error> {
        loop {
            let changes = self.fetch()?;
            if !changes.is_empty() || !self.is_readable_before(deadline)? {
                return Ok(changes);
            }
        }
    }

    /// Everything that the kernel has to report.
    fn fetch(&mut self) -> Result<Vec<Change>, Error> {
        let mut batch = Batch::default();
        let mut all = self.read(&mut batch)?;
        let began = Instant::now();
        while !batch.unpaired.is_empty() && began.elapsed() < PAIRING {
            if self.is_readable_before(began.checked_add(PAIRING))? {
                all = self.read(&mut batch)?;
            }
        }
        let changes = self.report(batch);
        if all {
            // A change is reported before its system call returns: there is nothing left that the caller could know of.
            self.known.clear();
        }
        Ok(changes)
    }

    /// Whether all there was has been read.
    fn read(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let Self { descriptor, roles, buffer, .. } = self;
        let mut reader = Reader::new(&*descriptor, buffer);
        for read in 0.. {
            if read >= MAX_EVENTS && reader.is_buffer_empty() {
                break;
            }
            match reader.next() {
                Ok(event) => batch.note(&event, roles),
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io(Operation::Watch, Path::new(""), errno)),
            }
        }
        Ok(false)
    }

    fn is_readable_before(&self, deadline: Option<Instant>) -> Result<bool, Error> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Years are as good as for ever.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], left.as_ref()) {
                Err(Errno::INTR) => {}
                polled => return Ok(polled.map_err(|errno| Error::io(Operation::Watch, Path::new(""), errno))? > 0),
            }
        }
    }

    fn report(&mut self, mut batch: Batch) -> Vec<Change> {
        let mut changes = BTreeSet::new();
        for &watched in &batch.folders {
            let Some(Subject::Folders(tree)) = self.subjects.get(&watched) else { continue };
            let tree = tree.clone();
            // Before the caller lists them: what is made later in a new one is reported.
            if self.watch_folders(watched, &tree).is_err() {
                batch.lost.insert(watched);
            }
        }
        let mut changes_of_messages = Vec::new();
        if batch.overflowed {
            let all = self.subjects.iter();
            changes.extend(all.map(|(&watched, subject)| (watched, matches!(subject, Subject::Folders(_)))));
        } else {
            changes.extend(batch.folders.iter().map(|&watched| (watched, true)));
            changes_of_messages = self.news(batch.messages);
        }
        let lost = |watched: &Watched| batch.lost.contains(watched);
        let what = |folders| if folders { What::Folders } else { What::Rescan };
        let summary = changes.into_iter().map(|(watched, folders)| Change { watched, what: what(folders) });
        let mut changes: Vec<_> = summary.chain(changes_of_messages).filter(|change| !lost(&change.watched)).collect();
        let still_known = batch.lost.iter().filter(|watched| self.subjects.contains_key(watched));
        changes.extend(still_known.map(|&watched| Change { watched, what: What::Lost }));
        batch.lost.iter().for_each(|&watched| self.remove(watched));
        changes
    }

    /// What the caller does not know yet.
    fn news(&self, messages: BTreeMap<(Watched, Vec<u8>), Whereabouts>) -> Vec<Change> {
        let unknown = messages.into_iter().filter(|(key, now)| self.known.get(key) != Some(now));
        let change = |((watched, base), now): ((Watched, Vec<u8>), Whereabouts)| match now {
            Some((name, directory)) => Change { watched, what: What::Present { name, directory } },
            None => Change { watched, what: What::Absent { base } },
        };
        unknown.map(change).collect()
    }
}

impl Batch {
    fn note(&mut self, event: &Event<'_>, roles: &HashMap<i32, Vec<(Watched, Role)>>) {
        let events = event.events();
        self.overflowed |= events.contains(ReadFlags::QUEUE_OVERFLOW);
        // A watch that was removed has no roles, and may still have events.
        for &(watched, role) in roles.get(&event.wd()).into_iter().flatten() {
            let name = event.file_name().map(|name| name.to_bytes());
            match (role, name) {
                (Role::Messages(directory), Some(name)) if !events.contains(ReadFlags::ISDIR) => {
                    self.note_message(watched, directory, name, event);
                }
                (Role::Folder | Role::TreeRoot, Some(name)) => {
                    // What is being deleted is no folder.
                    if events.contains(ReadFlags::ISDIR) && !name.starts_with(b"..") {
                        self.folders.insert(watched);
                    }
                }
                (_, Some(_)) => {}
                (Role::Folder, None) => drop(self.folders.insert(watched)),
                (Role::Messages(_) | Role::Root | Role::TreeRoot, None) => drop(self.lost.insert(watched)),
            }
        }
    }

    fn note_message(&mut self, watched: Watched, directory: Directory, octets: &[u8], event: &Event<'_>) {
        let events = event.events();
        if events.contains(ReadFlags::MOVED_FROM) {
            self.unpaired.insert(event.cookie());
        } else if events.contains(ReadFlags::MOVED_TO) {
            self.unpaired.remove(&event.cookie());
        }
        let Ok(name) = Name::parse(octets) else { return };
        let here = self.messages.entry((watched, name.base().to_vec()));
        if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            here.insert_entry(Some((name.into_owned(), directory)));
            return;
        }
        // A message that has got a second name meanwhile loses only the first.
        here.and_modify(|now| drop(now.take_if(|(last, at)| *at == directory && last.octets() == octets)))
            .or_insert(None);
    }
}
