//! Dovecot and this crate number the messages of one Maildir in turn, and agree.
//!
//! Dovecot does not work for the superuser. There, it and our example program run as `nobody`.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const LDA: &str = "/usr/lib/dovecot/dovecot-lda";
const NOBODY: &str = "65534";

struct Site {
    root: tempfile::TempDir,
}

impl Site {
    /// `None` where Dovecot is missing.
    fn new() -> Option<Self> {
        if !Path::new(LDA).is_file() || Command::new("doveadm").arg("--help").output().is_err() {
            println!("left out: no Dovecot here");
            return None;
        }
        let site = Self { root: tempfile::tempdir().unwrap() };
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(site.maildir().join(name)).unwrap();
        }
        let home = site.root.path().display();
        let configuration = format!(
            "mail_location=maildir:%h/Maildir\nlog_path={home}/log\nbase_dir={home}/run\nstate_dir={home}/run\nssl=no\n\
             first_valid_uid=1\n"
        );
        fs::write(site.root.path().join("conf"), configuration).unwrap();
        fs::copy(example(), site.root.path().join("uids")).unwrap();
        site.hand_over();
        Some(site)
    }

    fn maildir(&self) -> PathBuf {
        self.root.path().join("Maildir")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.maildir().join(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.maildir().join(name), content).unwrap();
        self.hand_over();
    }

    /// What the superuser made belongs to `nobody`.
    fn hand_over(&self) {
        if is_superuser() {
            let owner = format!("{NOBODY}:{NOBODY}");
            assert!(Command::new("chown").args(["-R", &owner]).arg(self.root.path()).status().unwrap().success());
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(if is_superuser() { "setpriv".as_ref() } else { program.as_ref() });
        if is_superuser() {
            let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
            command.args(user).arg(program.as_ref());
        }
        command.env("HOME", self.root.path()).env("USER", "u").current_dir(self.root.path());
        command
    }

    fn deliver_by_dovecot(&self, subject: &str) {
        let mut command = self.command(LDA);
        command.args(["-c", "conf", "-o", "postmaster_address=p@x", "-f", "a@b"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        write!(child.stdin.take().unwrap(), "Subject: {subject}\n\nhello\n").unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    fn deliver_by_us(&self, subject: &str) {
        let maildir = postrider_maildir::Maildir::open(self.maildir()).unwrap();
        let mut delivery = maildir.delivery().unwrap();
        write!(delivery, "Subject: {subject}\n\nhello\n").unwrap();
        delivery.commit().unwrap();
        self.hand_over();
    }

    fn doveadm(&self, arguments: &[&str]) -> String {
        text(&self.command("doveadm").args(["-c", "conf"]).args(arguments).output().unwrap())
    }

    /// By base name, as Dovecot, which reads the list, says.
    fn by_dovecot(&self) -> BTreeMap<String, u32> {
        let said = self.doveadm(&["-f", "tab", "fetch", "uid guid", "mailbox", "INBOX", "all"]);
        let pairs = said.lines().skip(1).filter_map(|line| line.split_once('\t'));
        pairs.map(|(uid, name)| (name.to_owned(), uid.parse().unwrap())).collect()
    }

    /// By base name, as the example program says.
    fn by_us(&self) -> BTreeMap<String, u32> {
        let said = text(&self.command(self.root.path().join("uids")).arg(self.maildir()).output().unwrap());
        let pairs = said.lines().skip(1).filter_map(|line| line.split_once(' '));
        pairs.map(|(uid, name)| (name.to_owned(), uid.parse().unwrap())).collect()
    }

    fn validity(&self) -> String {
        self.file("dovecot-uidlist").split(' ').nth(1).unwrap().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    fn assert_no_complaint(&self) {
        let log = self.log();
        assert!(log.lines().all(|line| line.contains(": Info: ")), "{log}");
        assert!(!self.maildir().join("dovecot-uidlist.lock").exists());
    }
}

fn example() -> PathBuf {
    let beside = std::env::current_exe().unwrap();
    beside.parent().unwrap().parent().unwrap().join("examples/uids")
}

fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn uids_are_the_same_on_both_sides_after_deliveries_by_both() {
    let Some(site) = Site::new() else { return };
    for round in 0..6 {
        site.deliver_by_dovecot("by dovecot-lda");
        site.deliver_by_us("by us");
        site.deliver_by_us("by us again");
        // Whoever looks first gives the UIDs.
        let (first, second) =
            if round % 2 == 0 { (site.by_us(), site.by_dovecot()) } else { (site.by_dovecot(), site.by_us()) };
        assert_eq!(first, second);
        assert_eq!(first.len(), 3 * (round + 1));
    }
    let uids: Vec<_> = site.by_us().into_values().collect();
    assert_eq!(uids.iter().max(), Some(&18), "no UID was given twice or left out");
    site.assert_no_complaint();
}

#[test]
fn uidvalidity_guid_and_unknown_letters_stay_whoever_writes() {
    let Some(site) = Site::new() else { return };
    site.write(
        "dovecot-uidlist",
        "3 V1275660208 N7 G0123456789abcdef0123456789abcdef P%v.%u\n3 Pold-uidl Zz :1.a.h\n6 :2.b.h\n",
    );
    ["1.a.h:2,S", "2.b.h:2,"].iter().for_each(|name| site.write(&format!("cur/{name}"), "Subject: x\n\n"));
    for _ in 0..3 {
        site.deliver_by_us("by us");
        assert_eq!(site.by_us(), site.by_dovecot());
        site.deliver_by_dovecot("by dovecot-lda");
        assert_eq!(site.by_dovecot(), site.by_us());
    }
    let list = site.file("dovecot-uidlist");
    assert!(list.starts_with("3 V1275660208 N"), "{list}");
    assert!(list.contains("G0123456789abcdef0123456789abcdef P%v.%u\n3 Pold-uidl Zz :1.a.h\n6 :2.b.h\n7 :"), "{list}");
    assert_eq!(site.doveadm(&["fetch", "pop3.uidl", "mailbox", "INBOX", "uid", "3"]).trim(), "pop3.uidl: old-uidl");
    site.assert_no_complaint();
}

#[test]
fn dovecot_goes_on_with_a_list_we_began_and_we_with_one_it_rewrote() {
    let Some(site) = Site::new() else { return };
    (0..8).for_each(|_| site.deliver_by_us("by us"));
    let before = site.by_us();
    let validity = site.validity();
    assert_eq!(site.by_dovecot(), before);
    site.doveadm(&["expunge", "mailbox", "INBOX", "uid", "1:4"]);
    site.deliver_by_dovecot("makes it rewrite the list");
    let after = site.by_dovecot();
    assert_eq!(after, site.by_us().into_iter().filter(|(_, uid)| *uid > 4).collect());
    assert!(after.iter().all(|(name, uid)| before.get(name).is_none_or(|old| old == uid)));
    assert_eq!((site.validity(), after.values().copied().max()), (validity, Some(9)));
    site.assert_no_complaint();
}

#[test]
fn keywords_that_either_side_adds_have_the_same_letters_on_both() {
    let Some(site) = Site::new() else { return };
    site.deliver_by_dovecot("one");
    let uids = |keyword: &str| {
        text(&site.command(site.root.path().join("uids")).arg(site.maildir()).arg(keyword).output().unwrap())
    };
    assert!(uids("$Forwarded").starts_with("a $Forwarded\n"));
    site.doveadm(&["flags", "add", "$Forwarded work", "mailbox", "INBOX", "uid", "1"]);
    assert_eq!(site.file("dovecot-keywords"), "0 $Forwarded\n1 work\n");
    assert!(uids("WORK").starts_with("b WORK\n"));
    assert!(uids("later").starts_with("c later\n"));
    let name =
        fs::read_dir(site.maildir().join("new")).unwrap().chain(fs::read_dir(site.maildir().join("cur")).unwrap());
    let name = name.map(|entry| entry.unwrap().path()).next().unwrap();
    let with_c = format!("{}c", name.display());
    fs::rename(&name, with_c).unwrap();
    let flags = site.doveadm(&["fetch", "flags", "mailbox", "INBOX", "uid", "1"]);
    assert!(["$Forwarded", "work", "later"].iter().all(|keyword| flags.contains(keyword)), "{flags}");
    site.assert_no_complaint();
}

#[test]
fn uidvalidity_is_drawn_from_the_same_place() {
    let Some(site) = Site::new() else { return };
    site.deliver_by_dovecot("one");
    let drawn: u32 = site.validity().trim_start_matches('V').parse().unwrap();
    fs::remove_file(site.maildir().join("dovecot-uidlist")).unwrap();
    site.by_us();
    assert_eq!(site.validity(), format!("V{}", drawn + 1));
    site.doveadm(&["mailbox", "create", "folder"]);
    site.doveadm(&["mailbox", "status", "uidvalidity", "folder"]);
    let folder = fs::read_to_string(site.maildir().join(".folder/dovecot-uidlist")).unwrap();
    assert!(folder.starts_with(&format!("3 V{} ", drawn + 2)), "{folder}");
}

#[test]
fn dovecot_delivers_and_numbers_while_we_number() {
    let Some(site) = Site::new() else { return };
    std::thread::scope(|scope| {
        let dovecot = scope.spawn(|| (0..30).for_each(|_| site.deliver_by_dovecot("at the same time")));
        let mut given = BTreeMap::<String, u32>::new();
        while !dovecot.is_finished() {
            for (name, uid) in site.by_us() {
                assert_eq!(*given.entry(name).or_insert(uid), uid, "a UID changed");
            }
        }
    });
    let (ours, theirs) = (site.by_us(), site.by_dovecot());
    assert_eq!(ours, theirs);
    assert_eq!(ours.into_values().collect::<std::collections::BTreeSet<_>>(), (1..=30).collect());
    site.assert_no_complaint();
}
