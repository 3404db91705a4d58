"""What the disk costs: one message's sync, by hand."""

import os
import time

from .load import BODY_BYTES
from .results import percentile


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
