"""The files in deploy/, and complaints about them."""

import os

from peers.corpus import ROOT
from peers.scratch import Failed

DEPLOY = os.path.join(ROOT, "deploy")


def path(*parts):
    return os.path.join(DEPLOY, *parts)


def read(*parts):
    with open(path(*parts), encoding="utf-8") as file:
        return file.read()


def replaced(text, old, new):
    """`text` with all of `old` replaced: of a file that no longer has it, nothing would be known."""
    if old not in text:
        raise Failed(f"{old!r} is expected in a file that does not have it any more")
    return text.replace(old, new)


def complain(wrong):
    """Fails when there is anything among them."""
    if lines := list(wrong):
        raise Failed("\n".join(lines))
