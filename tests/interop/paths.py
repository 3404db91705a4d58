"""The ways that mail takes between posthaste and a peer, each from a client of ours (or the peer's) to where it is kept.

    to       client → posthaste → peer → sink
    from     client → peer → posthaste → sink
    ATRN     client → posthaste → peer → sink, when the peer comes for it
    through  client → posthaste → peer → posthaste → sink
    control  client → peer → sink: what the peer by itself makes of a message

A mailbox has no `from`, and is its own sink; a client has only `from`, and what it sends is what must come. Every path has a
domain of its own, which is how a relay knows the next hop, and a posthaste of its own.
"""

import re
from dataclasses import dataclass, replace
from typing import Callable

from peers import corpus, smtp
from peers.peer import LOGIN, Client, Customer, Hop, Peer
from peers.posthaste import Posthaste
from peers.scratch import Failed, wait_for

TRACE = ["Received"]  # of posthaste
RETRY = '[retry]\nschedule = ["1s"]\njitter = 0.0\n'
AUTH = "AUTH"
# Mode to how a connection is secured, and the policy under which posthaste opens one.
SECURED = {"plain": "none", "STARTTLS": "starttls", "implicit TLS": "implicit", AUTH: "starttls"}
POLICY = {"none": "none", "starttls": "verified", "implicit": "verified"}
SCHEME = {"none": "smtp", "starttls": "smtp", "implicit": "smtps"}


@dataclass
class Path:
    """`mode`: see SECURED; `trace`: the fields that are added, topmost first."""

    peer: Peer
    mode: str
    domain: str
    hop: Hop
    trace: list
    received: Callable
    engine: Posthaste | None = None
    direction: str = "control"
    detail: str = ""
    sink: smtp.Sink | None = None  # for a customer, who has to be told

    def send(self, envelopes, root):
        if isinstance(self.peer, Client):
            self.peer.send(self.hop, envelopes)
            return
        connection = smtp.Client(self.hop, root)
        for envelope in envelopes:
            connection.submit(*envelope)
        connection.quit()
        if isinstance(self.peer, Customer):
            self.peer.fetch(replace(self.hop, login=LOGIN), self.domain, self.sink.port)

    def bare(self, content):
        content = corpus.without_trace(content, *self.trace)
        return content if content is None else self.peer.carried(content)

    def check_security(self, recipient, content):
        """That the hop between posthaste and the peer was what the mode says, by what posthaste says of it."""
        way = security(self.peer, self.mode) if self.direction == "from" else SECURED[self.mode]
        wanted = way != "none"
        if self.direction in ("to", "ATRN", "through"):
            # The log is written a moment after the mail has gone.
            events = wait_for(f"the event of {recipient}", lambda: self.engine.events_of(recipient, "delivered"))
            secured = "tls" in events[0]
            if self.direction == "through":
                secured = secured and b"TLSv1" in corpus.FIELD.match(content).group()
        elif self.direction == "from":
            field = corpus.FIELD.match(content).group()
            secured = b"TLSv1" in field
            # RFC 3848 and RFC 6531: with ESMTPSA, UTF8SMTPSA and their kin, who has logged in.
            if (re.search(rb" with \w+SMTPS?A ", field) is not None) != (self.mode == AUTH):
                raise Failed(f"{recipient}: a login where none should be, or none: {field.decode()}")
            if self.mode in self.peer.TELLS and f"[{smtp.ADDRESS}]".encode() not in field:
                raise Failed(f"{recipient}: posthaste was not told who the client is: {field.decode()}")
        else:
            return
        if secured != wanted:
            raise Failed(f"{recipient}: {'no ' if wanted else ''}TLS between posthaste and the peer")


def engine(ground, name, via, tls="none", listener="", login=False):
    """A posthaste that sends everything one way. `login`: to the next hop; with ODMR, whose mail it is."""
    text = f'[delivery]\ntls_ca_file = "{ground.certificate.root}"\n[limits]\ntls = "{tls}"\n[queue]\nprepare = "0B"\n{RETRY}'
    text += f'[auth]\nusers = "{ground.users()}"\nmechanisms = ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]\n'
    text += f'[[route]]\ndomain = ["*"]\nvia = "{via}"\n'
    if login:
        text += f'user = "{LOGIN.user}"\n'
        text += "" if via == "odmr" else f'password_file = "{ground.password()}"\n'
    return Posthaste(ground.scratch, ground.program, text, name, listener)


def inward(ground, mode, peer_class, direction="from", login=True):
    """A posthaste in front of the sink, for mail that the peer hands on; and how the peer reaches it.

    `login`: the mode AUTH asks the peer to log in.
    """
    listener = peer_class.TELLS.get(mode, "") + "\n" + ('protocol = "lmtp"\n' if peer_class.LMTP else "")
    secured = security(peer_class, mode)
    listener += offering(ground, secured)
    login = login and mode == AUTH
    if login:
        listener += 'auth = "required"\n'
    made = engine(ground, named(direction, mode), f"smtp://127.0.0.1:{ground.sink.port}", listener=listener)
    return made, Hop(made.port, secured, LOGIN if login else None)


