"""Reads with curl, fetchmail, getmail, mpop, mutt, poplib and by hand; what comes out is what lies in the Maildir, octet for octet."""

import base64
import poplib
import re
import shutil
import time

from harness import PASSWORD, Server, check, difference, in_terminal, program, suite, wire

HEADER = b"From: Me <me@example.org>\nTo: anna@localhost\nDate: Tue, 3 Feb 2026 10:20:30 +0000\nMessage-ID: <%d@example.org>\nSubject: %s\n\n"


def numbered(bodies):
    return [HEADER % (number, name.encode()) + body for number, (name, body) in enumerate(bodies.items())]


# With a header that every program takes for one.
MESSAGES = numbered({
    "plain": b"Hello.\n",
    "dots": b".\n..\n...\n.dot\n\n.\n",
    "separators": b"From me@example.org\n>From here\n\nFrom there\n",
    "8-bit": b"gr\xc3\xbc\xc3\x9fe \xff\xfe\n",
    "blanks": b"trailing \t \n\n \n",
    "many lines": b"".join(b"line %d\n" % number for number in range(5000)),
})

# As files may be that other programs laid down.
ODD = [
    HEADER % (100, b"a line of 100 kB") + b"x" * 100_000 + b"\n.after it\n",
    HEADER % (101, b"no final newline") + b"the end",
    HEADER % (102, b"a dot at the end") + b"the end\n.",
    wire(HEADER % (103, b"CRLF in the file") + b".one\ntwo\n"),
    HEADER % (104, b"both line ends") + b"one\r\n.two\n.three\r\n",
    b"no header, no newline",
    b"\n",
    b"",
]


def on_the_wire(octets):
    """What RETR has to send for a file."""
    lines = wire(octets.replace(b"\r\n", b"\n"))
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def lay(server, messages, user="anna"):
    server.take_files(user)
    for number, message in enumerate(messages):
        server.lay(message, user, f"17000000{number:02}.M{number}P1.other")


def body(message):
    return message.partition(b"\n\n")[2]


def fetched(name, found, expected, status, said):
    """Checks that the bodies that a program has written are those that were there, in any order."""
    found, expected = sorted(map(body, found)), sorted(map(body, expected))
    if status != 0 or len(found) != len(expected):
        check(name, False, f"status {status}, {len(found)} messages; {said[-300:]!r}")
        return
    wrong = [difference(one, other) for one, other in zip(found, expected) if one != other]
    check(name, not wrong, wrong)


def contents(folder):
    return [file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()]


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def by_poplib(server):
    poplib._MAXLINE = 200_000
    for name, connect in [
        ("POP3", lambda: poplib.POP3("localhost", server.port["pop3"])),
        ("POP3, STLS", lambda: poplib.POP3("localhost", server.port["pop3"])),
        ("POP3 over TLS", lambda: poplib.POP3_SSL("localhost", server.port["pop3s"], context=server.tls())),
    ]:
        messages = MESSAGES + ODD
        lay(server, messages)
        client = connect()
        if "STLS" in name:
            client.stls(context=server.tls())
        client.user("anna")
        client.pass_(PASSWORD)
        expected = [on_the_wire(message) for message in messages]
        lines = [client.retr(number)[1] for number in range(1, len(messages) + 1)]
        found = [b"".join(line + b"\r\n" for line in message) for message in lines]
        wrong = [difference(one, other) for one, other in zip(found, expected) if one != other]
        check(f"poplib: {name}: octets of RETR", not wrong, wrong)
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        check(f"poplib: {name}: sizes of LIST", sizes == [len(message) for message in expected], sizes)
        check(f"poplib: {name}: STAT", client.stat() == (len(messages), sum(sizes)), client.stat())
        unique = [line.split()[1] for line in client.uidl()[1]]
        check(f"poplib: {name}: UIDL is unique", len(set(unique)) == len(messages), unique)
        top = client.top(6, 3)[1]
        check(f"poplib: {name}: TOP", top == wire(HEADER[:-1] % (5, b"many lines")).split(b"\r\n")[:-1]
              + [b"", b"line 0", b"line 1", b"line 2"], top[-5:])
        capabilities = client.capa()
        right = {"TOP", "UIDL", "USER", "SASL", "RESP-CODES"} <= set(capabilities) and ("STLS" in capabilities) == (name == "POP3")
        check(f"poplib: {name}: CAPA", right, capabilities)
        client.quit()
        check(f"poplib: {name}: all is kept", len(server.files()) == len(messages), len(server.files()))
        client = connect()
        if "STLS" in name:
            client.stls(context=server.tls())
        client.user("anna")
        client.pass_(PASSWORD)
        again = [line.split()[1] for line in client.uidl()[1]]
        check(f"poplib: {name}: UIDL stays", again == unique, again)
        client.dele(1)
        client.dele(3)
        client.quit()
        check(f"poplib: {name}: DELE and QUIT remove", len(server.files()) == len(messages) - 2, len(server.files()))


