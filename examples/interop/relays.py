"""Postfix, Exim and Dovecot pass mail on to the server, each started for this on loopback; what is not installed is left out.

`PEERS` names the folder of the scripts that start Postfix and Exim; without it, `../shared/peers` beside the repository.
"""

import base64
import contextlib
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import PASSWORD, Peer, Server, check, difference, program, stuffed, suite, without_trace, wire
from send import MESSAGE

PEERS = Path(os.environ.get("PEERS") or Path(__file__).resolve().parents[3] / "shared/peers")
# Where its scripts unpack what Debian does not install beside Postfix.
UNPACKED = Path(os.environ.get("PEERS_DIR") or Path(os.environ.get("TMPDIR") or "/tmp") / "peers") / "pkg"

SENDER, ANNA, BERT = "carl@example.test", "anna@example.test", "bert@example.test"
NOBODY = "nobody@example.test"
BEHIND = "127.0.0.55"
TRUSTED = "127.0.0.77"

LINES = MESSAGE + b"y" * 998 + b"\n" + b".z" * 499 + b"\nend\n"
LONG = LINES + b"w" * 40_000 + b"\nend\n"
UTF8 = "From: jürgen@exämple.test\nTo: anna+grün@example.test\nDate: Tue, 3 Feb 2026 10:20:30 +0000\n".encode()
UTF8 += "Message-ID: <u@example.test>\nSubject: grüße 你好\n\n.😀\n".encode()
LARGE = MESSAGE + base64.encodebytes(random.Random(1).randbytes(15_000_000))


class Missing(Exception):
    """What is not installed here."""


class Recorder:
    """Stands between a client and a port, connects to it from `source`, and keeps what both say."""

    def __init__(self, port, source="127.0.0.1"):
        self.target, self.source, self.sessions = port, source, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self.target), 30, source_address=(self.source, 0))
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                session = (bytearray(), bytearray())
                self.sessions.append(session)
                for one, other, kept in [(client, server, session[0]), (server, client, session[1])]:
                    threading.Thread(target=self.pass_on, args=(one, other, kept), daemon=True).start()

    @staticmethod
    def pass_on(one, other, kept):
        with contextlib.suppress(OSError):
            while more := one.recv(65536):
                # Of a large message the beginning is enough.
                kept += more if len(kept) < 1_000_000 else b""
                other.sendall(more)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def commands(self, verb):
        """Those of all sessions, without their line ends."""
        said = [bytes(client) for client, _ in self.sessions]
        return [line for one in said for line in re.findall(rb"^%s\b[^\r\n]*(?=\r\n)" % verb, one, re.M)]

    def transcript(self):
        """For a failure: the last session."""
        return bytes(self.sessions[-1][0][:2000]) + b" // " + bytes(self.sessions[-1][1][:2000]) if self.sessions else b""


class Relay:
    """A mail server started by a script, in a folder of its own."""

    def __init__(self, script, variant, sink):
        self.script, self.variant, self.sink = PEERS / script, variant, sink
        self.folder = Path(tempfile.mkdtemp(prefix="relays."))
        self.place = self.folder / f"{script.removesuffix('.sh')}-{variant}"
        self.port = free_port()
        if UNPACKED.is_dir():
            (self.folder / "pkg").symlink_to(UNPACKED)
        self.environment = {"PEERS_DIR": str(self.folder), "CG": str(self.folder / "cg"), "BINDS": ""}
        self.environment |= {"PORT": str(self.port), "SINK_PORT": str(sink)}

    def __enter__(self):
        try:
            self.run("start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.run("stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, what):
        status, said = program("bash", self.script, what, self.variant, environment=self.environment)
        if status != 0:
            raise AssertionError(f"{self.script.name} {what}: {said!r}")

    def send(self, sender, recipients, message, options=(), source="127.0.0.1"):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60, source_address=(source, 0)) as client:
            client.ehlo()
            options = [*options, "BODY=8BITMIME"]
            refused = client.sendmail(sender, recipients, wire(message), options)
        if refused:
            raise AssertionError(refused)


