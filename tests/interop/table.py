"""The results as a table: on the terminal, and in docs/interop.md."""

import os

import traffic
from peers.corpus import ROOT

FILE = os.path.join(ROOT, "docs", "interop.md")
COLUMNS = "peer version direction plain TLS AUTH corpus SMTPUTF8 25_MiB".split()
SHOWN = 3  # changes of a peer; the others are the same
FEATURES = (traffic.INTERNATIONAL, traffic.LARGE)
HEAD = """\
# Interoperation

Real mail between posthaste and other people's mail programs, on loopback: what `tests/interop/run` found when it last ran.
Written by that command; do not edit.

*to*: client → posthaste → peer. *from*: client → peer → posthaste. *through*: client → posthaste → peer → posthaste.
*ATRN*: client → posthaste → peer, when the peer comes for it (RFC 2645). Behind the last of them stands a sink that keeps
every octet. *plain*, *TLS* (by STARTTLS, or from the first octet) and *AUTH* (with TLS): everything was carried that way;
posthaste verifies the peer's certificate. *corpus*: so many of the {total} test messages arrived, over each of these ways,
octet for octet as they were sent, less the trace fields that servers add on top. Where a peer changes a message also without
posthaste (the test looks: client → peer → sink), that message has to arrive exactly as the peer alone makes it, and counts;
below the table stands what it does. *SMTPUTF8*: an address beyond ASCII on both sides of the envelope, and in the header.
*25 MiB*: a body of that size. A dash: not so; the reason is below.

"""


def cells(row):
    results = row.results
    arrived = min(result.exact + len(result.own) for result in results.values())
    total = arrived + max(len(result.wrong) for result in results.values())
    return [
        row.peer.TITLE,
        row.version,
        f"{row.direction} ({row.detail})" if row.detail else row.direction,
        "yes" if "plain" in results else "-",
        ", ".join(mode.removesuffix(" TLS") for mode in results if "TLS" in mode) or "-",
        "yes" if "AUTH" in results or row.peer.LOGS_IN_ALWAYS else "-",
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
    own = dict(sorted(change for row in rows for result in row.results.values() for change in result.own))
    points = [f"From Debian {peer.RELEASE}, with its own C library, also on Debian 12."] if peer.RELEASE else []
    points += [f"No {column}: {reason}." for column, reason in peer.LACKS.items()]
    points += [peer.CHANGES] if peer.CHANGES else []
    points += [f"Changed by {title} itself: `{name}` ({change})." for name, change in list(own.items())[:SHOWN]]
    if len(own) > SHOWN:
        points.append(f"In the same way: {', '.join(f'`{name}`' for name in list(own)[SHOWN:])}.")
    points += peer.REMARKS
    if points:
        yield f"\n## {title}\n" + "".join(f"- {point}\n" for point in points)
