"""One Maildir for the server, mutt and Python's `mailbox`: each sees what the others deliver, mark, move and remove."""

import mailbox
import re
import threading

from harness import Server, check, difference, in_terminal, suite, wire, without_trace


def message(name):
    return (
        f"From: Me <me@example.org>\nTo: anna@localhost\nDate: Tue, 3 Feb 2026 10:20:30 +0000\n"
        f"Message-ID: <{name}@example.org>\nSubject: {name}\n\n.dot\ngrüße {name}\n"
    ).encode()


def copied(octets):
    """A message without the line that mutt gives to each it copies."""
    return re.sub(rb"^Content-Length: \d+\r?\n", b"", octets, flags=re.MULTILINE)


def mutt(server, keys, folder=None):
    rc = server.folder / "muttrc"
    rc.write_text(
        f'set folder="{server.folder}"\n'
        "set mbox_type=Maildir sort=subject\nset confirmcreate=no confirmappend=no delete=yes quit=yes wait_key=no\n"
        f'set move=no mark_old=no pager_stop=yes\npush "{keys}"\n'
    )
    status, said = in_terminal("mutt", "-n", "-F", rc, "-f", folder or server.maildir())
    if status != 0:
        raise AssertionError(f"mutt: status {status}, {said[-300:]!r}")


def unique_ids(client):
    return [line.split()[1] for line in client.multiline(b"UIDL")[1].splitlines()]


def listed(server):
    """What a POP3 session sees: for each message, its id and its octets."""
    with server.login() as client:
        ids = unique_ids(client)
        seen = {unique: client.multiline(b"RETR %d" % number)[1] for number, unique in enumerate(ids, 1)}
        client.ask(b"RSET")
    return seen


def flags(server):
    """By subject."""
    found = mailbox.Maildir(server.maildir(), create=False)
    return {entry["subject"]: entry.get_flags() for entry in found}


def mutt_reads_flags_and_deletes(server):
    for name in ("one", "two", "three"):
        server.send(message(name))
    before = listed(server)
    copies = server.folder / "copies"
    # By subject: one, three, two.
    keys = "<tag-pattern>~A<enter><tag-prefix><copy-message>%s<enter><untag-pattern>~A<enter>" % copies
    keys += "<first-entry><display-message><exit><next-entry><delete-message><last-entry><flag-message><quit>"
    mutt(server, keys)
    found = sorted(copied(without_trace(file.read_bytes())) for file in copies.rglob("*") if file.is_file())
    expected = sorted(message(name) for name in ("one", "two", "three"))
    check("mutt: reads what was delivered", found == expected, [difference(*pair) for pair in zip(found, expected)])
    check("mutt: marks are in the names", flags(server) == {"one": "S", "two": "F"}, flags(server))
    after = listed(server)
    kept = {unique: octets for unique, octets in before.items() if b"Subject: three" not in octets}
    check("mutt: POP3 sees the rest with the same ids and octets", after == kept and len(after) == 2, list(after))


def mutt_delivers(server):
    other = server.folder / "other"
    box = mailbox.Maildir(other, create=True)
    box.add(message("by mutt"))
    mutt(server, f"<copy-message>{server.maildir()}<enter><exit>", other)
    found = [copied(octets) for octets in listed(server).values()]
    check("mutt: POP3 sees what it has copied there", wire(message("by mutt")) in found, found)


def retrieved_is_seen(server):
    server.take_files()
    server.send(message("seen"))
    server.send(message("unseen"))
    with server.login() as client:
        client.multiline(b"RETR 1")
        client.multiline(b"TOP 2 1")
        client.ask(b"QUIT")
    check("POP3: what was retrieved is marked as seen for others", flags(server) == {"seen": "S", "unseen": ""}, flags(server))
    copies = server.folder / "unseen"
    mutt(server, f"<tag-pattern>~N|~O<enter><tag-prefix><copy-message>{copies}<enter><exit>")
    found = [copied(without_trace(file.read_bytes())) for file in copies.rglob("*") if file.is_file()]
    check("mutt: sees the other one as new", found == [message("unseen")], found)


