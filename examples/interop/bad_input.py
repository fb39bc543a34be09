"""What no honest program sends, and what a machine does that runs out of something. The server stays up and keeps its word."""

import contextlib
import os
import resource
import smtplib
import socket
import ssl
import subprocess
import time

from harness import MAILSERVER, PASSWORD, Server, check, program, suite, toml, wire

BEGIN = [b"MAIL FROM:<me@example.org>", b"RCPT TO:<anna@localhost>", b"DATA"]

# What must not end a message. All others than CRLF, dot, CRLF.
ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
    b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n..\r\n", b"\r\n. \r\n", b"\r\n.\r\0\n", b"\n\r.\r\n", b"\r\n.\n\r",
]  # fmt: skip

SMUGGLED = (
    b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nnobody meant this\r\n.\r\n"
)


def in_data(server, port="smtp"):
    """A session that has been told to go ahead with its message."""
    client = server.connect(port)
    client.ask(b"LHLO client.example" if port == "lmtp" else b"EHLO client.example")
    replies = [client.ask(command) for command in BEGIN]
    if not replies[-1].startswith(b"354"):
        raise AssertionError(replies)
    return client


def still_serves(name, server):
    server.take_files("bert")
    server.send(b"Subject: still there\n\n.\n", "bert")
    check(f"{name}: the server goes on", server.take("bert") == [b"Subject: still there\n\n.\n"])


def smuggle(server, port, end, padding=0, pieces=None):
    """What the server made of a message with a second one inside it: `None`, or what is wrong."""
    with in_data(server, port) as client:
        octets = b"Subject: outer\r\n\r\n" + b"x" * padding + b"text" + end + SMUGGLED + b"QUIT\r\n"
        for at in range(0, len(octets), pieces or len(octets)):
            client.say(octets[at : at + (pieces or len(octets))])
        replies = client.rest().splitlines()
    found = server.take()
    codes = [reply[:3] for reply in replies]
    one = len(found) == 1 and found[0].startswith(b"Subject: outer\n") and b"nobody meant this\n" in found[0]
    if codes[1:] == [b"221"] and (codes[0][:1] == b"5" and not found or codes[0] == b"250" and one):
        return None
    return replies, found


def smuggling(server):
    for port in ("smtp", "lmtp"):
        for end in ENDS:
            for how, pieces in [("in one write", None), ("octet by octet", 1)]:
                wrong = smuggle(server, port, end, pieces=pieces)
                check(f"smuggling: {port}: {end!r} does not end a message, {how}", wrong is None, wrong)
    # The sequence comes to lie across the ends of reads and buffers.
    for end in (b"\n.\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n"):
        wrong = [smuggle(server, "smtp", end, size + shift) for size in (2048, 65536) for shift in range(-30, 3)]
        check(f"smuggling: {end!r} wherever buffers end", not any(wrong), [one for one in wrong if one][:1])
    still_serves("smuggling", server)


def stray_octets(server):
    for name, content in [
        ("a bare CR", b"one\rtwo\r\n"),
        ("a bare LF", b"one\ntwo\r\n"),
        ("a bare CR before CRLF", b"one\r\r\n"),
        ("a NUL", b"one\0two\r\n"),
        ("a line of 1 MB", b"x" * 1_000_000 + b"\r\n"),
    ]:
        with in_data(server) as client:
            client.say(b"Subject: stray\r\n\r\n" + content + b".\r\n")
            reply = client.reply()
            after = client.ask(b"NOOP")
        found = server.take()
        # As it came, or refused; never changed.
        kept = reply.startswith(b"250") and found == [b"Subject: stray\n\n" + content.replace(b"\r\n", b"\n")]
        right = after.startswith(b"250") and (kept or reply[:1] == b"5" and not found)
        check(f"{name} in a message", right, (reply, after, [len(one) for one in found]))


def long_commands(server):
    for port, start, refusal in [("smtp", b"NOOP ", b"5"), ("lmtp", b"NOOP ", b"5"), ("pop3", b"USER ", b"-")]:
        before = server.resident()
        with server.connect(port) as client:
            with contextlib.suppress(ConnectionError):
                client.say(start)
                for _ in range(100):
                    client.say(b"x" * 100_000)
                client.say(b"\r\n")
            reply = client.reply()
        grown = server.resident() - before
        check(f"{port}: a command of 10 MB is refused", reply[:1] == refusal or reply == b"", reply)
        check(f"{port}: it is not kept in memory", grown < 2_000_000, f"{grown} octets more")
        with server.connect(port) as client:
            client.say(b"\0\xff\xfe \r\n" + start.strip() + b"\0x\r\n\r\n\n\r\n")
            reply = client.reply()
        check(f"{port}: octets that are no command are refused", reply[:1] == refusal, reply)
    still_serves("long commands", server)


