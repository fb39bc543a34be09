"""What the suites share: the server as a program on ports of its own, other programs, and one line for each check."""

import json
import os
import pty
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

MAILSERVER = os.environ.get("MAILSERVER") or str(Path(__file__).resolve().parents[2] / "target/release/mailserver")
PASSWORD = "correct horse"
PROTOCOLS = {
    "SMTP": "smtp",
    "submission": "submission",
    "submission over TLS": "submissions",
    "LMTP": "lmtp",
    "POP3": "pop3",
    "POP3 over TLS": "pop3s",
}

checked = 0
failed = []


def check(name, ok, detail=""):
    """Says in one line whether `name` holds. `detail` is what was seen instead."""
    global checked
    checked += 1
    if ok:
        print(f"ok {name}", flush=True)
        return
    failed.append(name)
    if isinstance(detail, bytes):
        detail = detail.decode("utf-8", "backslashreplace")
    detail = " | ".join(str(detail).strip().splitlines())
    print(f"FAIL {name}: {detail[-400:]}", flush=True)


def suite(name, sections, server=None):
    """Runs the sections in order, with a server of their own if they want one, and ends the program. One that breaks is a failure, and the next goes on."""
    began = time.monotonic()
    try:
        if server:
            server.start()
        for section in sections:
            attempt(section, server)
        if server:
            status = server.stop()
            check("the server stops in order on SIGTERM", status == 0, f"status {status}")
    finally:
        if server:
            server.remove()
    print(f"{name}: {checked} checks, {len(failed)} failed, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


def attempt(section, server):
    try:
        section(server)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        check(section.__name__, False, f"{type(error).__name__} at {places}: {error}")


def program(*command, stdin=b"", timeout=60, environment=None):
    """Runs a program to its end. Returns its exit status and all it said."""
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout


def in_terminal(*command, timeout=30):
    """Runs a program that wants a terminal. Returns its exit status, `None` where it did not end, and what it showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", LANG="C.UTF-8")
        os.execvp(command[0], [str(word) for word in command])
    shown, deadline = b"", time.monotonic() + timeout
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                more = os.read(terminal, 65536)
            except OSError:
                more = b""
            if not more:
                break
            shown += more
    else:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(terminal)
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else None), shown


def toml(sections):
    """A configuration file: top-level keys first, then a table for each value that is a dictionary."""
    tables = {key: value for key, value in sections.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in sections.items() if key not in tables]
    for table, keys in tables.items():
        lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


class Server:
    """A server with a data directory of its own, which is removed at the end. The system chooses the ports."""

    def __init__(self, users=("anna", "bert"), data=None, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="interop."))
        self.data = Path(data) if data else self.folder / "data"
        self.config = self.folder / "mailserver.toml"
        self.log = self.folder / "log"
        self.process = None
        self.port = {}
        listen = {name: "127.0.0.1:0" for name in PROTOCOLS.values()}
        self.settings = {**settings, "listen": {**listen, **settings.get("listen", {})}}
        self.config.write_text(toml(self.settings))
        for user in users:
            self.add_user(user)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process:
            status = self.stop()
            if status != 0:
                check("the server stops in order on SIGTERM", False, f"status {status}")
        self.remove()

    def remove(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_user(self, name):
        status, said = program(MAILSERVER, "user", "add", name, "--data", self.data, stdin=PASSWORD.encode() + b"\n")
        if status != 0:
            raise RuntimeError(f"user add {name}: {said!r}")

    def command(self):
        return [MAILSERVER, "--data", str(self.data), "--config", str(self.config), "--log", "json"]

    def start(self):
        self.port = {}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(), stderr=log)
        deadline = time.monotonic() + 20
        while len(self.port) < len(PROTOCOLS):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {self.log.read_bytes()!r}")
            time.sleep(0.02)
            self.read_ports()
        for port in self.port.values():
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        return self

    def read_ports(self):
        for line in self.log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("message") == "listening":
                self.port[PROTOCOLS[entry["protocol"]]] = int(entry["address"].rsplit(":", 1)[1])

    def stop(self):
        """SIGTERM. Returns the exit status."""
        return self.end(signal.SIGTERM)

    def kill(self):
        """SIGKILL: nothing is flushed, nothing is said."""
        return self.end(signal.SIGKILL)

    def end(self, how):
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "killed after 40 s"

    @property
    def certificate(self):
        return self.data / "tls/cert.pem"

    def tls(self):
        """What a client needs to verify the server."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def resident(self):
        """VmRSS in octets."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def maildir(self, user="anna"):
        return self.data / "mail" / user

    def files(self, user="anna", folders=("new", "cur")):
        folders = [self.maildir(user) / folder for folder in folders]
        return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir())

    def take(self, user="anna"):
        """The messages of an account, without what the server puts before them; they are removed."""
        return [without_trace(octets) for octets in self.take_files(user)]

    def take_files(self, user="anna"):
        """The messages of an account as they are; they are removed."""
        found = []
        for file in self.files(user):
            found.append(file.read_bytes())
            file.unlink()
        return found

    def lay(self, octets, user="anna", name=None):
        """Puts a message into an account's mailbox as another program would. Returns its name."""
        for folder in ("tmp", "new", "cur"):
            (self.maildir(user) / folder).mkdir(parents=True, exist_ok=True)
        name = name or f"{int(time.time())}.M{time.monotonic_ns()}P{os.getpid()}.other"
        before = self.maildir(user) / "tmp" / name
        before.write_bytes(octets)
        before.rename(self.maildir(user) / "new" / name)
        return name

    def connect(self, protocol, **options):
        return Peer(self.port[protocol], **options)

    def login(self, user="anna", **options):
        """A POP3 session in TRANSACTION state. The server may need a moment to see that the one before has gone."""
        for _ in range(40):
            client = self.connect("pop3", **options)
            replies = [client.ask(b"USER " + user.encode()), client.ask(b"PASS " + PASSWORD.encode())]
            if replies[-1].startswith(b"+OK"):
                return client
            client.close()
            if b"[IN-USE]" not in replies[-1]:
                break
            time.sleep(0.05)
        raise AssertionError(replies)

    def send(self, message, user="anna", port="smtp"):
        """Delivers a message through the server."""
        connect = smtplib.LMTP if port == "lmtp" else smtplib.SMTP
        with connect("127.0.0.1", self.port[port], timeout=20) as client:
            client.sendmail("me@example.org", [f"{user}@localhost"], wire(message), ["BODY=8BITMIME"])


def without_trace(octets):
    """A message without its Return-Path and Received lines, which must be there."""
    lines = octets.splitlines(keepends=True)
    if not (len(lines) > 1 and lines[0].startswith(b"Return-Path: <") and lines[1].startswith(b"Received: from ")):
        raise AssertionError(f"no trace before {octets[:80]!r}")
    end = 2
    while end < len(lines) and lines[end].startswith(b"\t"):
        end += 1
    return octets[sum(map(len, lines[:end])):]


class Peer:
    """A client that says exactly what it is told."""

    def __init__(self, port, timeout=15, greeted=True, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=(source, 0))
        self.buffer = b""
        self.greeting = self.reply() if greeted else b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def secure(self, context):
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def say(self, octets):
        self.socket.sendall(octets)

    def line(self):
        """A line with its end; what is left where the server has closed."""
        while b"\n" not in self.buffer:
            more = self.receive()
            if not more:
                break
            self.buffer += more
        line, end, self.buffer = self.buffer.partition(b"\n")
        return line + end

    def receive(self):
        try:
            return self.socket.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            return b""

    def reply(self):
        """The lines of one SMTP reply, or one line of POP3."""
        reply = line = self.line()
        while line[3:4] == b"-" and line[:3].isdigit():
            line = self.line()
            reply += line
        return reply

    def ask(self, command):
        """Says a command and hears its reply."""
        self.say(command + b"\r\n")
        return self.reply()

    def multiline(self, command):
        """Says a POP3 command; returns its status line, and the octets of its answer with the dots undone."""
        status, content = self.ask(command), []
        while status.startswith(b"+OK"):
            line = self.line()
            if line in (b".\r\n", b""):
                break
            content.append(line[1:] if line.startswith(b".") else line)
        return status, b"".join(content)

    def rest(self):
        """All that comes before the server closes."""
        while more := self.receive():
            self.buffer += more
        rest, self.buffer = self.buffer, b""
        return rest


def wire(octets):
    """A message as the wire has it: each LF as CRLF."""
    return octets.replace(b"\n", b"\r\n")


def stuffed(octets):
    """The end of data included."""
    return wire(octets).replace(b"\r\n.", b"\r\n..") + b".\r\n"


def difference(found, expected):
    """What a failure shows of two strings of octets, or of lists of them."""
    if isinstance(found, list):
        return f"{len(found)} messages" if len(found) != 1 else difference(found[0], expected)
    same = next((at for at, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    around = slice(max(0, same - 20), same + 40)
    return f"{len(found)} octets, not {len(expected)}; at {same} {found[around]!r}, not {expected[around]!r}"