def by_curl(server):
    user = ["--user", f"anna:{PASSWORD}"]
    tls = ["--ssl-reqd", "--cacert", server.certificate]
    for name, scheme, port, *options in [
        ("POP3", "pop3", "pop3"),
        ("POP3, STLS", "pop3", "pop3", *tls),
        ("POP3, STLS, PLAIN", "pop3", "pop3", *tls, "--login-options", "AUTH=PLAIN"),
        ("POP3, LOGIN", "pop3", "pop3", "--login-options", "AUTH=LOGIN"),
        ("POP3, PLAIN with an initial response", "pop3", "pop3", "--sasl-ir", "--login-options", "AUTH=PLAIN"),
        ("POP3 over TLS", "pop3s", "pop3s", *tls),
    ]:
        lay(server, MESSAGES + ODD[:-1])
        url = f"{scheme}://localhost:{server.port[port]}"
        command = ["curl", "--silent", "--show-error", "--max-time", 20, *user, *options]
        wrong = []
        for number, message in enumerate(MESSAGES + ODD[:-1], 1):
            status, found = program(*command, f"{url}/{number}")
            if status != 0 or found != on_the_wire(message):
                wrong.append(f"{number}: status {status}, {difference(found, on_the_wire(message))}")
        check(f"curl: {name}: octets", not wrong, "; ".join(wrong))
        status, found = program(*command, f"{url}/")
        check(f"curl: {name}: LIST", status == 0 and found.count(b"\r\n") == len(MESSAGES + ODD) - 1, found)
        status, said = program(*command, f"{url}/2", "--request", "DELE", "--head")
        check(f"curl: {name}: DELE", status == 0 and len(server.files()) == len(MESSAGES + ODD) - 2, said)


def by_fetchmail(server):
    folder = server.folder / "fetchmail"
    for name, port, tls in [
        ("POP3", "pop3", 'sslproto ""'),
        ("POP3, STLS", "pop3", f'sslproto "auto" sslcertck sslcertfile "{server.certificate}"'),
        ("POP3 over TLS", "pop3s", f'ssl sslcertck sslcertfile "{server.certificate}"'),
    ]:
        lay(server, MESSAGES)
        empty(folder)
        deliver = f"sh -c 'cat >{folder}/$$'"
        rc = server.folder / "fetchmailrc"
        rc.write_text(
            f'poll localhost port {server.port[port]} proto pop3 user "anna" password "{PASSWORD}" {tls} fetchall '
            f'no rewrite pass8bits mda "{deliver}"\nset invisible\nset no bouncemail\n'
        )
        rc.chmod(0o600)
        command = ["fetchmail", "--fetchmailrc", rc, "--nodetach", "--pidfile", folder.parent / "fetchmail.pid"]
        status, said = program(*command, "--idfile", folder.parent / "ids", environment={"HOME": str(server.folder)})
        fetched(f"fetchmail: {name}", contents(folder), MESSAGES, status, said)
        check(f"fetchmail: {name}: removed", not server.files(), server.files())


