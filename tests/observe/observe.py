"""What operators are given in deploy/, on the real things: a posthaste under traffic, a Prometheus that scrapes it, promtool,
systemd's own checker, Grafana's own types.

    tests/observe/run             all parts
    tests/observe/run PART...     these

Exit code: 0 all is well, 1 something is wrong, 77 nothing is wrong but something cannot be had here.
"""

import argparse
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import alerts
import dashboard
import live
import model
import unit
from peers.scratch import Failed, Scratch, Unavailable

# In this order. Each is called with a scratch directory, and raises what is wrong.
PARTS = {
    "dashboard": dashboard.check,
    "model": model.check,
    "alerts": alerts.check,
    "unit": unit.check_service,
    "container": unit.check_container,
    "live": live.check,
}
SKIPPED = 77


def main():
    parser = argparse.ArgumentParser(prog="tests/observe/run", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("part", nargs="*", help=f"any of: {' '.join(PARTS)}")
    wanted = parser.parse_args().part
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"{' '.join(unknown)}: there are {' '.join(PARTS)}")
    words = [tried(name) for name in wanted or PARTS]
    print(f"observe: {', '.join(f'{words.count(word)} {word}' for word in ('passed', 'failed', 'skipped'))}")
    return 1 if "failed" in words else SKIPPED if "skipped" in words else 0


def tried(name):
    start, word, said = time.monotonic(), "passed", ""
    try:
        with Scratch(f"observe-{name}", in_memory=True) as scratch:
            PARTS[name](scratch)
    except Unavailable as reason:
        word, said = "skipped", f": {reason}"
    except Failed as failure:
        word, said = "failed", ":\n  " + str(failure).replace("\n", "\n  ")
    except Exception:
        word, said = "failed", f":\n{traceback.format_exc()}"
    print(f"{name}: {word} in {time.monotonic() - start:.0f} s{said}", flush=True)
    return word


if __name__ == "__main__":
    sys.exit(main())
