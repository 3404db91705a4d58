"""posthaste against a tuned Postfix: same machine, same generator, same sink, alternating runs, both synced to disk.

Exit code 0 however slow; 1 when mail was lost, doubled or changed, or when something did not run at all.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import report
import scenarios
from instruments import results, usage
from instruments.nameserver import Nameserver
from peers import posthaste
from peers.scratch import Failed, Scratch, Unavailable

RUNS = 5
SKIPPED = 77
CHOICES = [*scenarios.SCENARIOS, *scenarios.MILLION, "queued_million"]


def arguments():
    parser = argparse.ArgumentParser(prog="bench/compare/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run each; does not touch docs/performance.md")
    parser.add_argument("--runs", type=int, help=f"runs of each scenario and system ({RUNS}; 1 with --quick)")
    parser.add_argument("--json", metavar="FILE", help="write all runs there, a list of objects")
    parser.add_argument("--only", metavar="SCENARIO", action="append", choices=CHOICES, help=f"any of: {', '.join(CHOICES)}")
    parser.add_argument("--no-postfix", action="store_true", help="posthaste alone")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    return parser.parse_args()


def measure(bench, options):
    """Yields one object a run. System by system within a run, so that what changes on the machine hits both."""
    wanted = options.only or CHOICES
    systems = ["posthaste"] if options.no_postfix else ["posthaste", "postfix"]
    runs = options.runs or (1 if options.quick else RUNS)
    for scenario, function in scenarios.SCENARIOS.items():
        if scenario not in wanted:
            continue
        for bench.run in range(1, runs + 1):
            if scenario == "idle_latency":
                yield scenarios.by_hand(bench)
            for system in systems:
                yield function(bench, system)
    bench.run = 1  # minutes each, and steady: once is enough
    for scenario in scenarios.MILLION:
        if scenario in wanted or "queued_million" in wanted:
            yield scenarios.queued_million(bench, scenario)


def note_top(bench, rows):
    """The rate of half_load_latency is half of the median of one_site."""
    for system in "posthaste", "postfix":
        top = results.Results(rows).median(system, "one_site", "messages_per_second")
        if top:
            bench.top[system] = top


def line(row):
    speed = f"{row['messages_per_second']:>10,.0f} msg/s" if row["messages_per_second"] else " " * 16
    latency = row["latency_ms"] and f"   p50 {row['latency_ms']['p50']:.2f} p99 {row['latency_ms']['p99']:.2f} ms"
    return f"{row['scenario']:<24}{row['run']:>2}  {row['system']:<10}{speed}{latency or ''}"


def main():
    options = arguments()
    rows = []
    with Scratch("compare") as scratch:
        bench = scenarios.Bench(scratch, posthaste.binary(), Nameserver(), options.quick, top={})
        for row in measure(bench, options):
            rows.append(row)
            note_top(bench, rows)
            print(line(row), flush=True)
    section = report.markdown(results.Results(rows), usage.hardware(), options.quick)
    print(f"\n{section}")
    if options.json:
        results.write_json(options.json, rows)
    if not (options.quick or options.only or options.no_postfix or options.no_write):
        results.write("bench/compare/run", section)
    wrong = results.Results(rows).wrong()
    for row in wrong:
        print(f"WRONG: {row['system']} {row['scenario']} run {row['run']}: {row['lost']} lost, {row['doubled']} doubled")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unavailable as reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    except Failed as failure:
        sys.exit(f"failed: {failure}")