def endless_errors(server):
    for port in ("smtp", "pop3"):
        with server.connect(port) as client:
            with contextlib.suppress(ConnectionError):
                for _ in range(200):
                    client.say(b"XYZZY\r\n" * 100)
            answers = client.rest().count(b"\r\n")
        check(f"{port}: a client that makes nothing but errors is sent away", 0 < answers < 200, f"{answers} answers")


def other_protocols(server):
    evil = b"\r\n".join([b"EHLO c", *BEGIN, b"Subject: from a browser\r\n\r\ntext", b".", b"QUIT", b""])
    for port in ("smtp", "submission", "lmtp", "pop3"):
        for method in (b"GET", b"POST"):
            with server.connect(port) as client:
                client.say(method + b" / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n" + evil)
                said = client.rest()
            closed = b"354" not in said and said.count(b"\r\n") <= 1
            check(f"{port}: HTTP {method.decode()} is cut off", closed and not server.take(), said)
        began = time.monotonic()
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port[port]), timeout=10)) as plain:
            try:
                server.tls().wrap_socket(plain, server_hostname="localhost")
                how = "shook hands"
            except (ssl.SSLError, ConnectionError) as error:
                how = error
            except TimeoutError:
                how = "timed out"
        check(f"{port}: a ClientHello is no greeting", isinstance(how, Exception) and time.monotonic() - began < 5, how)
        with server.connect(port) as client:
            # The greeting has been read: what comes next is a record of TLS 1.0 with a ClientHello.
            client.say(bytes.fromhex("16030100500100004c0303") + bytes(71))
            said = client.rest()
        check(f"{port}: a ClientHello after the greeting is cut off", said.count(b"\r\n") <= 1, said)
    still_serves("other protocols", server)


def tls_ports_spoken_to_in_the_clear(server):
    for port in ("submissions", "pop3s"):
        with server.connect(port, greeted=False) as client:
            client.say(b"EHLO client.example\r\n")
            said = client.rest()
        check(f"{port}: plain text gets no answer in plain text", b"250" not in said and b"localhost" not in said, said)


def injection(server):
    """Commands sent in the clear behind STARTTLS must not count as if they had come through TLS."""
    for port, hello, start, inject in [
        ("smtp", b"EHLO c\r\n", b"STARTTLS\r\n", b"\r\n".join(BEGIN) + b"\r\n"),
        ("submission", b"EHLO c\r\n", b"STARTTLS\r\n", b"NOOP\r\n"),
        ("lmtp", b"LHLO c\r\n", b"STARTTLS\r\n", b"NOOP\r\n"),
        ("pop3", b"CAPA\r\n", b"STLS\r\n", b"NOOP\r\n"),
    ]:
        for how, pieces in [
            ("in one write", [start + inject]),
            ("in two writes", [start, inject]),
            ("half a command", [start + inject[:2]]),
        ]:
            with server.connect(port) as client:
                client.multiline(hello.strip()) if port == "pop3" else client.ask(hello.strip())
                for piece in pieces:
                    client.say(piece)
                    time.sleep(0.05)
                answer = client.reply()
                try:
                    client.secure(server.tls())
                    client.socket.settimeout(1)
                    after = client.reply()
                except (ssl.SSLError, ConnectionError):
                    after = b""
                except TimeoutError:
                    after = b"the connection stands"
            check(f"{port}: injection behind {start.strip().decode()}, {how}", after == b"", (answer, after))
    check("injection: nothing was delivered", not server.take())


def silence(_):
    with Server(
        timeouts={"read_seconds": 2, "handshake_seconds": 2, "write_seconds": 2}, auth={"plaintext": True}
    ) as server:
        server.lay(b"Subject: kept\n\n")
        peers = {port: server.connect(port, greeted=port[-1] != "s") for port in server.port if port != "pop3"}
        peers["pop3"] = server.login()
        peers["pop3"].ask(b"DELE 1")
        peers["smtp, in a message"] = in_data(server)
        peers["smtp, in a message"].say(b"Subject: half\r\n\r\nhal")
        slow = server.connect("smtp")
        began, sent = time.monotonic(), 0
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 6 and not closed(slow):
                slow.say(b"N")
                sent += 1
                time.sleep(0.25)
        check("silence: octets one by one gain no time", 4 < sent < 14, f"{sent} octets")
        for name, client in peers.items():
            said = client.rest()
            polite = {"smtp": b"421", "submission": b"421", "lmtp": b"421"}.get(name, b"")
            right = time.monotonic() - began < 8 and said.startswith(polite)
            check(f"silence: {name} is closed", right, (time.monotonic() - began, said))
        check("silence: POP3 removes nothing", [file.read_bytes() for file in server.files()] == [b"Subject: kept\n\n"])
        check("silence: half a message leaves nothing", not server.files(folders=("tmp",)), server.files(folders=("tmp",)))


