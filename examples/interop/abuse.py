"""What costs a peer little and might cost the server much. Meanwhile a bystander delivers small messages, and must not notice.

ABUSE_BIG=1 sends messages of 1 GiB instead of 64 MiB, and comes from ten times as many addresses; ABUSE_CROWD=32 floods the
server through 32 connections instead of 4, for ten seconds each, and lets as many large messages end at once.
"""

import base64
import collections
import concurrent.futures
import contextlib
import hashlib
import multiprocessing
import os
import re
import selectors
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

from bad_input import raise_file_limit
from harness import PASSWORD, Peer, Server, check, suite

BIG = bool(os.environ.get("ABUSE_BIG"))
CROWD = int(os.environ.get("ABUSE_CROWD", 4))
MIB = 1 << 20
# What the server's allocator gets back goes back to the system at once: what is seen is then what is used.
os.environ.update(MIMALLOC_PURGE_DELAY="0", MIMALLOC_ALLOW_THP="0")
# No limit and no penalty that an attacker runs into holds for this address.
BYSTANDER = "127.0.0.2"
PROXY = "127.0.0.99"
# Seconds for one of the bystander's messages, syncs and all, with the processor shared with the attacker.
PATIENCE = 3
LOGIN = b"AUTH PLAIN " + base64.b64encode(b"\0anna\0" + PASSWORD.encode())
OPENING = [b"MAIL FROM:<me@example.org>", b"RCPT TO:<anna@localhost>"]


def bystand(port, pipe):
    """Delivers to bert until told to stop, each tenth message through a new connection. Tells how long each took."""
    took, wrong, client = [], [], None
    while not took or not pipe.poll(0.02):
        began = time.monotonic()
        try:
            if len(took) % 10 == 0 or client is None:
                client = Peer(port, source=BYSTANDER, timeout=10 * PATIENCE)
                client.ask(b"EHLO bystander.example")
            commands = [b"MAIL FROM:<by@example.org>", b"RCPT TO:<bert@localhost>", b"DATA", b"Subject: small\r\n\r\n."]
            replies = [client.ask(command) for command in commands]
            if not replies[-1].startswith(b"250"):
                raise AssertionError(replies)
        except Exception as error:
            wrong.append(repr(error))
            client = None
        took.append(time.monotonic() - began)
    pipe.send((took, wrong))


@contextlib.contextmanager
def attack(name, server, most=8):
    """What is done inside may cost at most so many MiB, and nobody his patience, and leaves nothing half done."""
    server.take_files(), server.take_files("bert")
    ours, theirs = multiprocessing.Pipe()
    bystander = multiprocessing.Process(target=bystand, args=(server.port["smtp"], theirs))
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before, began = memory(server, "VmRSS"), time.monotonic()
    bystander.start()
    try:
        yield
    finally:
        seconds, peak = time.monotonic() - began, memory(server, "VmHWM")
        ours.send("stop")
        took, wrong = ours.recv()
        bystander.join()
    grown = peak - before
    seen = f"{name}: {grown / MIB:.1f} MiB more at the most, {most:.0f} allowed, {peak / MIB:.1f} in all; {seconds:.1f} s"
    check(seen, grown <= most * MIB, f"{grown} octets")
    took.sort()
    times = f"{took[len(took) // 2] * 1000:.0f} ms, {took[-1] * 1000:.0f} at the most"
    served = f"{name}: the bystander's {len(took)} messages took {times}"
    came = len(server.take_files("bert"))
    check(served, not wrong and took[-1] < PATIENCE and came == len(took), f"{came} came; {wrong}")
    left = lambda: [file for user in ("anna", "bert") for file in server.files(user, ("tmp",))]
    check(f"{name}: nothing is left half done", soon(lambda: not left()), left())


def warm(server):
    """A login's hash takes 19 MiB for a moment, and the first message what its threads need."""
    server.send(b"Subject: first\n\n")
    greeted(server, "submission").close()


def memory(server, which):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{which}:\s+(\d+) kB", status)[1]) * 1024


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def soon(holds, seconds=3):
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def greeted(server, port="smtp"):
    """A session after its first command, and after a login where the port wants one."""
    client = greeted_without_login(server, port)
    if port == "submission":
        reply = client.ask(LOGIN)
        if not reply.startswith(b"235"):
            raise AssertionError(reply)
    return client


def greeted_without_login(server, port):
    client = server.connect(port)
    client.ask(b"LHLO c" if port == "lmtp" else b"EHLO c")
    return client


def in_transaction(server, *more, port="smtp"):
    client = greeted(server, port)
    opening = [b"MAIL FROM:<anna@localhost>", OPENING[1]] if port == "submission" else OPENING
    replies = [client.ask(command) for command in [*opening, *more]]
    if replies[-1][:1] not in (b"2", b"3"):
        raise AssertionError(replies)
    return client


