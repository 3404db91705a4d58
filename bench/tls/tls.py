"""What TLS costs: `posthaste serve` towards one sink, in clear text and encrypted, on connections that are kept and on ones
that carry a single message, with full handshakes and with resumed sessions."""

import os
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from instruments.benchmark import Benchmark
from instruments.load import Load
from instruments.results import show
from instruments.sink import PROBES, Sink
from instruments.system import REUSE, PosthasteSystem
from peers.scratch import Failed, free_port

STARTTLS = ["--tls", "starttls"]


@dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    messages: int
    policy: str
    messages_per_connection: int
    sink_options: tuple
    # What share of the handshakes goes on with an earlier session, at least and at most.
    resumed: tuple = (0, 0)

    def limits(self):
        return f'messages_per_connection = {self.messages_per_connection}\ntls = "{self.policy}"\n'


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("clear_kept", "clear text, connections kept", 60_000, "off", REUSE, ()),
        Scenario("tls_kept", "TLS, connections kept", 60_000, "required", REUSE, (*STARTTLS,), (0, 1)),
        Scenario("clear_each", "clear text, a connection for each message", 15_000, "off", 1, ()),
        Scenario("tls_full", "TLS, each message a full handshake", 8_000, "required", 1, (*STARTTLS, "--no-resumption")),
        Scenario("tls_resumed", "TLS, each message a resumed session", 10_000, "required", 1, (*STARTTLS,), (0.75, 1)),
    )
}


def measure(bench, scenario):
    port, messages = free_port(), scenario.messages // (10 if bench.quick else 1)
    sink = Sink(bench.scratch, bench.program, port, messages, *scenario.sink_options)
    name = f"{scenario.name}-{bench.run}"
    server = PosthasteSystem(bench.scratch, bench.program, port, bench.nameserver, scenario.limits(), name)
    cpu = server.cpu_seconds()
    sent = Load(messages).run(bench.program, server.port, patience=120)
    server.wait_until_delivered(messages, patience=120)
    cpu = server.cpu_seconds() - cpu
    server.stop()
    got = sink.finish()
    if got["corrupted"] or got["unstamped"] or sent["messages"] != messages:
        raise Failed(f"{scenario.name}: wrong results\nsent {sent}\nreceived {got}")
    handshakes, resumed = got["tls_handshakes"], got["tls_resumed"]
    least, most = scenario.resumed
    if bool(handshakes) != bool(scenario.sink_options) or not least * handshakes <= resumed <= most * handshakes:
        raise Failed(f"{scenario.name}: {handshakes} handshakes, {resumed} of them resumed: that is not what it measures")
    seconds = got["last_received"] - sent["started"]
    return {
        "messages": messages,
        "recipients": got["recipients"],
        "seconds": round(seconds, 3),
        "messages_per_second": round(messages / seconds, 1),
        "cpu_ms_per_message": round(cpu * 1000 / messages, 4),
        "connections": got["connections_opened"] - PROBES,
        "tls_handshakes": handshakes,
        "tls_resumed": resumed,
        "latency_ms": got["latency_ms"],
        "lost": got["lost"],
        "doubled": got["doubled"],
    }


def table(results):
    lines = [
        "| scenario | | messages/s | CPU ms/message | connections | handshakes | of them resumed | lost | doubled |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in results.scenarios():
        get = lambda key, name=name: results.median("posthaste", name, key)
        counts = [show(get(key)) for key in ("connections", "tls_handshakes", "tls_resumed", "lost", "doubled")]
        cells = [
            name,
            SCENARIOS[name].what,
            show(get("messages_per_second")),
            show(get("cpu_ms_per_message"), "{:.3f}"),
            *counts,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def targets(_results):
    """None are set: these figures are for whoever chooses a policy."""
    return []


if __name__ == "__main__":
    Benchmark("bench/tls/run", __doc__, SCENARIOS, measure, table, targets).main()
