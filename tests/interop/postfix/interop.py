"""posthaste and Postfix exchange every message of the corpus.

    forward  client → posthaste → Postfix → sink    over STARTTLS, once with BDAT and once with DATA
    reverse  client → Postfix → posthaste → sink
    control  client → Postfix → sink                what Postfix by itself does to a message

Every message must come out of `forward` and `reverse` as it comes out of `control`, less the Received field that
posthaste adds. Postfix repairs some broken messages (it ends a header section that has no end, for one); those are
named in the table. All others must arrive exactly as they were sent.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from peers import corpus, debian, posthaste, smtp
from peers.postfix import MASTER, Postfix
from peers.scratch import Failed, Scratch, free_port, wait_for

# Postfix as a relay that leaves alone what it can be told to leave alone.
RELAY = {
    "local_header_rewrite_clients": "",
    "always_add_missing_headers": "no",
    "disable_mime_input_processing": "yes",
    "disable_mime_output_conversion": "yes",
    "smtp_line_length_limit": "0",
    "header_size_limit": "10485760",
    "message_drop_headers": "",
    "enable_original_recipient": "no",
    "smtp_tls_security_level": "none",
}


def addresses(messages):
    return {name: f"m{number:03}@interop.test" for number, name in enumerate(messages)}


def exchange(messages, entry_port, sink):
    """Sends every message to the entry and returns name to what the sink got for it."""
    sink.messages.clear()
    recipient = addresses(messages)
    client = smtp.Client(entry_port)
    for name, content in messages.items():
        client.submit("sender@client.test", [recipient[name]], content)
    client.quit()
    wait_for("delivery", lambda: sink.count() >= len(messages), patience=120)
    doubled = [name for name in messages if len(sink.messages[recipient[name]]) != 1]
    if doubled:
        raise Failed(f"came more than once: {' '.join(doubled)}")
    return {name: sink.messages[recipient[name]][0] for name in messages}


def check(title, messages, expected, got, trace):
    """Prints a row; returns how many differ."""
    wrong = 0
    exact = 0
    for name, content in messages.items():
        bare = corpus.without_trace(got[name], *trace)
        exact += bare == content
        if bare != expected[name]:
            wrong += 1
            print(f"  {name}: {corpus.first_difference(expected[name], bare)}")
    print(f"{title:<34}{len(messages):>9}{exact:>9}{len(messages) - exact - wrong:>20}{wrong:>7}", flush=True)
    return wrong


def run(scratch):
    messages = corpus.load()
    program = posthaste.binary()
    debian.need_root("Postfix")
    debian.ensure({MASTER: "postfix", "openssl": "openssl"})
    sink = smtp.Sink()
    certificate, key = debian.self_signed(scratch, "mx.posthaste.test")
    tls = {"smtpd_tls_cert_file": certificate, "smtpd_tls_key_file": key}
    must = {"smtpd_tls_security_level": "encrypt"}
    bdat, data, clear = free_port(), free_port(), free_port()
    relay = Postfix(
        scratch,
        "relay",
        {**RELAY, **tls, "relayhost": f"[127.0.0.1]:{sink.port}"},
        {bdat: must, data: {**must, "smtpd_discard_ehlo_keywords": "chunking"}, clear: {}},
    ).start()

    print(f"{'':<34}{'messages':>9}{'exact':>9}{'as Postfix made it':>20}{'wrong':>7}")
    control = exchange(messages, clear, sink)
    expected = {name: corpus.without_trace(content, "Received") for name, content in control.items()}
    wrong = check("control: Postfix alone", messages, expected, control, ["Received"])

    for title, port in ("forward: STARTTLS, BDAT", bdat), ("forward: STARTTLS, DATA", data):
        route = f'[limits]\ntls = "required"\n[[route]]\ndomain = ["*"]\nvia = "smtp://127.0.0.1:{port}"\n'
        engine = posthaste.Posthaste(scratch, program, route, f"forward-{port}").start()
        wrong += check(title, messages, expected, exchange(messages, engine.port, sink), ["Received", "Received"])
        engine.stop()

    route = f'[[route]]\ndomain = ["*"]\nvia = "smtp://127.0.0.1:{sink.port}"\n'
    engine = posthaste.Posthaste(scratch, program, route, "reverse").start()
    injector = Postfix(scratch, "injector", {**RELAY, "relayhost": f"[127.0.0.1]:{engine.port}"}).start()
    wrong += check("reverse", messages, expected, exchange(messages, injector.port, sink), ["Received", "Received"])
    injector.stop()
    engine.stop()
    relay.stop()

    repaired = [name for name, content in messages.items() if expected[name] != content]
    print(f"changed by Postfix itself, and therefore compared with its own version: {' '.join(repaired) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        with Scratch("interop-postfix") as scratch:
            sys.exit(run(scratch))
    except debian.Unavailable as reason:
        print(f"skipped: {reason}")
        sys.exit(debian.SKIPPED)
    except Failed as failure:
        sys.exit(f"failed: {failure}")
