"""What is measured. Each scenario is one function: a fresh system, one load, one result.

Amounts are per system, so that a run takes about ten seconds with either; `--quick` takes a tenth.
"""

import json
import os
import time
from dataclasses import dataclass

from instruments.load import BODY_BYTES, Load, smtp_source
from instruments.nameserver import Nameserver
from instruments.results import percentile
from instruments.sink import PROBES, Sink, SmtpSink
from instruments.sync import sync_ms
from instruments.system import REUSE, PosthasteSystem
from peers.scratch import Failed, free_port
from systems import DOMAINS, PostfixSystem

AMOUNTS = {
    # scenario: messages for posthaste, for Postfix
    "one_site": (60_000, 6_000),
    "thousand_sites": (60_000, 6_000),
    "one_site_chunking": (100_000, 6_000),
    "ingest": (80_000, 8_000),
    "ingest_in_use": (80_000, 8_000),
    "ingest_chunking": (120_000, 8_000),
    "ingest_hundreds": (80_000, 8_000),
    "bulk": (4_000, 400),
    "one_site_smtp_source": (25_000, 6_000),
}
KEYS = (
    "system scenario run messages recipients seconds messages_per_second cpu_ms_per_message rss_bytes syncs connections "
    "latency_ms lost doubled"
).split()
# Injectors at once, where there are hundreds.
HUNDREDS = 200
IDLE_RATE = 50
IDLE_SECONDS = 10
HALF_LOAD_SECONDS = 10


