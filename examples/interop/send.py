"""Sends with swaks, msmtp, curl, smtplib and by hand; what lies in the Maildir afterwards is what was sent, octet for octet."""

import base64
import random
import signal
import smtplib
import tempfile
import time

from harness import PASSWORD, Server, check, difference, program, stuffed, suite, wire

SENDER = "me@example.org"

# Lines of dots, a line that mbox programs would quote, trailing blanks, 8-bit, a long line, empty lines at the end.
MESSAGE = (
    b"From: Me <me@example.org>\nTo: anna@localhost\nDate: Tue, 3 Feb 2026 10:20:30 +0000\n"
    b"Message-ID: <interop@example.org>\nSubject: hello\nMIME-Version: 1.0\n"
    b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    b".\n..\n.dot\nFrom here on\ntrailing \t\ngr\xc3\xbc\xc3\x9fe \xff\n" + b"x" * 990 + b"\n.\n\n\n"
)


def arrived(name, server, message=MESSAGE, ok=True, said=b"", user="anna"):
    """Checks that the sender was satisfied, and that `message` and nothing else came to `user`."""
    found = server.take(user)
    shown = said if not ok else difference(found, message)
    check(name, ok and found == [message], shown)


def swaks(server, port, *options):
    command = ["swaks", "--server", f"127.0.0.1:{server.port[port]}", "--from", SENDER, "--to", "anna@localhost"]
    return program(*command, "--data", "-", *options, stdin=MESSAGE)


def by_swaks(server):
    verify = ["--tls-verify", "--tls-ca-path", server.certificate]
    user = ["--auth-user", "anna", "--auth-password", PASSWORD]
    for name, port, *options in [
        ("SMTP", "smtp"),
        ("SMTP, pipelined", "smtp", "--pipeline"),
        ("SMTP, STARTTLS", "smtp", "--tls", *verify),
        ("LMTP", "lmtp", "--protocol", "LMTP"),
        ("submission, STARTTLS, PLAIN", "submission", "--tls", *verify, "--auth", "PLAIN", *user),
        ("submission, STARTTLS, LOGIN", "submission", "--tls", *verify, "--auth", "LOGIN", *user),
        ("submission over TLS, PLAIN", "submissions", "--tls-on-connect", *verify, "--auth", "PLAIN", *user),
    ]:
        status, said = swaks(server, port, *options)
        # It ends each message with an empty line of its own.
        arrived(f"swaks: {name}", server, MESSAGE + b"\n", ok=status == 0, said=said)
    # 28: swaks's own for a login that cannot be made.
    status, said = swaks(server, "submission", "--tls", "--auth", "CRAM-MD5", *user)
    check("swaks: CRAM-MD5 is not offered", status == 28 and not server.take(), said)


def msmtp(server, port, *options, recipient="anna@localhost"):
    command = ["msmtp", "--file=/dev/null", "--host=localhost", f"--port={server.port[port]}", f"--from={SENDER}"]
    return program(*command, "--timeout=20", *options, "--", recipient, stdin=MESSAGE)


def by_msmtp(server):
    trust = f"--tls-trust-file={server.certificate}"
    starttls, tls = ["--tls=on", "--tls-starttls=on", trust], ["--tls=on", "--tls-starttls=off", trust]
    login = lambda mechanism: [f"--auth={mechanism}", "--user=anna", f"--passwordeval=printf %s '{PASSWORD}'"]
    for name, port, *options in [
        ("SMTP", "smtp", "--tls=off"),
        ("SMTP, STARTTLS", "smtp", *starttls),
        ("LMTP", "lmtp", "--protocol=lmtp", "--tls=off"),
        ("LMTP, STARTTLS", "lmtp", "--protocol=lmtp", *starttls),
        ("submission, STARTTLS, PLAIN", "submission", *starttls, *login("plain")),
        ("submission, STARTTLS, LOGIN", "submission", *starttls, *login("login")),
        ("submission, STARTTLS, SCRAM-SHA-1", "submission", *starttls, *login("scram-sha-1")),
        ("submission, STARTTLS, SCRAM-SHA-256", "submission", *starttls, *login("scram-sha-256")),
        ("submission over TLS, SCRAM-SHA-256", "submissions", *tls, *login("scram-sha-256")),
    ]:
        status, said = msmtp(server, port, *options)
        arrived(f"msmtp: {name}", server, ok=status == 0, said=said)
    status, said = msmtp(server, "submission", *starttls, *login("cram-md5"))
    check("msmtp: CRAM-MD5 is not offered", status != 0 and b"does not support authentication" in said, said)
    status, said = msmtp(server, "smtp", "--tls=off", recipient="nobody@localhost")
    # 67: EX_NOUSER of sysexits.h; 65 is what msmtp makes of any recipient that is refused.
    check("msmtp: an unknown recipient is refused", status in (65, 67) and b"550" in said, said)


