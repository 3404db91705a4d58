"""A view of the file system in which a peer's packages are installed, for that peer's processes alone.

Linux's mount namespaces and overlayfs: /usr, /etc and /var are the machine's with the packages (`packages.unpacked`) laid
over them; /etc also has the users that the packages would create, and names a nameserver that knows nothing; what is written to /etc, /var and
/run goes to memory and ends with the process. Programs find everything at the paths that they were built for, and the
machine sees nothing of it. /tmp, and so every Scratch, is the machine's own.
"""

import functools
import os
import subprocess

from . import nameserver, packages
from .scratch import Failed, Unavailable

# Arguments: the layer of /etc, the unpacked packages (or "-"), then the program.
SCRIPT = """\
set -e
etc=$1 root=$2
shift 2
mount -t tmpfs tmpfs /run
mkdir /run/.upper /run/.work /run/.etc-upper /run/.etc-work /run/lock
if [ "$root" = - ]; then
    mount -t overlay -o "lowerdir=$etc:/etc,upperdir=/run/.etc-upper,workdir=/run/.etc-work" overlay /etc
    mount -t overlay -o "lowerdir=/var,upperdir=/run/.upper,workdir=/run/.work" overlay /var
else
    mkdir -p "$root/etc" "$root/var"
    mount -t overlay -o "lowerdir=$etc:$root/etc:/etc,upperdir=/run/.etc-upper,workdir=/run/.etc-work" overlay /etc
    mount -t overlay -o "lowerdir=$root/usr:/usr" overlay /usr
    mount -t overlay -o "lowerdir=$root/var:/var,upperdir=/run/.upper,workdir=/run/.work" overlay /var
fi
exec "$@"
"""
# The system's own ids of packages are below 1000; these are out of their way.
FIRST_ID = 61000
FILES = {
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
}


@functools.cache
def _nameserver():
    return nameserver.start()


class View:
    """`users` and `groups` are made up to the peer; `files` maps paths under /etc to texts."""

    def __init__(self, scratch, name, debian, users=(), groups=(), files=None, release=None):
        if os.geteuid() != 0:
            raise Unavailable(f"{name}: only root can start it in a view of its own")
        self.scratch, self.name = scratch, name
        self.root, self.version = packages.unpacked(debian, release)
        self.ids = {who: FIRST_ID + number for number, who in enumerate([*users, *groups])}
        self.etc = scratch.path(f"{name}-etc")
        asked = {"resolv.conf": f"nameserver {_nameserver()}\noptions timeout:1 attempts:1\n"}
        for path, text in {**FILES, **asked, **self._accounts(users, groups), **(files or {})}.items():
            self.write(path, text)
        if subprocess.run(self.command(["true"]), capture_output=True, timeout=60).returncode:
            raise Unavailable(f"{name}: this machine lets nobody mount an overlay in a namespace of its own")

    def write(self, path, text):
        """A file under /etc; returns where it is for those who have no such view."""
        return self.scratch.write(f"{self.name}-etc/{path}", text)

    def command(self, arguments):
        """To be run outside; it becomes the program, with the same process id."""
        inside = ["sh", "-c", SCRIPT, "view", self.etc, self.root or "-", *arguments]
        return ["unshare", "--mount", "--propagation", "private", *inside]

    def start(self, arguments, name=None, **options):
        return self.scratch.start(self.command(arguments), name or self.name, **options)

    def run(self, arguments, patience=60, **options):
        """Runs a program to its end; returns what it says, on either output."""
        try:
            done = subprocess.run(
                self.command(arguments),
                **(options if "input" in options else {"stdin": subprocess.DEVNULL, **options}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=patience,
            )
        except subprocess.TimeoutExpired as late:
            text = (late.stdout or b"").decode("utf-8", "replace")[-2000:]
            raise Failed(f"{' '.join(arguments)}: not done after {patience} s\n{text}") from None
        if done.returncode:
            text = done.stdout.decode("utf-8", "replace")[-2000:]
            raise Failed(f"{' '.join(arguments)} ended with {done.returncode}\n{text}")
        return done.stdout.decode("utf-8", "replace")

    def _accounts(self, users, groups):
        """The machine's files without these names, and with the numbers that they have here."""
        lines = {"passwd": [], "group": []}
        for file, kept in lines.items():
            with open(f"/etc/{file}", encoding="utf-8", errors="replace") as before:
                kept += [line for line in before.read().splitlines() if line.split(":")[0] not in self.ids]
        lines["passwd"] += [f"{who}:x:{self.ids[who]}:{self.ids[who]}::/nonexistent:/bin/sh" for who in users]
        lines["group"] += [f"{who}:x:{self.ids[who]}:" for who in [*users, *groups]]
        return {file: "\n".join(kept) + "\n" for file, kept in lines.items()}
