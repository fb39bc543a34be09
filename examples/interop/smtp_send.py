"""`smtp-send` against the server, Postfix, Exim and Dovecot; what arrives is what was sent, octet for octet.

Postfix and Dovecot are looked for in PATH, Exim there or in EXIM, a command. One that is not there is skipped with a line that says so: Debian has room for one mail
server at a time.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from harness import MAILSERVER, PASSWORD, Server, check, difference, program, suite, wire, without_trace
from send import MESSAGE, SENDER, make_certificate

SMTP_SEND = os.environ.get("SMTP_SEND") or str(Path(MAILSERVER).with_name("smtp-send"))
UTF8 = MESSAGE.replace(b"Subject: hello", "Subject: gr\u00fc\u00dfe".encode())
BINARY = wire(MESSAGE) + b"\0\1\2 alone: \n and \r.\r\n.\r\n"
LONG = MESSAGE + b"0123456789abcdef\n" * 100_000
DSN = ["--ret", "hdrs", "--envid", "id+1=x"]
DSN_RCPT = ["--notify", "success,delay", "--orcpt", "rfc822;first+1@example.test"]


def smtp_send(where, *options, message=MESSAGE, sender=SENDER, recipients=("user1@example.test",)):
    recipients = [word for recipient in recipients for word in ("--to", recipient)]
    command = [SMTP_SEND, "-v", "--timeout", "30", "--from", sender, *recipients, *options, where]
    return program(*command, stdin=message, environment={"SMTP_PASSWORD": PASSWORD})


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def wait_for(port, log):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {port}: {log.read_bytes()[-400:] if log.exists() else ''!r}")


@contextmanager
def folder_for_others():
    """Daemons that give up root have to get into it."""
    with tempfile.TemporaryDirectory(prefix="interop.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_certificate({"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"})
        yield folder


# The server


def to_mailserver(server):
    ca = ["--ca", server.certificate]
    login = ["--user", "anna"]
    for name, port, *options in [
        ("SMTP", "smtp", "--starttls", "never"),
        ("SMTP, STARTTLS", "smtp", "--starttls", "require", *ca),
        ("SMTP, --bdat", "smtp", "--bdat", "--starttls", "never"),
        ("SMTP, --bdat, STARTTLS, small chunks", "smtp", "--bdat", "--chunk", "7", *ca),
        ("LMTP", "lmtp", "--lmtp", "--starttls", "never"),
        ("LMTP, STARTTLS", "lmtp", "--lmtp", "--starttls", "require", *ca),
        ("submission, the best mechanism", "submission", *ca, *login),
        ("submission, SCRAM-SHA-1", "submission", *ca, *login, "--mechanism", "SCRAM-SHA-1"),
        ("submission, PLAIN", "submission", *ca, *login, "--mechanism", "PLAIN"),
        ("submission, LOGIN", "submission", *ca, *login, "--mechanism", "LOGIN"),
        ("submission over TLS", "submissions", "--tls", *ca, *login),
        ("submission over TLS, not verified, SCRAM", "submissions", "--tls", *login),
        ("submission over TLS, not verified, PLAIN", "submissions", "--tls", *login, "--mechanism", "PLAIN", "--allow-unverified"),
    ]:
        for kind, message in [("", MESSAGE), (", UTF-8 header", UTF8), (", long", LONG)]:
            where = f"127.0.0.1:{server.port[port]}"
            status, said = smtp_send(where, *options, message=message, recipients=["anna@localhost"])
            found = server.take()
            right = status == 0 and found == [message] and PASSWORD.encode() not in said
            check(f"mailserver: {name}{kind}", right, said if status else difference(found, message))


def refusals_by_mailserver(server):
    where = f"127.0.0.1:{server.port['smtp']}"
    status, said = smtp_send(where, "--json", "--starttls", "never", recipients=["anna@localhost", "nobody@localhost"])
    objects = [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
    outcomes = [(found["outcome"], found["code"]) for found in objects]
    check("mailserver: one of two is refused", status == 69 and outcomes == [("taken", 250), ("refused", 550)], said)
    server.take()
    where = f"127.0.0.1:{server.port['submission']}"
    status, said = smtp_send(where, recipients=["anna@localhost"])
    check("mailserver: submission without a login", status == 69 and b"refused <anna@localhost> 530" in said, said)
    status, said = smtp_send(where, "--user", "nobody", recipients=["anna@localhost"])
    check("mailserver: a login that is refused", status == 77 and b"login refused: 535" in said, said)
    where = f"127.0.0.1:{server.port['submissions']}"
    status, said = smtp_send(where, "--tls", "--ca", server.certificate, "--tls-name", "other.example")
    check("mailserver: another name's certificate is refused", status == 76 and b"not valid for name" in said, said)
    status, said = smtp_send(where, "--tls", "--verify")
    check("mailserver: nor is it one the system trusts", status == 76 and b"UnknownIssuer" in said, said)


# A message that is larger than memory should be


def large(_):
    """1 GiB from a pipe, in no more than 16 MiB of memory."""
    for name, *options in [("DATA",), ("BDAT", "--bdat")]:
        sink = Sink()
        size = subprocess.Popen(["head", "-c", str(1 << 30), "/dev/zero"], stdout=subprocess.PIPE)
        lines = subprocess.Popen(["tr", "\\0", "a"], stdin=size.stdout, stdout=subprocess.PIPE)
        folded = subprocess.Popen(["fold", "-w", "500"], stdin=lines.stdout, stdout=subprocess.PIPE)
        command = [SMTP_SEND, "--from", SENDER, "--to", "a@example.test", *options, f"127.0.0.1:{sink.port}"]
        client = subprocess.Popen(command, stdin=folded.stdout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        sink.client = client.pid
        said = client.communicate(timeout=600)[0]
        for process in (size, lines, folded):
            process.stdout.close()
            process.wait()
        right = client.returncode == 0 and sink.octets > 1 << 30 and sink.peak <= 16 << 20
        detail = f"status {client.returncode}, {sink.octets} octets, a peak of {sink.peak}, {said!r}"
        check(f"1 GiB by {name} from a pipe, in 16 MiB", right, detail)
        print(f"   {sink.peak / (1 << 20):.1f} MiB")


class Sink:
    """Takes one message, and measures its client before it says so."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.octets, self.peak, self.client = 0, 0, None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        stream, _ = self.listener.accept()
        with stream, stream.makefile("rb", 1 << 20) as file:
            say = lambda text: stream.sendall(text + b"\r\n")
            say(b"220 sink")
            while command := file.readline():
                if command.startswith(b"EHLO"):
                    say(b"250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250 CHUNKING")
                elif command.startswith(b"DATA"):
                    say(b"354 go")
                    while (line := file.readline()) != b".\r\n":
                        self.octets += len(line)
                    self.measure()
                    say(b"250 taken")
                elif command.startswith(b"BDAT"):
                    left = int(command.split()[1])
                    self.octets += left
                    while left:
                        left -= len(file.read(min(left, 1 << 20)))
                    if b"LAST" in command:
                        self.measure()
                    say(b"250 taken")
                else:
                    say(b"250 ok")

    def measure(self):
        status = Path(f"/proc/{self.client}/status").read_text()
        self.peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


