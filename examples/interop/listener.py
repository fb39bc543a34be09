"""What stands before a session: HAProxy in front, certificates instead of passwords, clients that speak too early."""

import contextlib
import smtplib
import socket
import ssl
import subprocess
import time

from harness import PASSWORD, Server, check, program, suite, wire

PROXY = "127.0.0.99"
CLIENT = "127.0.0.55"
MESSAGE = b"From: Me <me@example.org>\nDate: Tue, 3 Feb 2026 10:20:30 +0000\nMessage-ID: <i@example.org>\nSubject: hello\n\ntext\n"


@contextlib.contextmanager
def haproxy(server, how):
    """Ports of HAProxy by the protocol behind each."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("smtp", "submissions", "pop3", "pop3s")}
    ports = {name: one.getsockname()[1] for name, one in sockets.items()}
    lines = ["defaults", " mode tcp", " timeout connect 5s", " timeout client 30s", " timeout server 30s"]
    for name, port in ports.items():
        target = f"127.0.0.1:{server.port[name]} source {PROXY} {how}"
        lines += [f"listen {name}", f" bind 127.0.0.1:{port}", f" server {name} {target} check inter 100ms"]
    config = server.folder / "haproxy.cfg"
    config.write_text("\n".join(lines) + "\n")
    for one in sockets.values():
        one.close()
    process = subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        for port in ports.values():
            wait_for(port)
        # Some of its own looks whether the server is there, too.
        time.sleep(0.5)
        yield ports
    finally:
        process.kill()
        process.wait()


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def behind_haproxy(_):
    for how in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2 proxy-v2-options unique-id,crc32c"):
        with Server(trust={"proxies": [PROXY]}, auth={"plaintext": True}) as server, haproxy(server, how) as ports:
            with smtplib.SMTP("localhost", ports["smtp"], timeout=20, source_address=(CLIENT, 0)) as client:
                client.starttls(context=server.tls())
                client.sendmail("me@example.org", ["anna@localhost"], wire(MESSAGE))
            found = server.take_files()
            right = len(found) == 1 and b"([127.0.0.55])" in found[0].splitlines()[1]
            check(f"haproxy: {how}: SMTP, STARTTLS: the trace names the client", right, found)
            options = {"timeout": 20, "source_address": (CLIENT, 0), "context": server.tls()}
            with smtplib.SMTP_SSL("localhost", ports["submissions"], **options) as client:
                client.login("anna", PASSWORD)
                client.sendmail("anna@localhost", ["anna@localhost"], wire(MESSAGE))
            found = server.take_files()
            right = len(found) == 1 and b"([127.0.0.55])" in found[0].splitlines()[1]
            check(f"haproxy: {how}: submission over TLS", right, found)
            for scheme, port in [("pop3", "pop3"), ("pop3s", "pop3s")]:
                url = f"{scheme}://localhost:{ports[port]}/"
                user = ["--user", f"anna:{PASSWORD}", "--cacert", server.certificate, "--interface", CLIENT]
                status, said = program("curl", "--silent", "--show-error", url, *user)
                check(f"haproxy: {how}: {port}: curl", status == 0, said)
            log = server.log.read_text()
            check(f"haproxy: {how}: the log names the client", '"peer":"127.0.0.55"' in log, log)
            check(f"haproxy: {how}: its own looks are no trouble", '"WARN"' not in log and '"ERROR"' not in log, log)


def certificates(folder):
    """An authority, and a certificate of it for anna."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=email:anna@localhost\nextendedKeyUsage=clientAuth\n")
    for command in [
        ["req", "-x509", "-days", "2", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"],
        ["req", *ec, "-keyout", "anna.key", "-out", "anna.csr", "-subj", "/CN=anna"],
        ["x509", "-req", "-days", "2", "-in", "anna.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        + ["-extfile", str(extensions), "-out", "anna.pem"],
    ]:
        words = [str(folder / word) if word.endswith((".key", ".pem", ".csr")) else word for word in command]
        status, said = program("openssl", *words)
        if status != 0:
            raise AssertionError(said)
    return folder / "ca.pem", folder / "anna.pem", folder / "anna.key"


def logins_with_a_certificate(server):
    ca, certificate, key = certificates(server.folder)
    with Server(tls={"client_ca": str(ca)}) as server:
        context = server.tls()
        context.load_cert_chain(certificate, key)
        with smtplib.SMTP_SSL("localhost", server.port["submissions"], context=context) as client:
            client.ehlo()
            offered = client.esmtp_features.get("auth", "")
            client.auth("EXTERNAL", lambda challenge=None: "")
            client.sendmail("anna@localhost", ["anna@localhost"], wire(MESSAGE))
        check("certificate: smtplib: EXTERNAL is offered and taken", "EXTERNAL" in offered and len(server.take()) == 1, offered)
        file = server.folder / "message"
        file.write_bytes(wire(MESSAGE))
        tls = ["--ssl-reqd", "--cacert", server.certificate, "--cert", certificate, "--key", key]
        login = ["--user", "anna:", "--login-options", "AUTH=EXTERNAL"]
        curl = ["curl", "--silent", "--show-error", *tls, *login]
        mail = ["--mail-from", "anna@localhost", "--mail-rcpt", "anna@localhost", "--upload-file", file]
        for name, url in [("STARTTLS", "smtp://localhost:{submission}"), ("TLS", "smtps://localhost:{submissions}")]:
            status, said = program(*curl, url.format(**server.port), *mail)
            check(f"certificate: curl: submission, {name}", status == 0 and len(server.take()) == 1, said)
        for name, url in [("STLS", "pop3://localhost:{pop3}"), ("TLS", "pop3s://localhost:{pop3s}")]:
            status, said = program(*curl, url.format(**server.port))
            check(f"certificate: curl: POP3, {name}", status == 0, said)
        msmtp = ["msmtp", "--file=/dev/null", "--host=localhost", f"--port={server.port['submission']}", "--timeout=20"]
        msmtp += ["--from=anna@localhost", "--tls=on", f"--tls-trust-file={server.certificate}", "--auth=external"]
        msmtp += [f"--tls-cert-file={certificate}", f"--tls-key-file={key}", "--user=anna", "anna@localhost"]
        status, said = program(*msmtp, stdin=MESSAGE)
        check("certificate: msmtp", status == 0 and len(server.take()) == 1, said)
        with smtplib.SMTP_SSL("localhost", server.port["submissions"], context=server.tls()) as client:
            client.ehlo()
            offered = client.esmtp_features.get("auth", "")
        check("certificate: without one EXTERNAL is not offered", "PLAIN" in offered and "EXTERNAL" not in offered, offered)
        own = server.tls()
        own.load_cert_chain(*self_signed(server.folder))
        refused = None
        try:
            with smtplib.SMTP_SSL("localhost", server.port["submissions"], context=own) as client:
                client.ehlo()
        except (ssl.SSLError, ConnectionError, smtplib.SMTPServerDisconnected) as error:
            refused = error
        check("certificate: one of another authority is refused", refused is not None)


def self_signed(folder):
    files = [folder / "own.pem", folder / "own.key"]
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-addext", "subjectAltName=email:anna@localhost"]
    program("openssl", "req", "-x509", "-days", "2", *ec, "-subj", "/CN=anna", "-out", files[0], "-keyout", files[1])
    return files


def speaks_too_early(_):
    trust = {"greeted_at_once": []}
    with Server(trust=trust, early_talkers={"pause_seconds": 1}) as server:
        with server.connect("smtp", greeted=False, source="127.0.0.7") as early:
            early.say(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
            said = early.rest()
        codes = [line[:3] for line in said.splitlines()]
        check("early: 554 and nothing is taken", codes[0] == b"554" and b"250" not in codes and not server.take(), said)
        status, said = program("swaks", "--server", f"127.0.0.1:{server.port['smtp']}", "--to", "anna@localhost")
        check("early: swaks, which waits, is served", status == 0 and len(server.take()) == 1, said)
        with contextlib.ExitStack() as stack:
            before = server.resident()
            for number in range(1000):
                source = f"127.0.1.{number % 250 + 1}"
                peer = stack.enter_context(server.connect("smtp", greeted=False, source=source))
                peer.close()
            time.sleep(0.3)
            grown = server.resident() - before
        check("early: a thousand that leave before the greeting cost nothing", grown < 2_000_000, f"{grown} octets more")


SECTIONS = [behind_haproxy, logins_with_a_certificate, speaks_too_early]

if __name__ == "__main__":
    suite("listener", SECTIONS, Server())