def closed(client):
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1, socket.MSG_PEEK) in (b"", b"4")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        client.socket.settimeout(15)


def never_reads(_):
    with Server(timeouts={"write_seconds": 3}, auth={"plaintext": True}) as server:
        server.lay(b"Subject: large\n\n" + (b"y" * 78 + b"\n") * 800_000)
        server.lay(b"Subject: other\n\n", "bert")
        before = server.resident()
        lazy = server.login()
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        lazy.say(b"RETR 1\r\n")
        flood = server.connect("smtp")
        flood.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        flood.socket.settimeout(1)
        # Answers are owed to it without end, and it takes none.
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 50_000_000:
                sent += flood.socket.send(b"NOOP\r\n" * 10_000)
        grown = server.resident() - before
        # The message has 63 MB, the answers would have 100; 20 are the password's hash.
        check("never reads: what is owed does not fill the memory", grown < 30_000_000, f"{grown} octets more")
        began = time.monotonic()
        with server.login("bert") as other:
            octets = other.multiline(b"RETR 1")[1]
        server.send(b"Subject: meanwhile\n\n", "bert")
        took = time.monotonic() - began
        check("never reads: other sessions go on", octets == b"Subject: other\r\n\r\n" and took < 2, f"{took:.1f} s")
        time.sleep(max(0.0, 4.5 - took))
        with server.connect("pop3") as client:
            client.ask(b"USER anna")
            reply = client.ask(b"PASS " + PASSWORD.encode())
        check("never reads: it is given up after the configured time", reply.startswith(b"+OK"), reply)
        lazy.close()
        flood.close()


def many_idle(_):
    """2,000 connections of each kind, past their first command, beyond 2,000 that have used up what memory lay free since the start."""
    for port in ("smtp", "pop3", "submissions", "pop3s"):
        with Server(limits={"connections_per_address": 5000}) as server, contextlib.ExitStack() as stack:
            idle(server, port, stack)
            before = server.resident()
            idle(server, port, stack)
            each = (server.resident() - before) / 2000
            name = f"{port}: 2,000 idle connections take at most 32 KiB each, seen {each / 1024:.1f}"
            check(name, 0 < each <= 32 * 1024, f"{each:.0f} octets")
            still_serves(f"{port}: with 4,000 idle connections", server)


def idle(server, port, stack):
    context = server.tls()
    for _ in range(2000):
        client = stack.enter_context(server.connect(port, greeted=port in ("smtp", "pop3")))
        if port not in ("smtp", "pop3"):
            client.secure(context)
            client.reply()
        client.ask(b"CAPA" if port in ("pop3", "pop3s") else b"EHLO client.example")


@contextlib.contextmanager
def small_disk(folder, octets):
    folder.mkdir(parents=True)
    status, said = program("mount", "-t", "tmpfs", "-o", f"size={octets},mode=700", "tmpfs", folder)
    if status != 0:
        raise RuntimeError(f"a small disk wants root: {said!r}")
    try:
        yield folder
    finally:
        program("umount", "--lazy", folder)