def by_curl(server):
    file = server.folder / "message"
    file.write_bytes(wire(MESSAGE))
    user = ["--user", f"anna:{PASSWORD}"]
    tls = ["--ssl-reqd", "--cacert", server.certificate]
    for name, scheme, port, *options in [
        ("SMTP", "smtp", "smtp"),
        ("SMTP, STARTTLS", "smtp", "smtp", *tls),
        ("submission, STARTTLS, PLAIN", "smtp", "submission", *tls, *user, "--login-options", "AUTH=PLAIN"),
        ("submission, STARTTLS, LOGIN", "smtp", "submission", *tls, *user, "--login-options", "AUTH=LOGIN"),
        ("submission, SASL-IR", "smtp", "submission", *tls, *user, "--sasl-ir", "--login-options", "AUTH=PLAIN"),
        ("submission over TLS", "smtps", "submissions", *tls, *user),
    ]:
        url = f"{scheme}://localhost:{server.port[port]}/client.example"
        command = ["curl", "--silent", "--show-error", url, "--mail-from", SENDER, "--mail-rcpt", "anna@localhost"]
        status, said = program(*command, "--upload-file", file, *options)
        arrived(f"curl: {name}", server, ok=status == 0, said=said)


# openssl itself would not speak TLSv1.1 otherwise.
OLD = ["-cipher", "DEFAULT@SECLEVEL=0"]


def by_openssl(server):
    """Who the server says it is, with either version of TLS; older ones are not spoken."""
    for port, *start in [
        ("smtp", "-starttls", "smtp"),
        ("submission", "-starttls", "smtp"),
        ("lmtp", "-starttls", "lmtp"),
        ("pop3", "-starttls", "pop3"),
        ("submissions",),
        ("pop3s",),
    ]:
        for version, name in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]:
            status, said = handshake(server.port[port], server.certificate, version, *start)
            right = status == 0 and b"Verify return code: 0 (ok)" in said and name.encode() in said
            check(f"openssl: {port}: {name}, certificate verified", right, said)
        status, said = handshake(server.port[port], server.certificate, "-tls1_1", *OLD, *start)
        check(f"openssl: {port}: no TLSv1.1", status != 0 and b"SSL alert number" in said, said)
    url = f"smtp://localhost:{server.port['smtp']}"
    status, said = program("curl", "--silent", "--show-error", "--ssl-reqd", url)
    # 60: curl's own for a certificate that it cannot verify.
    check("curl: the certificate is refused by who does not know it", status == 60, (status, said))


def handshake(port, trusted, *options):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    verify = ["-CAfile", trusted, "-verify_return_error", "-verify_hostname", "localhost"]
    return program(*command, *verify, *options, stdin=b"Q\n", timeout=20)