class Postfix(Relay):
    def __init__(self, sink, variant="relay"):
        if not shutil.which("postfix", path=os.environ["PATH"] + ":/usr/sbin"):
            raise Missing("Postfix is not installed")
        if not (PEERS / "postfix.sh").is_file():
            raise Missing(f"what starts Postfix is not in {PEERS}")
        super().__init__("postfix.sh", variant, sink)

    def __exit__(self, *_):
        # Also where the script did not see it start.
        program("postfix", "-c", self.place / "etc", "stop")
        super().__exit__()

    def set(self, **settings):
        for name, value in settings.items():
            self.command("postconf", "-e", f"{name}={value}")
        self.command("postfix", "reload")
        # Which ends what is idle, and the connections that are kept.
        time.sleep(1)

    def command(self, name, *options):
        status, said = program(name, "-c", self.place / "etc", *options)
        if status != 0:
            raise AssertionError(said)
        return said

    def log(self):
        file = self.place / "mail.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def queue(self):
        return self.command("postqueue", "-j").splitlines()

    def again(self):
        self.command("postqueue", "-f")


class Exim(Relay):
    def __init__(self, sink, variant="relay"):
        if not (UNPACKED / "usr/sbin/exim4").is_file():
            raise Missing("Exim is not installed")
        if not (PEERS / "exim.sh").is_file():
            raise Missing(f"what starts Exim is not in {PEERS}")
        super().__init__("exim.sh", variant, sink)

    def set(self, *options):
        """Starts it anew, its SMTP client with these options beside those of the script."""
        self.run("stop")
        config, marks = self.place / "etc/exim4/exim4.conf", ["# more", "# no more"]
        before = re.sub(r"(?s)# more\n.*# no more\n", "", config.read_text())
        more = "\n".join([marks[0], *options, marks[1]])
        config.write_text(before.replace("  driver = smtp\n", f"  driver = smtp\n{more}\n"))
        daemon = """bash -c '. "$0/env.sh"; in_ns "$1" /usr/sbin/exim4 -bdf' "$0" "$1\""""
        self.inside(f'. "$0/env.sh"; start_bg exim-relay {daemon}; wait_port $PORT')

    def log(self):
        file = self.place / "log/mainlog"
        return file.read_text(errors="replace") if file.exists() else ""

    def queue(self):
        return list((self.place / "spool/input").rglob("*-H"))

    def again(self):
        self.inside('. "$0/env.sh"; in_ns "$1" /usr/sbin/exim4 -qff')

    def inside(self, script):
        status, said = program("bash", "-c", script, PEERS, self.place / "etc", environment=self.environment)
        if status != 0:
            raise AssertionError(said)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def wait(condition, seconds=60):
    """Whether it comes to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def from_relay(octets):
    """A message without what the server and the relays before it put there."""
    rest = without_trace(octets)
    while rest.startswith(b"Received: "):
        rest = re.sub(rb"\AReceived: [^\n]*\n(?:[ \t][^\n]*\n)*", b"", rest)
    return rest


def came(name, server, message, users=("anna",), peer=None, trace=b""):
    """Checks that `message` and nothing else comes to each of `users`. Returns what came, whole."""
    there = wait(lambda: all(server.files(user) for user in users) and not (peer and peer.queue()))
    every = []
    for user in users:
        files = server.take_files(user)
        every += files
        found = [from_relay(file) for file in files]
        right = found == [message] and all(trace in head(file) for file in files)
        seen = difference(found, message) if found != [message] else f"{trace!r} is not in {head(files[0])[:300]!r}"
        if not there:
            seen += f"; {peer.log()[-300:]}" if peer else ""
        check(f"{name}, for {user}" if len(users) > 1 else name, right, seen)
    return every


@contextlib.contextmanager
def broken(server, user):
    """An account that no mail can be put into."""
    mailbox, aside = server.maildir(user), server.folder / "aside"
    if mailbox.exists():
        mailbox.rename(aside)
    mailbox.parent.mkdir(exist_ok=True)
    mailbox.write_bytes(b"")
    try:
        yield
    finally:
        mailbox.unlink()
        if aside.exists():
            aside.rename(mailbox)


def reported(name, server, *parts, without=()):
    """Checks the report that comes to the sender."""
    wait(lambda: server.files("carl"))
    found = server.take_files("carl")
    right = len(found) == 1 and found[0].startswith(b"Return-Path: <>\n") and b"multipart/report" in found[0]
    right = right and all(part in found[0] for part in parts) and not any(part in found[0] for part in without)
    check(name, right, found)


def left_out(section):
    """A section that says what it lacks, and is no failure then."""

    def run(server):
        try:
            if os.geteuid() != 0:
                raise Missing("other mail servers want root")
            section(server)
        except Missing as missing:
            print(f"left out: {missing}: {section.__name__}", flush=True)

    run.__name__ = section.__name__
    return run


def trusted(server):
    """The server's certificate where another account can read it."""
    server.folder.chmod(0o711)
    return shutil.copy(server.certificate, server.folder / "ca.pem")


