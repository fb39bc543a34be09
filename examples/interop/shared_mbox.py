"""One mbox file for the server, procmail, Python's `mailbox`, mutt and Dovecot: what each delivers, marks and removes, the others see."""

import mailbox
import os
import pwd
import re
import shutil
import threading

from harness import Server, check, in_terminal, program, suite, wire, without_trace


def message(name, body="\nFrom here\n>From there\n.dot\ngrüße"):
    return (
        f"From: Me <me@example.org>\nTo: anna@localhost\nDate: Tue, 3 Feb 2026 10:20:30 +0000\n"
        f"Message-ID: <{name.replace(' ', '.')}@example.org>\nSubject: {name}\n{body} {name}\n"
    ).encode()


# Without lines that programs quote each in its own way.
PLAIN = "\n.dot\ngrüße"


def unique_ids(client):
    return [line.split()[1] for line in client.multiline(b"UIDL")[1].splitlines()]


def listed(server):
    """What a POP3 session sees: for each message, its id and its octets."""
    with server.login() as client:
        ids = unique_ids(client)
        seen = {unique: client.multiline(b"RETR %d" % number)[1] for number, unique in enumerate(ids, 1)}
        client.ask(b"RSET")
    return seen


def clear(server):
    """An empty mailbox, and ours again. Nobody else is at work."""
    server.maildir().write_bytes(b"")
    os.chown(server.maildir(), os.getuid(), os.getgid())
    for path in (server.folder, server.data, server.maildir().parent):
        path.chmod(0o700)


def without_lines(octets):
    """Without the field that mutt adds."""
    return re.sub(rb"^Lines: \d+\r\n", b"", octets, flags=re.M)


def procmail(server, octets):
    rc = server.folder / "procmailrc"
    if not rc.exists():
        rc.write_text(f"LOCKSLEEP=1\nLOGFILE={server.folder}/procmail.log\n:0:\n{server.maildir()}\n")
        rc.chmod(0o600)
    status, said = program("procmail", "-f", "proc@mail", rc, stdin=octets, timeout=120)
    if status != 0:
        raise AssertionError((status, said))


def add_by_python(server, octets):
    """As its documentation has it: lock, add, flush, unlock."""
    while True:
        box = mailbox.mbox(server.maildir(), create=False)
        try:
            box.lock()
        except mailbox.ExternalClashError:
            box.close()
            continue
        try:
            # What another program wrote after this opened it.
            box._generate_toc()
            box.add(octets)
            box.flush()
        finally:
            box.unlock()
            box.close()
        return


def delivered_and_read(server):
    for port in ("smtp", "lmtp"):
        clear(server)
        names = [f"{port} {number}" for number in range(3)]
        for name in names:
            server.send(message(name), port=port)
        found = list(listed(server).values())
        expected = [wire(message(name)) for name in names]
        check(f"{port}: POP3 gives what was sent", [wire(without_trace(octets.replace(b"\r\n", b"\n"))) for octets in found] == expected, found[:1])
        text = server.maildir().read_bytes()
        check(f"{port}: the file has a line for each sender", text.count(b"From me@example.org ") == 3, text[:200])
        check(f"{port}: and is quoted so that nothing is lost", text.count(b"\n>From here\n>>From there\n") == 3, text[:900])
        box = mailbox.mbox(server.maildir(), create=False)
        check(f"{port}: Python finds as many", len(box) == 3, len(box))


def delivered_by_others(server):
    clear(server)
    procmail(server, message("by procmail", PLAIN))
    add_by_python(server, message("by Python", PLAIN))
    server.send(message("by SMTP", PLAIN))
    found = [octets.replace(b"\r\n", b"\n") for octets in listed(server).values()]
    check("POP3 sees what procmail and Python have delivered", found[:2] == [message("by procmail", PLAIN), message("by Python", PLAIN)], found)
    check("and what the server has", len(found) == 3 and without_trace(found[2]) == message("by SMTP", PLAIN), found[2:])


def mutt_marks_and_deletes(server):
    clear(server)
    for name in ("one", "two", "three"):
        server.send(message(name, PLAIN))
    before = listed(server)
    rc = server.folder / "muttrc"
    rc.write_text(
        'set mbox_type=mbox sort=subject\nset confirmcreate=no confirmappend=no delete=yes quit=yes wait_key=no move=no mark_old=no\n'
        'push "<first-entry><display-message><exit><next-entry><delete-message><last-entry><flag-message><quit>"\n'
    )
    status, said = in_terminal("mutt", "-n", "-F", rc, "-f", server.maildir())
    check("mutt: ends well", status == 0, said[-300:])
    after = listed(server)
    kept = {unique: octets for unique, octets in before.items() if b"Subject: three" not in octets}
    same = {unique: without_lines(octets) for unique, octets in after.items()} == kept
    check("mutt: POP3 sees the rest with the same ids and octets", same and len(after) == 2, (list(before), list(after)))
    text = server.maildir().read_bytes()
    check("mutt: its marks are kept", b"X-Status: F\n" in text and b"Status: RO\n" in text, text)
    with server.login() as client:
        client.multiline(b"RETR 2")
        client.ask(b"DELE 1")
        bye = client.ask(b"QUIT")
    check("POP3: QUIT removes", bye.startswith(b"+OK") and list(listed(server)) == list(kept)[1:], bye)
    text = server.maildir().read_bytes()
    check("POP3: what was retrieved is marked as seen beside mutt's mark", b"X-Status: F\n" in text and b"Status: RO\n" in text, text)