def say_all(client, octets, times=1, end=b""):
    with contextlib.suppress(OSError):
        for _ in range(times):
            client.say(octets)
        client.say(end)


def flood(client, octets, times=1, end=b"QUIT\r\n"):
    """Says `octets` so many times without waiting for answers, and `end`. How often each code came before the server closed."""
    saying = threading.Thread(target=say_all, args=(client, octets, times, end))
    saying.start()
    codes = collections.Counter()
    rest = client.buffer
    while more := client.receive():
        *lines, rest = (rest + more).split(b"\r\n")
        codes.update(line[:3].decode("latin-1") for line in lines)
    saying.join()
    client.close()
    return dict(codes)


def drip(_):
    hello, lag = client_hello(), 3
    limits = {"read_seconds": 1, "handshake_seconds": 1, "message_lag_seconds": lag, "message_octets_per_second": 200}
    with Server(timeouts=limits, auth={"plaintext": True}) as server:
        with attack("drip", server):
            # What is said at once, octet by octet, and last.
            peers = {
                "a command": (greeted(server), b"", b"N"),
                "LMTP": (greeted(server, "lmtp"), b"", b"RCPT TO:<anna@localhost>"),
                "a recipient": (in_transaction(server), b"", b"RCPT TO:<" + b"a" * 60),
                "the octets of BDAT": (in_transaction(server), b"", b"BDAT 1000000000"),
                "a line that is too long": (greeted(server), b"x" * 10_000, b"x"),
                "a login": (challenged(server), b"", b"A"),
                "CRs in a chunk": (in_transaction(server), b"BDAT 1000\r\n\r", b""),
                "dots in a message": (in_transaction(server, b"DATA"), b"\r\n", b".\r"),
                "a handshake": (server.connect("submissions", greeted=False), b"", hello),
            }
            # Each piece of these comes in time, but the message does not.
            lasting = {
                "DATA": (in_transaction(server, b"DATA"), b"x"),
                "DATA, LMTP": (in_transaction(server, b"DATA", port="lmtp"), b"x"),
                "BDAT": (in_transaction(server), b"x"),
                "refused": (greeted(server), b"x"),
                "chunks": (in_transaction(server), b"BDAT 1\r\nx"),
                "empty chunks": (in_transaction(server), b"BDAT 0\r\n" * 10),
            }
            slow = in_transaction(server, b"DATA")
            began = time.monotonic()
            for client, first, _ in peers.values():
                client.say(first)
            for name, (client, _) in lasting.items():
                client.say((b"BDAT 1000000\r\n" if name in ("BDAT", "refused") else b"") + b"BDAT 0\r\n")
            peers = {**peers, **{name: (client, b"", octets) for name, (client, octets) in lasting.items()}}
            ended, line = {}, b"x" * 28 + b"\r\n"
            for number in range(50):
                for name, (client, _, octets) in peers.items():
                    if name not in ended and is_over(client):
                        ended[name] = time.monotonic() - began
                    elif name not in ended and (name in lasting or number < len(octets) or len(octets) == 1):
                        say_all(client, octets if name in lasting else octets[number : number + 1] or octets)
                # 300 octets each second.
                slow.say(line)
                time.sleep(0.1)
            for name, (client, _, _) in peers.items():
                said, took = client.rest(), ended.get(name, 99)
                allowed = (lag - 0.2, lag + 1.5) if name in lasting else (0.8, 1.8)
                right = allowed[0] < took < allowed[1] and (b"421 4.4.2 " in said or name == "a handshake")
                check(f"drip: {name} ends after {took:.1f} s", right, said)
            check("drip: what has come of a message is none", not server.take())
            reply = slow.ask(b".")
            right = reply.startswith(b"250") and server.take() == [line.replace(b"\r", b"") * 50]
            check("drip: 300 octets a second are fast enough, and delivered", right, reply)


def is_over(client):
    """Whether the server has closed, without a word of what it said being lost."""
    client.socket.setblocking(False)
    try:
        while more := client.receive():
            client.buffer += more
        return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        client.socket.settimeout(15)


def challenged(server):
    client = greeted_without_login(server, "submission")
    if not client.ask(b"AUTH PLAIN").startswith(b"334"):
        raise AssertionError("no challenge")
    return client


