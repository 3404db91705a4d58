"""The results as a table: on the terminal, and in docs/interop.md."""

import os

import traffic
from peers.corpus import ROOT

FILE = os.path.join(ROOT, "docs", "interop.md")
COLUMNS = "peer version direction plain TLS AUTH corpus SMTPUTF8 25_MiB".split()
MODES = ("plain", "TLS", "AUTH")
FEATURES = (traffic.INTERNATIONAL, traffic.LARGE)
HEAD = """\
# Interoperation

Real mail between posthaste and other people's mail programs, on loopback: what `tests/interop/run` found when it last ran.
Written by that command; do not edit.

*to*: client → posthaste → peer. *from*: client → peer → posthaste. Behind the last of them stands a sink that keeps every
octet. *plain*, *TLS* and *AUTH* (with TLS): everything was carried that way. *corpus*: so many of the {total} test messages
arrived, over each of these ways, octet for octet as they were sent, less the trace fields that servers add on top. Where a
peer changes a message also without posthaste (the test looks: client → peer → sink), that message has to arrive exactly as
the peer alone makes it, and counts; below the table stands which and why. *SMTPUTF8*: an address beyond ASCII on both sides
of the envelope, and in the header. *25 MiB*: a body of that size. A dash: cannot be; the reason is below.

"""


def cells(row):
    results = row.results
    arrived = min(result.exact + len(result.own) for result in results.values())
    total = arrived + max(len(result.wrong) for result in results.values())
    return [
        row.peer.TITLE,
        row.version,
        f"{row.direction} ({row.detail})" if row.detail else row.direction,
        *("yes" if mode in results else "-" for mode in MODES),
        f"{arrived}/{total}",
        *("yes" if all(result.features.get(f) for result in results.values()) else "-" for f in FEATURES),
    ]


def plain(rows):
    lines = [[name.replace("_", " ") for name in COLUMNS], *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def write(rows):
    titles = [name.replace("_", " ") for name in COLUMNS]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    lines += [f"| {' | '.join('—' if cell == '-' else cell for cell in cells(row))} |" for row in rows]
    text = HEAD.format(total=cells(rows[0])[6].partition("/")[2]) + "\n".join(lines) + "\n"
    peers = {row.peer.TITLE: row.peer for row in rows}
    for title, peer in peers.items():
        text += "".join(remarks(title, peer, [row for row in rows if row.peer is peer]))
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(text)


def remarks(title, peer, rows):
    own = sorted({name for row in rows for result in row.results.values() for name in result.own})
    points = [f"No {column}: {reason}." for column, reason in peer.LACKS.items()]
    if own:
        points.append(f"Changed by {title} itself: {', '.join(f'`{name}`' for name in own)}. {peer.CHANGES}")
    points += peer.REMARKS
    if points:
        yield f"\n## {title}\n" + "".join(f"- {point}\n" for point in points)
