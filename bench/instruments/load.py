"""The load generator, the same one for every system; and Postfix's own, as a check on ours."""

import json
import subprocess
import time
from dataclasses import dataclass

from peers import postfix
from peers.scratch import Failed

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
    chunking: bool = False

    def run(self, program, port, patience):
        command = [program, "load", "--json", "--to", f"127.0.0.1:{port}", "--messages", str(self.messages)]
        command += ["--connections", str(self.connections), "--size", f"{self.bytes // 1024}KiB"]
        command += ["--recipients", str(self.recipients), "--threads", str(self.threads)]
        command += [] if self.chunking else ["--no-chunking"]
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


def smtp_source(scratch, port, messages, patience):
    """Postfix's smtp-source on kept connections; returns the seconds that it took."""
    command = ["/usr/sbin/smtp-source", "-d", "-s", str(CONNECTIONS), "-l", str(BODY_BYTES), "-m", str(messages)]
    command += ["-f", "load@posthaste.test", "-t", "u@d0.test", f"127.0.0.1:{port}"]
    view = postfix.view(scratch, f"smtp-source-{port}")
    start = time.monotonic()
    view.run(command, patience)
    return time.monotonic() - start