def chunks(server):
    with attack("chunks", server):
        for count in (10_000, 200_000):
            client = in_transaction(server)
            codes = flood(client, b"BDAT 1\r\nx" * 1000, count // 1000, b"BDAT 2 LAST\r\n\r\nQUIT\r\n")
            intact = server.take() == [b"x" * count + b"\n"]
            check(f"chunks: {count:,} of one octet are a message", intact and codes == {"250": count + 1, "221": 1}, codes)
        codes = flood(in_transaction(server), b"BDAT 0\r\n" * 1000, 200, b"BDAT 0 LAST\r\nQUIT\r\n")
        check("chunks: so are 200,000 empty ones", server.take() == [b""] and codes == {"250": 200_001, "221": 1}, codes)
        codes = flood(greeted(server), b"BDAT 1\r\nx" * 1000, 200)
        # Some of what is said at the end may be lost: we do not stop to read it.
        right = 0 < codes["503"] <= 1000 and set(codes) <= {"503", "421"}
        check("chunks: of 200,000 that nobody wants 1,000 are refused, then 421", right, codes)
        codes = flood(greeted(server), b"BDAT 1\r\nx", 1000)
        check("chunks: 1,000 that were sent before it was known are refused, and no more comes of it", codes == {"503": 1000, "221": 1}, codes)
        with in_transaction(server) as client:
            client.say(b"BDAT 60000000\r\n")
            say_all(client, bytes(60_000_000), 1)
            replies = client.reply(), client.ask(b"BDAT 1000\r\n" + b"x" * 998)
        right = replies[0].startswith(b"552") and replies[1].startswith(b"503")
        check("chunks: one of 60 MB is refused, and what follows it", right and not server.take(), replies)
    for place, start in [("in a transaction", in_transaction), ("outside one", greeted)]:
        with attack(f"chunk of 2^63 octets {place}", server):
            client, sent, began = start(server), 0, time.monotonic()
            client.say(b"BDAT 9223372036854775808 LAST\r\n")
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 0.5:
                    client.say(b"RSET\r\n" * 20_000)
                    sent += 120_000
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
            said = client.rest()
            right = said == b"" if start is in_transaction else said[:10] in (b"421 4.7.0 ", b"")
            check(f"chunk of 2^63 octets {place}: {sent / MIB:.0f} MiB of it are no commands", right, said)
    with attack("chunks whose size cannot be read", server):
        words = [b"", b" ", b" x", b" -1", b" +1", b" 0x10", b" 1.0", b" 18446744073709551616", b" " + b"9" * 3000]
        words += [b" 1 LASTX", b" 1 LAST x", b" 1\0", b"\t1", b" 1 1", b" " + b"9" * 10_000, b" \xef\xbc\x91"]
        for word in words:
            said = []
            for start in (in_transaction, greeted):
                with start(server) as client:
                    client.say(b"BDAT" + word + b"\r\n" + b"NOOP\r\n" * 5)
                    said.append(client.rest())
            right = all(one[:1] == b"5" and one.count(b"\r\n") == 1 for one in said)
            check(f"chunks: BDAT{ascii(word[:30])[2:-1]}: refused once, and nothing behind it is a command", right, said)
        with in_transaction(server) as client:
            client.say(b"BDAT 1\r\nx")
            reply = client.reply()
            client.say(b"BDAT 18446744073709551615\r\n" + b"NOOP\r\n" * 10_000)
            client.socket.shutdown(socket.SHUT_WR)
            said = client.rest()
        right = reply.startswith(b"250") and said == b"" and not server.take()
        check("chunks: sizes whose sum is beyond 2^64", right, (reply, said))
    with attack("chunks cut off", server):
        for size in (40, 200_000):
            for how in ("close", "reset", "half-close"):
                for sent in (b"", b"\r", b"Subject: x\r\n\r\n" + b"y" * (size - 30)):
                    with in_transaction(server) as client:
                        client.say(b"BDAT %d LAST\r\n" % size + sent)
                        end(client, how)
        time.sleep(0.2)
        check("chunks: what is cut off is no message", not server.take())


def end(client, how):
    if how == "half-close":
        client.socket.shutdown(socket.SHUT_WR)
        return client.rest()
    if how == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def masses(server):
    for command, code, many in [
        (b"NOOP", "250", 1000),
        (b"RSET", "250", 1000),
        (b"VRFY anna", "252", 1000),
        (b"HELP", "214", 200),
        (b"EHLO c", "250", 50),
    ]:
        words = command.decode()
        with attack(f"masses of {words}", server):
            codes = flood(greeted(server), (command + b"\r\n") * 1000, many)
            right = codes.get(code, 0) >= many * 1000 and set(codes) == {code, "221"}
            check(f"masses: {many * 1000:,} {words} are answered", right, codes)
    with attack("masses of transactions", server):
        codes = flood(greeted(server), b"MAIL FROM:<a@b>\r\nRSET\r\n" * 1000, 500)
        check("masses: 500,000 MAIL and RSET", codes == {"250": 1_000_000, "221": 1}, codes)
    for port, many in [("smtp", 1000), ("lmtp", 200)]:
        with attack(f"masses of recipients, {port}", server):
            client = in_transaction(server, port=port)
            codes = flood(client, b"RCPT TO:<anna+%s@localhost>\r\n" % (b"x" * 59) * 1000, many)
            right = codes == {"250": 999, "452": many * 1000 - 999, "221": 1}
            check(f"masses: {port}: of {many * 1000:,} recipients 1,000 are taken, the others refused for now", right, codes)
    with attack("masses of recipients that are not there, LMTP", server):
        codes = flood(in_transaction(server, port="lmtp"), b"RCPT TO:<nobody@localhost>\r\n" * 1000, 200)
        check("masses: 200,000 that are not there, LMTP", codes == {"550": 200_000, "221": 1}, codes)
    with attack("masses of refused messages", server):
        log = server.log.stat().st_size
        message = b"\r\n".join([*OPENING, b"BDAT 1", b"\n"])
        codes = flood(greeted(server), message * 1000, 20)
        right = codes == {"250": 40_000, "554": 20_000, "221": 1}
        check(f"masses: 20,000 messages refused, {len(message)} octets each", right, codes)
        lines = lambda: server.log.read_bytes()[log:].splitlines()
        told = lambda: any(b'"left_out":19900' in line for line in lines())
        count = sum(b"message refused" in line for line in lines()) if soon(told) else 0
        check(f"masses: of them {count} are in the log, and how many are not", count == 100, lines()[-1])
    with attack("masses of recipients that are not there", server):
        found = []
        seek = lambda: found.append(flood(in_transaction(server), b"RCPT TO:<nobody@localhost>\r\n" * 1000, 50))
        seekers = [threading.Thread(target=seek) for _ in range(20)]
        for seeker in seekers:
            seeker.start()
        for seeker in seekers:
            seeker.join()
        refused = sum(codes.get("550", 0) for codes in found)
        right = refused <= 130 and all(codes.get("421") == 1 for codes in found)
        check(f"masses: of 1,000,000 from one address {refused} are looked up, then 421", right and len(found) == 20, found)


def endless(server):
    piece, times = b"x" * MIB, 100
    for name, port, start in [
        ("command", "smtp", b"NOOP "),
        ("command, LMTP", "lmtp", b"NOOP "),
        ("word", "smtp", b""),
        ("EHLO", "smtp", b"EHLO "),
        ("sender", "smtp", b"MAIL FROM:<"),
        ("AUTH", "submission", b"AUTH PLAIN "),
        ("response of AUTH", "submission", b"AUTH PLAIN\r\n"),
    ]:
        with attack(f"endless {name}", server):
            client = greeted_without_login(server, port)
            client.say(start)
            if b"\r\n" in start:
                client.reply()
            say_all(client, piece, times, b"\r\n")
            replies = client.reply(), client.ask(b"NOOP")
            right = replies[0].startswith(b"500") and replies[1].startswith(b"250")
            check(f"endless {name}: 100 MiB are refused, and the session goes on", right, replies)
            client.close()
    with attack("endless names", server):
        codes = flood(greeted(server), (b"EHLO " + b"x" * 4000 + b"\r\n") * 25, 1000)
        check("endless names: a client that has only wrong ones is sent away", sum(codes.values()) < 20, codes)
    messages = [
        ("header line", b"X: ", piece),
        ("header section", b"", b"X-Field: text\r\n" * (MIB // 15)),
        ("name of a field", b"", piece),
        ("Bcc", b"Bcc: a", b",\r\n b@example.org" * (MIB // 17)),
        ("body line", b"\r\n", piece),
        ("row of dots", b"\r\n", b"..\r\n" * (MIB * 3 // 16)),
        ("row of Received", b"", b"Received: x\r\n" * (MIB // 13)),
    ]
    for port in ("smtp", "submission"):
        for name, start, piece in messages[: 5 if port == "submission" else None]:
            with attack(f"endless {name}, {port}", server), in_transaction(server, b"DATA", port=port) as client:
                client.say(start)
                say_all(client, piece, times, b"\r\n.\r\n")
                replies = client.reply(), client.ask(b"NOOP")
                right = replies[0][:6] == b"552 5." and replies[1].startswith(b"250") and not server.take()
                check(f"endless {name}: {port}: a message beyond the limit: {replies[0].decode().strip()}", right, replies)
    with attack("large header section", server), in_transaction(server, b"DATA", port="submission") as client:
        client.say(b"X-Field: text\r\n" * 20_000 + b"\r\n.\r\n")
        reply = client.reply()
        check("endless: a header section of 300 KB is refused", reply.startswith(b"552 5.3.4") and not server.take(), reply)


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def record(kind, content, version=b"\3\3"):
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def half_open(_):
    hello, allowed = client_hello(), 2
    settings = {"timeouts": {"handshake_seconds": allowed}, "limits": {"connections_per_address": 5000}}
    with Server(**settings) as server, contextlib.ExitStack() as stack:
        before = descriptors(server)
        with attack("half-open TLS and a login", server, most=48):
            peers = []
            for number in range(500):
                peers.append(stack.enter_context(server.connect("submissions", greeted=False)))
                peers[-1].say([b"", hello[: len(hello) // 2], hello[:3]][number % 3])
            for number in range(500):
                peers.append(stack.enter_context(greeted_without_login(server, ["smtp", "submission", "lmtp"][number % 3])))
                peers[-1].ask(b"STARTTLS")
                peers[-1].say([b"", hello[: len(hello) // 2]][number % 2])
            made = time.monotonic()
            with server.connect("submissions", greeted=False, source=BYSTANDER) as client:
                client.secure(server.tls())
                client.reply()
                commands = [b"EHLO c", LOGIN, b"MAIL FROM:<anna@localhost>", OPENING[1], b"DATA"]
                replies = [client.ask(command) for command in [*commands, b"Subject: meanwhile\r\n\r\n."]]
            took = time.monotonic() - made
            right = replies[-1].startswith(b"250") and took < PATIENCE
            check(f"half-open TLS: among 1,000 another shakes hands, logs in and sends in {took * 1000:.0f} ms", right, replies)
            said = [peer.rest() for peer in peers]
            took = time.monotonic() - made
            gone = soon(lambda: descriptors(server) <= before + 3)
            right = gone and not any(said) and took < allowed + 2
            check(f"half-open TLS: all are closed {took:.1f} s after the last came", right, (took, descriptors(server), before))


def tls_garbage(server):
    for name, octets in [
        ("octets by chance", os.urandom(MIB)),
        ("warnings", record(21, b"\1\0") * 100_000),
        ("ChangeCipherSpec", record(20, b"\1") * 100_000),
        ("empty handshake records", record(22, b"") * 100_000),
        ("application data", record(23, bytes(16_384)) * 60),
        ("a ClientHello of 16 MiB", record(22, b"\1\xff\xff\xff\3\3" + bytes(10_000)) + record(22, bytes(16_000)) * 1000),
        ("a ClientHello octet by octet", b"".join(record(22, bytes([octet])) for octet in client_hello()) * 100),
        ("a record of 64 KiB", b"\x16\3\3\xff\xff" + bytes(MIB)),
        ("SSLv2", b"\x80\x2e\1\3\1" + bytes(100_000)),
    ]:
        with attack(f"TLS garbage: {name}", server):
            for port in ("submissions", "smtp"):
                began = time.monotonic()
                with server.connect(port, greeted=port == "smtp") as client:
                    if port == "smtp":
                        client.ask(b"EHLO c")
                        client.ask(b"STARTTLS")
                    say_all(client, octets)
                    said = client.rest()
                took = time.monotonic() - began
                right = took < 2 and len(said) < 10_000 and b"250" not in said
                check(f"TLS garbage: {name}: {port} closes after {took * 1000:.0f} ms", right, said[:100])


def renegotiation(_):
    with Server(timeouts={"read_seconds": 1}) as server, attack("renegotiation", server):
        command = ["openssl", "s_client", "-tls1_2", "-state", "-connect", f"127.0.0.1:{server.port['submissions']}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(0.5)
        said = process.communicate(b"R\n", timeout=10)[0]
        before, _, after = said.partition(b"RENEGOTIATING")
        right = b"220 localhost" in before and after and b"read server hello" not in after
        check("renegotiation is not done, and the session ends", right, after)


def injection(server):
    """Commands behind STARTTLS in the clear, in one segment or cut between any two octets."""
    octets = b"STARTTLS\r\nEHLO e\r\n" + b"\r\n".join([*OPENING, b"DATA", b"Subject: injected\r\n\r\n.", b""])

    def inject(port, cut, octets=octets):
        with greeted_without_login(server, port) as client:
            client.say(octets[:cut])
            if cut < len(octets):
                time.sleep(0.01)
                say_all(client, octets[cut:])
            said = client.reply()
            try:
                client.secure(server.tls())
                client.socket.settimeout(0.5)
                after = client.ask(b"NOOP")
            except OSError:
                after = b""
        return None if said.count(b"\r\n") == 1 and not after else (port, cut, said, after)

    with attack("injection", server), concurrent.futures.ThreadPoolExecutor(8) as pool:
        alone = inject("smtp", 5, b"STARTTLS\r\n")
        check("injection: STARTTLS with nothing behind it is served", alone and alone[-1].startswith(b"250"), alone)
        cuts = [(port, cut) for port in ("smtp", "submission", "lmtp") for cut in range(1, len(octets) + 1)]
        wrong = [one for one in pool.map(lambda cut: inject(*cut), cuts) if one]
        right = not wrong and not server.take()
        check(f"injection behind STARTTLS: none of {len(cuts)} gets through", right, wrong)


def early_talkers(_):
    settings = {"trust": {"greeted_at_once": [BYSTANDER]}, "early_talkers": {"pause_seconds": 1}}
    with Server(**settings, limits={"connections_per_address": 5000}) as server, contextlib.ExitStack() as stack:
        with attack("early talkers", server, most=16):
            peers, message = [], b"EHLO c\r\n" + b"\r\n".join([*OPENING, b"DATA", b"Subject: early\r\n\r\n.", b""])
            for number in range(300):
                peers.append(stack.enter_context(server.connect("smtp", greeted=False, source="127.0.0.7")))
                peers[-1].say(message * 1000 if number % 10 == 0 else b"E")
            says = [peer.reply() for peer in peers]
            for peer in peers[1::2]:
                say_all(peer, message)
            say_all(peers[0], message * 1000, 100)
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.socket.shutdown(socket.SHUT_WR)
            codes = collections.Counter(line[:3] for peer in peers for line in peer.rest().splitlines())
            right = all(reply.startswith(b"554") for reply in says) and not {b"250", b"354"} & set(codes)
            check("early talkers: 300 are refused, however much they say", right and not server.take(), (set(says), codes))
        with attack("early talkers that wait", server, most=40):
            waiting = [stack.enter_context(server.connect("smtp", greeted=False, source="127.0.0.8")) for _ in range(2000)]
            greetings = collections.Counter(peer.reply()[:3] for peer in waiting)
            check("early talkers: 2,000 that wait are greeted", greetings == {b"220": 2000}, greetings)


def never_reads(_):
    with Server(timeouts={"write_seconds": 1}) as server:
        before = descriptors(server)
        with attack("never reads", server, most=8), contextlib.ExitStack() as stack:
            peers, sent = [], []
            for _ in range(20):
                client = stack.enter_context(server.connect("smtp"))
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.socket.settimeout(0.1)
                peers.append(client)
            began = time.monotonic()
            for client in peers:
                sent.append(0)
                with contextlib.suppress(OSError):
                    for _ in range(1000):
                        sent[-1] += client.socket.send(b"VRFY anna\r\n" * 1000)
            stopped = max(sent) // 11
            check(f"never reads: of 1,000,000 VRFY {stopped} go out, then none is taken", stopped < 1_000_000, sent)
            gone = soon(lambda: descriptors(server) <= before + 3, 8)
            took = time.monotonic() - began
            check(f"never reads: 20 that take nothing are closed, after {took:.1f} s", gone and took < 8, descriptors(server))


def broken_connections(_):
    with Server(limits={"connections_per_address": 5000}) as server:
        before = descriptors(server)
        with attack("half-closed", server):
            with in_transaction(server, b"DATA") as client:
                client.say(b"Subject: whole\r\n\r\ntext\r\n.\r\nQUIT\r\n")
                client.socket.shutdown(socket.SHUT_WR)
                said = client.rest()
            right = said.startswith(b"250") and len(server.take()) == 1
            check("half-closed behind a whole message: it is answered", right, said)
            said = []
            for octets in (b"", b"Subject: half\r\n\r\n", b"x" * 200_000, b"\r\n.", b"\r\n.\r"):
                with in_transaction(server, b"DATA") as client:
                    client.say(octets)
                    client.socket.shutdown(socket.SHUT_WR)
                    said.append(client.rest())
            right = not any(b"250" in one for one in said) and not server.take()
            check("half-closed within a message: nothing is taken", right, said)
        with attack("reset", server):
            for number in range(300):
                client = in_transaction(server, b"DATA")
                client.say(b"Subject: half\r\n\r\n" + b"x" * [10, 1000, 200_000][number % 3])
                end(client, "reset")
            check("reset within 300 messages: nothing is taken", not server.take())
        with attack("opened and dropped", server, most=8):
            began = time.monotonic()
            for number in range(2000):
                port = ["smtp", "submission", "submissions", "lmtp"][number % 4]
                client = server.connect(port, greeted=False)
                client.say([b"", b"EHL", b"EHLO c\r\nMAIL FROM:<a@b>\r\n", b"\x16\3\1"][number // 4 % 4])
                end(client, "reset" if number % 32 < 16 else "close")
            took = time.monotonic() - began
            gone = soon(lambda: descriptors(server) <= before + 3)
            check(f"2,000 connections opened and dropped in {took:.1f} s are gone", gone, (descriptors(server), before))


def held_back(_):
    """What connections hold that stop where they cost the most."""
    head = b"DATA\r\nSubject: x\r\n\r\n"
    # How many; KiB of each once nothing has come for a second, and before that. What the threads hold that write to the disk is shared by many.
    for name, count, allowed, most, octets in [
        ("60,000 octets of a message", 100, 84, 128, head + b"x" * 60_000),
        ("1,000,000 octets of a message", 400, 160, 384, head + b"x" * 1_000_000 + b"\r"),
        ("1,000 recipients", 100, 320, 320, b"RCPT TO:<anna+%s@localhost>\r\n" % (b"x" * 59) * 999),
        ("20,000 commands and a half", 100, 96, 160, b"NOOP\r\n" * 20_000 + b"N" * 4000),
    ]:
        with Server(limits={"connections_per_address": 5000}) as server, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(in_transaction(server)) for _ in range(count)]
            with attack(f"held back: {name}", server, most=count * most / 1024):
                before = memory(server, "VmRSS")
                for peer in peers:
                    saying = threading.Thread(target=say_all, args=(peer, octets))
                    saying.start()
                    lines = octets.count(b"\r\n") if octets[:1] in b"RN" else 0
                    while lines > 0:
                        lines -= peer.receive().count(b"\n")
                    saying.join()
                time.sleep(3)
                each = (memory(server, "VmRSS") - before) / count / 1024
                check(f"held back: {name}: {each:.0f} KiB for a connection, {allowed} allowed", each < allowed)
                for peer in peers:
                    peer.close()


def crowd(server):
    """Many that never stop. What the server does for each at a time is what the others wait for."""
    for name, opening, octets in [
        ("NOOP", [], b"NOOP\r\n" * 10_000),
        ("recipients", OPENING, b"RCPT TO:<anna@localhost>\r\n" * 3000),
        ("EHLO", [], b"EHLO c\r\n" * 8000),
        ("a refused message", [*OPENING, b"DATA"], b"\n\r\n..\r\n" * 9000),
    ]:
        with attack(f"{CROWD} floods of {name}", server, most=8 + CROWD // 2):
            seconds = 1 if CROWD < 8 else 10
            pump = multiprocessing.Process(target=pump_all, args=(server.port["smtp"], opening, octets, seconds))
            pump.start()
            pump.join()


def pump_all(port, opening, octets, seconds):
    selector = selectors.DefaultSelector()
    for _ in range(CROWD):
        client = Peer(port)
        for command in [b"EHLO c", *opening]:
            client.ask(command)
        client.socket.setblocking(False)
        # Where in `octets` the next write begins.
        selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, [0])
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for key, ready in selector.select(0.1):
            with contextlib.suppress(BlockingIOError):
                if ready & selectors.EVENT_READ:
                    key.fileobj.recv(MIB)
                if ready & selectors.EVENT_WRITE:
                    sent = key.fileobj.send(memoryview(octets)[key.data[0] :])
                    key.data[0] = (key.data[0] + sent) % len(octets)


def large_at_once(server):
    """One sync serves all messages that are ready: the others wait for it."""
    block = (b"x" * 62 + b"\r\n") * (MIB // 64)
    with attack(f"{CROWD} messages of 49 MiB at once", server, most=8 + CROWD // 2), contextlib.ExitStack() as stack:
        peers = [stack.enter_context(in_transaction(server, b"DATA")) for _ in range(CROWD)]
        for peer in peers:
            peer.socket.settimeout(120)
            say_all(peer, block, 49)
        for peer in peers:
            peer.say(b".\r\n")
        replies = {peer.reply()[:3] for peer in peers}
        check(f"{CROWD} messages of 49 MiB at once: all are taken", replies == {b"250"}, replies)
        for file in server.files():
            file.unlink()


def big_messages(_):
    octets = 1024 * MIB if BIG else 64 * MIB
    with Server(limits={"message_octets": 2 * octets}) as server:
        server.send(b"Subject: small\n\n")
        for how in ("DATA", "BDAT"):
            name = f"a message of {octets // MIB} MiB by {how}"
            with attack(name, server, most=16), in_transaction(server, *([b"DATA"] if how == "DATA" else [])) as client:
                began, expected = time.monotonic(), hashlib.sha256()
                line = os.urandom(48).hex().encode() + b"\r\n"
                for number in range(octets // MIB):
                    block = (b"%015d\r\n" % number + line * (MIB // len(line))).ljust(MIB - 2, b"x") + b"\r\n"
                    expected.update(block.replace(b"\r\n", b"\n"))
                    if how == "DATA":
                        client.say(block)
                        continue
                    pieces = [block[at : at + 65_536] for at in range(0, MIB, 65_536)]
                    client.say(b"".join(b"BDAT 65536\r\n" + piece for piece in pieces))
                    replies = {client.reply() for _ in pieces}
                    if replies != {b"250 2.0.0 go on\r\n"}:
                        raise AssertionError(replies)
                reply = client.ask(b"." if how == "DATA" else b"BDAT 0 LAST")
                took = time.monotonic() - began
                files = server.files()
                right = reply.startswith(b"250") and len(files) == 1 and digest(files[0]) == expected.hexdigest()
                check(f"{name}: stored as it was sent, in {took:.1f} s", right, (reply, files))
                for file in files:
                    file.unlink()


def digest(path):
    """Of a message without what the server puts before it."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while (line := file.readline()).startswith((b"Return-Path:", b"Received:", b"\t")):
            pass
        found.update(line)
        while piece := file.read(MIB):
            found.update(piece)
    return found.hexdigest()


def proxies(_):
    v2 = b"\r\n\r\n\0\r\nQUIT\n"
    settings = {"trust": {"proxies": [PROXY, "127.0.1.0/24"]}, "timeouts": {"proxy_seconds": 2}, "auth": {"plaintext": True}}
    limits = {"connections_per_address": 5000, "connections_per_minute": 1_000_000}
    with Server(**settings, limits=limits) as server:
        before = descriptors(server)
        come = lambda port="smtp": server.connect(port, greeted=False, source=PROXY)
        with attack("PROXY headers", server):
            for name, octets in [
                ("version 1 without an end", b"PROXY UNKNOWN " + b"x" * 10 * MIB),
                ("version 1 with many addresses", b"PROXY TCP4 " + b"192.0.2.1 " * MIB),
                ("version 2 of 65,535 octets", v2 + b"\x21\x11\xff\xff" + bytes(10 * MIB)),
                ("version 2 of 4,097 octets", v2 + b"\x21\x11\x0f\xf1" + bytes(10 * MIB)),
                ("version 2, LOCAL, of 65,535 octets", v2 + b"\x20\0\xff\xff" + bytes(10 * MIB)),
                ("no header", b"EHLO c\r\n" * MIB),
                ("a signature that is wrong at its end", v2[:-1] + b"\r" + bytes(MIB)),
                ("one header behind another", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n" * 100),
            ]:
                for port in ("smtp", "submissions"):
                    began = time.monotonic()
                    with come(port) as client:
                        say_all(client, octets)
                        with contextlib.suppress(OSError):
                            client.socket.shutdown(socket.SHUT_WR)
                        said = client.rest()
                    took = time.monotonic() - began
                    right = took < 2 and b"250" not in said
                    check(f"PROXY: {name}: {port} closes after {took * 1000:.0f} ms", right, said[:200])
        with attack("PROXY headers that drip", server), contextlib.ExitStack() as stack:
            peers = [stack.enter_context(come(port)) for port in ("smtp", "submissions", "pop3") for _ in range(100)]
            starts = [b"PROXY UNKNOWN " + b"x" * 80, v2 + b"\x21\x11\x0f\xf0" + bytes(80), b""]
            began = time.monotonic()
            for at in range(30):
                for number, peer in enumerate(peers):
                    say_all(peer, starts[number % 3][at : at + 1])
                time.sleep(0.05)
            said = b"".join(peer.rest() for peer in peers)
            took = time.monotonic() - began
            gone = soon(lambda: descriptors(server) <= before + 3)
            check(f"PROXY: 300 that drip are closed after {took:.1f} s", gone and not said and took < 4, said)
        with attack("PROXY headers from everywhere", server, most=8):
            # In the big run more than the server remembers.
            count = 50_000 if BIG else 5000
            for number in range(count):
                address = bytes([10, number >> 16, number >> 8 & 255, number & 255])
                # Ports of one address would run out.
                client = server.connect("smtp", greeted=False, source=f"127.0.1.{number % 250 + 1}")
                client.say(v2 + b"\x21\x11\0\x0c" + address + bytes([192, 0, 2, 1, 1, 1, 0, 25]))
                client.close()
            check(f"PROXY: {count:,} clients are gone", soon(lambda: descriptors(server) <= before + 3), descriptors(server))


SECTIONS = [
    warm,
    drip,
    chunks,
    masses,
    endless,
    half_open,
    tls_garbage,
    renegotiation,
    injection,
    early_talkers,
    never_reads,
    broken_connections,
    held_back,
    crowd,
    large_at_once,
    big_messages,
    proxies,
]

if __name__ == "__main__":
    raise_file_limit()
    suite("abuse", SECTIONS, Server(auth={"plaintext": True}, limits={"connections_per_address": 5000}))
