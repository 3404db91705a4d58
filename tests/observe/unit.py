"""The systemd unit, by systemd's own checker; the container's configuration, by `posthaste check`."""

import shutil
import subprocess

import deployed
from peers import posthaste
from peers.scratch import Failed, Unavailable

INSTALLED = "/usr/local/bin/posthaste"


def check_service(scratch):
    if not shutil.which("systemd-analyze"):
        raise Unavailable("systemd-analyze is not here; Debian's package systemd has it")
    # It looks whether the programs are there.
    text = deployed.replaced(deployed.read("posthaste.service"), INSTALLED, posthaste.binary())
    unit = scratch.write("posthaste.service", text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    # Of a key that it does not know it complains, and goes on. Of the machine's other units it may complain too.
    said = [line for line in (done.stdout + done.stderr).splitlines() if "posthaste" in line]
    if done.returncode or said:
        raise Failed("\n".join(said) or done.stderr)


def check_container(_scratch):
    command = [posthaste.binary(), "check", "--config", deployed.path("container.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(done.stdout + done.stderr)