def messages(peer, server, name, trace, long):
    """One of each kind through a relay."""
    peer.send(SENDER, [ANNA], long)
    came(f"{name}: 8-bit, dots and long lines", server, long, peer=peer, trace=trace)
    peer.send(SENDER, [ANNA, BERT], MESSAGE)
    came(f"{name}: two recipients", server, MESSAGE, ("anna", "bert"), peer)
    peer.send("jürgen@exämple.test", ["anna+grün@example.test"], UTF8, ["SMTPUTF8"])
    files = came(f"{name}: SMTPUTF8", server, UTF8, peer=peer, trace=b"with UTF8SMTP")
    returned = "Return-Path: <jürgen@exämple.test>\n".encode()
    check(f"{name}: SMTPUTF8: the sender in the trace", all(file.startswith(returned) for file in files), files)
    peer.send(SENDER, [ANNA], LARGE)
    came(f"{name}: 20 MB", server, LARGE, peer=peer, trace=trace)
    peer.send(SENDER, [ANNA, NOBODY, BERT], MESSAGE)
    came(f"{name}: one of three does not exist: the others have it", server, MESSAGE, ("anna", "bert"))
    parts = [b"nobody@example.test", b"550", b"5.1.1", b"no such mailbox here"]
    others = [b"Final-Recipient: rfc822; anna", b"Final-Recipient: rfc822;anna"]
    reported(f"{name}: one of three does not exist: the sender is told", server, *parts, without=others)
    check(f"{name}: its queue is empty", wait(lambda: not peer.queue(), 10), peer.log()[-600:])


@left_out
def postfix_by_smtp(server):
    ca = trusted(server)
    with Recorder(server.port["smtp"]) as between, Postfix(between.port) as postfix:
        postfix.set(smtp_tls_security_level="none", smtp_line_length_limit=0)
        messages(postfix, server, "Postfix", b"with ESMTP\n", LONG)
        check("Postfix: in the clear", between.commands(b"MAIL") and not between.commands(b"STARTTLS"))
        verify = {"smtp_tls_security_level": "verify", "smtp_tls_verify_cert_match": "localhost", "smtp_tls_CAfile": ca}
        postfix.set(**verify, smtp_tls_loglevel=1)
        messages(postfix, server, "Postfix, STARTTLS", b"with ESMTPS\n", LONG)
        check("Postfix, STARTTLS: the certificate is verified", "Verified TLS connection" in postfix.log(), postfix.log())
        postfix.set(smtp_tls_security_level="none")
        many(postfix, server, between)
        one_mailbox_fails(postfix, server)
        server_away(postfix, server, between)


def many(postfix, server, between):
    """Postfix keeps a connection for more messages."""
    before, field = len(between.sessions), b"From: c@example.test\nDate: Tue, 3 Feb 2026 10:20:30 +0000\nMessage-ID: "
    texts = {field + b"<%d@example.test>\n\ntext\n" % number for number in range(200)}
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
        for text in texts:
            client.sendmail(SENDER, [ANNA], wire(text))
    wait(lambda: len(server.files()) >= 200 and not postfix.queue(), 120)
    found = [from_relay(file) for file in server.take_files()]
    right = len(found) == 200 and set(found) == texts
    check("Postfix: 200 messages come once each", right, f"{len(found)} messages, {len(set(found))} different")
    used = len(between.sessions) - before
    check("Postfix: 200 messages: a connection is used again", 0 < used < 200, f"{used} connections")


def one_mailbox_fails(postfix, server):
    """Without PRDR there is one reply for all."""
    with broken(server, "bert"):
        postfix.send(SENDER, [ANNA, BERT], MESSAGE)
        held = wait(lambda: "status=deferred" in postfix.log() and server.files())
    name = "Postfix: a mailbox that cannot be written"
    check(f"{name}: 451, Postfix keeps the message", held and postfix.queue(), postfix.log()[-400:])
    postfix.again()
    wait(lambda: not postfix.queue())
    copies = [[from_relay(file) for file in server.take_files(user)] for user in ("anna", "bert")]
    right = copies == [[MESSAGE] * 2, [MESSAGE]]
    check(f"{name}: sent again to all, so the other has it twice", right, [len(copy) for copy in copies])
    check(f"{name}: nobody is told of a failure", not server.take("carl"))


