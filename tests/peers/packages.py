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

from . import apt
from .apt import CACHE, call, locked
from .scratch import Unavailable

# Epoch, Debian's revision, and what Debian took out.
UPSTREAM = re.compile(r"^\d+:|[-~][^-]*$|[+~]dfsg.*$")
FETCH_SECONDS = 300


def unpacked(names, release=None):
    """The directory with these Debian packages and what they need, and the version of the first of them.

    No directory: the machine has all of it installed. `release`: not older than that of this Debian release (13).
    """
    if not shutil.which("apt-get"):
        raise Unavailable(f"{' '.join(names)}: this is no Debian")
    source = apt.at_least(release)
    shelf = os.path.join(source.shelf, names[0])
    # Two peers may want the same: the other has what this one got.
    with locked(shelf):
        found = _found(source, names, shelf)
    return os.path.join(shelf, found["root"]) if found["root"] else None, found["version"]


def _found(source, names, shelf):
    """What is on the shelf, renewed when packages or their lists have changed."""
    label = os.path.join(shelf, "label.json")
    state = [list(names), *source.state()]
    try:
        with open(label, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = {}
    if found.get("state") != state:
        found = _renew(source, names, shelf, found)
        with open(label, "w", encoding="utf-8") as file:
            json.dump({**found, "state": state}, file)
    return found


def _renew(source, names, shelf, found):
    """Asks apt what is needed, and gets it when that is not what is on the shelf."""
    try:
        return _plan_and_fetch(source, names, shelf, found)
    except Unavailable:
        # Lists that are missing, or older than what the mirror still has.
        source.update()
        return _plan_and_fetch(source, names, shelf, found)


def _plan_and_fetch(source, names, shelf, found):
    plan = source.plan(names)
    version = UPSTREAM.sub("", source.version(names[0]))
    root = hashlib.sha256(repr(plan).encode()).hexdigest()[:16] if plan else None
    if root != found.get("root") or not os.path.isdir(shelf):
        shutil.rmtree(shelf, ignore_errors=True)
        os.makedirs(shelf)
    if plan and not os.path.isdir(os.path.join(shelf, root)):
        print(f"fetching {' '.join(names)} ({len(plan)} packages)", flush=True)
        with tempfile.TemporaryDirectory(dir=shelf) as work:
            _fetch(source, plan, work)
            os.rename(os.path.join(work, "root"), os.path.join(shelf, root))
    return {"root": root, "version": version}


def _fetch(source, plan, work):
    wanted = [f"{name}={version}" for name, version in plan]
    source.call(["apt-get", "-q", "download", *wanted], FETCH_SECONDS, cwd=work)
    root = os.path.join(work, "root")
    # /bin and /lib are links into /usr on every Debian since 12; not all packages know.
    for name in ("bin", "sbin", "lib"):
        os.makedirs(os.path.join(root, "usr", name))
        os.symlink(os.path.join("usr", name), os.path.join(root, name))
    for name in sorted(os.listdir(work)):
        if name.endswith(".deb"):
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", os.path.join(work, name)], stdout=subprocess.PIPE) as deb:
                call(["tar", "-x", "--keep-directory-symlink", "-C", root], 120, stdin=deb.stdout)


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
            call(["npm", "install", "--prefix", work, *flags, *specifications], FETCH_SECONDS)
            os.mkdir(os.path.join(work, "done"))
            os.rename(os.path.join(work, "node_modules"), os.path.join(work, "done", "node_modules"))
            os.rename(os.path.join(work, "done"), home)
    return os.path.join(home, "node_modules")