def by_getmail(server):
    folder = server.folder / "getmail"
    for name, port, retriever in [
        ("POP3", "pop3", "SimplePOP3Retriever"),
        ("POP3 over TLS", "pop3s", "SimplePOP3SSLRetriever"),
    ]:
        lay(server, MESSAGES)
        empty(folder)
        (folder / "box").mkdir()
        certificate = f"ca_certs = {server.certificate}\n" if retriever.endswith("SSLRetriever") else ""
        (folder / "rc").write_text(
            f"[retriever]\ntype = {retriever}\nserver = localhost\nport = {server.port[port]}\nusername = anna\n"
            f"password = {PASSWORD}\n{certificate}[destination]\ntype = MDA_external\npath = /bin/sh\n"
            f'arguments = ("-c", "cat >{folder}/box/$$")\nallow_root_commands = true\n'
            "[options]\ndelete = true\nread_all = true\nreceived = false\ndelivered_to = false\n"
        )
        status, said = program("getmail", "--getmaildir", folder, "--rcfile", "rc")
        fetched(f"getmail: {name}", contents(folder / "box"), MESSAGES, status, said)
        check(f"getmail: {name}: removed", not server.files(), server.files())


def by_mpop(server):
    folder = server.folder / "mpop"
    starttls = f"tls on\ntls_starttls on\ntls_trust_file {server.certificate}"
    for name, port, tls, login in [
        ("POP3, USER", "pop3", "tls off", "user"),
        ("POP3, STLS, PLAIN", "pop3", starttls, "plain"),
        ("POP3, STLS, LOGIN", "pop3", starttls, "login"),
        ("POP3, STLS, SCRAM-SHA-1", "pop3", starttls, "scram-sha-1"),
        ("POP3, STLS, SCRAM-SHA-256", "pop3", starttls, "scram-sha-256"),
        ("POP3 over TLS", "pop3s", starttls.replace("starttls on", "starttls off"), "user"),
    ]:
        lay(server, MESSAGES + ODD[:1])
        empty(folder)
        for part in ("tmp", "new", "cur"):
            (folder / "box" / part).mkdir(parents=True)
        rc = folder / "rc"
        rc.write_text(
            f"account a\nhost localhost\nport {server.port[port]}\nuser anna\npassword \"{PASSWORD}\"\nauth {login}\n{tls}\n"
            f"timeout 20\nkeep off\nreceived_header off\nuidls_file {folder}/uidls\ndelivery maildir {folder}/box\n"
        )
        rc.chmod(0o600)
        status, said = program("mpop", f"--file={rc}", "a")
        found = sorted(contents(folder / "box"))
        right = status == 0 and found == sorted(MESSAGES + ODD[:1])
        check(f"mpop: {name}: octets", right, f"status {status}, {len(found)} messages; {said!r}")
        check(f"mpop: {name}: removed", not server.files(), server.files())


def by_mutt(server):
    for name, scheme, port, starttls in [
        ("POP3", "pop", "pop3", "no"),
        ("POP3, STLS", "pop", "pop3", "yes"),
        ("POP3 over TLS", "pops", "pop3s", "no"),
    ]:
        lay(server, MESSAGES)
        folder = empty(server.folder / "mutt")
        (folder / "rc").write_text(
            f'set folder="{folder}"\nset pop_pass="{PASSWORD}"\nset pop_authenticators="user"\nset ssl_starttls={starttls}\n'
            f'set ssl_force_tls={starttls}\nset certificate_file="{server.certificate}"\nset mbox_type=Maildir\n'
            "set confirmcreate=no confirmappend=no delete=yes quit=yes wait_key=no\n"
            f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{folder}/box<enter><tag-prefix><delete-message><quit>"\n'
        )
        mailbox = f"{scheme}://anna@localhost:{server.port[port]}"
        status, said = in_terminal("mutt", "-n", "-F", folder / "rc", "-f", mailbox)
        fetched(f"mutt: {name}", contents(folder / "box"), MESSAGES, status, said)
        check(f"mutt: {name}: removed", not server.files(), server.files())


