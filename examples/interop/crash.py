"""SIGKILL under load, again and again: what was answered with 250 is in the mailbox, and nothing there is torn.

The argument is how many rounds of about a second: 12 without one.
"""

import collections
import random
import smtplib
import sys
import threading
import time

from harness import Server, check, suite, wire, without_trace

SENDERS = 6


def message(name):
    """Follows from its name alone. Some wait in memory, some are on the disk before their end has come."""
    choice = random.Random(name)
    lines = choice.choice([1, 5, 50, 500, 5000])
    text = "".join(f"{number} {choice.getrandbits(128):x}\n" for number in range(lines))
    return f"Subject: {name}\n\n{text}the end of {name}\n".encode()


def send_until_killed(server, name, accepted):
    """Notes what was accepted: for each mailbox, the names. SMTP has two recipients, LMTP one."""
    lmtp = int(name.split("-")[1]) % 2 == 1
    connect, port, to = (smtplib.LMTP, "lmtp", ["bert"]) if lmtp else (smtplib.SMTP, "smtp", ["anna", "bert"])
    number = 0
    try:
        with connect("127.0.0.1", server.port[port], timeout=20) as client:
            while True:
                one = f"{name}-{number}"
                client.sendmail("me@example.org", [f"{user}@localhost" for user in to], wire(message(one)))
                accepted += [(user, one) for user in to]
                number += 1
    except (OSError, smtplib.SMTPException):
        # It was killed.
        pass


def round_of(server, number):
    accepted = [[] for _ in range(SENDERS)]
    senders = [
        threading.Thread(target=send_until_killed, args=(server, f"{number}-{sender}", accepted[sender]))
        for sender in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    time.sleep(random.uniform(0.2, 1.5))
    server.kill()
    for sender in senders:
        sender.join()
    return [entry for entries in accepted for entry in entries]


def kill_again_and_again(server):
    accepted = []
    for number in range(ROUNDS):
        accepted += round_of(server, number)
        server.start()
    check(f"{ROUNDS} kills: there was load, {len(accepted)} deliveries accepted", len(accepted) > 20 * ROUNDS, len(accepted))
    found, torn = collections.Counter(), []
    for user in ("anna", "bert"):
        for file in server.files(user):
            octets = file.read_bytes()
            name = subject(octets)
            found[user, name] += 1
            if name is None or without_trace(octets) != message(name):
                torn.append(f"{file.name}: {len(octets)} octets, {octets[-40:]!r}")
    lost = [entry for entry in accepted if not found[entry]]
    twice = [entry for entry, count in found.items() if count > 1]
    check("what was accepted is there", not lost, f"{len(lost)} lost: {lost[:5]}")
    check("what is there is whole", not torn, f"{len(torn)} torn: {torn[:3]}")
    check("what was sent once is there once", not twice, twice[:5])
    with server.login() as client:
        stat = client.ask(b"STAT")
    check("POP3 lists it all", stat.startswith(b"+OK %d " % len(server.files())), stat)


def subject(octets):
    line = next((line for line in octets.splitlines() if line.startswith(b"Subject: ")), None)
    return line and line[9:].decode("ascii", "replace")


if __name__ == "__main__":
    ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    suite("crash", [kill_again_and_again], Server(auth={"plaintext": True}))