# Postfix


@contextmanager
def postfix():
    """An instance of its own that holds what it takes."""
    setting = lambda name: subprocess.check_output(["postconf", "-d", "-h", name], text=True).strip()
    smtp, smtps = free_ports(2)
    with folder_for_others() as folder:
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        places = ("command_directory", "daemon_directory", "shlib_directory", "meta_directory")
        settings = {name: setting(name) for name in places} | {
            "compatibility_level": "3.6",
            "queue_directory": folder / "queue",
            "data_directory": folder / "data",
            "maillog_file": folder / "log",
            "maillog_file_prefixes": folder,
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "myhostname": "mx.example.test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "relay_domains": "example.test",
            "relay_recipient_maps": "",
            "local_recipient_maps": "",
            "alias_maps": "",
            "alias_database": "",
            "disable_dns_lookups": "yes",
            "smtpd_recipient_restrictions": "static:HOLD, permit_mynetworks, reject",
            "smtpd_tls_cert_file": folder / "cert.pem",
            "smtpd_tls_key_file": folder / "key.pem",
            "smtpd_tls_security_level": "may",
            "smtpd_authorized_xclient_hosts": "127.0.0.1",
            "smtpd_authorized_xforward_hosts": "127.0.0.1",
            "message_size_limit": "50000000",
        }
        (folder / "etc/main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (folder / "etc/master.cf").write_text(
            f"127.0.0.1:{smtp} inet n - n - - smtpd\n"
            f"127.0.0.1:{smtps} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n"
            "pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n"
            "tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n"
            "anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n"
        )
        status, said = program("postfix", "-c", folder / "etc", "start")
        try:
            if status != 0:
                raise RuntimeError(said)
            wait_for(smtp, folder / "log")
            yield folder, smtp, smtps
        finally:
            program("postfix", "-c", folder / "etc", "stop")


