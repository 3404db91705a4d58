"""Other people's programs: Debian packages, unpacked beside the system, and npm packages.

Debian lets no two mail servers be installed together, and starts each as the machine's own. So nothing is installed: a
package and what it needs beyond what the machine has is unpacked into a directory under target/, which a second run
finds again. `view.View` puts it in its place.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

from .corpus import ROOT
from .scratch import Unavailable

CACHE = os.path.join(ROOT, "target", "peers")
# What changes whenever packages or their lists do.
STATE = ("/var/lib/dpkg/status", "/var/lib/apt/lists")
ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
# `Inst NAME [OLD] (VERSION ORIGIN [ARCHITECTURE])`
STEP = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.M)
# Epoch, Debian's revision, and what Debian took out.
UPSTREAM = re.compile(r"^\d+:|[-~][^-]*$|[+~]dfsg.*$")
UPDATE_SECONDS, FETCH_SECONDS = 180, 300


def unpacked(names):
    """The directory with these Debian packages and what they need, and the version of the first of them.

    No directory: the machine has all of it installed.
    """
    if not shutil.which("apt-get"):
        raise Unavailable(f"{' '.join(names)}: this is no Debian")
    shelf = os.path.join(CACHE, "debian", names[0])
    label = os.path.join(shelf, "label.json")
    state = [list(names), *(os.stat(path).st_mtime_ns for path in STATE)]
    try:
        with open(label, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = {}
    if found.get("state") != state:
        found = _renew(names, shelf, found)
        with open(label, "w", encoding="utf-8") as file:
            json.dump({**found, "state": state}, file)
    return os.path.join(shelf, found["root"]) if found["root"] else None, found["version"]


def _renew(names, shelf, found):
    """Asks apt what is needed, and gets it when that is not what is on the shelf."""
    try:
        return _plan_and_fetch(names, shelf, found)
    except Unavailable:
        # Lists that are missing, or older than what the mirror still has.
        _call(["apt-get", "-q", "update"], UPDATE_SECONDS)
        return _plan_and_fetch(names, shelf, found)


def _plan_and_fetch(names, shelf, found):
    plan = STEP.findall(_call(["apt-get", "-q", "-s", "--no-install-recommends", "install", *names], 60))
    policy = re.search(r"Candidate: (\S+)", _call(["apt-cache", "policy", names[0]], 60))
    version = UPSTREAM.sub("", policy.group(1) if policy else "")
    root = hashlib.sha256(repr(plan).encode()).hexdigest()[:16] if plan else None
    if root != found.get("root") or not os.path.isdir(shelf):
        shutil.rmtree(shelf, ignore_errors=True)
        os.makedirs(shelf)
    if plan and not os.path.isdir(os.path.join(shelf, root)):
        print(f"fetching {' '.join(names)} ({len(plan)} packages)", flush=True)
        with tempfile.TemporaryDirectory(dir=shelf) as work:
            _fetch(plan, work)
            os.rename(os.path.join(work, "root"), os.path.join(shelf, root))
    return {"root": root, "version": version}


def _fetch(plan, work):
    _call(["apt-get", "-q", "download", *(f"{name}={version}" for name, version in plan)], FETCH_SECONDS, cwd=work)
    root = os.path.join(work, "root")
    # /bin and /lib are links into /usr on every Debian since 12; not all packages know.
    for name in ("bin", "sbin", "lib"):
        os.makedirs(os.path.join(root, "usr", name))
        os.symlink(os.path.join("usr", name), os.path.join(root, name))
    for name in sorted(os.listdir(work)):
        if name.endswith(".deb"):
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", os.path.join(work, name)], stdout=subprocess.PIPE) as deb:
                _call(["tar", "-x", "--keep-directory-symlink", "-C", root], 120, stdin=deb.stdout)


def npm(specifications):
    """The node_modules directory with these packages, each NAME@VERSION."""
    if not shutil.which("npm"):
        raise Unavailable(f"{' '.join(specifications)}: npm is not here")
    name = re.sub(r"[^\w.@-]", "_", specifications[0])
    home = os.path.join(CACHE, "npm", name)
    if not os.path.isdir(home):
        print(f"fetching {' '.join(specifications)}", flush=True)
        os.makedirs(os.path.dirname(home), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(home)) as work:
            flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev", "--omit=optional"]
            _call(["npm", "install", "--prefix", work, *flags, *specifications], FETCH_SECONDS)
            os.mkdir(os.path.join(work, "done"))
            os.rename(os.path.join(work, "node_modules"), os.path.join(work, "done", "node_modules"))
            os.rename(os.path.join(work, "done"), home)
    return os.path.join(home, "node_modules")


def _call(command, patience, stdin=subprocess.DEVNULL, cwd=None):
    try:
        done = subprocess.run(
            command, env=ENVIRONMENT, stdin=stdin, cwd=cwd, capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)}: not done after {patience} s") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-1000:]}")
    return done.stdout
