"""posthaste delivers every message of the corpus to Dovecot over LMTP, into maildirs.

    control  client → Dovecot                       what Dovecot by itself makes of a message
    tcp      client → posthaste → lmtp://HOST:PORT → Dovecot
    unix     client → posthaste → lmtp+unix:/path  → Dovecot

Each message has a user of its own. What lies in the maildir must be what the control left there, less the trace fields:
Return-Path, Delivered-To and Received from Dovecot, Received from posthaste. A last message has three recipients, so
that one transaction gets three final replies (and, as Dovecot has it, no Delivered-To).
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from peers import corpus, debian, posthaste, smtp
from peers.dovecot import LMTP, PROGRAM, Dovecot
from peers.scratch import Failed, Scratch, wait_for

TRACE = ["Return-Path", "Delivered-To", "Received"]
TOGETHER = b"Subject: to three\r\n\r\none transaction, three replies\r\n"


def exchange(title, messages, client, dovecot):
    """Sends every message to a user named for the title and its number; returns name to what its maildir holds."""
    user = {name: f"{title}{number:03}" for number, name in enumerate(messages)}
    together = [f"{title}-{word}" for word in ("one", "two", "three")]
    for name, content in messages.items():
        client.submit("sender@client.test", [f"{user[name]}@interop.test"], content)
    client.submit("sender@client.test", [f"{who}@interop.test" for who in together], TOGETHER)
    client.quit()
    everyone = [*user.values(), *together]
    wait_for("delivery", lambda: all(dovecot.messages(who) for who in everyone), dovecot.process, patience=120)
    doubled = [who for who in everyone if len(dovecot.messages(who)) != 1]
    if doubled:
        raise Failed(f"came more than once: {' '.join(doubled)}")
    got = {name: dovecot.messages(user[name])[0] for name in messages}
    return got, [dovecot.messages(who)[0] for who in together]


def check(title, messages, expected, results, trace):
    """Prints a row; returns how many differ."""
    got, together = results
    wrong = exact = 0
    for name, content in messages.items():
        bare = corpus.without_trace(got[name], *trace)
        exact += bare == content
        if bare != expected[name]:
            wrong += 1
            print(f"  {name}: {corpus.first_difference(expected[name], bare)}")
    print(f"{title:<34}{len(messages):>9}{exact:>9}{len(messages) - exact - wrong:>21}{wrong:>7}", flush=True)
    shared = [name for name in trace if name != "Delivered-To"]
    broken = [content for content in together if corpus.without_trace(content, *shared) != TOGETHER]
    for content in broken:
        print(f"  to three recipients: {content!r}")
    return wrong + len(broken)


def run(scratch):
    messages = corpus.load()
    program = posthaste.binary()
    debian.need_root("Dovecot")
    debian.ensure({PROGRAM: "dovecot-core", LMTP: "dovecot-lmtpd"})
    dovecot = Dovecot(scratch).start()

    print(f"{'':<34}{'messages':>9}{'exact':>9}{'as Dovecot made it':>21}{'wrong':>7}")
    control = exchange("control", messages, smtp.Client(dovecot.port, lmtp=True), dovecot)
    expected = {name: corpus.without_trace(content, *TRACE) for name, content in control[0].items()}
    wrong = check("control: Dovecot alone", messages, expected, control, TRACE)
    for title, via in ("tcp", f"lmtp://127.0.0.1:{dovecot.port}"), ("unix", f"lmtp+unix:{dovecot.socket}"):
        route = f'[[route]]\ndomain = ["*"]\nvia = "{via}"\n'
        engine = posthaste.Posthaste(scratch, program, route, title).start()
        results = exchange(title, messages, smtp.Client(engine.port), dovecot)
        wrong += check(f"{title}: posthaste over {via.split(':')[0]}", messages, expected, results, [*TRACE, "Received"])
        engine.stop()
    dovecot.stop()

    changed = [name for name, content in messages.items() if expected[name] != content]
    print(f"changed by Dovecot itself, and therefore compared with its own version: {' '.join(changed) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        with Scratch("interop-dovecot") as scratch:
            sys.exit(run(scratch))
    except debian.Unavailable as reason:
        print(f"skipped: {reason}")
        sys.exit(debian.SKIPPED)
    except Failed as failure:
        sys.exit(f"failed: {failure}")
