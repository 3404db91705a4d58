"""What goes over every path: the corpus, addresses beyond ASCII, a large body; and what must come of it."""

import base64
import random
import time
from dataclasses import dataclass, field

from peers import corpus
from peers.scratch import Failed

SENDER = "sender@client.test"
LARGE_BYTES = 25 << 20
LINE = 76
LARGE, INTERNATIONAL, SEVERAL = "25 MiB", "SMTPUTF8", "three recipients"
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Message:
    """`locals`: the recipients' local parts."""

    name: str
    locals: tuple
    content: bytes
    sender: str = SENDER

    def recipients(self, domain):
        return [f"{local}@{domain}" for local in self.locals]


# One transaction; with LMTP, three final replies.
TOGETHER = Message(
    SEVERAL,
    ("one", "two", "three"),
    b"From: sender@client.test\r\nTo: one@interop.test\r\nSubject: to three\r\n"
    b"Date: Sat, 28 Nov 2026 00:00:00 +0000\r\nMessage-ID: <together@client.test>\r\n\r\nOne for all.\r\n",
)


@dataclass
class Result:
    """What came over one path: how many exactly; which as the peer alone makes them, with what it does; what is wrong."""

    exact: int = 0
    own: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    features: dict = field(default_factory=dict)


def load():
    messages = [Message(name, (f"m{n:03}",), content) for n, (name, content) in enumerate(corpus.load().items())]
    return [*messages, TOGETHER, _international(), _large()]


def is_corpus(message):
    return message.name.endswith(".eml")


def _international():
    """RFC 6531 and 6532: both addresses, a field's text, and an address in a field."""
    text = "From: Jürgen <jürgen@client.test>\r\nTo: δοκιμή@interop.test\r\nSubject: 送信テスト\r\n"
    text += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    text += "Date: Sat, 28 Nov 2026 00:00:00 +0000\r\nMessage-ID: <international@client.test>\r\n\r\n¡Zażółć gęślą jaźń!\r\n"
    return Message(INTERNATIONAL, ("δοκιμή",), text.encode(), "jürgen@client.test")


def _large():
    head = b"From: sender@client.test\r\nTo: large@interop.test\r\nSubject: large\r\n"
    head += b"Date: Sat, 28 Nov 2026 00:00:00 +0000\r\nMessage-ID: <large@client.test>\r\n\r\n"
    text = base64.b64encode(random.Random(1).randbytes(LARGE_BYTES * 3 // 4))
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return Message(LARGE, ("large",), head + b"\r\n".join(lines) + b"\r\n")


def collect(path, messages, complaint):
    """Waits until all of it has come, once for each recipient; returns name to contents. `complaint()` ends it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = list(messages)
    while waiting := [m for m in waiting if not all(map(path.received, m.recipients(path.domain)))]:
        if said := complaint():
            raise Failed(said)
        if time.monotonic() > deadline:
            raise Failed(f"{len(waiting)} did not come: {' '.join(m.name for m in waiting[:5])}")
        time.sleep(POLL_SECONDS)
    came = {m.name: sum(map(path.received, m.recipients(path.domain)), []) for m in messages}
    if doubled := [m.name for m in messages if len(came[m.name]) != len(m.locals)]:
        raise Failed(f"came more than once: {' '.join(doubled)}")
    return came
