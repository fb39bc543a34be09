"""What goes wrong around a server, and what guests try who know their way about: the server goes on, and says what it has to."""

import base64
import os
import shutil
import socket
import subprocess
import threading
import time

from harness import MAILSERVER, PASSWORD, Server, check, program, suite, toml, wire

NOBODY = 65534


def log_that_cannot_be_written(_):
    with Server(limits={"connections_per_address": 3}, auth={"plaintext": True}) as server:
        server.stop()
        reader, writer = os.pipe()
        ports = {name: address.rsplit(":", 1)[1] for name, address in fixed_ports(server).items()}
        server.process = subprocess.Popen(server.command(), stderr=writer)
        os.close(writer)
        wait_for(int(ports["smtp"]))
        os.close(reader)
        server.port = {name: int(port) for name, port in ports.items()}
        server.send(b"Subject: nobody logs this\n\ntext\n")
        check("log: a message is taken although nobody reads the log", len(server.take()) == 1)
        peers = [server.connect("smtp") for _ in range(3)]
        refused = [server.connect("smtp", greeted=False).rest() for _ in range(5)]
        check("log: so is a refusal", all(said.startswith(b"421") for said in refused), refused)
        for peer in peers:
            peer.close()
        time.sleep(0.2)
        with server.connect("smtp") as again:
            check("log: the listener goes on", again.greeting.startswith(b"220"), again.greeting)


def log_that_is_not_read(_):
    with Server(auth={"plaintext": True}) as server:
        server.stop()
        reader, writer = os.pipe()
        listen = fixed_ports(server)
        server.process = subprocess.Popen(server.command(), stderr=writer)
        os.close(writer)
        server.port = {name: int(address.rsplit(":", 1)[1]) for name, address in listen.items()}
        wait_for(server.port["smtp"])
        with server.connect("smtp", timeout=30) as client:
            client.ask(b"EHLO c")
            codes = set()
            for number in range(1000):
                for command in [b"MAIL FROM:<a@b>", b"RCPT TO:<anna@localhost>", b"DATA"]:
                    client.ask(command)
                codes.add(client.ask(b"Subject: %d\r\n\r\n." % number)[:3])
        check("log: a pipe that is full holds nothing up", codes == {b"250"}, codes)
        status = server.stop()
        check("log: nor does it hold up the stop", status == 0, status)
        os.close(reader)


