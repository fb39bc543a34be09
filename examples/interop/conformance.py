"""The conformance kit of `testdata/smtp-conformance` against the server and, where they are installed, Postfix and Exim.

`CONFORMANCE` names its binary. The server has to pass every case that is a MUST, in each of its three roles; so has Postfix where it
does not take LF for a line end. What Exim fails is explained in the kit's README; here it must not be more. It waits before many of its
answers, five minutes in all, so with `CI` set it is left out.
"""

import os
import re
from pathlib import Path

from harness import PASSWORD, Server, check, program, suite
from relays import Exim, Postfix, left_out

KIT = os.environ.get("CONFORMANCE") or str(Path(os.environ["MAILSERVER"]).parent / "examples/conformance")
OTHERS = ["--to", "user1@example.test", "--bad-to", "nobody@elsewhere.test", "--wait", "20"]
# MUSTs that Exim 4.96 fails.
EXIM_FAILS = 41


def score(port, *options):
    """Exit status, MUSTs passed and run, and what was said."""
    status, said = program(KIT, f"127.0.0.1:{port}", *options, timeout=600)
    found = re.search(rb"\n *all +(\d+)/(\d+)", said)
    passed, run = (int(found[1]), int(found[2])) if found else (0, 0)
    return status, passed, run, said


def ours(_):
    settings = {"limits": {"message_octets": 500_000}, "auth": {"plaintext": True}, "submission": {"foreign_senders": True}}
    with Server(("anna",), domains=["example.test"], **settings) as server:
        to = ["--to", "anna@example.test", "--bad-to", "nobody@example.test"]
        for name, port, least, *options in [
            ("SMTP", "smtp", 402),
            ("submission", "submission", 402, "--login", f"anna:{PASSWORD}"),
            ("LMTP", "lmtp", 376, "--lmtp"),
        ]:
            status, passed, run, said = score(server.port[port], *to, *options)
            check(f"{name}: {passed} of {run} MUSTs", status == 0 and passed == run >= least, said)
            server.take_files()


@left_out
def other_postfix(_):
    with Postfix(0, "maildir") as server:
        server.set(smtpd_forbid_bare_newline="normalize", smtpd_error_sleep_time=0, smtpd_soft_error_limit=1000, smtpd_hard_error_limit=2000)
        # Loopback is no exception, neither for line ends nor for whose mail is relayed.
        server.set(smtpd_forbid_bare_newline_exclusions="", mynetworks="", message_size_limit=500_000)
        status, passed, run, said = score(server.port, *OTHERS)
        check(f"Postfix: {passed} of {run} MUSTs", status == 0 and passed == run >= 416, said)


@left_out
def other_exim(_):
    with Exim(0, "hold") as server:
        _, passed, run, said = score(server.port, *OTHERS)
        check(f"Exim: {passed} of {run} MUSTs", run and run - passed <= EXIM_FAILS, said)


if __name__ == "__main__":
    suite("conformance", [ours, other_postfix, *([] if os.environ.get("CI") else [other_exim])], Server(("anna",)))
