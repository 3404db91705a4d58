"""Medians, ratios, and how they stand against the targets; on the terminal and in docs/performance.md."""

import os
import statistics

BEGIN, END = "<!-- results of bench/compare/run: begin -->", "<!-- end -->"
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "performance.md")
MIB = 1 << 20


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


def divided(one, other):
    return one / other if one is not None and other else None


def targets(results):
    """(what, must reach, is, met): rows whose figures were not measured are left out."""
    ours = lambda *path: results.median("posthaste", *path)
    theirs = lambda *path: results.median("postfix", *path)
    hand = lambda *path: results.median("by_hand", "idle_latency", *path)
    speed = "messages_per_second"
    rows = [
        _at_least("one site, times Postfix", divided(ours("one_site", speed), theirs("one_site", speed)), 12),
        _at_least("1,000 sites, % of one site", _percent(ours("thousand_sites", speed), ours("one_site", speed)), 80),
        _at_most("CPU per message, one part in … of Postfix's", 15,
                 divided(theirs("one_site", "cpu_ms_per_message"), ours("one_site", "cpu_ms_per_message"))),
        _at_least("ingest alone, times Postfix", divided(ours("ingest", speed), theirs("ingest", speed)), 12),
        _at_least("ingest alone, pipelined stream, times Postfix",
                  divided(ours("ingest_stream", speed), theirs("ingest_stream", speed)), 12),
        _idle("p50", 1.5, ours, hand),
        _idle("p99", 3, ours, hand),
        _limit("accepted → delivered at half load, p99 ms", ours("half_load_latency", "latency_ms", "p99"), 30),
        _at_least("100 recipients each, recipients/s", ours("bulk", "recipients_per_second"), 30_000),
        _connections(ours),
        _limit("memory, 1,000,000 messages queued, MiB", divided(ours("queued_million_messages", "rss_bytes"), MIB), 400),
        _limit("memory, 10,000 × 100 recipients queued, MiB", divided(ours("queued_million_bulk", "rss_bytes"), MIB), 400),
        _limit("start to first delivery with them, s", ours("queued_million_messages", "first_delivery_seconds"), 3),
        _limit("syncs per message, one site", divided(ours("one_site", "syncs"), ours("one_site", "messages")), 0.05),
        _limit("syncs per message, one site, pipelined stream",
               divided(ours("one_site_stream", "syncs"), ours("one_site_stream", "messages")), 0.05),
    ]
    return [row for row in rows if row]


def _at_least(what, value, bound):
    return value is not None and (what, f"≥ {bound:,}", _number(value), value >= bound)


def _limit(what, value, bound):
    return value is not None and (what, f"≤ {bound:,}", _number(value), value <= bound)


def _at_most(what, bound, value):
    return value is not None and (what, f"1/{bound}", f"1/{value:.1f}", value >= bound)


def _percent(one, other):
    ratio = divided(one, other)
    return None if ratio is None else ratio * 100


def _idle(key, bound, ours, hand):
    value = divided(ours("idle_latency", "accepted_to_delivered_ms", key), hand("latency_ms", key))
    return _limit(f"idle, accepted → delivered, {key}, times sync + exchange by hand", value, bound)


def _connections(ours):
    opened, messages = ours("one_site", "connections"), ours("one_site", "messages")
    # One site's limit is 20 connections at once, of 100 messages each unless the site lets them live on.
    return opened is not None and _limit("connections per 10,000 messages, one site", opened / max(1, messages / 10_000), 20)


def _number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def markdown(results, machine, quick):
    """The result section: what docs/performance.md and the terminal show."""
    note = " **A `--quick` run: one short run each, good for nothing but seeing that it works.**" if quick else ""
    lines = [f"Machine: {machine}. Medians of {results.runs()} alternating runs.{note}", ""]
    lines += ["| scenario | system | messages/s | recipients/s | CPU ms/message | memory MiB | syncs/message | connections | "
              "latency p50 / p99 ms | lost | doubled |",
              "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for scenario in results.scenarios():
        lines += [_row(results, scenario, system) for system in results.systems(scenario)]
    rows = targets(results)
    if rows:
        lines += ["", "| target | must reach | measured | |", "|---|---:|---:|---|"]
        lines += [f"| {what} | {bound} | {value} | {'met' if met else '**missed**'} |" for what, bound, value, met in rows]
    return "\n".join(lines)


def _row(results, scenario, system):
    get = lambda *path: results.median(system, scenario, *path)
    show = lambda value, form="{:,.0f}": "–" if value is None else form.format(value)
    latency = [show(get("latency_ms", key), "{:.2f}") for key in ("p50", "p99")]
    cells = [
        scenario,
        system,
        show(get("messages_per_second")),
        show(get("recipients_per_second")),
        show(get("cpu_ms_per_message"), "{:.3f}"),
        show(divided(get("rss_bytes"), MIB)),
        show(divided(get("syncs"), get("messages")), "{:.4f}"),
        show(get("connections")),
        " / ".join(latency),
        show(get("lost")),
        show(get("doubled")),
    ]
    return "| " + " | ".join(cells) + " |"


def write(section):
    """Replaces what stands between the markers; the text around them is written by hand."""
    with open(FILE, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{FILE}: the markers for the results are gone")
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{section}\n{END}{after}")