def disk_full(server):
    all_of_it = {"reserve_octets": 0, "unsized_octets": 0}
    with small_disk(server.folder / "disk", 8 << 20) as disk, Server(data=disk / "data", space=all_of_it) as full:
        large = b"Subject: large\n\n" + (b"y" * 78 + b"\n") * 50_000
        rest = disk / "rest"
        for port in ("smtp", "lmtp"):
            rest.write_bytes(bytes(6 << 20))
            refuses("disk full in the middle of a message", full, port, large)
            with contextlib.suppress(OSError), open(rest, "ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            refuses("disk full before a message", full, port, b"Subject: small\n\ntext\n")
            rest.unlink()
            full.send(large, port=port)
            check(f"{port}: with space again it is delivered", full.take() == [large])


def disk_that_is_not_all_for_mail(server):
    reserve = {"reserve_octets": 4 << 20, "unsized_octets": 1000}
    with small_disk(server.folder / "shared", 8 << 20) as disk, Server(data=disk / "data", space=reserve) as shared:
        large = b"Subject: large\n\n" + (b"y" * 78 + b"\n") * 100_000
        for port in ("smtp", "lmtp"):
            refuses("a message that would take the reserve", shared, port, large)
            with shared.connect(port) as client:
                client.ask(b"LHLO c" if port == "lmtp" else b"EHLO c")
                reply = client.ask(b"MAIL FROM:<a@b> SIZE=5000000")
            check(f"{port}: MAIL for it is refused", reply.startswith(b"452 4.3.1 "), reply)
            shared.send(b"Subject: small\n\n", port=port)
            check(f"{port}: a small one is delivered", len(shared.take()) == 1)
        taken, lowest = 0, 8 << 20
        with contextlib.suppress(smtplib.SMTPException):
            while taken < 10_000:
                shared.send(large[:1_000_000])
                taken += 1
                found = os.statvfs(disk)
                lowest = min(lowest, found.f_bavail * found.f_frsize)
        check("mail leaves the reserve free", 1 < taken < 5 and lowest > (4 << 20) - (1 << 18), (taken, lowest))


def refuses(name, server, port, message):
    with in_data(server, port) as client:
        client.say(wire(message) + b".\r\n")
        reply, after = client.reply(), client.ask(b"NOOP")
    left = server.files(folders=("new", "cur", "tmp"))
    check(f"{port}: {name}: 4xx", reply[:1] == b"4" and after.startswith(b"250"), (reply, after))
    check(f"{port}: {name}: nothing is left", not left, left)


def run_to_its_end(server, settings):
    """The exit status and the words of a server that is not meant to start."""
    config = server.folder / "other.toml"
    config.write_bytes(settings if isinstance(settings, bytes) else toml(settings).encode())
    return start_with(server, config)


def start_with(server, config):
    command = [MAILSERVER, "--data", server.folder / "other", "--config", config]
    try:
        return program(*command, timeout=10)
    except subprocess.TimeoutExpired:
        return 0, b"it started"


def port_taken(server):
    listen = {**server.settings["listen"], "pop3": f"127.0.0.1:{server.port['pop3']}"}
    status, said = run_to_its_end(server, {"listen": listen})
    named = f"127.0.0.1:{server.port['pop3']}".encode() in said
    check("a port that is taken is named, and the program fails", status != 0 and named, (status, said))
    still_serves("a port that is taken", server)


def bad_configuration(server):
    for name, settings, word in [
        ("an unknown key", b'hostname = "a"\n\nhostnam = "b"\n', b"line 3"),
        ("an unknown table", b'hostname = "a"\n[listn]\nsmtp = "off"\n', b"line 2"),
        ("a value of another kind", b'[limits]\nrecipients = "many"\n', b"line 2"),
        ("no address", b'\n[listen]\nsmtp = "here"\n', b"line 3"),
        ("what is not TOML", b"hostname\n", b"line 1"),
        ("what is not text", b"hostname = \"\xff\"\n", b"other.toml"),
    ]:
        status, said = run_to_its_end(server, settings)
        check(f"configuration: {name} is refused with its place", status != 0 and word in said, (status, said))
    for name, config in [("a file that is not there", server.folder / "none.toml"), ("a directory", server.folder)]:
        status, said = start_with(server, config)
        check(f"configuration: {name} is named", status != 0 and str(config).encode() in said, (status, said))
    missing = {"tls": {"certificate": "/nonexistent/cert.pem", "key": "/nonexistent/key.pem"}}
    status, said = run_to_its_end(server, missing)
    check("configuration: a certificate that is not there is named", status != 0 and b"/nonexistent/" in said, said)


def connection_limit(_):
    with Server(limits={"connections_per_address": 4, "connections": 6}) as server:
        # Those of the start may still be closing.
        time.sleep(0.3)
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(server.connect("smtp")) for _ in range(4)]
            check("connections: as many as are configured are taken", all(peer.greeting[:3] == b"220" for peer in peers))
            for port, refusal in [("smtp", b"421"), ("lmtp", b"421"), ("pop3", b"-ERR")]:
                with server.connect(port) as one_more:
                    said = one_more.greeting + one_more.rest()
                check(f"connections: {port}: one more is refused", said.startswith(refusal), said)
            elsewhere = [stack.enter_context(server.connect("smtp", source="127.0.0.2")) for _ in range(3)]
            codes = [peer.greeting[:3] for peer in elsewhere]
            check("connections: another address, then the limit of all", codes == [b"220", b"220", b"421"], codes)
            peers[0].ask(b"QUIT")
            time.sleep(0.3)
            with server.connect("smtp") as again:
                check("connections: after one has left another is taken", again.greeting[:3] == b"220", again.greeting)


def raise_file_limit():
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


SECTIONS = [
    smuggling,
    stray_octets,
    long_commands,
    endless_errors,
    other_protocols,
    tls_ports_spoken_to_in_the_clear,
    injection,
    silence,
    never_reads,
    many_idle,
    disk_full,
    disk_that_is_not_all_for_mail,
    port_taken,
    bad_configuration,
    connection_limit,
]

if __name__ == "__main__":
    raise_file_limit()
    suite("bad_input", SECTIONS, Server(limits={"connections_per_address": 5000}, auth={"plaintext": True}))