def fixed_ports(server):
    """Writes addresses into the configuration, since no log will tell those the system chooses."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in server.settings["listen"]}
    listen = {name: f"127.0.0.1:{one.getsockname()[1]}" for name, one in sockets.items()}
    for one in sockets.values():
        one.close()
    server.config.write_text(toml({**server.settings, "listen": listen}))
    return listen


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def stop_with_a_silent_tls_peer(_):
    with Server() as server:
        with server.connect("pop3s", greeted=False), server.connect("submissions", greeted=False):
            time.sleep(0.2)
            began = time.monotonic()
            status = server.stop()
        took = time.monotonic() - began
        check("stop: peers that say nothing before TLS do not delay it", status == 0 and took < 3, f"{status}, {took:.1f} s")


def slow_message_that_is_refused(_):
    with Server(timeouts={"read_seconds": 1}) as server, server.connect("smtp") as client:
        for command in [b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<anna@localhost>", b"DATA"]:
            client.ask(command)
        client.say(b"bare\nline feed\r\n")
        for _ in range(5):
            time.sleep(0.5)
            client.say(b"more\r\n")
        client.say(b".\r\n")
        check("a refused message may take its time, and hears why", client.reply().startswith(b"554"))


def scram_cut_short(server):
    messages = [b"n,,=", b"n,,", b"n,,n", b"n,x,n=a,r=b", b"n,,n=a,r", b"\xff,,n=\xe9,r=\xe9", b""]
    for port in ("submission", "pop3"):
        for number, message in enumerate(messages, 10):
            # Each from an address of its own, since one that has failed is answered late.
            with server.connect(port, source=f"127.0.{len(port)}.{number}") as client:
                if port == "submission":
                    client.ask(b"EHLO c")
                reply = client.ask(b"AUTH SCRAM-SHA-256 " + (base64.b64encode(message) or b"="))
            check(f"{port}: SCRAM {message!r} is refused", reply[:1] in (b"5", b"-"), reply)


def message_that_cannot_be_read(server):
    server.take_files()
    server.lay(b"Subject: to be read\n\n")
    name = server.lay(b"Subject: not to be read\n\n")
    # For the superuser every file can be read, so it becomes something else that cannot.
    file = server.maildir() / "new" / name
    file.unlink()
    file.symlink_to("/dev/zero")
    os.mkfifo(server.maildir() / "new" / (name + "2"))
    with server.login() as client:
        stat = client.ask(b"STAT")
    check("POP3: what cannot be read does not hide the rest", stat.startswith(b"+OK 1 "), stat)
    file.unlink()
    (server.maildir() / "new" / (name + "2")).unlink()


def mailbox_removed_while_the_server_runs(server):
    server.send(b"Subject: one\n\n")
    with server.login() as client:
        client.ask(b"QUIT")
    shutil.rmtree(server.maildir())
    with server.login() as client:
        stat = client.ask(b"STAT")
    check("a mailbox that was removed is made anew for its reader", stat.startswith(b"+OK 0 0"), stat)
    shutil.rmtree(server.maildir())
    server.send(b"Subject: two\n\n")
    check("and for the next message", len(server.take()) == 1)


def removed_by_another_program_in_masses(server):
    server.take_files()
    count = 5000
    for number in range(count):
        server.lay(b"Subject: x\n\n", name=f"1700000000.M{number}P1.other")
    with server.login() as client:
        client.say(b"".join(b"DELE %d\r\n" % number for number in range(1, count + 1)))
        for _ in range(count):
            client.reply()
        for file in server.files()[::2]:
            file.rename(server.maildir() / "cur" / f"{file.name}:2,FRST")
        began = time.monotonic()
        reply = client.ask(b"QUIT")
    took = time.monotonic() - began
    right = reply.startswith(b"+OK") and not server.files() and took < 3
    check("QUIT finds thousands that others have renamed", right, f"{reply}, {len(server.files())} left, {took:.1f} s")


def guesses_at_the_same_time(_):
    with Server(auth={"plaintext": True}) as server:
        answers = []

        def guess(number):
            with server.connect("pop3", timeout=60) as client:
                client.ask(b"USER anna")
                answers.append(client.ask(b"PASS wrong %d" % number))

        guessers = [threading.Thread(target=guess, args=(number,)) for number in range(120)]
        for guesser in guessers:
            guesser.start()
        time.sleep(0.5)
        began = time.monotonic()
        with server.connect("pop3", source="127.0.0.2") as client:
            client.ask(b"USER bert")
            reply = client.ask(b"PASS " + PASSWORD.encode())
        took = time.monotonic() - began
        check("guesses: others log in meanwhile", reply.startswith(b"+OK") and took < 2, f"{reply}, {took:.1f} s")
        for guesser in guessers:
            guesser.join()
        tried = sum(b"[AUTH]" in answer for answer in answers)
        check("guesses: those at the same time count", 40 <= tried <= 55, f"{tried} of {len(answers)} were tried")


def recipients_sought(server):
    with server.connect("smtp", timeout=60) as client:
        client.ask(b"EHLO c")
        client.ask(b"MAIL FROM:<a@b>")
        client.say(b"".join(b"RCPT TO:<guess%d@localhost>\r\n" % number for number in range(40)))
        began = time.monotonic()
        replies = [client.reply() for _ in range(14)]
        took = time.monotonic() - began
    refused = all(reply.startswith(b"550") for reply in replies)
    check("recipients: who seeks them is slowed down", refused and took > 1, f"{replies[-1]}, {took:.1f} s")


def senders(server):
    with server.connect("submission") as client:
        client.ask(b"EHLO c")
        client.ask(b"AUTH PLAIN " + base64.b64encode(b"\0anna\0" + PASSWORD.encode()))
        for sender, code in [
            (b"bert@localhost", b"553"),
            (b"postmaster@localhost", b"250"),
            (b"anna@localhost", b"250"),
            (b"anna+list@localhost", b"250"),
            (b"anna@example.org", b"553"),
            (b"", b"250"),
        ]:
            reply = client.ask(b"MAIL FROM:<" + sender + b">")
            client.ask(b"RSET")
            check(f"submission: anna as <{sender.decode()}>: {code.decode()}", reply.startswith(code), reply)


def forged_name(server):
    server.take_files()
    with server.connect("smtp") as client:
        client.ask(b"EHLO trusted.example([10.0.0.1])")
        for command in [b"MAIL FROM:<a@b>", b"RCPT TO:<anna@localhost>", b"DATA"]:
            client.ask(command)
        client.ask(b"Subject: x\r\n\r\n.")
    message = server.take_files()[0]
    check("EHLO: what is no name is not in the trace", b"trusted" not in message and b"10.0.0.1" not in message, message)


def accounts_made_by_the_superuser(_):
    if os.geteuid() != 0:
        check("accounts: this needs the superuser", False)
        return
    with Server(users=("anna",)) as server:
        server.stop()
        mine = server.folder / "mine"
        mine.write_text("not for others")
        (server.data / "accounts.new").symlink_to(mine)
        for path in [server.folder, server.data, *server.data.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        mine.chmod(0o600)
        os.chown(mine, 0, 0)
        status, said = program(MAILSERVER, "user", "add", "bert", "--data", server.data, stdin=b"secret\n")
        kept = mine.read_text() == "not for others" and mine.stat().st_uid == 0
        check("accounts: a link in their folder leads the superuser nowhere", status == 1 and kept, said)
        (server.data / "accounts.new").unlink()
        server.add_user("bert")
        owners = {path.name: path.stat().st_uid for path in server.data.iterdir() if path.is_file()}
        check("accounts: they stay their owner's", set(owners.values()) == {NOBODY}, owners)
        server.process = None
        server.start()


def accounts_gone_for_a_moment(server):
    (server.data / "accounts.toml").rename(server.data / "aside")
    with server.connect("smtp") as client:
        client.ask(b"EHLO c")
        client.ask(b"MAIL FROM:<a@b>")
        reply = client.ask(b"RCPT TO:<anna@localhost>")
    (server.data / "aside").rename(server.data / "accounts.toml")
    check("accounts: no mail is refused while their file is away", reply.startswith(b"250"), reply)


def servers_that_start_at_once(_):
    lived = []
    for _ in range(5):
        server = Server(users=())
        other = subprocess.Popen(server.command(), stderr=subprocess.DEVNULL)
        try:
            server.start()
            time.sleep(0.3)
            lived.append(other.poll() is None)
        finally:
            other.terminate()
            other.wait()
            server.remove()
    check("certificate: programs that start at once agree on one", len(lived) == 5 and all(lived), lived)


def password_too_long(server):
    status, said = program(MAILSERVER, "user", "add", "long", "--data", server.data, stdin=b"x" * 5000 + b"\n")
    check("accounts: a password of 5,000 octets is refused", status == 1 and b"4096" in said, said)


def files_of_limited_size(_):
    with Server() as server:
        server.stop()
        listen = fixed_ports(server)
        command = ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", *server.command()]
        with open(server.log, "wb") as log:
            server.process = subprocess.Popen(command, stderr=log)
        server.port = {name: int(address.rsplit(":", 1)[1]) for name, address in listen.items()}
        wait_for(server.port["smtp"])
        with server.connect("smtp", timeout=30) as client:
            for command in [b"EHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<anna@localhost>", b"DATA"]:
                client.ask(command)
            client.say(wire(b"Subject: large\n\n" + b"text\n" * 200_000) + b".\r\n")
            reply = client.reply()
        check("a limit on the size of files: 452, and the server lives", reply.startswith(b"452"), reply)
        check("nothing is left of the message", not server.files(folders=("new", "cur", "tmp")))


SECTIONS = [
    log_that_cannot_be_written,
    log_that_is_not_read,
    stop_with_a_silent_tls_peer,
    slow_message_that_is_refused,
    scram_cut_short,
    message_that_cannot_be_read,
    mailbox_removed_while_the_server_runs,
    removed_by_another_program_in_masses,
    guesses_at_the_same_time,
    recipients_sought,
    senders,
    forged_name,
    accounts_made_by_the_superuser,
    accounts_gone_for_a_moment,
    servers_that_start_at_once,
    password_too_long,
    files_of_limited_size,
]

if __name__ == "__main__":
    suite("mishaps", SECTIONS, Server(auth={"plaintext": True}, limits={"connections_per_address": 5000}))
