"""Mailboxes that other programs write, read by `mailconv`; and what it writes, read by them. What is not installed is left out."""

import atexit
import json
import mailbox
import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path

from harness import MAILSERVER, check, in_terminal, program, suite

MAILCONV = os.environ.get("MAILCONV") or str(Path(MAILSERVER).parent / "mailconv")
# What mail programs add to a message in a mailbox.
THEIRS = re.compile(rb"^(Status|X-Status|X-Keywords|X-UID|X-IMAPbase|X-IMAP|Content-Length|Lines|Delivered-To|Return-Path|X-Mailconv[^:]*): ?[^\n]*\n(?:[ \t][^\n]*\n)*", re.M)

HEADER = b"From: Me <me@example.org>\nTo: anna@localhost\nDate: Tue, 3 Feb 2026 10:20:%02d +0000\nMessage-ID: <%d@example.org>\nSubject: %s\n\n"
BODIES = {
    "plain": b"Hello.\n",
    "separators": b"From me\n\nFrom anna@example.org Thu Jan  1 00:00:00 1970\n\nFrom there\n",
    "a mailbox within": b"\nFrom anna@example.org Thu Jan  1 00:00:00 1970\nSubject: forwarded\nTo: x@example.org\n\nText.\n",
    "8-bit and dots": b".\n..\ngr\xc3\xbc\xc3\x9fe \xff\xfe\n.\n",
    "blanks at the end": b"text \n\n\n",
    "many lines": b"".join(b"line %d\n" % number for number in range(3000)),
    "a length that lies": b"text\nContent-Length: 3\n\ntext\n",
}
MESSAGES = [HEADER % (number, number, name.encode()) + body for number, (name, body) in enumerate(BODIES.items())]

FOLDER = Path(tempfile.mkdtemp(prefix="formats."))


def own(octets):
    header, blank, body = octets.partition(b"\n\n")
    return THEIRS.sub(b"", header + b"\n") + blank[1:] + body


def installed(*programs):
    return all(shutil.which(name) for name in programs)


def read(path, *options):
    """The messages that `mailconv` finds in an mbox file, and what it says of them."""
    pieces = FOLDER / "pieces"
    shutil.rmtree(pieces, ignore_errors=True)
    status, said = program(MAILCONV, "split", *options, path, pieces)
    assert status == 0, (status, said)
    listed = [json.loads(line) for line in program(MAILCONV, "list", *options, path)[1].splitlines()]
    return [file.read_bytes() for file in sorted(pieces.iterdir())], listed


def compare(name, found, expected, listed=()):
    found, expected = [own(octets) for octets in found], [own(octets) for octets in expected]
    differing = [(one[:300], other[:300]) for one, other in zip(found, expected) if one != other]
    said = {(entry["dialect"], entry["certainty"]) for entry in listed}
    check(f"{name}: {len(found)} messages are what they were", found == expected, (len(found), len(expected), differing[:1], said))


def deliver(*command):
    for octets in MESSAGES:
        status, said = program(*command, stdin=octets, environment={"HOME": str(FOLDER), "LOGNAME": "root", "SENDER": "a@b"})
        assert status == 0, (command, status, said)


def mbox_by_procmail(_):
    if not installed("procmail"):
        return
    path, rc = FOLDER / "procmail.mbox", FOLDER / "procmailrc"
    rc.write_text(f":0:\n{path}\n")
    rc.chmod(0o600)
    deliver("procmail", "-f", "a@b", rc)
    found, listed = read(path)
    # It takes a blank line at the end of a message for the one that parts it from the next.
    compare("mbox by procmail", found, [re.sub(rb"\n\n\Z", b"\n", octets) for octets in MESSAGES], listed)


def mbox_by_maildrop(_):
    if not installed("maildrop"):
        return
    path, rc = FOLDER / "maildrop.mbox", FOLDER / "mailfilter"
    rc.write_text(f'to "{path}"\n')
    rc.chmod(0o600)
    deliver("maildrop", "-f", "a@b", rc)
    found, listed = read(path)
    compare("mbox by maildrop", found, MESSAGES, listed)