def server_away(postfix, server, between):
    """What comes while the server is down comes when it is up again."""
    deferred = postfix.log().count("status=deferred")
    server.stop()
    postfix.send(SENDER, [ANNA], MESSAGE)
    held = wait(lambda: postfix.log().count("status=deferred") > deferred)
    server.start()
    between.target = server.port["smtp"]
    postfix.again()
    check("Postfix: sent while the server is down: kept", held, postfix.log()[-400:])
    came("Postfix: sent while the server is down: delivered when it is up", server, MESSAGE, peer=postfix)


@left_out
def postfix_by_lmtp(server):
    ca = trusted(server)
    with Recorder(server.port["lmtp"]) as between, Postfix(between.port) as postfix:
        transport = f"lmtp:inet:127.0.0.1:{between.port}"
        postfix.set(relay_transport=transport, lmtp_tls_security_level="none", lmtp_line_length_limit=0)
        for name, text in [("8-bit, dots and long lines", LONG), ("20 MB", LARGE)]:
            postfix.send(SENDER, [ANNA], text)
            came(f"Postfix, LMTP: {name}", server, text, peer=postfix, trace=b"with LMTP\n")
        postfix.send("jürgen@exämple.test", ["anna+grün@example.test"], UTF8, ["SMTPUTF8"])
        came("Postfix, LMTP: SMTPUTF8", server, UTF8, peer=postfix, trace=b"with UTF8LMTP")
        with broken(server, "bert"):
            postfix.send(SENDER, [ANNA, NOBODY, BERT], MESSAGE)
            wait(lambda: "status=deferred" in postfix.log() and "status=bounced" in postfix.log())
            came("Postfix, LMTP: one does not exist, one mailbox cannot be written: the third has it", server, MESSAGE)
            wait(lambda: len(postfix.queue()) == 1, 60)
            kept = postfix.queue()
            right = len(kept) == 1 and BERT.encode() in kept[0] and ANNA.encode() not in kept[0]
            check("Postfix, LMTP: it keeps the message for the one only", right, kept)
        parts = [b"nobody@example.test", b"5.1.1", b"no such mailbox here"]
        reported("Postfix, LMTP: the sender is told of the one who does not exist", server, *parts)
        postfix.again()
        came("Postfix, LMTP: tried again", server, MESSAGE, ("bert",), postfix)
        check("Postfix, LMTP: the others have nothing twice", not server.take("anna"))
        log = postfix.log()
        right = re.search(rf"to=<{ANNA}>.*status=sent", log) and re.search(rf"to=<{BERT}>.*451 4\.3\.0.*", log)
        check("Postfix, LMTP: a result for each recipient in its log", right, log[-800:])
        verify = {"lmtp_tls_security_level": "verify", "lmtp_tls_verify_cert_match": "localhost", "lmtp_tls_CAfile": ca}
        postfix.set(**verify)
        postfix.send(SENDER, [ANNA, BERT], LONG)
        came("Postfix, LMTP, STARTTLS", server, LONG, ("anna", "bert"), postfix, trace=b"with LMTPS;\n")


@left_out
def postfix_asks_for_reports(server):
    """The server does not offer DSN to other servers: Postfix says itself that it has passed the message on."""
    with Recorder(server.port["smtp"]) as between, Postfix(between.port) as postfix:
        command = ["sendmail", "-C", postfix.place / "etc", "-i", "-N", "success", "-V", "QQ314159", "-f", SENDER, ANNA]
        status, said = program(*command, stdin=MESSAGE)
        check("Postfix, -N success: taken", status == 0, said)
        came("Postfix, -N success: delivered", server, MESSAGE)
        parts = [b"Action: relayed", b"Original-Envelope-Id: QQ314159", b"anna@example.test"]
        reported("Postfix, -N success: Postfix reports that it was relayed", server, *parts, without=[b"Action: delivered"])
        offered = b"".join(bytes(server_said) for _, server_said in between.sessions)
        said = between.commands(b"MAIL") + between.commands(b"RCPT")
        asked = [line for line in said if b"NOTIFY" in line or b"ENVID" in line or b"RET=" in line or b"ORCPT" in line]
        check("Postfix, -N success: DSN is not offered, nor asked for", b"-DSN" not in offered and said and not asked, said)


