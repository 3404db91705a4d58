"""Results: a list of objects, one a run; their medians, how they stand against targets, and where they are written."""

import json
import os
import statistics

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "performance.md")
END = "<!-- end -->"


class Results:
    """All runs, asked by system, scenario and key for their median."""

    def __init__(self, rows):
        self.rows = rows

    def median(self, system, scenario, *path):
        values = []
        for row in self.rows:
            if row["system"] == system and row["scenario"] == scenario:
                value = row
                for key in path:
                    value = value.get(key) if value else None
                if value is not None:
                    values.append(value)
        return statistics.median(values) if values else None

    def scenarios(self):
        return list(dict.fromkeys(row["scenario"] for row in self.rows))

    def systems(self, scenario):
        return list(dict.fromkeys(row["system"] for row in self.rows if row["scenario"] == scenario))

    def runs(self):
        return max(row["run"] for row in self.rows)

    def wrong(self):
        """Runs in which mail was lost or doubled."""
        return [row for row in self.rows if row.get("lost") or row.get("doubled")]


def divided(one, other):
    return one / other if one is not None and other else None


def percentile(values, quantile):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def show(value, form="{:,.0f}"):
    """A cell of a table."""
    return "–" if value is None else form.format(value)


# A target is (what, must reach, is, met), or false where its figures were not measured.
def at_least(what, value, bound):
    return value is not None and (what, f"≥ {bound:,}", number(value), value >= bound)


def at_most(what, value, bound):
    return value is not None and (what, f"≤ {bound:,}", number(value), value <= bound)


def target_table(targets):
    rows = [target for target in targets if target]
    if not rows:
        return []
    lines = ["", "| target | must reach | measured | |", "|---|---:|---:|---|"]
    return lines + [f"| {what} | {bound} | {value} | {'met' if met else '**missed**'} |" for what, bound, value, met in rows]


def heading(results, machine, quick):
    note = " **A `--quick` run: one short run each, good for nothing but seeing that it works.**" if quick else ""
    return [f"Machine: {machine}. Medians of {results.runs()} alternating runs.{note}", ""]


def write(command, section):
    """Replaces what stands between the command's markers in docs/performance.md; the text around is written by hand."""
    begin = f"<!-- results of {command}: begin -->"
    with open(FILE, encoding="utf-8") as file:
        text = file.read()
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise SystemExit(f"{FILE}: the markers for the results of {command} are gone")
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{section}\n{END}{after}")


def write_json(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")