def dovecot(server, *words):
    """As nobody, to whom the mailbox is given: Dovecot serves nobody as root."""
    home = server.folder / "home"
    home.mkdir(exist_ok=True)
    config = home / "dovecot.conf"
    config.write_text(
        f"mail_location = mbox:{home}/mail:INBOX={server.maildir()}\nlog_path = {home}/dovecot.log\nmail_privileged_group =\n"
        f"base_dir = {home}/run\n"
    )
    command = ["doveadm", "-c", config, *words]
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (home, server.maildir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        for path in (server.folder, server.data, server.maildir().parent):
            path.chmod(0o777)
        command = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]
    status, said = program(*command, environment={"HOME": str(home), "USER": "nobody"})
    if status != 0:
        raise AssertionError((status, said, (home / "dovecot.log").read_text() if (home / "dovecot.log").exists() else ""))
    return said


def dovecot_numbers(server):
    if not shutil.which("doveadm"):
        return
    clear(server)
    for name in ("one", "two"):
        server.send(message(name, PLAIN))
    before = listed(server)
    uids = re.findall(rb"uid: (\d+)", dovecot(server, "fetch", "uid", "mailbox", "INBOX", "all"))
    dovecot(server, "flags", "add", r"\Flagged $Forwarded", "mailbox", "INBOX", "uid", "1")
    text = server.maildir().read_bytes()
    check("Dovecot: it has numbered them in the file", uids == [b"1", b"2"] and b"X-IMAPbase: " in text and b"X-UID: 2" in text, (uids, text))
    check("Dovecot: POP3 sees the same ids and octets", listed(server) == before)
    server.send(message("three", PLAIN))
    with server.login() as client:
        client.ask(b"DELE 1")
        client.multiline(b"RETR 2")
        client.ask(b"QUIT")
    said = dovecot(server, "fetch", "uid flags hdr.subject", "mailbox", "INBOX", "all")
    found = re.findall(rb"uid: (\d+)\nflags: ([^\n]*)\nhdr.subject: (\w+)", said)
    check("Dovecot: UIDs stay when POP3 removes the message that carries the base", [uid for uid, *_ in found] == [b"2", b"3"], found)
    check("Dovecot: sees POP3's mark", found and b"\\Seen" in found[0][1], found)


def all_at_once(server):
    """The server takes mail by SMTP and LMTP and gives and removes it by POP3 while procmail and Python deliver to the same file."""
    clear(server)
    # Dovecot's and mutt's marks take room; nothing but mail is here.
    ways = {
        "smtp": lambda name: server.send(message(name, PLAIN)),
        "lmtp": lambda name: server.send(message(name, PLAIN), port="lmtp"),
        "procmail": lambda name: procmail(server, message(name, PLAIN)),
        "python": lambda name: add_by_python(server, message(name, PLAIN)),
    }
    each, failures, taken = 60, [], []

    def deliver(way):
        for number in range(each):
            try:
                ways[way](f"{way} {number}")
            except Exception as error:
                failures.append((way, number, error))

    threads = [threading.Thread(target=deliver, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with server.login() as client:
            ids = unique_ids(client)
            for number in range(1, len(ids), 2):
                status, octets = client.multiline(b"RETR %d" % number)
                if not status.startswith(b"+OK"):
                    failures.append(status)
                taken.append(octets)
                client.ask(b"DELE %d" % number)
            bye = client.ask(b"QUIT")
            if not bye.startswith(b"+OK"):
                failures.append(bye)
    for thread in threads:
        thread.join()
    check("all at once: everything was accepted", not failures, failures[:3])
    everything = taken + list(listed(server).values())
    subjects = sorted(re.search(rb"Subject: ([^\r]*)", octets)[1].decode() for octets in everything)
    expected = sorted(f"{way} {number}" for way in ways for number in range(each))
    check("all at once: each message once, none lost and none doubled", subjects == expected, sorted(set(expected) ^ set(subjects))[:9])
    whole = all(octets.endswith(wire(message(re.search(rb"Subject: ([^\r]*)", octets)[1].decode(), PLAIN))) for octets in everything)
    check("all at once: each is whole", whole)
    left = sorted(path.name for path in server.maildir().parent.iterdir())
    check("all at once: no lock and no journal is left", left == [".anna.pop3.lock", "anna"], left)


def killed(server):
    """SIGKILL while QUIT rewrites and mail comes in: nothing that was accepted is gone."""
    clear(server)
    accepted, removed = [], set()
    for round_ in range(6):
        stop = threading.Event()

        def deliver():
            number = 0
            while not stop.is_set():
                name = f"kill {round_} {number}"
                number += 1
                try:
                    server.send(message(name, PLAIN))
                except Exception:
                    return
                accepted.append(name)

        thread = threading.Thread(target=deliver)
        thread.start()
        threading.Timer(0.4 + 0.1 * round_, server.kill).start()
        try:
            while True:
                with server.login() as client:
                    ids = unique_ids(client)
                    if ids:
                        octets = client.multiline(b"RETR 1")[1]
                        removed.add(re.search(rb"Subject: ([^\r]*)", octets)[1].decode())
                        client.ask(b"DELE 1")
                    client.ask(b"QUIT")
        except Exception:
            pass
        stop.set()
        thread.join()
        while server.process:
            pass
        server.start()
    there = [re.search(rb"Subject: ([^\r]*)", octets)[1].decode() for octets in listed(server).values()]
    lost = [name for name in accepted if name not in there and name not in removed]
    check(f"kill -9: of {len(accepted)} accepted messages none is lost", accepted and not lost, lost[:5])
    check("kill -9: none is there twice", len(set(there)) == len(there), len(there))


SECTIONS = [
    delivered_and_read,
    delivered_by_others,
    mutt_marks_and_deletes,
    dovecot_numbers,
    all_at_once,
    killed,
]

if __name__ == "__main__":
    suite("shared_mbox", SECTIONS, Server(auth={"plaintext": True}, mail={"format": "mboxrd"}))
