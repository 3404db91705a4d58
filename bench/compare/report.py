"""How the systems stand against each other and against the targets, as a table."""

from instruments.results import at_least, at_most, divided, heading, show, target_table

MIB = 1 << 20


def targets(results):
    """(what, must reach, is, met): rows whose figures were not measured are left out."""
    ours = lambda *path: results.median("posthaste", *path)
    theirs = lambda *path: results.median("postfix", *path)
    hand = lambda *path: results.median("by_hand", "idle_latency", *path)
    speed = "messages_per_second"
    rows = [
        at_least("one site, times Postfix", divided(ours("one_site", speed), theirs("one_site", speed)), 12),
        at_least("1,000 sites, % of one site", _percent(ours("thousand_sites", speed), ours("one_site", speed)), 80),
        _one_part("CPU per message, one part in … of Postfix's", 15,
                 divided(theirs("one_site", "cpu_ms_per_message"), ours("one_site", "cpu_ms_per_message"))),
        *(_instruments(ours, scenario) for scenario in ("one_site", "one_site_chunking")),
        *(at_least(f"{scenario}, times Postfix", divided(ours(scenario, speed), theirs(scenario, speed)), 12)
          for scenario in ("ingest", "ingest_in_use", "ingest_chunking", "ingest_hundreds")),
        _idle("p50", 1.5, ours, hand),
        _idle("p99", 3, ours, hand),
        at_most("accepted → delivered at half load, p99 ms", ours("half_load_latency", "latency_ms", "p99"), 30),
        at_least("100 recipients each, recipients/s", ours("bulk", "recipients_per_second"), 30_000),
        _connections(ours),
        at_most("memory, 1,000,000 messages queued, MiB", divided(ours("queued_million_messages", "rss_bytes"), MIB), 400),
        at_most("memory, 10,000 × 100 recipients queued, MiB", divided(ours("queued_million_bulk", "rss_bytes"), MIB), 400),
        at_most("start to first delivery with them, s", ours("queued_million_messages", "first_delivery_seconds"), 3),
        *(at_most(f"syncs per message, {scenario}", divided(ours(scenario, "syncs"), ours(scenario, "messages")), 0.05)
          for scenario in ("one_site", "one_site_chunking")),
    ]
    return rows


def _instruments(ours, scenario):
    part = divided(ours(scenario, "instruments_cpu_ms_per_message"), ours(scenario, "cpu_ms_per_message"))
    return at_most(f"generator and sink, CPU as a part of the engine's, {scenario}", part, 0.5)


def _one_part(what, bound, value):
    return value is not None and (what, f"1/{bound}", f"1/{value:.1f}", value >= bound)


def _percent(one, other):
    ratio = divided(one, other)
    return None if ratio is None else ratio * 100


def _idle(key, bound, ours, hand):
    value = divided(ours("idle_latency", "accepted_to_delivered_ms", key), hand("latency_ms", key))
    return at_most(f"idle, accepted → delivered, {key}, times sync + exchange by hand", value, bound)


def _connections(ours):
    opened, messages = ours("one_site", "connections"), ours("one_site", "messages")
    # One site's limit is 20 connections at once, of 100 messages each unless the site lets them live on.
    return opened is not None and at_most("connections per 10,000 messages, one site", opened / max(1, messages / 10_000), 20)


def markdown(results, machine, quick):
    """The result section: what docs/performance.md and the terminal show."""
    lines = heading(results, machine, quick) + [
        "| scenario | system | messages/s | recipients/s | CPU ms/message | memory MiB | syncs/message | connections | "
        "latency p50 / p99 ms | lost | doubled |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for scenario in results.scenarios():
        lines += [_row(results, scenario, system) for system in results.systems(scenario)]
    return "\n".join(lines + target_table(targets(results)))


def _row(results, scenario, system):
    get = lambda *path: results.median(system, scenario, *path)
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
