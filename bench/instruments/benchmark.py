"""A benchmark of our own program as a command: options, alternating runs, tables, files, exit code.

Exit code 0 however slow; 1 when mail was lost, doubled or changed, or when something did not run at all.
"""

import argparse
import sys

from peers import posthaste
from peers.scratch import Failed, Scratch

from . import results, usage
from .nameserver import Nameserver

RUNS = 3


class Benchmark:
    """`command` is how it is called, from the repository's root. `scenarios`: by name. `measure(bench, scenario)` gives the
    object of one run, `table(results)` the lines of the table, `targets(results)` what they are held against."""

    def __init__(self, command, description, scenarios, measure, table, targets):
        self.command, self.description, self.scenarios = command, description, scenarios
        self.measure, self.table, self.targets = measure, table, targets
        self.scratch = self.program = self.nameserver = None
        self.run, self.quick = 0, False

    def main(self):
        try:
            sys.exit(self._main())
        except Failed as failure:
            sys.exit(f"failed: {failure}")

    def _main(self):
        options = self._arguments()
        self.quick = options.quick
        with Scratch(self.command.split("/")[-2]) as self.scratch:
            self.program, self.nameserver = posthaste.binary(), Nameserver()
            figures = results.Results(list(self._rows(options)))
        lines = results.heading(figures, usage.hardware(), self.quick) + self.table(figures)
        section = "\n".join(lines + results.target_table(self.targets(figures)))
        print(f"\n{section}")
        if options.json:
            results.write_json(options.json, figures.rows)
        if not (options.quick or options.only or options.no_write):
            results.write(self.command, section)
        for row in figures.wrong():
            print(f"WRONG: {row['scenario']} run {row['run']}: {row['lost']} lost, {row['doubled']} doubled")
        return 1 if figures.wrong() else 0

    def _rows(self, options):
        """Scenario by scenario within a run, so that what changes on the machine hits all."""
        for self.run in range(1, (options.runs or (1 if options.quick else RUNS)) + 1):
            for name in options.only or self.scenarios:
                row = self.measure(self, self.scenarios[name])
                print(f"{name:<24}{self.run:>2} {row['messages_per_second']:>12,.2f} msg/s", flush=True)
                yield {"system": "posthaste", "scenario": name, "run": self.run} | row

    def _arguments(self):
        parser = argparse.ArgumentParser(prog=self.command, description=self.description)
        names = ", ".join(self.scenarios)
        parser.add_argument("--quick", action="store_true", help="one short run each; does not touch docs/performance.md")
        parser.add_argument("--runs", type=int, help=f"runs of each scenario ({RUNS}; 1 with --quick)")
        parser.add_argument("--json", metavar="FILE", help="write all runs there, a list of objects")
        parser.add_argument("--only", metavar="SCENARIO", action="append", choices=self.scenarios, help=f"any of: {names}")
        parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
        return parser.parse_args()