def python_delivers_marks_and_removes(server):
    server.take_files()
    box = mailbox.Maildir(server.maildir(), create=False)
    key = box.add(message("by Python"))
    server.send(message("by SMTP"))
    box = mailbox.Maildir(server.maildir(), create=False)
    found = sorted(box.get_bytes(key) for key in box.keys())
    check("mailbox: sees both", len(found) == 2 and without_trace(found[1]) == message("by SMTP"), found)
    before = listed(server)
    check("mailbox: POP3 sees what it has added", wire(message("by Python")) in before.values(), list(before.values()))
    entry = box.get(key)
    entry.set_subdir("cur")
    entry.set_flags("FRS")
    box[key] = entry
    after = listed(server)
    check("mailbox: marks leave ids and octets as they are", after == before, (list(before), list(after)))
    box.remove(key)
    check("mailbox: what it removes is gone", len(listed(server)) == 1)


def moved_while_a_session_is_open(server):
    server.take_files()
    for number in range(6):
        server.lay(message(f"number {number}"), name=f"170000000{number}.M{number}P1.other")
    new, cur = server.maildir() / "new", server.maildir() / "cur"
    names = sorted(file.name for file in new.iterdir())
    with server.login() as client:
        unique = unique_ids(client)
        (new / names[0]).rename(cur / f"{names[0]}:2,")
        (new / names[1]).rename(cur / f"{names[1]}:2,FS")
        (cur / f"{names[1]}:2,FS").rename(cur / f"{names[1]}:2,RS")
        (new / names[2]).unlink()
        (new / names[3]).rename(cur / f"{names[3]}:2,S")
        server.send(message("late"))
        for number, what in [(1, "moved from new to cur"), (2, "marked twice")]:
            status, octets = client.multiline(b"RETR %d" % number)
            check(f"{what}: RETR finds it", octets == wire(message(f"number {number - 1}")), (status, octets))
        status, _ = client.multiline(b"RETR 3")
        check("removed by another program: RETR says so", status.startswith(b"-ERR"), status)
        check("the session goes on", client.ask(b"NOOP").startswith(b"+OK"))
        check("the session has what it began with", client.ask(b"UIDL 7").startswith(b"-ERR") and len(unique) == 6, unique)
        check("moved, then DELE", client.ask(b"DELE 4").startswith(b"+OK"))
        check("removed, then DELE", client.ask(b"DELE 3").startswith(b"+OK"))
        bye = client.ask(b"QUIT")
        check("moved and removed ones are deleted without complaint", bye.startswith(b"+OK"), bye)
    left = sorted(flags(server))
    check("what is left", left == ["late", "number 0", "number 1", "number 4", "number 5"], left)
    ids = list(listed(server))
    check("ids stay", ids[:4] == [unique[0], unique[1], unique[4], unique[5]], (unique, ids))


def all_at_once(server):
    """100 messages come in by SMTP and LMTP while Python moves them to cur and POP3 lists and reads."""
    server.take_files()
    senders = [threading.Thread(target=deliver, args=(server, port)) for port in ("smtp", "lmtp")]
    for sender in senders:
        sender.start()
    wrong, sessions = [], 0
    while any(sender.is_alive() for sender in senders):
        move_to_cur(server)
        seen = listed(server)
        wrong += [octets for octets in seen.values() if not octets.endswith("grüße busy\r\n".encode())]
        sessions += 1
    for sender in senders:
        sender.join()
    seen = listed(server)
    check("all at once: each message is there once", len(seen) == 100 and len(server.files()) == 100, len(seen))
    check("all at once: POP3 never saw a part or a wrong one", not wrong and sessions, (sessions, wrong[:1]))


def deliver(server, port):
    for _ in range(50):
        server.send(message("busy"), port=port)


def move_to_cur(server):
    for file in server.files(folders=["new"]):
        file.rename(server.maildir() / "cur" / f"{file.name}:2,S")


SECTIONS = [
    mutt_reads_flags_and_deletes,
    mutt_delivers,
    retrieved_is_seen,
    python_delivers_marks_and_removes,
    moved_while_a_session_is_open,
    all_at_once,
]

if __name__ == "__main__":
    suite("shared_maildir", SECTIONS, Server(auth={"plaintext": True}))
