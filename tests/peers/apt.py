"""apt, asked about the machine's own packages, or about those of a later Debian release, which it need not know.

A later release's packages come with all that they need, down to the C library: nothing is said of what the machine has. They
are signed as the machine's are, and come from the same mirror; only the lists are kept apart, and nothing is installed.
"""

import contextlib
import fcntl
import functools
import os
import re
import subprocess
import tempfile

from .corpus import ROOT
from .scratch import Unavailable

CACHE = os.path.join(ROOT, "target", "peers")
NAMES = {12: "bookworm", 13: "trixie"}
ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
UPDATE_SECONDS = 180
# `Inst NAME [OLD] (VERSION ORIGIN [ARCHITECTURE])`
STEP = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.M)
SETTINGS = """\
Dir::State "{home}";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Etc::sourcelist "{home}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
"""


class Apt:
    """`shelf` is where its packages are kept."""

    def __init__(self, name="", settings=None):
        self.shelf = os.path.join(CACHE, f"debian-{name}" if name else "debian")
        self.environment = {**ENVIRONMENT, "APT_CONFIG": settings} if settings else ENVIRONMENT
        lists = os.path.join(os.path.dirname(settings), "lists") if settings else "/var/lib/apt/lists"
        self.watched = [lists] if settings else [lists, "/var/lib/dpkg/status"]

    def state(self):
        """Something that changes whenever packages or their lists do."""
        return [os.stat(path).st_mtime_ns for path in self.watched]

    def update(self):
        """Renews the lists. Peers start side by side, and apt lets only one of them: the others wait, and have what it got."""
        before = self.state()
        with locked(self.shelf):
            if self.state() == before:
                self.call(["apt-get", "-q", "update"], UPDATE_SECONDS)

    def plan(self, names):
        """What would be installed: names and versions."""
        return STEP.findall(self.call(["apt-get", "-q", "-s", "--no-install-recommends", "install", *names], 60))

    def version(self, name):
        policy = re.search(r"Candidate: (\S+)", self.call(["apt-cache", "policy", name], 60))
        return policy.group(1) if policy else ""

    def call(self, command, patience, cwd=None):
        return call(command, patience, cwd=cwd, env=self.environment)


def at_least(release):
    """The machine's own apt when the machine is that Debian (a number) or a later one, else one that asks for that release."""
    with open("/etc/os-release", encoding="utf-8") as file:
        here = re.search(r'^VERSION_ID="?(\d+)', file.read(), re.M)
    if not release or (here and int(here.group(1)) >= release):
        return Apt()
    return _foreign(NAMES[release])


@functools.cache
def _foreign(name):
    home = os.path.join(CACHE, f"apt-{name}")
    for directory in "lists/partial", "cache/archives/partial":
        os.makedirs(os.path.join(home, directory), exist_ok=True)
    # Also known where no lists have been fetched yet.
    addresses = call(["apt-get", "--print-uris", "update"], 60)
    mirror = re.search(rf"'([^']+)/dists/(?:{'|'.join(NAMES.values())}|(?:old)?stable)/InRelease'", addresses)
    if not mirror:
        raise Unavailable(f"packages of Debian's {name}: this machine's apt names no Debian mirror")
    files = {
        "sources.list": f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror.group(1)} {name} main\n",
        "status": "",
        "apt.conf": SETTINGS.format(home=home),
    }
    for file, text in files.items():
        # At once, as other peers may be reading it.
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=home, delete=False) as written:
            written.write(text)
        os.replace(written.name, os.path.join(home, file))
    return Apt(name, os.path.join(home, "apt.conf"))


@contextlib.contextmanager
def locked(shelf):
    """Nobody else's for the time being: peers start side by side, and the others wait."""
    os.makedirs(os.path.dirname(shelf), exist_ok=True)
    with open(f"{shelf}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def call(command, patience, stdin=subprocess.DEVNULL, cwd=None, env=ENVIRONMENT):
    """Runs a command to its end; returns what it says."""
    try:
        done = subprocess.run(command, env=env, stdin=stdin, cwd=cwd, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)}: not done after {patience} s") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-1000:]}")
    return done.stdout
