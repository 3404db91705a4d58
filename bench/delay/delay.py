"""What one connection carries over a distance: `posthaste serve` towards a sink whose replies come 0, 20 and 100 ms late,
at each level of pipelining, with BDAT and with DATA."""

import os
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from instruments.benchmark import Benchmark
from instruments.load import Load
from instruments.results import at_least, divided, show
from instruments.sink import PROBES, Sink
from instruments.system import REUSE, PosthasteSystem
from peers.scratch import Failed, free_port

DELAYS_MS = 0, 20, 100
LEVELS = "off", "transaction", "stream"
# Messages for a run of some seconds: at the level `off` by delay, and how many times as many at the others.
OFF = {0: 10_000, 20: 100, 100: 20}
TIMES = {
    "bdat": {"off": 1, "transaction": 3, "stream": 40},
    "data": {"off": 1, "transaction": 2, "stream": 4},
}


@dataclass(frozen=True)
class Scenario:
    content: str
    level: str
    delay_ms: int

    @property
    def name(self):
        return f"{self.content}_{self.level}_{self.delay_ms}ms"

    def messages(self, quick):
        times = TIMES[self.content][self.level] if self.delay_ms else 1
        return max(OFF[self.delay_ms] * times // (4 if quick else 1), 5)

    def limits(self):
        return f'connections = 1\nmessages_per_connection = {REUSE}\npipelining = "{self.level}"\ntls = "off"\n'

    def sink_options(self):
        return ["--delay", f"{self.delay_ms}ms"] + (["--no-chunking"] if self.content == "data" else [])


SCENARIOS = {s.name: s for s in (Scenario(c, l, d) for d in DELAYS_MS for c in TIMES for l in LEVELS)}


def measure(bench, scenario):
    port, messages = free_port(), scenario.messages(bench.quick)
    sink = Sink(bench.scratch, bench.program, port, messages, *scenario.sink_options())
    name = f"{scenario.name}-{bench.run}"
    server = PosthasteSystem(bench.scratch, bench.program, port, bench.nameserver, scenario.limits(), name)
    sent = Load(messages).run(bench.program, server.port, patience=120)
    server.wait_until_delivered(messages, patience=300)
    server.stop()
    got = sink.finish()
    if got["corrupted"] or got["unstamped"] or sent["messages"] != messages:
        raise Failed(f"{scenario.name}: wrong results\nsent {sent}\nreceived {got}")
    # From the first arrival to the last: what the connection carries, without what it takes to set it up.
    seconds = got["last_received"] - got["first_received"]
    return {
        "content": scenario.content,
        "pipelining": scenario.level,
        "delay_ms": scenario.delay_ms,
        "messages": messages,
        "recipients": got["recipients"],
        "seconds": round(seconds, 3),
        "messages_per_second": round((messages - 1) / seconds, 2),
        "connections": got["connections_opened"] - PROBES,
        "latency_ms": got["latency_ms"],
        "lost": got["lost"],
        "doubled": got["doubled"],
    }


def targets(results):
    """The factors that the levels are for, on one connection at the longest delay."""
    longest = max(DELAYS_MS)
    speed = lambda level: results.median("posthaste", Scenario("bdat", level, longest).name, "messages_per_second")
    factor = lambda level: divided(speed(level), speed("off"))
    return [
        at_least(f"BDAT, {longest} ms, `stream`, times `off`", factor("stream"), 20),
        at_least(f"BDAT, {longest} ms, `transaction`, times `off`", factor("transaction"), 2.5),
    ]


def table(results):
    lines = [
        "| delay ms | content | pipelining | messages/s | times `off` | connections | lost | doubled |",
        "|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for name in results.scenarios():
        scenario = SCENARIOS[name]
        get = lambda key, name=name: results.median("posthaste", name, key)
        off = Scenario(scenario.content, "off", scenario.delay_ms).name
        cells = [
            str(scenario.delay_ms),
            scenario.content.upper(),
            scenario.level,
            show(get("messages_per_second"), "{:,.1f}"),
            show(divided(get("messages_per_second"), get("messages_per_second", off)), "{:.1f}"),
            show(get("connections")),
            show(get("lost")),
            show(get("doubled")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    Benchmark("bench/delay/run", __doc__, SCENARIOS, measure, table, targets).main()
