"""The ways that mail takes between posthaste and a peer, each from a client of ours (or the peer's) to where it is kept.

    to       client → posthaste → peer → sink
    from     client → peer → posthaste → sink
    control  client → peer → sink: what the peer by itself makes of a message

A mailbox has no `from`, and is its own sink; a client has only `from`, and what it sends is what must come. Every path has a domain of its own, which is how a relay knows the next hop,
and a posthaste of its own.
"""

from dataclasses import dataclass
from typing import Callable

from peers import corpus, smtp
from peers.peer import Client, Hop
from peers.posthaste import Posthaste

TRACE = ["Received"]  # of posthaste
RETRY = '[retry]\nschedule = ["1s"]\njitter = 0.0\n'


@dataclass
class Path:
    """`mode`: plain, TLS or AUTH, as the table has it; `trace`: the fields that are added, topmost first."""

    mode: str
    domain: str
    hop: Hop
    trace: list
    received: Callable
    engine: Posthaste | None = None
    direction: str = "control"
    detail: str = ""
    client: Client | None = None  # instead of ours

    def send(self, envelopes, root):
        if self.client:
            self.client.send(self.hop, envelopes)
            return
        connection = smtp.Client(self.hop, root)
        for envelope in envelopes:
            connection.submit(*envelope)
        connection.quit()

    def bare(self, content):
        content = corpus.without_trace(content, *self.trace)
        return self.client.carried(content) if self.client and content is not None else content


def engine(ground, name, via, tls="off", more=""):
    """A posthaste that sends everything one way."""
    text = f'[delivery]\ntls_ca_file = "{ground.certificate.root}"\n[limits]\ntls = "{tls}"\n{RETRY}'
    return Posthaste(ground.scratch, ground.program, f'{text}[[route]]\ndomain = ["*"]\nvia = "{via}"\n{more}', name)


def of_relay(ground, peer_class):
    """Starts the peer; yields the control and then every path, each with its posthaste running while it is used."""
    sink = ground.sink
    inward = engine(ground, "from-plain", f"smtp://127.0.0.1:{sink.port}")
    domains = ["control.test", "to-plain.test", "to-tls.test"]
    routes = {**{domain: Hop(sink.port) for domain in domains}, "from-plain.test": Hop(inward.port)}
    peer = ground.start(peer_class(ground.scratch, ground.certificate, routes))
    trace = list(peer.TRACE)
    yield Path("plain", "control.test", peer.entry("control.test"), trace, sink.received)
    for mode, tls, policy in ("plain", "none", "off"), ("TLS", "starttls", "verified"):
        domain = f"to-{mode.lower()}.test"
        hop = peer.entry(domain, tls)
        outward = engine(ground, f"to-{mode.lower()}", f"smtp://127.0.0.1:{hop.port}", policy).start()
        yield Path(mode, domain, Hop(outward.port), trace + TRACE, sink.received, outward, "to")
        outward.stop()
    inward.start()
    yield Path("plain", "from-plain.test", peer.entry("from-plain.test"), TRACE + trace, sink.received, inward, "from")
    inward.stop()


def of_mailbox(ground, peer_class):
    peer = ground.start(peer_class(ground.scratch, ground.certificate))
    hops = peer.hops()
    trace = list(peer.TRACE)
    yield Path("plain", "control.test", next(iter(hops.values())), trace, peer.received)
    for title, hop in hops.items():
        via = f"lmtp+unix:{hop.unix}" if hop.unix else f"lmtp://127.0.0.1:{hop.port}"
        # A Unix socket is exempt from what the site asks for.
        for mode, policy in [("plain", "verified")] if hop.unix else [("plain", "off"), ("TLS", "verified")]:
            outward = engine(ground, f"to-{mode}-{title}".replace(" ", "-").lower(), via, policy).start()
            yield Path(mode, f"{outward.name}.test", Hop(outward.port), trace + TRACE, peer.received, outward, "to", title)
            outward.stop()


def of_client(ground, peer_class):
    peer = ground.start(peer_class(ground.scratch, ground.certificate))
    inward = engine(ground, "from-plain", f"smtp://127.0.0.1:{ground.sink.port}").start()
    trace, received = TRACE + list(peer.TRACE), ground.sink.received
    yield Path("plain", "from-plain.test", Hop(inward.port), trace, received, inward, "from", client=peer)
    inward.stop()