def by_hand(server):
    lay(server, MESSAGES)
    with server.connect("pop3") as client:
        check("POP3: no timestamp for APOP", b"<" not in client.greeting, client.greeting)
        capabilities = client.multiline(b"CAPA")[1]
        check("POP3: CAPA", b"\r\nSTLS\r\n" in capabilities and b"APOP" not in capabilities, capabilities)
        for name, command in [
            ("APOP", b"APOP anna 0123456789abcdef0123456789abcdef"),
            ("RETR before login", b"RETR 1"),
            ("an unknown command", b"XYZZY"),
            ("PASS without USER", b"PASS x"),
        ]:
            reply = client.ask(command)
            check(f"POP3: {name} is refused", reply.startswith(b"-ERR"), reply)
        client.ask(b"USER anna")
        wrong = client.ask(b"PASS wrong")
        check("POP3: a wrong password", wrong.startswith(b"-ERR [AUTH]"), wrong)
        again = base64.b64encode(b"\0anna\0" + PASSWORD.encode())
        right = client.ask(b"AUTH PLAIN " + again)
        check("POP3: AUTH in the same session", right.startswith(b"+OK"), right)
        client.say(b"STAT\r\nNOOP\r\nDELE 1\r\nSTAT\r\nRETR 1\r\nRSET\r\nSTAT\r\nUIDL 1\r\nLIST 99\r\nDELE 0\r\n")
        replies = [client.reply() for _ in range(10)]
        total = sum(len(wire(message)) for message in MESSAGES)
        left = total - len(wire(MESSAGES[0]))
        count = len(MESSAGES)
        expected = [b"+OK %d %d" % (count, total), b"+OK", b"+OK", b"+OK %d %d" % (count - 1, left), b"-ERR"]
        expected += [b"+OK", b"+OK %d %d" % (count, total), b"+OK 1 ", b"-ERR", b"-ERR"]
        right = all(reply.startswith(start) for reply, start in zip(replies, expected))
        check("POP3: pipelined commands", right, replies)
        bye = client.ask(b"QUIT")
        check("POP3: QUIT", bye.startswith(b"+OK") and client.rest() == b"", bye)


def deletion_without_quit(server):
    lay(server, MESSAGES)
    for name, leave in [("dropped", lambda client: None), ("reset", lambda client: client.ask(b"RSET"))]:
        with server.login() as client:
            marked = [client.ask(b"DELE 1"), client.ask(b"DELE 2")]
            leave(client)
        time.sleep(0.2)
        kept = len(server.files()) == len(MESSAGES)
        check(f"POP3: DELE, then {name}: all is kept", kept and all(reply[:1] == b"+" for reply in marked), marked)


def two_sessions(server):
    lay(server, MESSAGES)
    with server.login():
        with server.connect("pop3") as second:
            second.ask(b"USER anna")
            reply = second.ask(b"PASS " + PASSWORD.encode())
            check("POP3: a second session is refused", reply.startswith(b"-ERR [IN-USE]"), reply)
        status, said = program(
            "curl", "--silent", "--show-error", f"pop3://localhost:{server.port['pop3']}/1", "--user", f"anna:{PASSWORD}"
        )
        # 67: curl's own for a login that was refused.
        check("curl: a second session is refused", status == 67, (status, said[:200]))
    time.sleep(0.2)
    with server.login() as client:
        check("POP3: after the first has gone a second is taken", client.ask(b"STAT").startswith(b"+OK 6 "))


def passwords_need_tls(_):
    with Server(users=["anna"]) as server:
        with server.connect("pop3") as client:
            capabilities = client.multiline(b"CAPA")[1]
            offered = re.search(rb"^(USER|SASL)", capabilities, re.MULTILINE)
            check("POP3: by default no login is offered without TLS", not offered, capabilities)
            for command in (b"USER anna", b"PASS " + PASSWORD.encode(), b"AUTH PLAIN AGFubmEAeA=="):
                reply = client.ask(command)
                check(f"POP3: {command.split()[0].decode()} is refused without TLS", reply.startswith(b"-ERR"), reply)
            check("POP3: STLS", client.ask(b"STLS").startswith(b"+OK"))
            client.secure(server.tls())
            client.ask(b"USER anna")
            reply = client.ask(b"PASS " + PASSWORD.encode())
            check("POP3: after STLS it is taken", reply.startswith(b"+OK"), reply)


SECTIONS = [
    by_poplib,
    by_curl,
    by_fetchmail,
    by_getmail,
    by_mpop,
    by_mutt,
    by_hand,
    deletion_without_quit,
    two_sessions,
    passwords_need_tls,
]

if __name__ == "__main__":
    suite("fetch", SECTIONS, Server(auth={"plaintext": True}))
