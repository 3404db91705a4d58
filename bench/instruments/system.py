"""A system under test, in a private instance on loopback: started empty, asked what it costs, stopped."""

import shutil
import subprocess
import time

from peers.posthaste import Posthaste
from peers.scratch import Failed, wait_for

from . import usage

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 10
METRICS_SECONDS = 1  # counters of the queue reach the exporter twice a second
SEGMENT_BYTES = 64 << 20  # of the journal
REUSE = 1_000_000  # messages of one connection: as many as there are
ENDS = ("delivered", "bounced", "expired")


class System:
    """`instance` is the server, `root` the process whose tree is the system."""

    def __init__(self, instance):
        self.instance = instance
        instance.start()
        self.root = instance.process.pid
        self.port = instance.port

    def cpu_seconds(self):
        return usage.cpu_seconds(self.root)

    def memory_bytes(self):
        return usage.memory_bytes(self.root)

    def wait_until_delivered(self, recipients, patience):
        """Until so many have left the queue, and nothing is in it."""
        deadline = time.monotonic() + patience
        while left := self.outstanding(recipients):
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: {left} not delivered after {patience:.0f} s")
            time.sleep(POLL_SECONDS)

    def stop(self):
        self.instance.stop()


class PosthasteSystem(System):
    """As it comes, but for the destination's port, the local nameserver, and `limits`: TOML of that table."""

    name = "posthaste"

    def __init__(self, scratch, program, sink_port, nameserver, limits="", name="posthaste"):
        self.settings = (
            f'[dns]\nnameservers = ["127.0.0.1:{nameserver.port}"]\n[delivery]\nport = {sink_port}\n[limits]\n'
        )
        super().__init__(Posthaste(scratch, program, self.settings + limits, name))

    def stop(self, keep=False):
        """What is queued goes, as Postfix's spool does: many runs would fill the disk."""
        super().stop()
        if not keep:
            shutil.rmtree(self.instance.data)

    def restart(self, limits):
        """Once stopped, and kept: the same queue again."""
        self.instance.configuration = self.settings + limits
        super().__init__(self.instance)

    def outstanding(self, recipients):
        """Both are asked: the gauge of the queue may be a moment behind what was just accepted."""
        metrics = self.instance.metrics()
        ended = sum(
            value
            for name, value in metrics.items()
            if name.startswith("posthaste_deliveries_total{") and any(f'"{end}"' in name for end in ENDS)
        )
        return int(max(recipients - ended, metrics.get("posthaste_queue_recipients", 0)))

    def kept(self, recipients):
        """What is queued, once that has caught up with what was accepted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (queued := int(self.instance.metrics().get("posthaste_queue_recipients", 0))) < recipients:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        return queued

    def empty(self):
        """An operator's removal of all that is queued; until the journal holds nothing but its last segment and spares."""
        command = [self.instance.program, "queue", "remove", "--all", "--yes", "--admin", f"127.0.0.1:{self.instance.admin_port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise Failed(f"posthaste queue remove: {done.stderr}")
        wait_for("freeing the journal of an empty queue", lambda: self._journal_bytes() <= SEGMENT_BYTES)

    def _journal_bytes(self):
        """Without its spares."""
        metrics = self.instance.metrics()
        return metrics["posthaste_queue_journal_bytes"] - metrics["posthaste_queue_spare_bytes"]

    def syncs(self):
        time.sleep(METRICS_SECONDS)
        return int(self.instance.metrics().get("posthaste_queue_syncs_total", 0))
