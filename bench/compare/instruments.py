"""The load generator and the sink, the same ones for every system; and Postfix's own pair, as a check on ours."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

from peers import postfix
from peers.scratch import Failed, end, listens, tail, wait_for

CONNECTIONS = 20
BODY_BYTES = 10 * 1024


@dataclass
class Load:
    """One run of `posthaste load`."""

    messages: int
    connections: int = CONNECTIONS
    bytes: int = BODY_BYTES
    domains: int = 1
    recipients: int = 1
    rate: float | None = None
    threads: int = 1
    pipelining: str = "transaction"

    def run(self, program, port, patience):
        command = [program, "load", "--json", "--to", f"127.0.0.1:{port}", "--messages", str(self.messages)]
        command += ["--connections", str(self.connections), "--size", f"{self.bytes // 1024}KiB"]
        # DATA, also where CHUNKING is announced: with a body in the same flight as MAIL and RCPT, Postfix's final reply
        # waits for the acknowledgement of its earlier ones (Nagle against delayed ACK, 40 ms), which would halve it.
        command += ["--recipients", str(self.recipients), "--threads", str(self.threads), "--no-chunking"]
        command += ["--domains", str(self.domains), "--domain-pattern", "d%N.test", "--same-domain"]
        command += ["--pipelining", self.pipelining]
        if self.rate:
            command += ["--rate", f"{self.rate:.3f}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"the load was not taken in {patience:.0f} s") from None
        if done.returncode:
            raise Failed(f"posthaste load ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)


class Sink:
    """`posthaste sink`: proves by number what came, and says when, how late, and over how many connections."""

    def __init__(self, scratch, program, port, expect):
        """`expect`: so many recipients, numbered from 0, should come."""
        self.output = tempfile.TemporaryFile(dir=scratch.directory)
        command = [program, "sink", "--json", "--bind", f"127.0.0.1:{port}", "--verify", "--expect", str(expect)]
        self.process = scratch.start(command, f"sink-{port}", stdout=self.output)
        wait_for("posthaste sink", lambda: listens(port), self.process)

    def finish(self):
        """Stops it; its report."""
        code = end(self.process)
        self.output.seek(0)
        text = self.output.read().decode()
        self.output.close()
        if code or not text:
            raise Failed(f"posthaste sink ended with {code}: {tail(self.process.log)}")
        return json.loads(text)


class SmtpSink:
    """Postfix's smtp-sink."""

    def __init__(self, scratch, port):
        command = ["/usr/sbin/smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1000"]
        self.process = postfix.view(scratch, f"smtp-sink-{port}").start(command)
        wait_for("smtp-sink", lambda: listens(port), self.process)

    def finish(self):
        end(self.process)


def smtp_source(scratch, port, messages, patience):
    """Postfix's smtp-source on kept connections; returns the seconds that it took."""
    command = ["/usr/sbin/smtp-source", "-d", "-s", str(CONNECTIONS), "-l", str(BODY_BYTES), "-m", str(messages)]
    command += ["-f", "load@posthaste.test", "-t", "u@d0.test", f"127.0.0.1:{port}"]
    view = postfix.view(scratch, f"smtp-source-{port}")
    start = time.monotonic()
    view.run(command, patience)
    return time.monotonic() - start


def percentile(values, quantile):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None


def sync_ms(scratch, times, pause):
    """What one message's sync costs here: 10 KiB over preallocated blocks, then fdatasync, at the pace of the load."""
    path = scratch.path("sync")
    block = os.urandom(BODY_BYTES + 2048)
    with open(path, "wb") as file:
        file.write(bytes(len(block) * 64))
        os.fsync(file.fileno())
    durations = []
    descriptor = os.open(path, os.O_WRONLY)
    try:
        for n in range(times):
            time.sleep(pause)
            start = time.perf_counter()
            os.pwrite(descriptor, block, (n % 64) * len(block))
            os.fdatasync(descriptor)
            durations.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(descriptor)
        os.unlink(path)
    return {"p50": percentile(durations, 0.5), "p99": percentile(durations, 0.99)}