@left_out
def postfix_forwards_the_client(_):
    """XFORWARD: to a server that believes Postfix, and to one that does not."""
    trust = {"xclient": [TRUSTED]}
    with Server(("anna",), domains=["example.test"], trust=trust) as server:
        with Recorder(server.port["smtp"]) as between, Postfix(between.port) as postfix:
            postfix.set(smtp_send_xforward_command="yes", smtp_tls_security_level="none")
            for name, source in [("not trusted", "127.0.0.78"), ("trusted", TRUSTED)]:
                between.source = source
                postfix.send(SENDER, [ANNA], MESSAGE, source=BEHIND)
                came(f"Postfix, XFORWARD, {name}: delivered", server, MESSAGE, peer=postfix, trace=b"([%s])" % source.encode())
                sent, log = between.commands(b"XFORWARD"), server.log.read_text()
                forwarded = [line for line in log.splitlines() if "for another client" in line]
                if source == TRUSTED:
                    right = sent and any(f"ADDR={BEHIND}" in line for line in forwarded)
                    check(f"Postfix, XFORWARD, {name}: the log names the client", right, (sent, log))
                else:
                    right = not forwarded and not sent
                    check(f"Postfix, XFORWARD, {name}: not offered, not sent", right, (sent, log))
                # It keeps the connection of the one before.
                postfix.set()


@left_out
def postfix_meets_limits(_):
    """A pause before the greeting, fewer recipients at once than Postfix has, a message that is too large, one that goes round."""
    settings = {"limits": {"recipients": 20, "message_octets": 1_000_000, "received_fields": 10}, "trust": {"greeted_at_once": []}}
    with Server(("anna", "carl"), domains=["example.test"], early_talkers={"pause_seconds": 2}, **settings) as server:
        with Recorder(server.port["smtp"]) as between, Postfix(between.port) as postfix:
            postfix.set(smtp_tls_security_level="none")
            began = time.monotonic()
            postfix.send(SENDER, [f"anna+{number}@example.test" for number in range(50)], MESSAGE)
            wait(lambda: server.files())
            took = time.monotonic() - began
            check("Postfix waits for the greeting", took > 2 and server.files(), f"{took} s; {postfix.log()[-300:]}")
            refused = b"".join(bytes(said) for _, said in between.sessions).count(b"\r\n452 ")
            for left in (30, 10):
                kept = wait(lambda left=left: postfix.queue() and postfix.queue()[0].count(b'"address":') == left)
                check(f"Postfix: of 50 recipients, where 20 are taken at once, it keeps {left}", kept, postfix.queue())
                postfix.again()
            copies = wait(lambda: not postfix.queue()) and [from_relay(file) for file in server.take_files()]
            sent = postfix.log().count("status=sent")
            check("Postfix: all 50 are served", copies == [MESSAGE] * 3 and sent == 50 and refused == 30, (sent, refused))
            postfix.send(SENDER, [ANNA], LARGE)
            reported("Postfix: too large: the sender is told", server, b"anna@example.test", b"size limit")
            postfix.send(SENDER, [ANNA], b"Received: from a by b; Tue, 3 Feb 2026 10:20:30 +0000\n" * 12 + MESSAGE)
            reported("Postfix: round in a circle: the sender is told", server, b"554 5.4.6 too many Received fields")
            check("Postfix: what was refused did not come", not server.take() and wait(lambda: not postfix.queue(), 20))


