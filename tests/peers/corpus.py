"""The test messages, and the comparison of what went in with what came out."""

import os
import re
import time

from .scratch import Unavailable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIRECTORY = os.path.join(ROOT, "..", "shared", "corpus")
# One field with its continuation lines.
FIELD = re.compile(rb"([!-9;-~]+):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def load():
    """Name to content, sorted: every line end, however written, is CRLF, and there is one at the end, as SMTP has it."""
    if not os.path.isdir(DIRECTORY):
        raise Unavailable("the test messages are not here (../shared/corpus beside the repository)")
    messages = {}
    for name in sorted(os.listdir(DIRECTORY)):
        if name.endswith(".eml"):
            with open(os.path.join(DIRECTORY, name), "rb") as file:
                content = re.sub(rb"\r\n|\r|\n", b"\r\n", file.read())
            messages[name] = content if content.endswith(b"\r\n") else content + b"\r\n"
    return messages


def without_trace(content, *names):
    """The content less the fields on its top that servers on the way added, in this order. None: they are not there."""
    for name in names:
        field = FIELD.match(content)
        if not field or field.group(1).lower() != name.lower().encode():
            return None
        content = content[field.end() :]
    return content


def without_added(content, host):
    """The content less the Date of now and the Message-ID that HOST put below its header section, in either order."""
    days = {time.strftime("0?%-d %b %Y", time.gmtime(time.time() - ago)) for ago in (0, 3600)}
    date = rf"Date: \w+, (?:{'|'.join(sorted(days))}) [^\r\n]*"
    identity = rf"Message-I[dD]: <[^\r\n]*@{re.escape(host)}>"
    return re.sub(rf"(?:(?:{date}|{identity})\r\n)+(?=\r\n|\Z)".encode(), b"", content, count=1)


def first_difference(wanted, got):
    """For the report of a failure."""
    if got is None:
        return "the trace fields on top are not as expected"
    at = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b), min(len(wanted), len(got)))
    show = lambda content: repr(content[max(0, at - 20) : at + 20])
    return f"{len(wanted)} and {len(got)} octets, first difference at {at}: {show(wanted)} became {show(got)}"