def held(folder):
    """The one message in Postfix's queue: its envelope, and its octets. It is removed."""
    files = [path for path in (folder / "queue/hold").rglob("*") if path.is_file()]
    if len(files) != 1:
        return b"", f"{len(files)} messages"
    cat = lambda what: program("postcat", "-c", folder / "etc", what, files[0])[1]
    envelope, content = cat("-e"), cat("-bh")
    files[0].unlink()
    # What cleanup and smtpd put before it.
    content = re.sub(rb"\A(?:(?:Received|Return-Path):.*\n(?:[ \t].*\n)*)+", b"", content)
    return envelope, content


def to_postfix(_):
    if not shutil.which("postfix"):
        print("skip Postfix: not installed", flush=True)
        return
    with postfix() as (folder, smtp, smtps):
        ca = ["--ca", folder / "cert.pem", "--tls-name", "localhost"]
        plain, secured = ["--starttls", "never"], ["--starttls", "require", *ca]
        for name, port, message, *options in [
            ("plain", smtp, MESSAGE, *plain),
            ("UTF-8 header", smtp, UTF8, *plain),
            ("BDAT", smtp, MESSAGE, "--bdat", *plain),
            ("BDAT, small chunks", smtp, MESSAGE, "--bdat", "--chunk", "7", *plain),
            ("long", smtp, LONG, *plain),
            ("long, BDAT", smtp, LONG, "--bdat", *plain),
            ("STARTTLS", smtp, MESSAGE, *secured),
            ("STARTTLS, long, BDAT", smtp, LONG, "--bdat", *secured),
            ("TLS", smtps, MESSAGE, "--tls", *ca),
            ("no SIZE", smtp, MESSAGE, "--no-size", *plain),
        ]:
            status, said = smtp_send(f"127.0.0.1:{port}", *options, message=message)
            _, content = held(folder)
            shown = said if status or not isinstance(content, bytes) else difference(content, message)
            check(f"Postfix: {name}", status == 0 and content == message, shown)
        where = f"127.0.0.1:{smtp}"
        status, said = smtp_send(where, *plain, *DSN, *DSN_RCPT)
        envelope, _ = held(folder)
        # 2: the header. 10: success (2) and delay (8).
        wanted = [b"ret_flags=2", b"envelope_id=id+1=x", b"notify_flags=10", b"dsn_orig_rcpt=rfc822;first+1@example.test"]
        missing = [word for word in wanted if word + b"\n" not in envelope]
        check("Postfix: DSN's parameters are in the queue file", status == 0 and not missing, (missing, envelope, said))
        xclient = ["--xclient", "NAME=spike.example.org ADDR=127.0.0.7", "--helo", "client.example"]
        status, said = smtp_send(where, *plain, *xclient)
        envelope, _ = held(folder)
        right = status == 0 and b"spike.example.org" in envelope and b"127.0.0.7" in envelope
        check("Postfix: XCLIENT, and EHLO after it", right, envelope + said)
        status, said = smtp_send(where, *plain, "--xforward", "NAME=far.example.org ADDR=192.0.2.8")
        envelope, _ = held(folder)
        check("Postfix: XFORWARD", status == 0 and b"192.0.2.8" in envelope, envelope + said)
        status, said = smtp_send(where, *plain, message=BINARY)
        check("Postfix: BINARYMIME is not offered", status == 65 and b"BINARYMIME" in said and not held(folder)[0], said)
        command = [SMTP_SEND, *plain, "--command", "VRFY user1@example.test", "--command", "ETRN example.test", where]
        status, said = program(*command)
        check("Postfix: VRFY and ETRN", said.startswith(b"252 ") and len(said.splitlines()) == 2, said)
        probe = [SMTP_SEND, *plain, "--quit-after", "rcpt", "--from", SENDER, "--to", "user1@example.test", where]
        status, said = program(*probe)
        check("Postfix: a probe", status == 0 and said.startswith(b"accepted <user1@example.test> 250 "), said)


# Exim


def exim_command():
    if named := os.environ.get("EXIM"):
        return named.split()
    found = shutil.which("exim4") or shutil.which("exim")
    return [found] if found else None