@left_out
def swaks_by_xclient(_):
    """A server in front says whose session it is."""
    if not shutil.which("swaks"):
        raise Missing("swaks is not installed")
    trust = {"xclient": [TRUSTED]}
    with Server(("anna",), domains=["example.test"], trust=trust) as server:
        command = ["swaks", "--server", f"127.0.0.1:{server.port['smtp']}", "--from", SENDER, "--to", ANNA, "--data", "-"]
        claim = ["--xclient-addr", "192.0.2.9", "--xclient-name", "mail.example.org", "--xclient-helo", "helo.example.org"]
        tls = ["--tls", "--tls-verify", "--tls-ca-path", server.certificate]
        for name, options in [("", []), (", STARTTLS", tls), (", IPv6", ["--xclient-addr", "IPV6:2001:db8::7"])]:
            status, said = program(*command, "--local-interface", TRUSTED, *claim, *options, stdin=MESSAGE)
            address = b"([IPv6:2001:db8::7])" if "IPv6" in name else b"([192.0.2.9])"
            found = server.take_files()
            right = status == 0 and len(found) == 1 and address in found[0].splitlines()[1]
            check(f"swaks, XCLIENT{name}: the trace names the client", right, (said, found))
        status, said = program(*command, "--local-interface", "127.0.0.78", *claim, stdin=MESSAGE)
        check("swaks, XCLIENT, not trusted: not offered", status != 0 and b"XCLIENT" not in said.split(b"250 HELP")[0], said)
        status, said = program(*command, "--local-interface", "127.0.0.78", *claim, "--xclient-optional", stdin=MESSAGE)
        found = server.take_files()
        right = status == 0 and len(found) == 1 and b"([127.0.0.78])" in found[0].splitlines()[1]
        check("swaks, XCLIENT, not trusted: the trace names who connected", right, (said, found))
        with server.connect("smtp", source="127.0.0.78") as client:
            replies = [client.ask(line) for line in (b"EHLO c", b"XCLIENT ADDR=192.0.2.9", b"XFORWARD ADDR=192.0.2.9", b"NOOP")]
            right = all(reply[:1] == b"5" for reply in replies[1:3]) and replies[3].startswith(b"250")
            check("XCLIENT and XFORWARD, not trusted: refused, the session goes on", right, replies)
        log = server.log.read_text()
        check("XCLIENT: the log names both", '"peer":"192.0.2.9"' in log and f'"by":"{TRUSTED}"' in log, log)


@left_out
def exim_by_smtp(server):
    """Exim sends in chunks, and takes a reply for each recipient."""
    ca = trusted(server)
    with Recorder(server.port["smtp"]) as between, Exim(between.port) as exim:
        exim.set("hosts_avoid_tls = *")
        messages(exim, server, "Exim", b"with ESMTP\n", LINES)
        sent = [len(between.commands(verb)) for verb in (b"MAIL", b"BDAT", b"DATA")]
        check("Exim: BDAT, never DATA", sent[0] and sent[1] >= sent[0] and not sent[2], sent)
        done = [line for line in exim.log().splitlines() if re.search(" [=-]> ", line)]
        check("Exim: its log says chunks (K)", done and all(" K " in line for line in done), exim.log())
        asked = [line for line in between.commands(b"MAIL") if b" PRDR" in line]
        check("Exim: PRDR for more than one recipient", asked, between.commands(b"MAIL"))
        one_of_two_refused_at_the_end(exim, server)
        exim.set("hosts_avoid_tls = *", "hosts_try_chunking =", "hosts_try_prdr =")
        before = len(between.commands(b"DATA"))
        exim.send(SENDER, [ANNA, BERT], LINES)
        came("Exim, DATA", server, LINES, ("anna", "bert"), exim)
        check("Exim, DATA: used", len(between.commands(b"DATA")) == before + 1, between.transcript())
        verify = [f"tls_verify_certificates = {ca}", "tls_verify_hosts = *", "tls_verify_cert_hostnames ="]
        exim.set("hosts_require_tls = *", *verify)
        messages(exim, server, "Exim, STARTTLS", b"with ESMTPS\n", LINES)
        done = [line for line in exim.log().splitlines() if re.search(" [=-]> .* X=TLS", line)]
        check("Exim, STARTTLS: verified, in chunks", done and all(" CV=yes" in line and " K " in line for line in done), done)


def one_of_two_refused_at_the_end(exim, server):
    with broken(server, "bert"):
        exim.send(SENDER, [ANNA, BERT], MESSAGE)
        held = wait(lambda: f"== {BERT}" in exim.log())
        came("Exim, PRDR: a mailbox that cannot be written: the other has it", server, MESSAGE)
    log = exim.log()
    check("Exim, PRDR: it keeps the message for the one only", held and f"== {ANNA}" not in log and exim.queue(), log[-800:])
    exim.again()
    came("Exim, PRDR: tried again", server, MESSAGE, ("bert",), exim)
    check("Exim, PRDR: the other has nothing twice", not server.take("anna"))


DOVECOT = """
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
listen = 127.0.0.1
ssl = no
ssl_client_ca_file = {ca}
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={place}/home/%n
}}
"""