@dataclass
class Bench:
    """What all runs share."""

    scratch: object
    program: str
    nameserver: Nameserver
    quick: bool
    run: int = 0
    # By system: the best median of one_site so far, from which half_load_latency takes its rate.
    top: dict | None = None

    def amount(self, scenario, system):
        messages = AMOUNTS[scenario][0 if system == "posthaste" else 1]
        return max(messages // 10, 100) if self.quick else messages

    def start(self, system, sink_port, suspended=False, clients=0):
        name = f"{system}-{time.monotonic_ns()}"
        if system == "posthaste":
            return PosthasteSystem(self.scratch, self.program, sink_port, self.nameserver, limits(suspended), name)
        return PostfixSystem(self.scratch, sink_port, suspended, name, clients=clients)


def limits(suspended):
    """Connections are kept: Postfix counts only the seconds of a connection, not its messages."""
    return f"messages_per_connection = {REUSE}\nsuspend = {str(suspended).lower()}\n"


def through(bench, system, scenario, load):
    """The load goes in, and out into the sink: everything but `ingest` and the checks."""
    port = free_port()
    sink = Sink(bench.scratch, bench.program, port, load.messages * load.recipients)
    server = bench.start(system, port)
    cpu, syncs = server.cpu_seconds(), server.syncs()
    sent = load.run(bench.program, server.port, patience=600)
    memory = server.memory_bytes()
    server.wait_until_delivered(sent["recipients"], patience=600)
    memory = max(memory, server.memory_bytes())
    cpu = server.cpu_seconds() - cpu
    syncs = None if syncs is None else server.syncs() - syncs
    extra = accepted_to_delivered(server) if scenario == "idle_latency" and system == "posthaste" else {}
    server.stop()
    got = sink.finish()
    refused = sum(sent["refused"].values()) + sent["in_doubt"] + sent["unfinished"]
    if refused or got["corrupted"] or got["unstamped"]:
        raise Failed(f"{system}, {scenario}: wrong results\nsent {sent}\nreceived {got}")
    seconds = got["last_received"] - sent["started"]
    return result(bench, system, scenario, sent, seconds, cpu, memory) | {
        "syncs": syncs,
        "connections": got["connections_opened"] - PROBES,
        "latency_ms": got["latency_ms"],
        "lost": got["lost"],
        "doubled": got["doubled"],
        "instruments_cpu_ms_per_message": round((sent["cpu_seconds"] + got["cpu_seconds"]) * 1000 / sent["messages"], 4),
    } | extra


def result(bench, system, scenario, sent, seconds, cpu, memory):
    return {
        "system": system,
        "scenario": scenario,
        "run": bench.run,
        "messages": sent["messages"],
        "recipients": sent["recipients"],
        "seconds": round(seconds, 3),
        "messages_per_second": round(sent["messages"] / seconds, 1),
        "recipients_per_second": round(sent["recipients"] / seconds, 1),
        "cpu_ms_per_message": round(cpu * 1000 / sent["messages"], 4),
        "rss_bytes": memory,
    }


def one_site(bench, system):
    return through(bench, system, "one_site", Load(bench.amount("one_site", system)))


def one_site_chunking(bench, system):
    """Each message in one flight with its commands (BDAT), the next behind it without waiting for a reply: what a
    back end that has much to say would do, and the most that goes through."""
    load = Load(bench.amount("one_site_chunking", system), pipelining="stream", chunking=True)
    return through(bench, system, "one_site_chunking", load)


def thousand_sites(bench, system):
    return through(bench, system, "thousand_sites", Load(bench.amount("thousand_sites", system), domains=DOMAINS))


def bulk(bench, system):
    return through(bench, system, "bulk", Load(bench.amount("bulk", system), recipients=100))


def idle_latency(bench, system):
    """One message at a time on one connection, at a pace at which each is long gone when the next comes."""
    messages = IDLE_RATE * (2 if bench.quick else IDLE_SECONDS)
    return through(bench, system, "idle_latency", Load(messages, connections=1, rate=IDLE_RATE))


def half_load_latency(bench, system):
    if system not in bench.top:
        bench.top[system] = one_site(bench, system)["messages_per_second"]
    rate = bench.top[system] / 2
    messages = int(rate * (2 if bench.quick else HALF_LOAD_SECONDS))
    return through(bench, system, "half_load_latency", Load(messages, rate=rate))


def ingest(bench, system):
    """Destinations suspended (posthaste) or every message put on hold (Postfix): accepting and keeping alone."""
    return kept(bench, system, "ingest", Load(bench.amount("ingest", system)))


def ingest_in_use(bench, system):
    """The same on a server that has taken as much before, which has left its queue."""
    return kept(bench, system, "ingest_in_use", Load(bench.amount("ingest_in_use", system)), in_use=True)


def ingest_chunking(bench, system):
    load = Load(bench.amount("ingest_chunking", system), pipelining="stream", chunking=True)
    return kept(bench, system, "ingest_chunking", load)


def ingest_hundreds(bench, system):
    """Hundreds of injectors, each with one message at a time."""
    return kept(bench, system, "ingest_hundreds", Load(bench.amount("ingest_hundreds", system), connections=HUNDREDS))


def kept(bench, system, scenario, load, in_use=False):
    server = bench.start(system, free_port(), suspended=True, clients=load.connections)
    if in_use:
        load.run(bench.program, server.port, patience=600)
        server.empty()
    cpu, syncs = server.cpu_seconds(), server.syncs()
    sent = load.run(bench.program, server.port, patience=600)
    cpu = server.cpu_seconds() - cpu
    syncs = None if syncs is None else server.syncs() - syncs
    found = server.kept(sent["recipients"])
    memory = server.memory_bytes()
    server.stop()
    return result(bench, system, scenario, sent, sent["seconds"], cpu, memory) | {
        "syncs": syncs,
        "connections": 0,
        "latency_ms": sent["latency_ms"],
        "lost": max(0, sent["recipients"] - found),
        "doubled": max(0, found - sent["recipients"]),
    }


def one_site_smtp_source(bench, system):
    """The check: Postfix's own source and sink instead of ours. They tell neither ids nor times."""
    port = free_port()
    messages = bench.amount("one_site_smtp_source", system)
    sink = SmtpSink(bench.scratch, port)
    server = bench.start(system, port)
    cpu, syncs = server.cpu_seconds(), server.syncs()
    start = time.monotonic()
    smtp_source(bench.scratch, server.port, messages, patience=600)
    memory = server.memory_bytes()
    server.wait_until_delivered(messages, patience=600)
    seconds = time.monotonic() - start
    cpu = server.cpu_seconds() - cpu
    syncs = None if syncs is None else server.syncs() - syncs
    server.stop()
    sink.finish()
    sent = {"messages": messages, "recipients": messages}
    row = result(bench, system, "one_site_smtp_source", sent, seconds, cpu, memory)
    return row | {"syncs": syncs, "connections": None, "latency_ms": None, "lost": None, "doubled": None}


def accepted_to_delivered(server):
    """From the event log, which has it to the microsecond."""
    times = []
    with open(os.path.join(server.instance.data, "events.jsonl"), encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if event["event"] == "delivered":
                times.append(event["latency_ms"])
    return {"accepted_to_delivered_ms": {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}}


def by_hand(bench):
    """What idle_latency is held against: the exchange without a server between (generator straight into the sink, on
    one kept connection, at the same pace) and one message's sync."""
    messages = IDLE_RATE * (2 if bench.quick else IDLE_SECONDS)
    port = free_port()
    sink = Sink(bench.scratch, bench.program, port, messages)
    Load(messages, connections=1, rate=IDLE_RATE).run(bench.program, port, patience=120)
    exchange = sink.finish()["latency_ms"]
    sync = sync_ms(bench.scratch, messages, 1 / IDLE_RATE)
    return dict.fromkeys(KEYS) | {
        "system": "by_hand",
        "scenario": "idle_latency",
        "run": bench.run,
        "messages": messages,
        "exchange_ms": {key: exchange[key] for key in ("p50", "p99")},
        "sync_ms": sync,
        "latency_ms": {key: exchange[key] + sync[key] for key in ("p50", "p99")},
    }


# A million recipients, in both shapes that a queue has: many small messages, and few with many recipients.
MILLION = {
    "queued_million_messages": {"messages": 1_000_000, "recipients": 1, "bytes": 1024},
    "queued_million_bulk": {"messages": 10_000, "recipients": 100, "bytes": BODY_BYTES},
}


def queued_million(bench, scenario):
    """Memory with a million recipients queued over 1,000 sites, the time from start to the first delivery with them in
    the queue, and whether every one of them then arrives exactly once."""
    shape = MILLION[scenario]
    messages = shape["messages"] // (10 if bench.quick else 1)
    port = free_port()
    load = Load(messages, bytes=shape["bytes"], recipients=shape["recipients"], domains=DOMAINS)
    server = bench.start("posthaste", port, suspended=True)
    sent = load.run(bench.program, server.port, patience=900)
    memory, cpu, syncs = server.memory_bytes(), server.cpu_seconds(), server.syncs()
    server.stop(keep=True)
    sink = Sink(bench.scratch, bench.program, port, messages * shape["recipients"])
    began = time.time()
    server.restart(limits(suspended=False))
    server.wait_until_delivered(sent["recipients"], patience=900)
    memory_after = server.memory_bytes()
    cpu, syncs = cpu + server.cpu_seconds(), syncs + server.syncs()
    server.stop()
    got = sink.finish()
    if got["corrupted"] or got["unstamped"]:
        raise Failed(f"posthaste, {scenario}: wrong results\nsent {sent}\nreceived {got}")
    row = result(bench, "posthaste", scenario, sent, got["last_received"] - began, cpu, memory)
    return row | {
        "queued_per_second": sent["recipients_per_second"],
        "rss_bytes_after_delivery": memory_after,
        "first_delivery_seconds": round(got["first_received"] - began, 3),
        "syncs": syncs,
        "connections": got["connections_opened"] - PROBES,
        "latency_ms": None,
        "lost": got["lost"],
        "doubled": got["doubled"],
    }


SCENARIOS = {
    "one_site": one_site,
    "one_site_chunking": one_site_chunking,
    "thousand_sites": thousand_sites,
    "ingest": ingest,
    "ingest_in_use": ingest_in_use,
    "ingest_chunking": ingest_chunking,
    "ingest_hundreds": ingest_hundreds,
    "bulk": bulk,
    "idle_latency": idle_latency,
    "half_load_latency": half_load_latency,
    "one_site_smtp_source": one_site_smtp_source,
}