@contextmanager
def exim(command):
    """A daemon that queues what it takes."""
    smtp, smtps = free_ports(2)
    with folder_for_others() as folder:
        for name in ("spool", "log"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
        (folder / "key.pem").chmod(0o644)
        config = folder / "exim.conf"
        config.write_text(
            f"spool_directory = {folder}/spool\nlog_file_path = {folder}/log/%slog\npid_file_path = {folder}/spool/pid\n"
            f"primary_hostname = mx.example.test\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {smtp} : {smtps}\n"
            f"tls_on_connect_ports = {smtps}\ntls_advertise_hosts = *\ntls_certificate = {folder}/cert.pem\n"
            f"tls_privatekey = {folder}/key.pem\ndisable_ipv6\nhost_lookup =\nrfc1413_hosts =\nqueue_only\n"
            "dsn_advertise_hosts = *\nprdr_enable = true\nsmtputf8_advertise_hosts = *\nacl_smtp_rcpt = rcpt\n"
            "message_size_limit = 50M\nbegin acl\nrcpt:\n  accept domains = example.test\n  deny message = not here\n"
        )
        with open(folder / "output", "wb") as output:
            daemon = subprocess.Popen([*command, "-C", config, "-bdf"], stdout=output, stderr=output)
        try:
            wait_for(smtp, folder / "output")
            yield folder, smtp, smtps
        finally:
            daemon.terminate()
            daemon.wait(20)


def spooled(folder):
    """The one message in Exim's spool: what its -H file says before the header, and its octets. It is removed."""
    deadline = time.monotonic() + 5
    while not (files := list((folder / "spool/input").rglob("*-H"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    if len(files) != 1:
        return b"", f"{len(files)} messages"
    envelope, _, header = files[0].read_bytes().partition(b"\n\n")
    data = files[0].with_name(files[0].name[:-1] + "D")
    body = data.read_bytes().partition(b"\n")[2]
    files[0].unlink()
    data.unlink()
    return envelope, header_of(header) + b"\n" + body


def header_of(octets):
    """Fields as they came: each has its length and a flag before it; those that Exim added, or has rewritten, are left out."""
    fields = b""
    while match := re.match(rb"(\d{3,})([ \*A-Z]) ", octets):
        size = int(match[1])
        field, octets = octets[match.end() : match.end() + size], octets[match.end() + size :]
        fields += b"" if match[2] in b"*P" else field
    return fields


def to_exim(_):
    command = exim_command()
    if not command:
        print("skip Exim: not installed", flush=True)
        return
    with exim(command) as (folder, smtp, smtps):
        ca = ["--ca", folder / "cert.pem", "--tls-name", "localhost"]
        plain, secured = ["--starttls", "never"], ["--starttls", "require", *ca]
        for name, port, message, *options in [
            ("plain", smtp, MESSAGE, *plain),
            ("UTF-8 header", smtp, UTF8, *plain),
            ("BDAT", smtp, MESSAGE, "--bdat", *plain),
            ("BDAT, small chunks", smtp, MESSAGE, "--bdat", "--chunk", "7", *plain),
            ("long", smtp, LONG, *plain),
            ("long, BDAT", smtp, LONG, "--bdat", *plain),
            ("STARTTLS", smtp, MESSAGE, *secured),
            ("STARTTLS, long, BDAT", smtp, LONG, "--bdat", *secured),
            ("TLS", smtps, MESSAGE, "--tls", *ca),
            ("PRDR", smtp, MESSAGE, "--prdr", "--to", "user2@example.test", *plain),
        ]:
            status, said = smtp_send(f"127.0.0.1:{port}", *options, message=message)
            _, content = spooled(folder)
            shown = said if status or not isinstance(content, bytes) else difference(content, message)
            check(f"Exim: {name}", status == 0 and content == message, shown)
        where = f"127.0.0.1:{smtp}"
        status, said = smtp_send(where, *plain, *DSN, *DSN_RCPT)
        envelope, _ = spooled(folder)
        wanted = [b"-dsn_envid id+2B1+3Dx", b"-dsn_ret 2", b"rfc822;first+2B1@example.test"]
        missing = [word for word in wanted if word not in envelope]
        check("Exim: DSN's parameters are in the spool", status == 0 and not missing, (missing, envelope, said))
        status, said = smtp_send(where, *plain, recipients=["user1@example.test", "b@elsewhere.test"])
        right = status == 69 and b"taken <user1@example.test> 250" in said and b"refused <b@elsewhere.test> 550" in said
        check("Exim: one of two is refused", right, said)
        spooled(folder)


# Dovecot


@contextmanager
def dovecot():
    """LMTP on a port and on a socket, into Maildirs."""
    (port,) = free_ports(1)
    version = subprocess.check_output(["dovecot", "--version"], text=True).split()[0]
    with folder_for_others() as folder:
        for name in ("run", "state", "mail"):
            (folder / name).mkdir()
        (folder / "mail").chmod(0o777)
        user, group = 65534, 65534
        common = (
            f"base_dir = {folder}/run\nstate_dir = {folder}/state\nlog_path = {folder}/log\nprotocols = lmtp\n"
            f"first_valid_uid = 1\nfirst_valid_gid = 1\nlisten = 127.0.0.1\n"
            f"service lmtp {{\n  inet_listener lmtp {{\n    port = {port}\n  }}\n  unix_listener lmtp {{\n  }}\n}}\n"
        )
        if version.startswith("2.3"):
            config = common + (
                f"ssl = yes\nssl_cert = <{folder}/cert.pem\nssl_key = <{folder}/key.pem\n"
                f"passdb {{\n  driver = static\n  args = nopassword=y\n}}\n"
                f"userdb {{\n  driver = static\n  args = uid={user} gid={group} home={folder}/mail/%n allow_all_users=yes\n}}\n"
                "mail_location = maildir:~/Maildir\nauth_username_format = %n\n"
            )
        else:
            config = f"dovecot_config_version = {version}\ndovecot_storage_version = {version}\n" + common + (
                f"ssl = yes\nssl_server_cert_file = {folder}/cert.pem\nssl_server_key_file = {folder}/key.pem\n"
                "passdb static {\n  fields {\n    nopassword = yes\n  }\n}\n"
                f"userdb static {{\n  allow_all_users = yes\n  fields {{\n    uid = {user}\n    gid = {group}\n"
                f"    home = {folder}/mail/%{{user | username}}\n  }}\n}}\n"
                "mail_driver = maildir\nmail_path = ~/Maildir\nauth_username_format = %{user | username}\n"
            )
        (folder / "dovecot.conf").write_text(config)
        with open(folder / "output", "wb") as output:
            daemon = subprocess.Popen(["dovecot", "-F", "-c", folder / "dovecot.conf"], stdout=output, stderr=output)
        try:
            wait_for(port, folder / "log")
            yield folder, port
        finally:
            daemon.terminate()
            daemon.wait(20)


def to_dovecot(_):
    if not shutil.which("dovecot"):
        print("skip Dovecot: not installed", flush=True)
        return
    with dovecot() as (folder, port):
        ca = ["--ca", folder / "cert.pem", "--tls-name", "localhost"]
        plain = ["--starttls", "never"]
        where = f"127.0.0.1:{port}"
        for name, place, message, *options in [
            ("LMTP", where, MESSAGE, *plain),
            ("LMTP, BDAT", where, MESSAGE, "--bdat", *plain),
            ("LMTP, BDAT, small chunks", where, MESSAGE, "--bdat", "--chunk", "7", *plain),
            ("LMTP, long", where, LONG, *plain),
            ("LMTP, long, BDAT", where, LONG, "--bdat", *plain),
            ("LMTP, STARTTLS", where, MESSAGE, "--starttls", "require", *ca),
            ("LMTP on a socket", folder / "run/lmtp", MESSAGE, *plain),
        ]:
            status, said = smtp_send(place, "--lmtp", *options, message=message, recipients=["user1@x.test", "user2@x.test"])
            taken = said.count(b"\ntaken ")
            for user in ("user1", "user2"):
                found = delivered(folder, user)
                shown = said if status else difference(found, message)
                check(f"Dovecot: {name}: {user}", status == 0 and taken == 2 and found == [message], shown)


def delivered(folder, user):
    found = []
    for file in sorted((folder / "mail" / user / "Maildir/new").glob("*")):
        octets = file.read_bytes()
        file.unlink()
        octets = re.sub(rb"\ADelivered-To: .*\n", b"", re.sub(rb"\AReturn-Path: .*\n", b"", octets))
        found.append(re.sub(rb"\A(?:Received: .*\n(?:[ \t].*\n)*)+", b"", re.sub(rb"\ADelivered-To: .*\n", b"", octets)))
    return found


SECTIONS = [to_mailserver, refusals_by_mailserver, to_postfix, to_exim, to_dovecot, large]

if __name__ == "__main__":
    suite("smtp_send", SECTIONS, Server(limits={"message_octets": 20_000_000}, submission={"foreign_senders": True}))