SUBMISSION = """
protocols = submission
passdb {{
  driver = static
  args = password=pass
}}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
submission_relay_host = localhost
submission_relay_port = {sink}
"""

LMTP = """
protocols = lmtp
lmtp_proxy = yes
login_trusted_networks = 127.0.0.0/8
passdb {{
  driver = static
  args = proxy=y nopassword=y protocol=lmtp host=127.0.0.1 port={sink}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
}}
"""


@contextlib.contextmanager
def dovecot(service, binary, sink, ca, *settings):
    """A service of Dovecot that passes on to `sink`: its port, and the file of its log."""
    for file in ["/usr/sbin/dovecot", f"/usr/lib/dovecot/{binary}"]:
        if not os.access(file, os.X_OK):
            raise Missing(f"Dovecot's {binary} service is not installed")
    place, port = Path(tempfile.mkdtemp(prefix="relays.")), free_port()
    place.chmod(0o755)
    (place / "home").mkdir()
    shutil.chown(place / "home", 65534, 65534)
    config = place / "dovecot.conf"
    config.write_text((DOVECOT + service).format(place=place, ca=ca, port=port, sink=sink) + "\n".join(settings) + "\n")
    process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", config])
    try:
        if not wait(lambda: reachable(port), 20):
            raise AssertionError((place / "log").read_text())
        yield port, place / "log"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(place, ignore_errors=True)


def reachable(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@left_out
def dovecot_submission(_):
    """A user's mail comes by way of Dovecot, which says with XCLIENT whose it is where it is believed."""
    login = ["submission_relay_user = anna", f"submission_relay_password = {PASSWORD}"]
    starttls, tls = "submission_relay_ssl = starttls", "submission_relay_ssl = smtps"
    xclient = "submission_relay_trusted = yes"
    stranger = "127.0.0.78"
    with Server(("anna", "bert"), domains=["example.test"], trust={"xclient": [TRUSTED]}) as server:
        ca = trusted(server)
        for name, user, port, source, named, *settings in [
            ("SMTP port, trusted", "anna", "smtp", TRUSTED, BEHIND, xclient),
            ("SMTP port, not trusted", "anna", "smtp", stranger, stranger, xclient),
            ("SMTP port, STARTTLS, trusted", "anna", "smtp", TRUSTED, BEHIND, xclient, starttls),
            ("SMTP port, trusted, the user's name is an address", ANNA, "smtp", TRUSTED, BEHIND, xclient),
            ("submission port, STARTTLS, login, the user's name is an address", ANNA, "submission", stranger, stranger, starttls, *login),
            ("submission port, TLS, login, the user's name is an address", ANNA, "submissions", stranger, stranger, tls, *login),
            ("submission port, STARTTLS, login", "anna", "submission", stranger, stranger, starttls, *login),
            ("submission port, STARTTLS, trusted", "anna", "submission", TRUSTED, BEHIND, xclient, starttls),
        ]:
            with Recorder(server.port[port], source) as between:
                with dovecot(SUBMISSION, "submission", between.port, ca, *settings) as (port, _):
                    through_submission(f"Dovecot, {name}", server, between, user, port, named)


def through_submission(name, server, between, user, port, named):
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=30, source_address=(BEHIND, 0)) as client:
            client.login(user, "pass")
            # Now it says what the server offers, too.
            client.ehlo()
            refused = client.sendmail(ANNA, [ANNA, NOBODY, BERT], wire(LINES), ["BODY=8BITMIME"])
            client.sendmail(ANNA, [ANNA], wire(LARGE))
            dsn = client.has_extn("dsn")
            if dsn:
                client.sendmail(ANNA, ["bert+dsn@example.test"], wire(MESSAGE), [], ["NOTIFY=SUCCESS"])
    except (OSError, smtplib.SMTPException) as error:
        return check(f"{name}: taken", False, repr(error))
    check(f"{name}: who does not exist is refused", list(refused) == [NOBODY] and refused[NOBODY][0] == 550, refused)
    if dsn:
        reports = [file for file in server.files("anna") if b"Action: delivered" in file.read_bytes()]
        found = [from_relay(file) for file in server.take_files("bert")]
        right = len(reports) == 1 and sorted(found, key=len) == [MESSAGE, LINES]
        check(f"{name}: delivered; NOTIFY=SUCCESS is passed on, and the server reports", right, (reports, len(found)))
        for file in reports:
            file.unlink()
    else:
        came(f"{name}: delivered", server, LINES, ("bert",))
    check(f"{name}: DSN is offered on the submission port only", dsn == ("submission port" in name), dsn)
    files = server.take_files("anna")
    found = [from_relay(file) for file in files]
    check(f"{name}: delivered, 20 MB too", sorted(found, key=len) == [LINES, LARGE], [len(one) for one in found])
    traces = [head(file) for file in files]
    right = traces and all(b"([%s])\n\tby localhost" % named.encode() in trace for trace in traces)
    check(f"{name}: the trace names {'the client' if named == BEHIND else 'Dovecot'}", right, traces)
    if "TLS" not in name:
        sent = [len(between.commands(verb)) for verb in (b"XCLIENT", b"BDAT", b"DATA")]
        check(f"{name}: BDAT, never DATA", sent[1] and not sent[2], sent)
        check(f"{name}: XCLIENT {'is' if named == BEHIND else 'is not'} sent", bool(sent[0]) == (named == BEHIND), sent)