def kept(ground, mode):
    """A posthaste that keeps all mail for a customer; and how that comes for it."""
    secured = SECURED[mode]
    listener = 'auth = "optional"\n' + offering(ground, secured)
    made = engine(ground, named("atrn", mode), "odmr", listener=listener, login=True)
    return made, Hop(made.port, secured)


def offering(ground, secured):
    """What a listener needs for this."""
    pair = ground.certificate
    named = f'tls = "{secured}"\ntls_certificate = "{pair.chain}"\ntls_key = "{pair.key}"\n'
    return "" if secured == "none" else named


def security(peer, mode):
    """Of the hop from the peer to posthaste."""
    return "none" if mode == AUTH and peer.CLEAR_LOGIN else SECURED[mode]


def named(direction, mode):
    return f"{direction}-{mode}".lower().replace(" ", "-")


def of_relay(ground, peer_class):
    """Starts the peer; yields the control and then every path, each with its posthaste running while it is used."""
    sink = ground.sink
    behind = {mode: inward(ground, mode, peer_class) for mode in peer_class.OUT}
    routes = {f"{named('from', mode)}.test": hop for mode, (_, hop) in behind.items()}
    routes |= {f"{named('to', mode)}.test": Hop(sink.port) for mode in peer_class.INTO}
    peer = ground.start(peer_class(ground.scratch, ground.certificate, {"control.test": Hop(sink.port), **routes}))
    trace = list(peer.TRACE)
    yield Path(peer, "plain", "control.test", peer.entry("control.test"), trace, sink.received)
    for mode in peer.INTO:
        secured, name = SECURED[mode], named("to", mode)
        hop = peer.entry(f"{name}.test", secured)
        policy = "opportunistic" if peer.STARTTLS_FAILS else POLICY[secured]
        via = f"{SCHEME[secured]}://127.0.0.1:{hop.port}"
        outward = engine(ground, name, via, policy, login=mode == AUTH).start()
        hops = [*(peer.TRACE_OF_LOGIN if mode == AUTH else ()), *trace, *TRACE]
        yield Path(peer, mode, f"{name}.test", Hop(outward.port), hops, sink.received, outward, "to")
        outward.stop()
    for mode, (made, _) in behind.items():
        made.start()
        domain = f"{made.name}.test"
        yield Path(peer, mode, domain, peer.entry(domain), TRACE + trace, sink.received, made, "from")
        made.stop()


def of_mailbox(ground, peer_class):
    peer = ground.start(peer_class(ground.scratch, ground.certificate))
    hops = peer.hops()
    trace = list(peer.TRACE)
    yield Path(peer, "plain", "control.test", next(iter(hops.values())), trace, peer.received)
    for title, hop in hops.items():
        via = f"lmtp+unix:{hop.unix}" if hop.unix else f"lmtp://127.0.0.1:{hop.port}"
        # A Unix socket is exempt from what the site asks for.
        for mode, policy in [("plain", "verified")] if hop.unix else [("plain", "none"), ("STARTTLS", "verified")]:
            outward = engine(ground, f"{named('to', mode)}-{named('', title)}", via, policy).start()
            domain = f"{outward.name}.test"
            yield Path(peer, mode, domain, Hop(outward.port), trace + TRACE, peer.received, outward, "to", title)
            outward.stop()


def of_client(ground, peer_class):
    peer = ground.start(peer_class(ground.scratch, ground.certificate))
    trace, received = TRACE + list(peer.TRACE), ground.sink.received
    for mode in peer.OUT:
        made, hop = inward(ground, mode, peer_class)
        made.start()
        yield Path(peer, mode, f"{made.name}.test", hop, trace, received, made, "from")
        made.stop()


def of_customer(ground, peer_class):
    peer = ground.start(peer_class(ground.scratch, ground.certificate))
    for mode in peer.MODES:
        made, hop = kept(ground, mode)
        made.start()
        yield Path(peer, mode, f"{made.name}.test", hop, TRACE, ground.sink.received, made, "ATRN", sink=ground.sink)
        made.stop()


def of_filter(ground, peer_class):
    sink = ground.sink
    behind = {mode: inward(ground, mode, peer_class, "behind", login=False) for mode in peer_class.INTO}
    routes = {f"{named('through', mode)}.test": hop for mode, (_, hop) in behind.items()}
    peer = ground.start(peer_class(ground.scratch, ground.certificate, {"control.test": Hop(sink.port), **routes}))
    trace = list(peer.TRACE)
    yield Path(peer, "plain", "control.test", peer.entry("control.test"), trace, sink.received)
    for mode, (made, _) in behind.items():
        secured, name = SECURED[mode], named("through", mode)
        hop = peer.entry(f"{name}.test", secured)
        outward = engine(ground, name, f"{SCHEME[secured]}://127.0.0.1:{hop.port}", POLICY[secured], login=mode == AUTH)
        outward.start()
        made.start()
        hops = TRACE + trace + TRACE
        yield Path(peer, mode, f"{name}.test", Hop(outward.port), hops, sink.received, outward, "through")
        outward.stop()
        made.stop()