def mbox_by_python(_):
    path = FOLDER / "python.mbox"
    box = mailbox.mbox(path)
    for octets in MESSAGES:
        box.add(octets)
    box.close()
    found, listed = read(path)
    compare("mbox by Python", found, MESSAGES, listed)


def source():
    path = FOLDER / "source"
    if not path.exists():
        box = mailbox.Maildir(path, create=True)
        for number, octets in enumerate(MESSAGES):
            name = f"17000000{number:02}.M{number}P1.here:2,{'S' if number % 2 else ''}{'T' if number == 99 else ''}"
            (path / "cur" / name).write_bytes(octets)
        del box
    return path


def mbox_by_mutt(_):
    for name in ("mutt", "neomutt"):
        if not installed(name):
            continue
        path, rc = FOLDER / f"{name}.mbox", FOLDER / "muttrc"
        rc.write_text("set mbox_type=mbox sort=mailbox-order confirmappend=no confirmcreate=no quit=yes move=no\n"
                      f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{path}<enter><exit>"\n')
        status, said = in_terminal(name, "-n", "-F", rc, "-R", "-f", source())
        found, listed = read(path)
        compare(f"mbox by {name}", sorted(found, key=own), sorted(MESSAGES, key=own), listed)
        check(f"mbox by {name}: its dialect is known", {entry["dialect"] for entry in listed} == {"mboxcl2"}, listed[:1])


def mbox_by_mailutils(_):
    if not installed("movemail"):
        return
    path = FOLDER / "mailutils.mbox"
    copy = FOLDER / "copy"
    shutil.copytree(source(), copy)
    status, said = program("movemail", f"maildir://{copy}", path)
    if status != 0:
        raise AssertionError((status, said))
    found, listed = read(path)
    compare("mbox by mailutils", sorted(found, key=own), sorted(MESSAGES, key=own), listed)


def counts_of_others(path):
    """How many messages other programs find in an mbox file."""
    found = {"python": len(mailbox.mbox(path, create=False))}
    if installed("formail"):
        found["formail"] = program("formail", "-s", "sh", "-c", "cat >/dev/null; echo x", stdin=path.read_bytes())[1].count(b"x")
    if installed("git"):
        out = FOLDER / "mailsplit"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        program("git", "mailsplit", "--mboxrd", f"-o{out}", path)
        found["git mailsplit"] = len(list(out.iterdir()))
    if installed("messages.mailutils"):
        found["mailutils"] = int(re.search(rb"(\d+)", program("messages.mailutils", "-q", path)[1])[1])
    return found


def written_for_others(_):
    for dialect in ("mboxo", "mboxrd", "mboxcl"):
        path = FOLDER / f"ours.{dialect}"
        status, said = program(MAILCONV, "convert", "--quiet", "--dialect", dialect, source(), path)
        assert status in (0, 65), (status, said)
        counts = counts_of_others(path)
        check(f"{dialect} by mailconv: {', '.join(counts)} find {len(MESSAGES)} messages", set(counts.values()) == {len(MESSAGES)}, counts)
    path = FOLDER / "ours.mboxcl2"
    status, said = program(MAILCONV, "convert", "--quiet", "--dialect", "mboxcl2", source(), path)
    assert status == 0, (status, said)
    for name in ("mutt", "neomutt"):
        if not installed(name):
            continue
        copies, rc = FOLDER / f"{name}.copies", FOLDER / "muttrc"
        rc.write_text("set mbox_type=Maildir sort=mailbox-order confirmappend=no confirmcreate=no quit=yes move=no\n"
                      f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{copies}<enter><exit>"\n')
        in_terminal(name, "-n", "-F", rc, "-R", "-f", path)
        found = [file.read_bytes() for file in copies.rglob("*") if file.is_file()]
        compare(f"mboxcl2 by mailconv, read by {name}", sorted(found, key=own), sorted(MESSAGES, key=own))


def back_and_forth(_):
    for dialect in ("mboxrd", "mboxcl2"):
        there, back = FOLDER / f"there.{dialect}", FOLDER / f"back.{dialect}"
        for words in ([source(), there], [there, back]):
            status, said = program(MAILCONV, "convert", "--quiet", "--dialect", dialect, *words) if words[1] == there else program(MAILCONV, "convert", "--quiet", *words)
            assert status == 0, (status, said)
        files = sorted((back / "cur").iterdir()) + sorted((back / "new").iterdir())
        found = sorted(file.read_bytes() for file in files)
        check(f"Maildir, {dialect}, Maildir: octet for octet", found == sorted(MESSAGES), len(found))
        seen = sum(":2," in file.name and "S" in file.name.split(":2,")[1] for file in files)
        check(f"Maildir, {dialect}, Maildir: marks are kept", seen == sum(number % 2 for number in range(len(MESSAGES))), seen)


def maildir_by_others(_):
    """Each program delivers to a Maildir of its own."""
    for name in ("procmail", "maildrop"):
        if not installed(name):
            continue
        path, rc = FOLDER / f"{name}.maildir", FOLDER / f"{name}.rc"
        for folder in ("tmp", "new", "cur"):
            (path / folder).mkdir(parents=True)
        rc.write_text(f":0\n{path}/\n" if name == "procmail" else f'to "{path}"\n')
        rc.chmod(0o600)
        deliver(name, "-f", "a@b", rc)
        target = FOLDER / f"{name}.converted"
        status, said = program(MAILCONV, "convert", "--quiet", "--dialect", "mboxcl2", path, target)
        found, listed = read(target)
        compare(f"Maildir by {name}", sorted(found, key=own), sorted(MESSAGES, key=own), listed)


def dovecot(home, location, *words):
    config = home / "dovecot.conf"
    config.write_text(f"mail_location = {location}\nlog_path = {home}/dovecot.log\nmail_privileged_group =\nbase_dir = {home}/run\n")
    command = ["doveadm", "-c", config, *words]
    if os.getuid() == 0:
        # It serves nobody as root.
        nobody = pwd.getpwnam("nobody")
        FOLDER.chmod(0o755)
        for path in (home, *home.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        command = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]
    status, said = program(*command, environment={"HOME": str(home), "USER": "nobody"})
    if status != 0:
        raise AssertionError((status, said))
    return said


def dovecot_keeps_its_uids(_):
    """An mbox of Dovecot's becomes a Maildir, and that an mbox again: Dovecot finds the same UIDs, marks and keywords in each."""
    if not installed("doveadm", "setpriv"):
        return
    home = FOLDER / "home"
    home.mkdir()
    status, said = program(MAILCONV, "convert", "--quiet", "--dialect", "mboxcl2", "--strip", source(), home / "inbox")
    fetch = ["fetch", "uid flags hdr.subject", "mailbox", "INBOX", "all"]
    location = f"mbox:{home}/mail:INBOX={home}/inbox"
    dovecot(home, location, "flags", "add", r"\Flagged $Label1", "mailbox", "INBOX", "uid", "2,3")
    dovecot(home, location, "expunge", "mailbox", "INBOX", "uid", "1")
    first = dovecot(home, location, *fetch)
    program(MAILCONV, "convert", "--quiet", home / "inbox", home / "Maildir")
    second = dovecot(home, f"maildir:{home}/Maildir", *fetch)
    program(MAILCONV, "convert", "--quiet", "--dialect", "mboxcl2", home / "Maildir", home / "again")
    third = dovecot(home, f"mbox:{home}/mail2:INBOX={home}/again", *fetch)

    def uids(said):
        found = re.findall(rb"uid: (\d+)\nflags: ([^\n]*)\nhdr.subject: ([^\n]*)", said)
        return {uid: (set(flags.split()) - {b"\\Recent"}, subject) for uid, flags, subject in found}

    check("Dovecot: mbox to Maildir: UIDs, marks and keywords are kept", uids(first) == uids(second) and len(uids(first)) == len(MESSAGES) - 1, (first, second))
    check("Dovecot: and back to mbox", uids(first) == uids(third), (first, third))


SECTIONS = [
    mbox_by_procmail,
    mbox_by_maildrop,
    mbox_by_python,
    mbox_by_mutt,
    mbox_by_mailutils,
    written_for_others,
    back_and_forth,
    maildir_by_others,
    dovecot_keeps_its_uids,
]

if __name__ == "__main__":
    atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
    suite("formats", SECTIONS)