def own_certificate(_):
    """A certificate from elsewhere, and another after SIGHUP; a session that is open goes on."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}
        make_certificate(files)
        with Server(tls=files) as server, server.connect("smtp") as client:
            status, said = handshake(server.port["submissions"], files["certificate"])
            check("certificate: one's own is served", status == 0, said)
            make_certificate(files)
            status, _ = handshake(server.port["submissions"], files["certificate"])
            check("certificate: the old one stays until SIGHUP", status != 0)
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            for port, *start in [("submissions",), ("smtp", "-starttls", "smtp"), ("pop3s",)]:
                status, said = handshake(server.port[port], files["certificate"], *start)
                check(f"certificate: {port}: the new one is served after SIGHUP", status == 0, said)
            check("certificate: an open session goes on", client.ask(b"NOOP").startswith(b"250"))


def make_certificate(files):
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", files["key"]]
    status, said = program("openssl", "req", "-x509", "-days", "2", *key, *name, "-out", files["certificate"])
    if status != 0:
        raise AssertionError(said)


def by_smtplib(server):
    for name, connect, port in [
        ("SMTP", smtplib.SMTP, "smtp"),
        ("SMTP, STARTTLS", smtplib.SMTP, "smtp"),
        ("LMTP", smtplib.LMTP, "lmtp"),
        ("LMTP, STARTTLS", smtplib.LMTP, "lmtp"),
        ("submission, STARTTLS", smtplib.SMTP, "submission"),
        ("submission over TLS", smtplib.SMTP_SSL, "submissions"),
    ]:
        context = {"context": server.tls()} if connect is smtplib.SMTP_SSL else {}
        with connect("localhost", server.port[port], **context) as client:
            if "STARTTLS" in name:
                client.starttls(context=server.tls())
            if "submission" in name:
                client.login("anna", PASSWORD)
            refused = client.sendmail(SENDER, ["anna@localhost"], wire(MESSAGE), ["BODY=8BITMIME"])
        arrived(f"smtplib: {name}", server, ok=not refused, said=refused)


def lmtp_answers_for_each_recipient(server):
    with server.connect("lmtp") as client:
        client.ask(b"LHLO client.example")
        client.ask(b"MAIL FROM:<me@example.org>")
        recipients = [client.ask(b"RCPT TO:<%s@localhost>" % name) for name in (b"anna", b"nobody", b"bert")]
        client.ask(b"DATA")
        client.say(stuffed(MESSAGE))
        replies = [client.reply(), client.reply()]
        after = client.ask(b"NOOP")
    codes = [reply[:3] for reply in recipients + replies + [after]]
    check("LMTP: a reply for each recipient", codes == [b"250", b"550", b"250", b"250", b"250", b"250"], codes)
    arrived("LMTP: the first recipient has it", server)
    arrived("LMTP: the last recipient has it", server, user="bert")


def pipelining(server):
    """A whole group in one write, then a message, a second group and its end in another."""
    group = b"MAIL FROM:<me@example.org>\r\nRCPT TO:<anna@localhost>\r\nRCPT TO:<nobody@localhost>\r\nDATA\r\n"
    with server.connect("smtp") as client:
        client.ask(b"EHLO client.example")
        client.say(group)
        first = [client.reply()[:3] for _ in range(4)]
        client.say(stuffed(MESSAGE) + b"RSET\r\n" + group)
        second = [client.reply()[:3] for _ in range(6)]
        client.say(stuffed(MESSAGE) + b"QUIT\r\n")
        last = [client.reply()[:3], client.reply()[:3], client.rest()]
    answers = [b"250", b"250", b"550", b"354"]
    right = first == answers and second == [b"250", b"250", *answers] and last == [b"250", b"221", b""]
    found = server.take()
    check("pipelining: two transactions", right and found == [MESSAGE] * 2, (first, second, last, len(found)))


def one_octet_at_a_time(server):
    with server.connect("smtp") as client:
        script = b"EHLO c\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\n"
        for octet in script:
            client.say(bytes([octet]))
        replies = [client.reply()[:3] for _ in range(4)]
        for octet in stuffed(MESSAGE):
            client.say(bytes([octet]))
        replies.append(client.reply()[:3])
    arrived("one octet at a time", server, ok=replies == [b"250"] * 3 + [b"354", b"250"], said=str(replies))


def eight_bit_and_utf8(server):
    every = b"Subject: every octet\n\n" + bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\n"
    with smtplib.SMTP("127.0.0.1", server.port["smtp"]) as client:
        client.ehlo()
        check("8BITMIME and SMTPUTF8 are offered", client.has_extn("8bitmime") and client.has_extn("smtputf8"))
        client.sendmail(SENDER, ["anna@localhost"], wire(every), ["BODY=8BITMIME"])
        arrived("8-bit: every octet but NUL, CR and LF", server, every)
        text = "From: jürgen@exämple.org\nTo: anna@localhost\nSubject: grüße 你好\n\n😀\n".encode()
        client.sendmail("jürgen@exämple.org", ["anna@localhost"], wire(text), ["SMTPUTF8", "BODY=8BITMIME"])
        trace = b"".join(file.read_bytes() for file in server.files())
        returned = "Return-Path: <jürgen@exämple.org>\n".encode()
        check("SMTPUTF8: the trace", returned in trace and b"UTF8SMTP" in trace, trace[:200])
        arrived("SMTPUTF8: header and envelope", server, text)
    with server.connect("smtp") as client:
        client.ask(b"EHLO c")
        reply = client.ask("MAIL FROM:<jürgen@example.org>".encode())
        check("SMTPUTF8: an address that needs it is refused without", reply[:3] in (b"501", b"550", b"553"), reply)


def large(server):
    attachment = base64.encodebytes(random.Random(1).randbytes(10_000_000))
    message = MESSAGE + attachment
    with smtplib.SMTP("127.0.0.1", server.port["smtp"]) as client:
        client.sendmail(SENDER, ["anna@localhost"], wire(message))
    arrived("an attachment of 10 MB", server, message)
    with server.connect("smtp") as client:
        client.ask(b"EHLO c")
        stated = client.ask(b"MAIL FROM:<me@example.org> SIZE=20000001")
        check("SIZE: too large is refused at MAIL", stated.startswith(b"552"), stated)
        replies = [client.ask(line) for line in (b"MAIL FROM:<me@example.org>", b"RCPT TO:<anna@localhost>", b"DATA")]
        client.say(b"Subject: too large\r\n\r\n" + (b"y" * 998 + b"\r\n") * 20_001 + b".\r\n")
        replies += [client.reply(), client.ask(b"NOOP")]
        codes = [reply[:3] for reply in replies]
        right = codes == [b"250", b"250", b"354", b"552", b"250"] and not server.take()
        check("SIZE: too large is refused after it came, the session goes on", right, codes)


def many_recipients(server):
    """500 of them, the most that is configured; two accounts behind them."""
    with server.connect("smtp") as client:
        client.ask(b"EHLO c")
        client.ask(b"MAIL FROM:<me@example.org>")
        names = [b"anna+%d" % number if number % 3 else b"bert" for number in range(501)]
        client.say(b"".join(b"RCPT TO:<%s@localhost>\r\n" % name for name in names))
        replies = [client.reply() for _ in names]
        taken = sum(reply.startswith(b"250") for reply in replies)
        check("recipients: 500 are taken", taken == 500, f"{taken}, the last {replies[-1]!r}")
        check("recipients: the one after them is refused", replies[-1].startswith(b"452"), replies[-1])
        data = client.ask(b"DATA")
        client.say(stuffed(MESSAGE))
        end = client.reply()
    arrived("recipients: delivered once", server, ok=data.startswith(b"354") and end.startswith(b"250"), said=end)
    arrived("recipients: delivered once to the other", server, user="bert")


def refusals(server):
    with server.connect("smtp") as client:
        client.ask(b"EHLO c")
        for name, command, *codes in [
            ("a recipient before a sender", b"RCPT TO:<anna@localhost>", b"503"),
            ("data before a sender", b"DATA", b"503"),
            ("VRFY gives nothing away", b"VRFY anna", b"252"),
            ("HELP", b"HELP", b"214"),
            ("NOOP with an argument", b"NOOP anything", b"250"),
            ("a command that does not exist", b"WIZARD", b"500"),
            ("MAIL", b"MAIL FROM:<me@example.org>", b"250"),
            ("MAIL within a transaction", b"MAIL FROM:<me@example.org>", b"503"),
            ("an unknown recipient", b"RCPT TO:<nobody@localhost>", b"550"),
            ("relaying", b"RCPT TO:<anna@example.org>", b"550"),
            ("relaying with a source route", b"RCPT TO:<@localhost:anna@example.org>", b"550"),
            ("relaying with a percent sign", b"RCPT TO:<anna%example.org@localhost>", b"550"),
            ("relaying with quotes", b'RCPT TO:<"anna@example.org"@localhost>', b"550"),
            ("data when all recipients were refused", b"DATA", b"503", b"554"),
            ("the session goes on", b"RCPT TO:<anna@localhost>", b"250"),
            ("RSET", b"RSET", b"250"),
            ("RSET forgets the sender", b"RCPT TO:<anna@localhost>", b"503"),
            ("login on the port for other servers", b"AUTH PLAIN", b"502", b"503"),
            ("QUIT", b"QUIT", b"221"),
        ]:
            reply = client.ask(command)
            check(f"SMTP: {name}", reply[:3] in codes, reply)
        check("SMTP: closed after QUIT", client.rest() == b"")
    check("refused mail leaves nothing", not server.files(folders=("new", "cur", "tmp")), server.files())


def special_recipients(server):
    for name, recipient in [
        ("postmaster without a domain", b"postmaster"),
        ("postmaster in any case", b"PostMaster@LocalHost"),
        ("a detail after +", b"anna+lists@localhost"),
        ("a quoted local part", b'"anna"@localhost'),
        ("an address literal", b"anna@[127.0.0.1]"),
    ]:
        with server.connect("smtp") as client:
            script = [b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:<%s>" % recipient, b"DATA"]
            replies = [client.ask(line) for line in script]
            client.say(stuffed(MESSAGE))
            replies.append(client.reply())
        arrived(f"recipient: {name}", server, ok=replies[-1].startswith(b"250"), said=replies[2])


def logins(server):
    def plain(password):
        return base64.b64encode(b"\0anna\0" + password.encode())

    with server.connect("submission") as client:
        hello = client.ask(b"EHLO c")
        check("login: not offered in the clear", b"AUTH" not in hello, hello)
        for name, command in [("AUTH", b"AUTH PLAIN " + plain(PASSWORD)), ("MAIL", b"MAIL FROM:<me@example.org>")]:
            reply = client.ask(command)
            check(f"login: {name} is refused in the clear", reply[:3] in (b"502", b"530", b"538"), reply)
        started = client.ask(b"STARTTLS")
        check("login: STARTTLS", started.startswith(b"220"), started)
        client.secure(server.tls())
        early = client.ask(b"MAIL FROM:<me@example.org>")
        check("login: nothing before EHLO is remembered after STARTTLS", early[:3] in (b"503", b"530"), early)
        hello = client.ask(b"EHLO c")
        offered = next((line for line in hello.split(b"\r\n") if line[4:].startswith(b"AUTH ")), b"").split()[1:]
        right = {b"PLAIN", b"LOGIN", b"SCRAM-SHA-256"} <= set(offered) and not any(b"CRAM-M" in name for name in offered)
        check("login: PLAIN, LOGIN and SCRAM are offered, CRAM is not", right and b"STARTTLS" not in hello, hello)
        for name, command, *codes in [
            ("required before MAIL", b"MAIL FROM:<me@example.org>", b"530"),
            ("CRAM-MD5 is refused", b"AUTH CRAM-MD5", b"504"),
            ("a wrong password", b"AUTH PLAIN " + plain("wrong"), b"535"),
            ("what is not base64", b"AUTH PLAIN !!!", b"501"),
            ("a challenge for PLAIN", b"AUTH PLAIN", b"334"),
            ("cancelled", b"*", b"501"),
            ("the right password", b"AUTH PLAIN " + plain(PASSWORD), b"235"),
            ("a second one", b"AUTH PLAIN " + plain(PASSWORD), b"503"),
            ("then MAIL is taken", b"MAIL FROM:<me@example.org>", b"250"),
        ]:
            reply = client.ask(command)
            check(f"login: {name}", reply[:3] in codes, reply)
    try:
        with smtplib.SMTP_SSL("localhost", server.port["submissions"], context=server.tls()) as client:
            client.login("nobody", PASSWORD)
        check("login: an account that does not exist", False, "logged in")
    except smtplib.SMTPAuthenticationError as error:
        check("login: an account that does not exist", error.smtp_code == 535, error)


SECTIONS = [
    by_swaks,
    by_msmtp,
    by_curl,
    by_openssl,
    own_certificate,
    by_smtplib,
    lmtp_answers_for_each_recipient,
    pipelining,
    one_octet_at_a_time,
    eight_bit_and_utf8,
    large,
    many_recipients,
    refusals,
    special_recipients,
    logins,
]

if __name__ == "__main__":
    limits = {"recipients": 500, "message_octets": 20_000_000}
    suite("send", SECTIONS, Server(postmaster="anna", limits=limits, submission={"foreign_senders": True}))
