"""One peer's trial: every message over every path, compared octet by octet with what the peer alone makes of it."""

import os
from dataclasses import dataclass, field

import traffic
from peers import corpus, posthaste, smtp
from peers.certificate import Certificate
from peers.peer import LOGIN
from peers.scratch import Failed, Scratch, wait_for

# What posthaste answers the sender when a peer cannot take such a message (RFC 6531 §3.5).
REFUSED = {traffic.INTERNATIONAL: "5.6.7"}


@dataclass
class Ground:
    """Where a peer is tried."""

    scratch: Scratch
    program: str
    certificate: Certificate
    sink: smtp.Sink
    peer: object = None

    def password(self):
        """A file with the account's password, as a route wants it."""
        return self.scratch.write("password", LOGIN.password + "\n")

    def users(self):
        """A users file with the account, which may send as anybody."""
        file = self.scratch.path("users.toml")
        if not os.path.exists(file):
            posthaste.add_user(self.program, file, LOGIN)
        return file

    def start(self, peer):
        self.peer = peer
        return peer.start()


@dataclass
class Row:
    """A line of the table: one peer, one direction (and one way in, where there are several)."""

    peer: type
    version: str
    direction: str
    detail: str
    results: dict = field(default_factory=dict)  # mode to Result


def run(ground, paths, messages):
    """Rows in the order of the paths. Where there is a control, it comes first."""
    expected, rows = {m.name: m.content for m in messages}, {}
    try:
        for path in paths:
            came = exchange(ground, path, messages)
            if path.direction == "control":
                expected = {name: path.bare(contents[0]) for name, contents in came.items()}
                if broken := [name for name, content in expected.items() if content is None]:
                    raise Failed(f"control: without the fields {' '.join(path.trace)} on top: {' '.join(broken)}")
                continue
            key = (path.direction, path.detail)
            row = rows.setdefault(key, Row(type(ground.peer), ground.peer.version(), *key))
            row.results[path.mode] = compare(path, messages, expected, came)
    except Failed as failure:
        said = ground.peer.log_tail() if ground.peer else ""
        raise Failed(f"{failure}\n{said}".rstrip()) from None
    return list(rows.values())


def exchange(ground, path, messages):
    """Sends over the path; returns name to what came. What the peer lacks must have been refused with the right code."""
    lacking = [m for m in messages if m.name in ground.peer.LACKS]
    sent = [m for m in messages if m not in lacking]
    title = f"{path.direction} {path.mode} {path.detail}".rstrip()
    try:
        tried = sent + (lacking if path.direction in ("to", "through") else [])
        path.send([(m.sender, m.recipients(path.domain), m.content) for m in tried], ground.certificate.root)
        came = traffic.collect(path, sent, lambda: complaint(path, lacking))
        for message in sent:
            path.check_security(message.recipients(path.domain)[0], came[message.name][0])
        if path.direction in ("to", "through"):
            for message in lacking:
                refusal(path, message)
    except (OSError, Failed) as failure:
        raise Failed(f"{title}: {failure}") from None
    return came


def complaint(path, lacking):
    """What posthaste says of a message that should have come and will not."""
    expected = {r for message in lacking for r in message.recipients(path.domain)}
    for event in path.engine.events() if path.engine else ():
        recipient = event.get("recipient", "")
        # Others are senders, who get notices.
        ours = recipient.endswith("@" + path.domain) and recipient not in expected
        # What is kept for a customer is deferred until it comes.
        if ours and event["event"] in ("bounced", "expired", *(["deferred"] if path.direction != "ATRN" else ())):
            return f"{event['event']} for {recipient}: {event.get('reply')}"
    return ""


def refusal(path, message):
    [recipient] = message.recipients(path.domain)
    bounced = wait_for(f"a notice for {recipient}", lambda: path.engine.events_of(recipient, "bounced"))
    if bounced[0].get("reply", {}).get("enhanced") != REFUSED[message.name]:
        raise Failed(f"{message.name} should have been refused with {REFUSED[message.name]}: {bounced[0]}")


def compare(path, messages, expected, came):
    result = traffic.Result()
    for message in messages:
        if message.name not in came:
            continue
        bares = [path.bare(content) for content in came[message.name]]
        good = all(bare == expected[message.name] for bare in bares)
        if not good:
            differences = [corpus.first_difference(expected[message.name], bare) for bare in bares]
            result.wrong.append(f"{path.direction} {path.mode}: {message.name}: {'; '.join(differences)}")
        if not traffic.is_corpus(message):
            result.features[message.name] = good
        elif bares == [message.content]:
            result.exact += 1
        elif good:
            result.own.append((message.name, corpus.first_difference(message.content, bares[0])))
    return result