@left_out
def dovecot_by_lmtp(_):
    """Dovecot's LMTP proxy."""
    with Server(("anna", "bert", "carl"), domains=["example.test"], trust={"xclient": [TRUSTED]}) as server:
        for name, source, named in [("trusted", TRUSTED, BEHIND), ("not trusted", "127.0.0.78", "127.0.0.78")]:
            name = f"Dovecot, LMTP, {name}"
            with Recorder(server.port["lmtp"], source) as between:
                with dovecot(LMTP, "lmtp", between.port, server.certificate) as (port, log), broken(server, "bert"):
                    with Peer(port, source=BEHIND, timeout=30) as client:
                        script = [b"LHLO c", b"MAIL FROM:<carl@example.test> BODY=8BITMIME"]
                        script += [b"RCPT TO:<%s>" % to.encode() for to in (ANNA, NOBODY, BERT)]
                        replies = [client.ask(line) for line in [*script, b"DATA"]]
                        client.say(stuffed(LINES))
                        replies += [client.reply(), client.reply()]
                        codes = [reply[:3] for reply in replies[2:]]
                        right = codes == [b"250", b"550", b"250", b"354", b"250", b"451"]
                        check(f"{name}: a reply for each recipient", right, f"{replies}; {log.read_text()[-300:]}")
                        for line in (script[1], b"RCPT TO:<carl@example.test>", b"DATA"):
                            client.ask(line)
                        client.say(stuffed(LARGE))
                        client.reply()
                came(f"{name}: delivered", server, LINES, trace=b"([%s])\n\tby localhost with LMTP" % named.encode())
                came(f"{name}: 20 MB", server, LARGE, ("carl",))
                sent = [len(between.commands(verb)) for verb in (b"XCLIENT", b"BDAT", b"DATA")]
                right = bool(sent[0]) == (source == TRUSTED) and sent[1] and not sent[2]
                check(f"{name}: BDAT, never DATA; XCLIENT where it is offered", right, sent)


def head(octets):
    return octets.split(b"\n\n")[0][:600]


def require_tls(server):
    """REQUIRETLS is taken where there is TLS."""
    with smtplib.SMTP("localhost", server.port["smtp"], timeout=20) as client:
        client.ehlo()
        code, said = client.mail(SENDER, ["REQUIRETLS"])
        check("REQUIRETLS: neither offered nor taken in the clear", not client.has_extn("requiretls") and code >= 500, said)
        client.starttls(context=server.tls())
        client.ehlo()
        offered = client.has_extn("requiretls")
        client.sendmail(SENDER, [ANNA], wire(MESSAGE), ["REQUIRETLS", "BODY=8BITMIME"])
        check("REQUIRETLS: offered and taken with TLS", offered and server.take() == [MESSAGE])


SECTIONS = [
    postfix_by_smtp,
    postfix_by_lmtp,
    postfix_asks_for_reports,
    postfix_forwards_the_client,
    postfix_meets_limits,
    swaks_by_xclient,
    exim_by_smtp,
    dovecot_submission,
    dovecot_by_lmtp,
    require_tls,
]

if __name__ == "__main__":
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    suite("relays", SECTIONS, Server(("anna", "bert", "carl"), domains=["localhost", "example.test"]))
